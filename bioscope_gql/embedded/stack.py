"""Everything the server needs, under one directory, for as long as a block lasts. Development only."""

import asyncio
import contextlib
import json
import os
from collections.abc import Coroutine, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bioscope_gql.embedded import lock
from bioscope_gql.embedded.cluster import STATE_DIR
from bioscope_gql.embedded.kafka import Broker
from bioscope_gql.embedded.postgres import Postgres
from bioscope_gql.errors import ConfigurationError

_FILE = "stack.json"

NOTICE = (
    "This is the embedded development stack: its Kafka stand-in forgets everything at a stop "
    "(the ledger sends open work again). Production is PostgreSQL, Apache Kafka and an S3 store of its own."
)


@dataclass(frozen=True)
class RunningStack:
    """How other commands reach a stack that runs now. `url` is None until the server listens."""

    data_dir: Path
    pid: int
    dsn: str
    bootstrap_servers: str
    url: str | None = None


class Stack:
    """PostgreSQL and a stand-in for Kafka, running inside `async with`.

    Args:
        data_dir: holds everything and is made if absent; one stack at a time.
        topics: partitions by topic name.
        durable: False for tests only: a crash of the machine may then cost the data.
        state_dir: for root only, where the database goes if `data_dir` lies behind a private directory.

    Raises:
        ConfigurationError: on entering; another stack runs there, or a part did not start.
    """

    broker_is_new = True
    """The stand-in never remembers: what was dispatched and not answered must be dispatched again."""

    def __init__(
        self, data_dir: Path, topics: Mapping[str, int], *, durable: bool = True, state_dir: Path = STATE_DIR
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log_dir = self.data_dir / "logs"
        self.broker = Broker(topics, self.log_dir)
        self._postgres = Postgres(self.data_dir, log_dir=self.log_dir, durable=durable, state_dir=state_dir)
        self._running = contextlib.AsyncExitStack()

    @property
    def dsn(self) -> str:
        return self._postgres.dsn

    @property
    def bootstrap_servers(self) -> str:
        return self.broker.bootstrap_servers

    @property
    def postgres_is_new(self) -> bool:
        """Whether this start made the database: its first migration is still to come."""
        return self._postgres.is_new

    @property
    def notices(self) -> list[str]:
        """Sentences to show at start-up."""
        return [NOTICE, *self._postgres.notices]

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as running:
            _make(self.data_dir)
            running.enter_context(lock.exclusive(self.data_dir))
            (self.data_dir / _FILE).unlink(missing_ok=True)
            running.push_async_callback(self._stop)
            await _together(self._postgres.start(), self.broker.start())
            self.announce(url=None)
            self._running = running.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._running.aclose()

    def announce(self, *, url: str | None) -> None:
        """Let `read_stack` find this stack, and the server where it listens."""
        told = RunningStack(self.data_dir, os.getpid(), self.dsn, self.bootstrap_servers, url)
        draft = self.data_dir / f"{_FILE}.new"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"development": True} | asdict(told), file, default=str)
        draft.replace(self.data_dir / _FILE)

    async def failure(self) -> str:
        """Wait until a part ends that should not, and say so in a sentence. Cancel it before stopping."""
        parts = {
            asyncio.create_task(self._postgres.wait()): "PostgreSQL",
            asyncio.create_task(self.broker.wait()): "Kafka stand-in",
        }
        try:
            ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            name = " and the ".join(parts[task] for task in ended)
            return f"The embedded {name} ended by itself: look into {self.log_dir} and start again."
        finally:
            for task in parts:
                task.cancel()

    async def _stop(self) -> None:
        (self.data_dir / _FILE).unlink(missing_ok=True)
        await _together(self._postgres.stop(), self.broker.stop())


def read_stack(data_dir: Path) -> RunningStack:
    """The stack that runs on this data directory now.

    Raises:
        ConfigurationError: none does, or it is only just starting.
    """
    data_dir = data_dir.absolute()
    if not lock.is_held(data_dir):
        raise ConfigurationError(
            [
                f"No BioScope stack is running on the data directory {data_dir}: "
                f"start one with `bioscope dev --data-dir {data_dir}`."
            ]
        )
    try:
        told = json.loads((data_dir / _FILE).read_text())
    except FileNotFoundError as error:
        raise ConfigurationError(
            [f"The BioScope stack on {data_dir} is starting or stopping: try again in a few seconds."]
        ) from error
    except PermissionError as error:
        raise ConfigurationError(
            [f"The BioScope stack on {data_dir} belongs to another account: use that one."]
        ) from error
    return RunningStack(
        Path(told["data_dir"]), told["pid"], told["dsn"], told["bootstrap_servers"], told["url"]
    )


def _make(data_dir: Path) -> None:
    """Private, but for root: then PostgreSQL's account must pass through (the files in it stay 0600).

    A directory that holds other people's things keeps its mode.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = not any(data_dir.iterdir()) or (data_dir / "lock").exists()
        if os.geteuid() == 0 and ours:
            data_dir.chmod(data_dir.stat().st_mode & 0o7777 | 0o011)
    except OSError as error:
        raise ConfigurationError(
            [
                f"The data directory {data_dir} can't be used ({error.strerror}): "
                "choose another with --data-dir."
            ]
        ) from error


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all to their end. The first failure cancels the others and is raised once they have ended."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
