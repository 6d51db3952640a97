"""One account can't take all of a replica: however many sockets and streams it opens, whatever it sends."""

import asyncio
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from bioscope_gql.errors import Refusal
from bioscope_gql.transport.limits import Limits
from bioscope_gql.transport.shares import Traffic
from tests.door import ANNA, PATIENCE_SECONDS, TOKEN, Door, a_door
from tests.talk import Talk, a_talk, complete, next_
from tests.test_streams import a_stream

BERT = "Bearer bert"
FULL = (4429, "Your account has 2 sockets and event streams open already. Close one, then try again.")
TICKS = "subscription { ticks }"


async def counted(door: Door, what: str, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while door.endpoint.crowd[what] != count:
            await asyncio.sleep(0.01)


async def test_an_account_has_so_many_sockets_and_streams_and_no_more(tmp_path: Path) -> None:
    async with a_door(tmp_path, Limits(account_connections=2)) as door:
        door.desk.viewers[BERT] = replace(ANNA, id=uuid4())
        async with a_talk(door) as first, a_stream(door, TICKS):
            await counted(door, "streams", 1)
            async with a_talk(door, init=False) as third:
                await third.say("connection_init", payload={"authorization": TOKEN})
                assert await third.ended() == FULL
            async with a_stream(door, TICKS) as refused:
                assert "RATE_LIMITED" in "".join([line async for line in refused.lines])
            async with a_talk(door, init=False) as berts, a_talk(door, init=False) as nobodys:
                await berts.init(BERT)
                await nobodys.init(None)
            assert await first.is_alive()
        await counted(door, "sockets", 0)
        await counted(door, "streams", 0)
        async with a_talk(door) as later, a_talk(door) as another:
            assert await later.is_alive()
            assert await another.is_alive()


async def test_the_operations_of_all_sockets_of_an_account_are_counted_together(tmp_path: Path) -> None:
    async with (
        a_door(tmp_path, Limits(account_operations=2)) as door,
        a_talk(door) as one,
        a_talk(door) as other,
    ):
        await one.subscribe("{ wait }", id="a")
        await other.subscribe("{ wait }", id="a")
        await counted(door, "socket_operations", 2)
        await one.subscribe("{ hello }", id="b")
        refused = await one.hear()
        assert (refused["type"], refused["id"]) == ("error", "b")
        assert refused["payload"][0]["extensions"] == {"code": "RATE_LIMITED"}
        assert door.bench.ran == []

        await other.say("complete", id="a")
        await other.subscribe("{ hello }", id="b")
        assert [await other.hear(), await other.hear()] == [
            next_({"hello": "hello world"}, "b"), complete("b"),
        ]  # fmt: skip


ROOM = Limits(socket_messages=100, socket_bytes=100_000, account_messages=100, account_bytes=100_000)


async def pinged(talk: Talk, times: int) -> None:
    for _ in range(times):
        await talk.say("ping", payload={"size": "x" * 1000})
        assert (await talk.hear())["type"] == "pong"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (replace(ROOM, socket_messages=5), "5 messages came by this socket"),
        (replace(ROOM, socket_bytes=5_000), "5,000 bytes came by this socket"),
        (replace(ROOM, account_messages=4), "4 messages came by your account's sockets"),
        (replace(ROOM, account_bytes=5_000), "5,000 bytes came by your account's sockets"),
    ],
)
async def test_a_socket_that_sends_too_much_within_a_minute_is_closed(
    tmp_path: Path, limits: Limits, reason: str
) -> None:
    async with a_door(tmp_path, limits) as door, a_talk(door) as talk:
        await pinged(talk, 4)
        await talk.say("ping", payload={"size": "x" * 1000})
        await talk.subscribe("mutation { touch }")
        assert await talk.ended() == (4429, f"More than {reason} within a minute. Wait one, then go on.")
        await counted(door, "sockets", 0)
        assert door.bench.ran == []


async def test_all_sockets_of_an_account_are_counted_and_nobody_elses(tmp_path: Path) -> None:
    async with a_door(tmp_path, replace(ROOM, account_messages=6)) as door:
        door.desk.viewers[BERT] = replace(ANNA, id=uuid4())
        async with a_talk(door) as one, a_talk(door) as other, a_talk(door, init=False) as berts:
            await berts.init(BERT)
            await pinged(one, 3)
            await pinged(other, 3)
            await one.say("ping")
            assert (await one.ended())[0] == 4429
            await pinged(berts, 3)
            await other.say("ping")
            assert (await other.ended())[0] == 4429
            await pinged(berts, 3)


def test_each_minute_begins_anew() -> None:
    now = 90.0
    traffic = Traffic("this socket", messages=2, size=100, clock=lambda: now)
    traffic.count("a", 40)
    traffic.count("a", 60)
    with pytest.raises(Refusal, match="2 messages"):
        traffic.count("a", 0)
    now = 120.0
    traffic.count("a", 100)
    with pytest.raises(Refusal, match="100 bytes"):
        traffic.count("a", 1)
