"""Subscriptions as server-sent events over real HTTP: what is framed how, and how streams end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bioscope_gql.transport.limits import Limits
from tests.door import PATIENCE_SECONDS, TOKEN, Door, Json, a_door

EVENTS = "text/event-stream"
GRAPHQL_JSON = "application/graphql-response+json"
COMPLETE = "event: complete\ndata: "
URQL = f"{GRAPHQL_JSON}, application/graphql+json, application/json, {EVENTS}, multipart/mixed"
COUNT = "subscription { count(to: 2) }"
QUICK = Limits(socket_check_seconds=0.05, stream_heartbeat_seconds=0.05, socket_send_seconds=0.5)


@dataclass
class Listener:
    """A client that reads a stream, block by block; heartbeats are passed over."""

    response: httpx.Response
    lines: AsyncIterator[str]

    async def block(self) -> str:
        """The lines of the next event; empty at the end of the stream."""
        lines: list[str] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self.lines:
                if line:
                    lines.append(line)
                elif lines != [":"]:
                    break
                else:
                    lines = []
        return "\n".join(lines)

    async def event(self) -> Json:
        *_, name, data = (await self.block()).split("\n")
        assert name == "event: next"
        told: Json = json.loads(data.removeprefix("data: "))
        return told

    async def rest(self) -> list[str]:
        blocks = []
        while block := await self.block():
            blocks.append(block)
        return blocks


@asynccontextmanager
async def a_stream(
    door: Door, query: str, *, accept: str = EVENTS, method: str = "POST", **headers: str
) -> AsyncIterator[Listener]:
    sent: dict[str, Any] = {"json": {"query": query}} if method == "POST" else {"params": {"query": query}}
    headers = {"Authorization": TOKEN, "Accept": accept, **headers}
    async with door.http.stream(method, "/graphql", headers=headers, **sent) as response:
        yield Listener(response, response.aiter_lines())


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_door(tmp_path, QUICK) as door:
        yield door


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_subscription_is_told_event_by_event_and_completes(door: Door, method: str) -> None:
    async with a_stream(door, COUNT, method=method) as stream:
        told = [(await stream.event())["data"], (await stream.event())["data"]]
        rest = await stream.rest()

    assert stream.response.status_code == 200
    assert stream.response.headers["content-type"] == f"{EVENTS}; charset=utf-8"
    assert stream.response.headers["cache-control"] == "no-store"
    assert (told, rest) == ([{"count": 0}, {"count": 1}], [COMPLETE])


async def test_the_bytes_are_those_of_graphql_sse_with_line_feeds_only(door: Door) -> None:
    headers = {"Authorization": TOKEN, "Accept": EVENTS}
    answer = await door.http.post("/graphql", json={"query": COUNT}, headers=headers)
    assert answer.content == (
        b':\n\nevent: next\ndata: {"data":{"count":0},"extensions":{"cost":{"cost":0,"limit":50000}}}\n\n'
        b'event: next\ndata: {"data":{"count":1}}\n\n'
        b"event: complete\ndata: \n\n"
    )


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        (EVENTS, True),
        (URQL, True),
        (f"application/json, {EVENTS};q=0.1", True),
        ("text/*", True),
        ("*/*", False),
        (f"application/json, {EVENTS};q=0", False),
        (f"text/*, {EVENTS};q=0, */*", False),
    ],
)
async def test_a_subscription_is_a_stream_for_whoever_says_so(
    door: Door, accept: str, is_stream: bool
) -> None:
    headers = {"Authorization": TOKEN, "Accept": accept}
    answer = await door.http.post("/graphql", json={"query": COUNT}, headers=headers)
    assert answer.headers["content-type"].startswith(EVENTS) is is_stream
    assert is_stream or answer.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("accept", [EVENTS, URQL, f"{EVENTS}, application/json;q=0.5"])
@pytest.mark.parametrize("query", ["{ hello }", "mutation { touch }"])
async def test_queries_and_mutations_are_json_whatever_accept_says(
    door: Door, accept: str, query: str
) -> None:
    headers = {"Authorization": TOKEN, "Accept": accept}
    answer = await door.http.post("/graphql", json={"query": query}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] in ("application/json", GRAPHQL_JSON)
    assert list(answer.json()) == ["data", "extensions"]


async def test_what_graphql_refuses_is_an_event_for_a_client_that_takes_nothing_else(door: Door) -> None:
    async with a_stream(door, "subscription { nothing }") as stream:
        told, rest = await stream.event(), await stream.rest()
    assert stream.response.status_code == 200
    assert [error["extensions"]["code"] for error in told["errors"]] == ["GRAPHQL_VALIDATION_FAILED"]
    assert rest == [COMPLETE]


async def test_what_graphql_refuses_is_json_for_a_client_that_takes_it(door: Door) -> None:
    headers = {"Authorization": TOKEN, "Accept": URQL}
    answer = await door.http.post("/graphql", json={"query": "subscription { nothing }"}, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == f"{GRAPHQL_JSON}; charset=utf-8"


async def test_nobody_gets_401_and_no_stream_so_that_browsers_do_not_try_for_ever(door: Door) -> None:
    answer = await door.http.post(
        "/graphql", json={"query": "subscription { ticks }"}, headers={"Accept": EVENTS}
    )
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")
    assert not door.bench.entered.is_set()


async def test_a_body_that_is_no_request_is_400_json(door: Door) -> None:
    headers = {"Authorization": TOKEN, "Accept": EVENTS, "Content-Type": "application/json"}
    answer = await door.http.post("/graphql", content=b"[", headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_USER_INPUT")


async def test_a_failing_source_is_told_masked_and_completes(door: Door) -> None:
    async with a_stream(door, "subscription { ticks }") as stream:
        await door.bench.ticks.put(ZeroDivisionError("secret"))
        told, rest = await stream.event(), await stream.rest()
    assert told["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert "secret" not in json.dumps(told)
    assert rest == [COMPLETE]


async def test_silence_is_filled_with_heartbeats(door: Door) -> None:
    async with a_stream(door, "subscription { ticks }") as stream:
        async with asyncio.timeout(PATIENCE_SECONDS):
            heard = [await anext(stream.lines) for _ in range(8)]
    assert heard == [":", ""] * 4


async def test_who_leaves_ends_the_subscription(door: Door) -> None:
    async with a_stream(door, "subscription { ticks }"):
        await asyncio.wait_for(door.bench.entered.wait(), PATIENCE_SECONDS)
    await asyncio.wait_for(door.bench.left.wait(), PATIENCE_SECONDS)


async def test_a_stream_is_cut_without_complete_when_its_token_expires(door: Door) -> None:
    """A client that takes that for a lost connection comes back with a new token."""
    door.desk.let_expire(0.2)
    async with a_stream(door, "subscription { ticks }") as stream:
        assert await stream.rest() == []
    await asyncio.wait_for(door.bench.left.wait(), PATIENCE_SECONDS)


async def test_a_revoked_session_is_told_and_completes(door: Door) -> None:
    async with a_stream(door, "subscription { ticks }") as stream:
        await asyncio.wait_for(door.bench.entered.wait(), PATIENCE_SECONDS)
        door.desk.revoked = True
        told, rest = await stream.event(), await stream.rest()
    assert told["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED", "reason": "REVOKED"}
    assert rest == [COMPLETE]


async def test_a_server_that_stops_cuts_its_streams_and_stops_at_once(door: Door) -> None:
    async with a_stream(door, "subscription { ticks }") as stream:
        await asyncio.wait_for(door.bench.entered.wait(), PATIENCE_SECONDS)
        await door.endpoint.close()
        assert await stream.rest() == []
        door.stop()
        await door.stopped()


async def test_a_client_that_does_not_read_is_given_up(door: Door) -> None:
    async with a_stream(door, "subscription { flood(length: 100000) }"):
        await asyncio.wait_for(door.bench.left.wait(), PATIENCE_SECONDS)


async def test_a_deeper_context_knows_what_the_client_has_seen(door: Door) -> None:
    async with a_stream(door, COUNT, **{"Last-Event-ID": "17"}) as stream:
        await stream.rest()
    assert {toy.call.place.after for toy in door.bench.contexts} == {"17"}
