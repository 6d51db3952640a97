"""One account can't take all of a replica, however many sockets and event streams it opens."""

import asyncio
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from bioscope_gql.transport.limits import Limits
from tests.door import ANNA, PATIENCE_SECONDS, TOKEN, Door, a_door
from tests.talk import a_talk, complete, next_
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
