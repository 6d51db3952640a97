"""What all tests share: one PostgreSQL and one broker for the whole run, a new database for each lab.

With BIOSCOPE_TEST_KAFKA (tests/brokers.py) and BIOSCOPE_TEST_S3 (tests/stores.py) the same labs use a real
Kafka and a real S3 store instead of the embedded broker and the disk.
"""

import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from xdist.scheduler import LoadScopeScheduling

from bioscope_gql import migrations
from bioscope_gql.cli import COLLECT_AFTER
from bioscope_gql.embedded.stack import Stack
from bioscope_gql.settings import S3
from tests import stores
from tests.brokers import real_kafka, remove_topics
from tests.folders import a_folder
from tests.lab import Lab, Place, a_lab


@dataclass
class Services:
    """Where the shared servers are. `template` is a migrated database that nobody writes to."""

    dsn: str
    bootstrap_servers: str
    directory: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def dsn_of(self, database: str) -> str:
        return self.dsn.replace("/bioscope?", f"/{database}?")

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """A database and a folder of its own, and names for topics that nobody else uses."""
        name = f"lab_{os.getpid()}_{next(self.numbers)}"
        admin = await asyncpg.connect(self.dsn_of("postgres"))
        try:
            await admin.execute(f"create database {name} template bioscope strategy file_copy")
            folder = Path(tempfile.mkdtemp(prefix="lab-", dir=self.directory))
            try:
                async with a_bucket() as s3:
                    yield Place(
                        self.dsn_of(name), self.bootstrap_servers, folder, name, s3, embedded=not real_kafka()
                    )
            finally:
                if address := real_kafka():
                    await remove_topics(address, f"{name}.")
                await admin.execute(f"drop database {name} with (force)")
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            await admin.close()


@asynccontextmanager
async def a_bucket() -> AsyncIterator[S3 | None]:
    """A bucket of a lab's own, where the environment names an S3 server."""
    if not os.environ.get(stores.S3):
        yield None
        return
    options = stores.s3_options()
    async with stores.an_s3_store(options):
        yield stores.settings_of(options)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared() -> AsyncIterator[Services]:
    with a_folder() as directory:
        async with Stack(directory, {"unused": 1}, durable=False) as stack:
            await migrations.forwards(stack.dsn)
            yield Services(stack.dsn, real_kafka() or stack.bootstrap_servers, directory)


@pytest.fixture
async def place(shared: Services) -> AsyncIterator[Place]:
    async with shared.place() as made:
        yield made


@pytest.fixture
async def lab(place: Place) -> AsyncIterator[Lab]:
    """A whole server over HTTP, WebSocket and Kafka, with its own database."""
    async with a_lab(place) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logs may hold lone surrogates, which can't travel between the processes of pytest-xdist."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out test by test, but whole the files whose tests share what takes long to make."""

    WHOLE = tuple(
        f"tests/test_{name}.py" for name in ("demo", "example_clients", "examples", "running_stack")
    )

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in self.WHOLE else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Not xdist's own groups, which pytest 9.2 does not let it name."""
    return Together(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: these tests wait for other processes half of their time."""
    return min(2 * (os.cpu_count() or 1), 8)


def pytest_collection_finish() -> None:
    """What is imported stays: no collection need walk it. And as in a server, they are few."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What was given more time than usual begins first, so that nobody waits for it in the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
