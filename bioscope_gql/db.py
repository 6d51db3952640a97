"""The PostgreSQL pool of the process, and the only way to open a transaction."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import asyncpg
from piccolo.engine.postgres import PostgresEngine

from bioscope_gql.errors import ConfigurationError

OLDEST_SERVER = 18
CLOSE_SECONDS = 5.0
BULK_SECONDS = 60
"""What is done to all rows of a large run or dataset is one statement, which may take longer than others."""

KEEP_PLANS = "set local plan_cache_mode = auto"
"""For a transaction that inserts or deletes many rows.

PostgreSQL looks after each foreign key by a statement of its own for each row. As the pool is set for reads
it plans that anew each time, which took three quarters of the time of a run over 100,000 pictures.
"""

_AWAY_STATES = ("08", "40", "53", "57P")
"""Classes of SQLSTATE: connection, rollback by the server, out of resources, being stopped or started."""

_CLOSED = re.compile(r"\bclos(ed|ing)\b|not initialized")

Row = asyncpg.Record
Connection = asyncpg.pool.PoolConnectionProxy


class Args(list[Any]):
    """Collects the values of one statement: `args(value)` keeps it and writes its place, e.g. ``$3``.

    An id that was given before gets the place it has, so that a viewer's is sent once.
    """

    def __call__(self, value: Any) -> str:
        if isinstance(value, UUID):
            for place, known in enumerate(self, 1):
                if known is value:
                    return f"${place}"
        self.append(value)
        return f"${len(self)}"


class _Unreset(asyncpg.Connection):
    """Skips the reset query at each release (a round trip); so nothing may SET or LISTEN on the pool.

    An open transaction is rolled back all the same.
    """

    def get_reset_query(self) -> str:
        return ""


class Engine(PostgresEngine):
    """Piccolo's engine that connects when told to, not when it is made."""

    async def check_version(self) -> None: ...

    async def prep_database(self) -> None: ...


class Database:
    """Runs statements. `statements` is what a test counts: it hears of each before it is sent."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def rows(self, sql: str, *args: Any) -> list[Row]:
        rows: list[Row] = await self.pool.fetch(sql, *args)
        return rows

    async def row(self, sql: str, *args: Any) -> Row | None:
        return await self.pool.fetchrow(sql, *args)

    async def value(self, sql: str, *args: Any) -> Any:
        return await self.pool.fetchval(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        status: str = await self.pool.execute(sql, *args)
        return status

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection, None]:
        """A connection inside a transaction: committed at the end, rolled back on an error.

        Inside it await nothing but this connection, one statement at a time.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            yield connection


@asynccontextmanager
async def connected(
    dsn: str, *, pool_min: int, pool_max: int, statement_timeout_ms: int
) -> AsyncIterator[Database]:
    """A pool over a server that is new enough.

    Raises:
        ConfigurationError: PostgreSQL is older than 18.
        OSError, asyncpg.PostgresError: it does not answer or refuses us.
    """
    pool = await asyncpg.create_pool(
        dsn,
        min_size=pool_min,
        max_size=pool_max,
        connection_class=_Unreset,
        command_timeout=statement_timeout_ms / 1000 + 5,
        server_settings={
            "application_name": "bioscope",
            "statement_timeout": str(statement_timeout_ms),
            "idle_in_transaction_session_timeout": "60000",
            "timezone": "UTC",
            # What a filter names decides between an index and a walk; a generic plan, and one that is
            # compiled, knows nothing of it (420 ms instead of 1 among 500,000 pictures).
            "plan_cache_mode": "force_custom_plan",
            "jit": "off",
        },
    )
    try:
        async with pool.acquire() as connection:
            refuse_old(connection.get_server_version().major)
        yield Database(pool)
    finally:
        await _close(pool)


@contextmanager
def reaching() -> Iterator[None]:
    """What keeps a command from its database is told in a sentence.

    Raises:
        ConfigurationError: it does not answer, does not let us in, or its address makes no sense.
    """
    try:
        yield
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        reason = (str(error) or type(error).__name__).rstrip(".")
        raise ConfigurationError(
            [
                f"The database of database.dsn can't be used ({reason}): "
                "check its address, account and password."
            ]
        ) from error


def refuse_old(major: int) -> None:
    if major < OLDEST_SERVER:
        raise ConfigurationError(
            [f"PostgreSQL {major} is too old: BioScope needs {OLDEST_SERVER} or newer. Upgrade the server."]
        )


async def _close(pool: asyncpg.Pool) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def columns(names: Sequence[str], alias: str) -> str:
    """Column names as a select list of the table that goes by `alias`."""
    return ", ".join(f'{alias}."{name}"' for name in names)


async def begin_bulk(tx: Connection) -> None:
    """The transaction may take long from here on, and is for many rows; see `BULK_SECONDS`, `KEEP_PLANS`."""
    await tx.execute(f"set local statement_timeout = '{BULK_SECONDS}s'; {KEEP_PLANS}")


def certain(row: Row | None) -> Row:
    """The row of a statement that always has one, such as an insert with RETURNING."""
    if row is None:
        raise RuntimeError("A statement that always returns a row returned none.")
    return row


def is_away(error: BaseException) -> bool:
    """Whether this is what asyncpg raises while PostgreSQL is away, starts, stops, is full, or rolled
    a transaction back that it would take the next time: the same again may work a moment later."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "08").startswith(_AWAY_STATES)
    if isinstance(error, asyncpg.InterfaceError):
        return _CLOSED.search(str(error)) is not None
    if isinstance(error, ConnectionError):
        return True
    return isinstance(error, OSError | TimeoutError) and "asyncpg" in _passed_through(error)


def _passed_through(error: BaseException) -> Iterator[str]:
    """The packages that an exception came through."""
    trace = error.__traceback__
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        trace = trace.tb_next
