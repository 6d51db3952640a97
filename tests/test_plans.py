"""How PostgreSQL finds what lists ask for: by index, and never by reading a big table whole.

The questions and the database are those of `bench/`.
"""

import importlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asyncpg.connection import LoggedQuery

from tests.conftest import Services
from tests.lab import Lab, a_lab

BENCH = Path(__file__).parents[1] / "bench"
PICTURES = 40_000


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """The modules of `bench/`, which are scripts and no package: `data` and `reads`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        yield importlib.import_module("data"), importlib.import_module("reads")


@pytest.fixture
async def filled(shared: Services, bench: Any) -> AsyncIterator[Lab]:
    data, _ = bench
    async with shared.place() as place:
        await data.fill(place.dsn, data.Size(pictures=PICTURES, datasets=200, users=40))
        async with a_lab(place) as lab:
            yield lab


def read_whole(plan: Any, big: Any) -> Iterator[str]:
    """The big tables that a plan reads from one end to the other."""
    if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] in big:
        yield plan["Relation Name"]
    for inner in plan.get("Plans", []):
        yield from read_whole(inner, big)


async def test_no_list_order_filter_search_or_figure_reads_a_big_table_whole(filled: Lab, bench: Any) -> None:
    data, reads = bench
    ada, admin = await filled.an_analyst(), await filled.an_admin()
    await filled.db.execute(
        'insert into dataset_grants (id, dataset, "user", level)'
        " select uuidv7(), id, $1::text::uuid, 'VIEW' from datasets order by id limit 20",
        ada.id,
    )
    heard: list[LoggedQuery] = []
    connections = [await filled.db.pool.acquire() for _ in range(filled.db.pool.get_max_size())]
    for connection in connections:
        connection.add_query_logger(heard.append)
        await filled.db.pool.release(connection)

    found, asked = {}, 0
    for question in reads.questions(await reads.filters(filled.db)):
        if question.counting:
            continue
        for who, person in (("admin", admin), ("analyst", replace(ada))):
            heard.clear()
            await person.ask(question.query, **question.variables)
            for statement in tuple(heard):
                if not any(table in statement.query for table in data.BIG) or "pg_" in statement.query:
                    continue
                plan = await filled.db.value(f"explain (format json) {statement.query}", *statement.args)
                asked += 1
                if tables := set(read_whole(json.loads(plan)[0]["Plan"], data.BIG)):
                    found[f"{question.name}, {who}"] = tables

    assert asked > 200
    assert found == {}
