"""The server is killed in the middle of a run, again and again: nothing is lost, nothing happens twice."""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from bioscope_gql.embedded.stack import read_stack
from tests.clients import a_client
from tests.folders import a_folder
from tests.lab import Json, a_picture, unwrapped
from tests.lab_documents import RUN, UPLOAD, WATCH

ROUNDS = int(os.environ.get("BIOSCOPE_TEST_KILLS", "2"))
PICTURES = 200
START_SECONDS = 30
FINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with a_folder() as folder:
        yield folder


@asynccontextmanager
async def dev(data_dir: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`bioscope dev` as a user starts it, and where it serves; killed at the end if it still runs."""
    with (data_dir / "dev.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bioscope_gql", "dev", "--port", "0", "--data-dir", str(data_dir / "data"),
            stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            line = (await process.stdout.readline()).decode()
        yield process, line.removeprefix("Serving on ").partition("/graphql")[0]
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def an_analyst(url: str, data_dir: Path) -> httpx.AsyncClient:
    client = a_client(base_url=url, timeout=60)
    person = '{email: "c@lab.example", username: "crash", password: "long enough for it"}'
    register = f"mutation {{ register(input: {person}) {{ __typename }} }}"
    await client.post("/graphql", json={"query": register})
    database = await asyncpg.connect(read_stack(data_dir / "data").dsn)
    await database.execute("update users set role = 'ANALYST'")
    await database.close()
    login = (
        'mutation { login(input: {login: "crash", password: "long enough for it"})'
        " { ... on AuthTokens { accessToken } } }"
    )
    answer = await client.post("/graphql", json={"query": login})
    client.headers["authorization"] = f"Bearer {unwrapped(answer)['accessToken']}"
    return client


async def a_run(client: httpx.AsyncClient) -> str:
    """A run over 200 small pictures."""
    dataset = unwrapped(
        await client.post(
            "/graphql",
            json={"query": 'mutation { createDataset(input: {name: "c"}) { ... on Dataset { id } } }'},
        )
    )["id"]
    for first in range(0, PICTURES, 100):
        files = [(f"{number}.png", a_picture(number)) for number in range(first, first + 100)]
        operations = {"query": UPLOAD, "variables": {"dataset": dataset, "files": [None] * len(files)}}
        places = {str(place): [f"variables.files.{place}"] for place in range(len(files))}
        report = unwrapped(
            await client.post(
                "/graphql",
                data={"operations": json.dumps(operations), "map": json.dumps(places)},
                files=[(str(place), file) for place, file in enumerate(files)],
                headers={"graphql-require-preflight": "1"},
            )
        )
        assert {each["__typename"] for each in report["files"]} == {"UploadedImage"}
    run: Json = {}
    while run.get("__typename") != "Classification":
        await asyncio.sleep(0.1)  # the worker may not have announced its model yet
        run = unwrapped(
            await client.post(
                "/graphql", json={"query": RUN, "variables": {"input": {"target": {"datasetId": dataset}}}}
            )
        )
    id: str = run["id"]
    return id


class Watcher:
    """Follows a run over any number of connections, and remembers whose end it has seen."""

    def __init__(self, run: str, authorization: str) -> None:
        self.run, self._authorization = run, authorization
        self.cursor: str | None = None
        self.ended: set[str] = set()
        self.last: Json = {}

    async def follow(self, url: str) -> None:
        """Until the subscription completes, or the server is gone."""
        address = url.replace("http", "ws") + "/graphql"
        with suppress(OSError, WebSocketException):
            async with connect(address, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
                await socket.send(
                    json.dumps({"type": "connection_init", "payload": {"authorization": self._authorization}})
                )
                await socket.recv()
                payload = {"query": WATCH, "variables": {"id": self.run, "after": self.cursor}}
                await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
                async for text in socket:
                    message = json.loads(text)
                    if message["type"] == "complete":
                        return
                    self._see(message["payload"]["data"]["classificationUpdated"])

    def _see(self, update: Json) -> None:
        self.cursor, self.last = update["cursor"], update["classification"]
        self.ended |= {item["id"] for item in update["items"] if item["status"] in FINAL}


@pytest.mark.timeout(60 + 30 * ROUNDS)
async def test_a_server_that_is_killed_in_a_run_loses_nothing_and_does_nothing_twice(data_dir: Path) -> None:
    async with dev(data_dir) as (_, url):
        client = await an_analyst(url, data_dir)
        authorization = client.headers["authorization"]
        run = await a_run(client)
        await client.aclose()
    watcher = Watcher(run, authorization)
    for _ in range(ROUNDS):
        async with dev(data_dir) as (process, url):
            following = asyncio.create_task(watcher.follow(url))
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0.2, 1.5)):
                    await asyncio.shield(following)
            process.send_signal(signal.SIGKILL)
            await following
    async with dev(data_dir) as (_, url):
        await watcher.follow(url)
        database = await asyncpg.connect(read_stack(data_dir / "data").dsn)
        results = await database.fetchval("select count(*) from classification_results")
        doubled = await database.fetchval(
            "select count(*) from (select from classification_results group by item having count(*) > 1) d"
        )
        await database.close()

    assert watcher.last["status"] == "COMPLETED"
    assert watcher.last["progress"]["succeeded"] == PICTURES
    assert (results, doubled) == (PICTURES, 0)
    assert len(watcher.ended) == PICTURES
