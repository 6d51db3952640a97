"""Stops and restarts while people work: what was acknowledged stays; whatever fails may be tried again."""

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import httpx
import pytest

from tests.clients import a_client
from tests.grounds import variables
from tests.lab import Place, a_picture
from tests.lab_documents import RUN
from tests.load import LONG
from tests.processes import LIMIT_SECONDS, Server, serving
from tests.test_serve import A_DATASET, MODEL, HalfUpload, a_watcher, close_code, execute

pytestmark = pytest.mark.timeout(600 if LONG else 180)

ROUNDS = 20 if LONG else 3
STOP_SECONDS = 25
MANY = 20
NAMED = "mutation ($name: String!) { createDataset(input: {name: $name}) { ... on Dataset { name } } }"
OVERVIEW = "subscription { classificationsUpdated { cursor } }"


@dataclass
class Load:
    """People who make datasets all the time, at whatever server there is."""

    token: str
    servers: list[Server]
    acknowledged: list[str] = field(default_factory=list)
    tried_again: int = 0
    _names: "itertools.count[int]" = field(default_factory=itertools.count)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def going_on(self, people: int = 4) -> AsyncIterator[None]:
        working = [asyncio.create_task(self._work()) for _ in range(people)]
        try:
            yield
        finally:
            for each in working:
                each.cancel()
            ended = await asyncio.gather(*working, return_exceptions=True)
        assert [each for each in ended if not isinstance(each, asyncio.CancelledError)] == []

    async def made(self, count: int) -> None:
        """Return once so many more were acknowledged."""
        enough = len(self.acknowledged) + count
        async with asyncio.timeout(LIMIT_SECONDS):
            while len(self.acknowledged) < enough:
                self._more.clear()
                await self._more.wait()

    async def _work(self) -> None:
        async with a_client(timeout=LIMIT_SECONDS) as http:
            for number in self._names:
                server = self.servers[number % len(self.servers)]
                await self._make(http, server, f"smears {number}")

    async def _make(self, http: httpx.AsyncClient, server: Server, name: str) -> None:
        """One dataset. Who is refused for the moment, or cut off, would try again."""
        body = {"query": NAMED, "variables": {"name": name}}
        try:
            answer = await http.post(
                f"{server.url}/graphql", json=body, headers={"authorization": f"Bearer {self.token}"}
            )
        except httpx.TransportError:
            self.tried_again += 1
            await asyncio.sleep(0.02)
            return
        if answer.status_code == 503:
            assert answer.headers["retry-after"]
            self.tried_again += 1
            return
        assert answer.json()["data"] == {"createDataset": {"name": name}}, answer.text
        self.acknowledged.append(name)
        self._more.set()

    async def is_kept(self, place: Place) -> bool:
        """Whether all that was acknowledged is there, once each."""
        connection = await asyncpg.connect(place.dsn)
        try:
            rows = await connection.fetch("select name from datasets where name like 'smears %'")
        finally:
            await connection.close()
        names = [row["name"] for row in rows]
        return len(names) == len(set(names)) and set(self.acknowledged) <= set(names)


async def test_a_stop_under_load_ends_all_in_good_order_and_loses_nothing(place: Place) -> None:
    settings = variables(
        place, BIOSCOPE_KAFKA__STATIC_MODELS=f'[{{"name": "{MODEL["name"]}", "version": "1"}}]'
    )
    async with serving(place.folder, "serve", **settings) as server, AsyncExitStack() as stack:
        token = await server.register()
        await execute(place, "update users set role = 'ANALYST'")
        dataset = (await server.ask(A_DATASET, token))["id"]
        await server.upload(dataset, a_picture(), token)
        run = (await server.ask(RUN, token, input={"target": {"datasetId": dataset}}))["id"]
        watcher = await stack.enter_async_context(a_watcher(server, run, token))
        http = await stack.enter_async_context(a_client(timeout=LIMIT_SECONDS))
        stream = await stack.enter_async_context(
            http.stream(
                "POST",
                f"{server.url}/graphql",
                json={"query": OVERVIEW},
                headers={"authorization": f"Bearer {token}", "accept": "text/event-stream"},
            )
        )
        lines = stream.aiter_lines()
        async with asyncio.timeout(LIMIT_SECONDS):
            while not (await anext(lines)).startswith("data:"):
                pass
        upload = await stack.enter_async_context(HalfUpload.begun(server, dataset, token))
        load = Load(token, [server])
        async with load.going_on():
            await load.made(MANY)
            server.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert await close_code(watcher) == 1012
            async with asyncio.timeout(LIMIT_SECONDS):
                assert [line async for line in lines if line.startswith("event: complete")] == []
            await upload.go_on()
            status, body = await upload.answer()
            assert await server.ended() == 0
            assert time.monotonic() - began < STOP_SECONDS
    assert (status, '"UploadedImage"' in body) == ("HTTP/1.1 200 OK", True)
    assert await execute(place, "select from images") == "SELECT 2"
    assert await load.is_kept(place)


async def test_replicas_that_are_restarted_in_turn_under_load_cause_only_what_may_be_tried_again(
    place: Place,
) -> None:
    given = variables(place)

    async with AsyncExitStack() as stack:

        async def start(number: int) -> Server:
            group = {"BIOSCOPE_KAFKA__CONSUMER_GROUP": f"{place.name}.{number}"}
            return await stack.enter_async_context(serving(place.folder, "serve", **(given | group)))

        running = [await start(number) for number in range(2)]
        token = await running[0].register()
        load = Load(token, running)
        async with load.going_on():
            for number in range(ROUNDS):
                await load.made(MANY)
                old = running[number % 2]
                new = await start(2 + number)
                old.send_signal(signal.SIGTERM)
                assert await old.ended() == 0
                running[number % 2] = new
            await load.made(MANY)
    assert await load.is_kept(place)
    assert len(load.acknowledged) >= MANY * (ROUNDS + 1)
