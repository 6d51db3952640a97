"""Everything embedded, in one process and its children: for `demo`, `dev` and tests. Development only."""

import asyncio
import gc
import importlib
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bioscope_gql import migrations
from bioscope_gql.auth import keys
from bioscope_gql.embedded.child import Child
from bioscope_gql.embedded.stack import Stack
from bioscope_gql.events.messages import Topics
from bioscope_gql.settings import Settings

if TYPE_CHECKING:
    import socket

    from bioscope_gql.services import Services

WORKER_STOP_SECONDS = 8.0
WORKER_PAUSE_SECONDS = 1.0

logger = structlog.get_logger()


@dataclass
class Development:
    """What runs: where it is reached, what a person should be told, and whether it is to end."""

    url: str
    notices: list[str]
    services: "Services"
    stopped: asyncio.Event
    failure: str | None = field(default=None)


@asynccontextmanager
async def development(settings: Settings, *, worker: bool = True) -> AsyncIterator[Development]:
    """Serve from an embedded stack while the block lasts; `stopped` says when to leave it.

    Raises:
        ConfigurationError: the port or the data directory is in use, or a part did not start.
    """
    # The imports take as long as PostgreSQL and the broker take to start.
    importing = asyncio.create_task(
        asyncio.to_thread(importlib.import_module, "bioscope_gql.commands.serving")
    )
    stack = Stack(settings.app.data_dir, _topics(settings))
    try:
        await stack.__aenter__()
    except BaseException:
        await asyncio.wait([importing])
        raise
    try:
        serving = await importing
        async with serving.stop_signals() as stopped:
            with serving.listen(settings) as listening:
                embedded = settings.embedded(
                    dsn=stack.dsn, bootstrap_servers=stack.bootstrap_servers, data_dir=stack.data_dir
                ).at(serving.url_of(listening))
                async with _serving(stack, embedded, listening, stopped, worker=worker) as running:
                    yield running
    finally:
        await stack.__aexit__(None, None, None)


@asynccontextmanager
async def _serving(
    stack: Stack, settings: Settings, listening: "socket.socket", stopped: asyncio.Event, *, worker: bool
) -> AsyncIterator[Development]:
    from bioscope_gql.commands.serving import served, url_of
    from bioscope_gql.resolvers import items
    from bioscope_gql.services import opened

    await migrations.forwards(stack.dsn)
    await asyncio.to_thread(keys.generate, stack.data_dir / "keys")
    async with opened(settings) as services:
        # The broker is a new one, and its predecessor's messages are gone.
        await items.take_back_all(services)
        async with served(services, listening, spool=_spool(stack.data_dir), development=True):
            url = url_of(listening)
            stack.announce(url=url)
            gc.freeze()  # as in serve.py
            running = Development(url, stack.notices, services, stopped)
            tasks = [asyncio.create_task(_watch(stack, running), name="watch")]
            if worker:
                tasks.append(asyncio.create_task(_work(stack, settings), name="worker"))
            try:
                yield running
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)


async def _watch(stack: Stack, running: Development) -> None:
    """A part that ends by itself ends everything: half a stack is of no use."""
    running.failure = await stack.failure()
    running.stopped.set()


async def _work(stack: Stack, settings: Settings) -> None:
    """The reference classifier, started again whenever it ends."""
    topics = settings.kafka.topics.model_dump()
    environment = {
        # How a Kafka of the caller's own is reached is nothing to the embedded one.
        **{name: value for name, value in os.environ.items() if not name.startswith("BIOSCOPE_")},
        **{f"BIOSCOPE_KAFKA__TOPICS__{name.upper()}": topic for name, topic in topics.items()},
    }
    command = [
        sys.executable, "-m", "bioscope_gql.worker.reference",
        "--bootstrap-servers", stack.bootstrap_servers, "--development",
    ]  # fmt: skip
    while True:
        child = await Child.start(command, environment, name="worker", log_dir=stack.log_dir)
        try:
            status = await child.wait()
            logger.warning("worker_ended", status=status, log=str(child.log), said=child.last_words())
        finally:
            await child.stop(WORKER_STOP_SECONDS)
        await asyncio.sleep(WORKER_PAUSE_SECONDS)


def _spool(data_dir: Path) -> Path:
    """Where uploads wait; what an earlier end left there belongs to nobody."""
    directory = data_dir / "uploads"
    shutil.rmtree(directory, ignore_errors=True)
    return directory


def _topics(settings: Settings) -> dict[str, int]:
    """Few partitions: each costs the stand-in memory, and there is one replica."""
    names = Topics(**settings.kafka.topics.model_dump())
    return {
        names.jobs: 4, names.results: 4, names.dead_letters: 1, names.workers: 1, names.signals: 1
    }  # fmt: skip
