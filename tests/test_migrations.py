"""Tables and migrations: what the database itself holds to be true, and how a database gets there."""

import asyncio
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from bioscope_gql import migrations, tables
from bioscope_gql.errors import ConfigurationError
from bioscope_gql.vocabulary import uuid7
from tests.conftest import Services

ROOT = Path(__file__).parents[1]
NUMBERS = itertools.count()

COLUMNS = """
select format('%s.%s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod))
       || case when a.attnotnull then ' not null' else '' end
       || case a.attgenerated when '' then '' else ' generated' end
       || coalesce(' ' || pg_get_expr(d.adbin, d.adrelid), '')
from pg_attribute a join pg_class c on c.oid = a.attrelid and c.relkind = 'r'
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relnamespace = 'public'::regnamespace and a.attnum > 0 and not a.attisdropped
"""
CONSTRAINTS = """
select format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n'
"""
INDEXES = "select indexdef from pg_indexes where schemaname = 'public'"
OURS = re.compile(r"(?!.*\bmigration(_pkey|_id_seq|\.| ))")
"""Not about Piccolo's own table, which remembers what was done."""

UNINDEXED_KEYS = """
select conrelid::regclass || '.' || attname
from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
where k.contype = 'f' and not exists (
  select from pg_index i where i.indrelid = k.conrelid and i.indkey[0] = k.conkey[1] and i.indpred is null)
"""
UNPREFIXED_NAMES = """
select conname from pg_constraint
where connamespace = 'public'::regnamespace and not starts_with(conname, conrelid::regclass || '_')
"""

COUNTERS = ("queued", "running", "succeeded", "failed", "cancelled")
STATUSES = {
    # queued, running, succeeded, failed, cancelled, and whether anything was started
    (3, 0, 0, 0, 0, False): "PENDING",
    (3, 0, 0, 0, 0, True): "RUNNING",
    (2, 1, 0, 0, 0, True): "RUNNING",
    (2, 0, 1, 0, 0, False): "RUNNING",
    (2, 0, 0, 1, 0, False): "RUNNING",
    (2, 0, 0, 0, 1, False): "RUNNING",
    (0, 0, 2, 0, 1, True): "CANCELLED",
    (0, 0, 0, 2, 1, True): "CANCELLED",
    (0, 0, 0, 0, 3, False): "CANCELLED",
    (0, 0, 3, 0, 0, True): "COMPLETED",
    (0, 0, 0, 0, 0, False): "COMPLETED",
    (0, 0, 0, 3, 0, True): "FAILED",
    (0, 0, 2, 1, 0, True): "PARTIAL",
}


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def empty(shared: Services) -> AsyncIterator[str]:
    """The DSN of a database in which nothing is."""
    name = f"empty_{os.getpid()}_{next(NUMBERS)}"
    async with connected(shared.dsn_of("postgres")) as admin:
        await admin.execute(f"create database {name} template template0")
        try:
            yield shared.dsn_of(name)
        finally:
            await admin.execute(f"drop database {name} with (force)")


@pytest.fixture
async def migrated(shared: Services) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a migrated database; what is done on it is undone."""
    async with connected(shared.dsn) as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            yield connection
        finally:
            await transaction.rollback()


async def catalogue(dsn: str) -> list[str]:
    """All columns, constraints and indexes, a line each."""
    async with connected(dsn) as connection:
        rows = [row[0] for sql in (COLUMNS, CONSTRAINTS, INDEXES) for row in await connection.fetch(sql)]
    return sorted(" ".join(row.split()) for row in rows if OURS.match(row))


async def test_migrations_go_forward_and_back_and_forward_to_the_same_tables(
    empty: str, shared: Services
) -> None:
    assert await migrations.forwards(empty) == migrations.known()
    there = await catalogue(empty)

    await migrations.piccolo(empty, "backwards", "bioscope", "all", "--auto_agree")
    assert await catalogue(empty) == []
    assert await migrations.missing(empty) == migrations.known()

    assert await migrations.forwards(empty) == migrations.known()
    assert await catalogue(empty) == there == await catalogue(shared.dsn)
    assert {line.partition(".")[0] for line in there if "." in line.partition(" ")[0]} == {
        table._meta.tablename for table in tables.ALL
    }


async def test_each_migration_can_be_taken_back_by_itself(empty: str) -> None:
    await migrations.forwards(empty)
    there = await catalogue(empty)

    await migrations.piccolo(empty, "backwards", "bioscope", migrations.known()[-1], "--auto_agree")
    assert await migrations.missing(empty) == migrations.known()[-1:]

    assert await migrations.forwards(empty) == migrations.known()[-1:]
    assert await catalogue(empty) == there


async def test_of_two_replicas_that_migrate_at_once_one_does_it_and_both_go_on(empty: str) -> None:
    done = await asyncio.gather(migrations.forwards(empty), migrations.forwards(empty))

    assert sorted(done) == [[], migrations.known()]
    async with connected(empty) as connection:
        names = await connection.fetch("select name from migration order by id")
    assert [row["name"] for row in names] == migrations.known()


async def test_where_there_is_nothing_to_do_nobody_is_waited_for_and_no_time_is_lost(
    shared: Services,
) -> None:
    async with connected(shared.dsn) as other:
        # Somebody else migrates for ever: who must wait, or asks Piccolo, would not come back in time.
        await other.execute("select pg_advisory_lock($1)", migrations.LOCK_KEY)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            async with asyncio.timeout(10):
                assert await migrations.forwards(shared.dsn) == []
            times.append(time.perf_counter() - began)

    assert min(times) < 0.2


async def test_a_migration_that_fails_leaves_nothing_and_can_be_repeated(empty: str) -> None:
    async with connected(empty) as connection:
        await connection.execute("create table images (id int)")

    with pytest.raises(RuntimeError, match="A migration failed and was rolled back"):
        await migrations.forwards(empty)

    assert await catalogue(empty) == ["images.id integer"]
    async with connected(empty) as connection:
        await connection.execute("drop table images")
    assert await migrations.forwards(empty) == migrations.known()


async def test_the_tables_of_the_code_are_those_of_the_migrations(empty: str, shared: Services) -> None:
    async with connected(empty) as connection:
        for table in tables.ALL:
            for statement in table.create_table().ddl:
                await connection.execute(statement)
    of_the_code, of_the_migrations = set(await catalogue(empty)), set(await catalogue(shared.dsn))

    # What migrations make by hand, because Piccolo has no words for it.
    by_hand = sorted(line.partition(" CASE")[0] for line in of_the_migrations - of_the_code)
    assert of_the_code - of_the_migrations == {
        "classifications.status character varying(16) not null 'PENDING'::character varying"
    }
    assert [line for line in by_hand if not line.startswith(("CREATE INDEX ", "CREATE UNIQUE INDEX "))] == [
        "classifications.changed_xid xid8 not null pg_current_xact_id()",
        "classifications.status character varying(16) not null generated",
    ]


def test_piccolo_sees_no_difference_between_tables_and_migrations(tmp_path: Path) -> None:
    unneeded = shutil.ignore_patterns("__pycache__", "web", "weights")
    for name in ("bioscope_gql", "piccolo_migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unneeded)
    shutil.copy(ROOT / "piccolo_conf.py", tmp_path)
    before = sorted((tmp_path / "piccolo_migrations").glob("*.py"))

    ran = subprocess.run(
        [sys.executable, "-m", "piccolo.main", "migrations", "new", "bioscope", "--auto"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "PICCOLO_CONF": "piccolo_conf"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "No changes detected" in ran.stdout, ran.stdout + ran.stderr
    assert sorted((tmp_path / "piccolo_migrations").glob("*.py")) == before


async def test_every_constraint_is_named_after_its_table(migrated: asyncpg.Connection) -> None:
    assert [row[0] for row in await migrated.fetch(UNPREFIXED_NAMES)] == []


async def test_every_foreign_key_has_an_index_that_begins_with_it(migrated: asyncpg.Connection) -> None:
    assert [row[0] for row in await migrated.fetch(UNINDEXED_KEYS)] == []


async def a_run(connection: asyncpg.Connection, counts: dict[str, int], *, started: bool) -> Any:
    """The status that PostgreSQL derives for a run with these counters."""
    user, dataset, model = uuid7(), uuid7(), uuid7()
    for sql, *values in (
        ("users (id, email, email_key, username, username_key) values ($1, 'a', 'a', 'a', 'a')", user),
        ("datasets (id, name, owner) values ($1, 'smears', $2)", dataset, user),
        ("models (id, name, version) values ($1, 'teller', '1.0.0')", model),
    ):
        await connection.execute(f"insert into {sql}", *values)
    open_items = counts["queued"] + counts["running"]
    return await connection.fetchval(
        "insert into classifications (id, dataset, model, model_name, model_version, total,"
        f" {', '.join(counts)}, started_at, finished_at)"
        " values ($1, $2, $3, 'teller', '1.0.0', $4, $5, $6, $7, $8, $9,"
        " case when $10 then now() end, case when $11 then now() end) returning status",
        uuid7(), dataset, model, sum(counts.values()), *counts.values(), started, not open_items,
    )  # fmt: skip


@pytest.mark.parametrize(("counts", "status"), STATUSES.items(), ids=map(str, STATUSES))
async def test_the_status_of_a_run_follows_from_its_counters(
    migrated: asyncpg.Connection, counts: tuple[int, int, int, int, int, bool], status: str
) -> None:
    *numbers, started = counts

    assert await a_run(migrated, dict(zip(COUNTERS, numbers, strict=True)), started=started) == status


async def test_nobody_can_set_the_status_of_a_run(migrated: asyncpg.Connection) -> None:
    await a_run(migrated, dict.fromkeys(COUNTERS, 1), started=True)

    with pytest.raises(asyncpg.GeneratedAlwaysError):
        await migrated.execute("update classifications set status = 'COMPLETED'")


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("total = total + 1", "classifications_add_up"),
        ("queued = -1, running = 3", "classifications_counters_positive"),
        ("finished_at = now()", "classifications_finished_when_done"),
    ],
)
async def test_counters_of_a_run_that_can_not_be_true_are_refused(
    migrated: asyncpg.Connection, change: str, constraint: str
) -> None:
    await a_run(migrated, dict.fromkeys(COUNTERS, 1), started=True)

    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await migrated.execute(f"update classifications set {change}")
    assert refused.value.constraint_name == constraint


async def test_an_account_without_the_rights_is_told_which_and_nothing_is_made(
    empty: str, shared: Services
) -> None:
    role = f"guest_{os.getpid()}"
    dsn = empty.replace("postgresql://bioscope@", f"postgresql://{quote(role)}@")
    async with connected(empty) as owner:
        await owner.execute(f"create role {role} login")
        try:
            with pytest.raises(ConfigurationError) as refused:
                await migrations.forwards(dsn)
            assert refused.value.problems == [
                "This account may not make tables in the database: let its owner grant CREATE on the schema.",
                "BioScope needs the PostgreSQL extension pg_trgm, and this account may not create it: "
                "let the database's owner create it, with `create extension pg_trgm`.",
            ]

            await owner.execute(f"grant create on schema public to {role}")
            with pytest.raises(ConfigurationError, match="pg_trgm, and this account may not create it"):
                await migrations.forwards(dsn)
            assert await catalogue(empty) == []

            await owner.execute("create extension pg_trgm")
            assert await migrations.forwards(dsn) == migrations.known()
            assert await catalogue(empty) == await catalogue(shared.dsn)
        finally:
            await owner.execute(f"drop owned by {role}")
            await owner.execute(f"drop role {role}")
