"""The embedded stack with real processes: what it starts, what it keeps, what it leaves behind."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from bioscope_gql.embedded import lock
from bioscope_gql.embedded.stack import RunningStack, Stack, read_stack
from bioscope_gql.errors import ConfigurationError
from tests.children import Children, gone
from tests.folders import a_folder

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(90)]

TOPICS = {"bioscope.jobs": 3, "bioscope.results": 2}
LIMIT_SECONDS = 20

PARENT = """
import asyncio, json, pathlib, sys
from bioscope_gql.embedded.stack import Stack
async def main():
    async with Stack(pathlib.Path(sys.argv[1]), {"bioscope.jobs": 3}, durable=False) as stack:
        stack.announce(url="http://127.0.0.1:8000")
        print(json.dumps([stack.dsn, stack.bootstrap_servers]), flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with a_folder(closed=True) as folder:
        yield folder


@pytest.fixture
def children() -> Children:
    return Children()


@pytest.fixture
def private_dir() -> Iterator[Path]:
    with a_folder(closed=True) as folder:
        yield folder


def a_stack(data_dir: Path) -> Stack:
    return Stack(data_dir, TOPICS, durable=False)


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, timeout=LIMIT_SECONDS)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def a_producer(stack: Stack, **options: object) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers, **options)
    await producer.start()
    try:
        yield producer
    finally:
        async with asyncio.timeout(LIMIT_SECONDS):
            await producer.stop()


@asynccontextmanager
async def a_consumer(stack: Stack, topic: str, **options: object) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=stack.bootstrap_servers,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
        **options,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def a_parent(data_dir: Path) -> AsyncIterator[tuple[psutil.Popen, list[psutil.Process]]]:
    """A process that runs a stack, once it runs, and its descendants."""
    parent = psutil.Popen([sys.executable, "-c", PARENT, str(data_dir)], stdout=subprocess.PIPE)
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            assert json.loads(await asyncio.to_thread(parent.stdout.readline))
        yield parent, parent.children(recursive=True)
    finally:
        if parent.poll() is None:
            parent.kill()
        parent.wait()
        parent.stdout.close()


async def test_postgres_18_takes_connections_and_has_the_extensions_we_need(data_dir: Path) -> None:
    async with a_stack(data_dir) as stack, connected(stack.dsn) as connection:
        assert stack.postgres_is_new
        assert stack.broker_is_new
        assert await connection.fetchval("SHOW server_version_num") >= "180000"
        assert await connection.fetchval("SHOW cluster_name") == "bioscope-development"
        assert await connection.fetchval("SHOW listen_addresses") == ""
        await connection.execute("CREATE EXTENSION pg_trgm")
        assert await connection.fetchval("SELECT similarity('lymphocyte', 'lymphocyte')") == 1.0


async def test_a_stack_that_is_not_for_tests_survives_a_crash_of_the_machine(data_dir: Path) -> None:
    async with Stack(data_dir, {}) as stack, connected(stack.dsn) as connection:
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SHOW synchronous_commit") == "on"


async def test_the_broker_has_the_topics_and_carries_a_message(data_dir: Path) -> None:
    async with a_stack(data_dir) as stack:
        async with a_producer(stack, acks="all", enable_idempotence=True) as producer:
            assert len(await producer.partitions_for("bioscope.jobs")) == 3
            await producer.send_and_wait("bioscope.jobs", b"a picture")
        async with a_consumer(stack, "bioscope.jobs", group_id="workers") as consumer:
            async with asyncio.timeout(LIMIT_SECONDS):
                assert (await consumer.getone()).value == b"a picture"


async def test_a_paused_broker_answers_nobody_until_it_is_resumed(data_dir: Path) -> None:
    async with (
        a_stack(data_dir) as stack,
        a_producer(stack, request_timeout_ms=500, retry_backoff_ms=50) as producer,
    ):
        stack.broker.pause()
        with pytest.raises((KafkaError, TimeoutError)):
            await asyncio.wait_for(producer.send_and_wait("bioscope.jobs", b"lost"), 2)

        stack.broker.resume()
        async with asyncio.timeout(LIMIT_SECONDS):
            sent = await producer.send_and_wait("bioscope.jobs", b"arrived")
        assert sent.topic == "bioscope.jobs"


async def test_a_stack_whose_broker_is_paused_stops(data_dir: Path, children: Children) -> None:
    async with a_stack(data_dir) as stack:
        started = children.now()
        stack.broker.pause()

    assert gone(started)


async def test_a_second_start_on_the_same_directory_is_refused_and_harms_nothing(data_dir: Path) -> None:
    async with a_stack(data_dir) as stack:
        with pytest.raises(ConfigurationError) as refusal:
            await a_stack(data_dir).__aenter__()

        assert refusal.value.problems == [
            f"A BioScope stack is already running on the data directory {data_dir} (process {os.getpid()}): "
            "stop it first, or give this one a directory of its own with --data-dir."
        ]
        assert read_stack(data_dir).dsn == stack.dsn
        async with connected(stack.dsn) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_rows_are_there_after_a_restart_and_messages_are_not(data_dir: Path) -> None:
    async with a_stack(data_dir) as stack:
        async with connected(stack.dsn) as connection:
            await connection.execute(
                "CREATE TABLE cells (label text); INSERT INTO cells VALUES ('neutrophil')"
            )
        async with a_producer(stack) as producer:
            await producer.send_and_wait("bioscope.jobs", b"forgotten", partition=0)

    async with a_stack(data_dir) as stack:
        assert not stack.postgres_is_new
        assert stack.broker_is_new
        async with connected(stack.dsn) as connection:
            assert await connection.fetchval("SELECT label FROM cells") == "neutrophil"
        async with a_consumer(stack, "bioscope.jobs") as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            assert set(ends.values()) == {0}


async def test_a_stop_leaves_no_process_no_announcement_and_no_lock(
    data_dir: Path, children: Children
) -> None:
    async with a_stack(data_dir):
        started = children.now()
        assert len(started) > 6
        assert lock.is_held(data_dir)

    assert gone(started)
    assert sorted(path.name for path in data_dir.iterdir()) == ["lock", "logs", "postgres"]
    assert not lock.is_held(data_dir)


async def test_everything_in_the_data_directory_is_closed_to_others(data_dir: Path) -> None:
    async with a_stack(data_dir):
        for path in data_dir.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        assert stat.S_IMODE(data_dir.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


async def test_other_commands_find_a_running_stack(data_dir: Path) -> None:
    async with a_stack(data_dir) as stack:
        stack.announce(url="http://127.0.0.1:8000")

        assert read_stack(data_dir) == RunningStack(
            data_dir, os.getpid(), stack.dsn, stack.bootstrap_servers, "http://127.0.0.1:8000"
        )
        assert json.loads((data_dir / "stack.json").read_text())["development"] is True


async def test_where_no_stack_runs_other_commands_say_so(data_dir: Path) -> None:
    (data_dir / "stack.json").write_text("left behind by a stack that was killed")

    with pytest.raises(
        ConfigurationError, match=f"No BioScope stack is running on the data directory {data_dir}"
    ):
        read_stack(data_dir)


async def test_a_killed_parent_leaves_no_process_and_the_next_start_has_its_rows(data_dir: Path) -> None:
    async with a_parent(data_dir) as (parent, descendants):
        async with connected(read_stack(data_dir).dsn) as connection:
            await connection.execute("CREATE TABLE cells (label text); INSERT INTO cells VALUES ('basophil')")
        parent.kill()

        assert gone(descendants)

    async with a_stack(data_dir) as stack, connected(stack.dsn) as connection:
        assert not stack.postgres_is_new
        assert await connection.fetchval("SELECT label FROM cells") == "basophil"
        assert read_stack(data_dir).url is None


async def test_a_postgres_that_lost_its_guards_is_ended_by_the_next_start(data_dir: Path) -> None:
    async with a_parent(data_dir) as (parent, descendants):
        first = psutil.Process(int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0]))
        orphans = [first, *first.children()]
        for guard in set(descendants) - set(orphans):
            with suppress(psutil.NoSuchProcess):  # those of PostgreSQL come and go
                if guard.name() == "sh" or "bioscope-postgres" in guard.cmdline():
                    guard.kill()
        parent.kill()
        parent.wait()
        assert first.is_running()

        async with a_stack(data_dir) as stack, connected(stack.dsn) as connection:
            assert await connection.fetchval("SELECT 1") == 1
            assert gone(orphans)


async def test_a_crash_of_everything_and_a_pid_that_is_now_another_process_prevent_nothing(
    data_dir: Path,
) -> None:
    async with a_parent(data_dir) as (parent, descendants):
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in [parent, *descendants]:
                with suppress(psutil.NoSuchProcess):  # those of PostgreSQL come and go
                    process.send_signal(number)
        assert gone(descendants)
    pid_file = data_dir / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    async with a_stack(data_dir) as stack, connected(stack.dsn) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_start_that_was_interrupted_while_the_database_was_made_is_repeated(data_dir: Path) -> None:
    data_dir.chmod(0o711)
    half = data_dir / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    async with a_stack(data_dir) as stack:
        assert stack.postgres_is_new
        assert not half.exists()


async def test_a_long_path_puts_the_socket_into_a_private_directory_that_goes_at_the_stop(
    data_dir: Path,
) -> None:
    deep = data_dir / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    for path in (data_dir, deep.parent, deep):
        path.chmod(0o711)

    async with a_stack(deep) as stack:
        sockets = (deep / "socket").readlink()
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        async with connected(stack.dsn) as connection:
            assert await connection.fetchval("SELECT 1") == 1

    assert not sockets.exists()
    assert not (deep / "socket").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another account")
async def test_root_opens_no_private_directory_and_keeps_the_database_elsewhere(private_dir: Path) -> None:
    home, state_dir = private_dir / "home", private_dir / "state"
    private_dir.chmod(0o711)
    home.mkdir(mode=0o700)
    data_dir = home / "project" / ".bioscope"

    for is_new in (True, False):
        async with Stack(data_dir, {}, durable=False, state_dir=state_dir) as stack:
            assert stack.postgres_is_new is is_new
            place = (data_dir / "postgres").readlink()
            assert place.parent == state_dir
            assert str(place) in stack.notices[1]
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
            assert stat.S_IMODE(home.stat().st_mode) == 0o700
            async with connected(stack.dsn) as connection:
                assert await connection.fetchval("SELECT 1") == 1


async def test_a_directory_that_can_not_be_used_is_refused_with_a_sentence(data_dir: Path) -> None:
    (data_dir / "file").touch()

    with pytest.raises(ConfigurationError, match="choose another with --data-dir"):
        await a_stack(data_dir / "file").__aenter__()


async def test_a_topic_that_the_broker_refuses_ends_the_start_and_leaves_nothing(
    data_dir: Path, children: Children
) -> None:
    with pytest.raises(
        ConfigurationError, match=r"the topic bioscope\.jobs needs one partition or more, not 0"
    ):
        await Stack(data_dir, {"bioscope.jobs": 0}, durable=False).__aenter__()

    # Whoever adopted the last of them may take a moment to bury it.
    _, left = await asyncio.to_thread(psutil.wait_procs, children.now(), LIMIT_SECONDS)
    assert left == []
    assert not lock.is_held(data_dir)


async def test_a_part_that_dies_is_noticed(data_dir: Path, children: Children) -> None:
    async with a_stack(data_dir) as stack:
        failure = asyncio.create_task(stack.failure())
        broker = next(child for child in children.now() if child.name().startswith("python"))
        broker.kill()

        async with asyncio.timeout(LIMIT_SECONDS):
            assert await failure == (
                f"The embedded Kafka stand-in ended by itself: look into {stack.log_dir} and start again."
            )
