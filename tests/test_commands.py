"""`bioscope dev` and the commands that reach what it runs, as real processes."""

import asyncio
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bioscope_gql.embedded.stack import read_stack
from tests.children import Children
from tests.folders import a_folder
from tests.lab import a_picture
from tests.processes import (
    Server,
    all_gone,
    bioscope,
    dev,
    is_zombie,
    serving,
    started,
)
from tests.test_cli import ROOT

pytestmark = pytest.mark.timeout(180)

PASSWORD = "an uncommon pass phrase"
ME = "{ me { username role } }"
MODELS = "{ models { nodes { name liveWorkers } } }"
A_DATASET = 'mutation { createDataset(input: {name: "smears"}) { ... on Dataset { id } } }'
DATASETS = "{ datasets(first: 10) { nodes { name } } }"
PARTS = {"database": "ok", "kafka": "ok", "store": "ok", "dispatch": "ok", "results": "ok"}


def models(*, live: int) -> Any:
    return {"nodes": [{"name": "blood-smear", "liveWorkers": live}]}


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[asyncpg.Connection]:
    """The database of the stack that runs on `folder/data`."""
    connection = await asyncpg.connect(read_stack(folder / "data").dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with a_folder() as made:
        yield made


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[Server]:
    async with dev(folder) as started:
        yield started


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_dev_in_good_order_and_nothing_of_it_is_left(
    server: Server, folder: Path, number: signal.Signals
) -> None:
    await server.until_health("ok")
    assert {"postgres", "sh"} <= {each.name() for each in server.family}

    assert await server.stop(number) == 0

    left = {path.name for path in (folder / "data").iterdir()}
    assert left == {"files", "keys", "lock", "logs", "postgres"}
    assert " ended by itself" not in server.log.read_text()
    assert '"level": "error"' not in server.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_dev_starts_leaves_nothing_either(folder: Path, number: signal.Signals) -> None:
    async with started(folder, "dev", "--data-dir", "data") as server:
        while not (folder / "data" / "logs" / "initdb.log").exists():
            await asyncio.sleep(0.01)

        assert await server.stop(number) == 1

    assert len(server.log.read_text().splitlines()) == 1
    assert "before it was done" in server.log.read_text()
    async with dev(folder) as server:
        assert await server.ask("{ __typename }") == "Query"


async def test_what_a_killed_dev_leaves_behind_ends_and_the_next_start_has_the_data(folder: Path) -> None:
    async with dev(folder) as server:
        token = await server.register()
        await server.ask(A_DATASET, token)
        family = server.family
        server.send_signal(signal.SIGKILL)
        assert await server.ended() == -signal.SIGKILL

        assert await all_gone(family)

    async with dev(folder) as server:
        assert await server.until_health("ok") == PARTS
        assert await server.ask(DATASETS, token) == {"nodes": [{"name": "smears"}]}


async def test_a_part_that_dies_ends_dev_with_a_sentence(server: Server, folder: Path) -> None:
    family = server.family

    server.member("broker.py").kill()

    assert await server.ended() == 1
    assert await all_gone(family)
    assert (
        f"The embedded Kafka stand-in ended by itself: look into {folder / 'data' / 'logs'} and start again."
        in server.log.read_text().splitlines()
    )


async def test_a_port_that_is_taken_is_refused_with_a_sentence(folder: Path) -> None:
    children = Children()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await bioscope(folder, "dev", "--port", str(port), "--data-dir", "data")

    assert done.code == 78
    assert done.said == [
        f"The address 127.0.0.1, port {port} can't be listened on (Address already in use): "
        "choose another --port."
    ]
    assert children.now() == []


@pytest.mark.parametrize(
    "command", ["migrate", "check", "worker", "audit", "create-admin --email a@b.c --username a"]
)
async def test_commands_say_where_no_stack_runs(folder: Path, command: str) -> None:
    done = await bioscope(folder, *command.split(), "--data-dir", "data")

    assert (done.code, done.out) == (78, "")
    assert done.said == [
        f"No BioScope stack is running on the data directory {folder / 'data'}: "
        f"start one with `bioscope dev --data-dir {folder / 'data'}`."
    ]


async def test_no_secret_is_ever_written_to_the_log(server: Server, folder: Path) -> None:
    token = await server.register("clara", PASSWORD)
    token = await server.sign_in("clara", PASSWORD)
    dataset = (await server.ask(A_DATASET, token))["id"]
    image = (await server.upload(dataset, a_picture(), token))["image"]["id"]
    links = await server.ask(
        "query ($id: ID!) { image(id: $id) { downloadUrl thumbnailUrl } }", token, id=image
    )
    for link in links.values():
        assert (await server.get(link.removeprefix(server.url))).status_code == 200
    assert (await server.get(f"/graphql?query={{me{{id}}}}&access_token={token}")).status_code != 500
    assert await server.stop() == 0

    logs = [server.log, *(folder / "data" / "logs").iterdir()]
    said = "".join(path.read_text() for path in logs)
    signatures = [value for link in links.values() for value in re.findall(r"=([\w.~-]{16,})", link)]
    assert signatures
    assert '"path": "/graphql"' in said
    assert [secret for secret in (PASSWORD, token, *signatures) if secret in said] == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="shared memory is told apart on Linux only")
async def test_at_rest_server_database_and_broker_take_less_than_300_mb_together(server: Server) -> None:
    await server.until_health("ok")

    worker = " ".join(server.member("worker.reference").cmdline())
    counted = [each for each in server.family if " ".join(each.cmdline()) != worker]

    assert sum(each.memory_full_info().pss for each in counted if not is_zombie(each)) < 300_000_000


async def test_dev_starts_again_when_the_code_changes_and_leaves_nothing_when_it_is_killed(
    folder: Path,
) -> None:
    shutil.copytree(
        ROOT / "bioscope_gql", folder / "bioscope_gql", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "piccolo_migrations", folder / "piccolo_migrations")
    shutil.copy(ROOT / "piccolo_conf.py", folder)
    reloading = started(folder, "dev", "--reload", "--data-dir", "data", PYTHONPATH=str(folder))

    async with reloading as server:
        first = await server.says("Serving on ")
        before = server.family[1:]
        (folder / "bioscope_gql" / "vocabulary.py").touch()
        server.url = (await server.says("Serving on ")).removeprefix("Serving on ").partition("/graphql")[0]
        assert await all_gone(before)
        assert server.url not in first
        assert await server.ask("{ __typename }") == "Query"

        family = server.family
        server.send_signal(signal.SIGKILL)
        await server.ended()
        assert await all_gone(family)


async def test_a_signal_ends_dev_and_what_starts_it_again(folder: Path) -> None:
    async with serving(folder, "dev", "--reload", "--data-dir", "data") as server:
        assert await server.stop() == 0
    assert not (folder / "data" / "stack.json").exists()
