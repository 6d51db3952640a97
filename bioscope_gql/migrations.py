"""Brings a database to this version: Piccolo's migrations, one process at a time."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from bioscope_gql.db import refuse_old
from bioscope_gql.errors import ConfigurationError

FOLDER = Path(__file__).parents[1] / "piccolo_migrations"
LOCK_KEY = 0x62696F73636F7065  # "bioscope"
CONNECT_SECONDS = 10
LOCK_SECONDS = 300


def known() -> list[str]:
    """The ids of all migrations that this version has, oldest first."""
    texts = (path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    return sorted(found[1] for text in texts if (found := re.search(r'^ID = "(.+)"$', text, re.MULTILINE)))


async def missing(dsn: str) -> list[str]:
    """The ids of migrations that the database lacks."""
    async with _connection(dsn) as connection:
        return await _missing(connection)


async def forwards(dsn: str) -> list[str]:
    """Run what is missing and name it. Replicas that start at once wait for each other.

    Raises:
        ConfigurationError: the server is too old, the account may not make what we need, or somebody
            else has been migrating for minutes.
        RuntimeError: a migration failed; it left nothing behind.
    """
    async with _connection(dsn) as connection:
        if not await _missing(connection):
            return []
        await _lock(connection)
        todo = await _missing(connection)
        if todo:
            await _refuse_without_rights(connection)
            await piccolo(dsn, "forwards", "bioscope")
        return todo


async def piccolo(dsn: str, direction: str, *arguments: str) -> None:
    """Run `piccolo migrations`, in a process of its own, because Piccolo finds its engine by import.

    Raises:
        RuntimeError: with what Piccolo said.
    """
    root = str(FOLDER.parent)
    environment = os.environ | {
        "BIOSCOPE_DATABASE__DSN": dsn,
        "PICCOLO_CONF": "piccolo_conf",
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        "PYTHONWARNINGS": "ignore",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "piccolo.main",
        "migrations",
        direction,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(
            f"A migration failed and was rolled back:\n{said.decode(errors='replace')[-4000:]}"
        )


@asynccontextmanager
async def _connection(dsn: str) -> AsyncGenerator[asyncpg.Connection, None]:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
    try:
        refuse_old(connection.get_server_version().major)
        yield connection
    finally:
        await connection.close(timeout=CONNECT_SECONDS)


async def _missing(connection: asyncpg.Connection) -> list[str]:
    done: set[str] = set()
    if await connection.fetchval("select to_regclass('migration')") is not None:
        rows = await connection.fetch("select name from migration where app_name = 'bioscope'")
        done = {row["name"] for row in rows}
    return [id for id in known() if id not in done]


async def _lock(connection: asyncpg.Connection) -> None:
    """Be the only one who migrates, for as long as the connection lives."""
    try:
        async with asyncio.timeout(LOCK_SECONDS):
            await connection.execute("select pg_advisory_lock($1)", LOCK_KEY)
    except TimeoutError as error:
        raise ConfigurationError(
            [
                f"Another process has been migrating this database for {LOCK_SECONDS} seconds: "
                "see what it is doing, then start again."
            ]
        ) from error


async def _refuse_without_rights(connection: asyncpg.Connection) -> None:
    problems = []
    if not await connection.fetchval("select has_schema_privilege(current_schema(), 'CREATE')"):
        problems.append(
            "This account may not make tables in the database: let its owner grant CREATE on the schema."
        )
    if not await connection.fetchval("select exists (select from pg_extension where extname = 'pg_trgm')"):
        what = await _obstacle(connection)
        if what is not None:
            problems.append(
                f"BioScope needs the PostgreSQL extension pg_trgm, and {what}: "
                "let the database's owner create it, with `create extension pg_trgm`."
            )
    if problems:
        raise ConfigurationError(problems)


async def _obstacle(connection: asyncpg.Connection) -> str | None:
    """What keeps this account from creating pg_trgm, if anything does."""
    available = "select exists (select from pg_available_extensions where name = 'pg_trgm')"
    if not await connection.fetchval(available):
        return "the server does not have it"
    if not await connection.fetchval("select has_database_privilege(current_database(), 'CREATE')"):
        return "this account may not create it"
    return None
