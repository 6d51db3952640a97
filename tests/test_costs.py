"""What operations cost, what too much is, and that a query which takes too long leaves nothing behind."""

import json
from typing import Any

import pytest

from tests.lab import Lab, Person, Place, a_lab

PAGES = "query ($n: Int) { datasets(first: $n) { nodes { id images(first: 50) { nodes { id } } } } }"


async def cost_of(person: Person, query: str, **variables: Any) -> int:
    answer = (await person.send(query, **variables)).json()
    assert "errors" not in answer, answer
    assert answer["extensions"]["cost"]["limit"] == 50_000
    cost: int = answer["extensions"]["cost"]["cost"]
    return cost


@pytest.mark.parametrize(
    ("query", "variables", "cost"),
    [
        ("{ __typename }", {}, 0),
        ("{ me { id name } }", {}, 1),
        ("{ datasets { nodes { id name } } }", {}, 1 + 20),
        ("{ datasets(first: 5) { nodes { id } edges { node { id } } pageInfo { endCursor } } }", {}, 21),
        ("{ datasets(first: null) { nodes { id } } }", {}, 21),
        ("query ($n: Int) { datasets(first: $n) { nodes { id } } }", {}, 21),
        ("query ($n: Int) { datasets(first: $n) { nodes { id } } }", {"n": 7}, 8),
        ("query ($n: Int = 3) { datasets(first: $n) { nodes { id } } }", {}, 4),
        ("query ($n: Int = 3) { datasets(first: $n) { nodes { id } } }", {"n": None}, 21),
        (PAGES, {"n": 10}, 1 + 10 * (1 + 1 + 50)),
        ("{ ...A } fragment A on Query { a: me { id } datasets(first: 2) { ...B } }"
         " fragment B on DatasetConnection { nodes { owner { id } } }", {}, 1 + 1 + 2 * 2),
        ("{ __schema { types { name fields { name } } } }", {}, 0),
    ],
)  # fmt: skip
async def test_an_operation_costs_the_objects_that_it_may_bring(
    lab: Lab, query: str, variables: dict[str, Any], cost: int
) -> None:
    ada = await lab.an_analyst()
    assert await cost_of(ada, query, **variables) == cost


async def test_a_query_that_may_bring_too_much_is_refused_with_limit_and_cost(lab: Lab) -> None:
    ada = await lab.an_analyst()
    query = """query ($n: Int) { datasets(first: $n) { nodes { images(first: $n) { nodes {
        results(first: $n) { nodes { id } } } } } } }"""
    answer = await ada.send(query, n=100)
    [error] = answer.json()["errors"]
    assert error["extensions"] == {
        "code": "QUERY_TOO_COMPLEX", "limit": "cost", "maximum": 50_000, "actual": 1_020_201,
    }  # fmt: skip
    assert error["message"].startswith("The operation has cost 1,020,201; at most 50,000 is allowed.")
    assert "data" not in answer.json()
    assert await cost_of(ada, query, n=10) == 1 + 10 * (2 + 10 * (2 + 10))


async def test_a_page_that_is_too_large_is_told_as_such(lab: Lab) -> None:
    ada = await lab.an_analyst()
    answer = (await ada.send("{ datasets(first: 1000000) { nodes { id } } }")).json()
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_socket_tells_the_cost_once_for_each_operation(lab: Lab) -> None:
    ada = await lab.an_analyst()
    async with ada.socket() as socket:
        payload = {"query": "{ datasets(first: 9) { nodes { id } } }"}
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        told = json.loads(await socket.recv())
    assert told["payload"]["extensions"] == {"cost": {"cost": 10, "limit": 50_000}}


async def test_introspection_of_lists_within_lists_is_refused(lab: Lab) -> None:
    query = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }"
    [error] = (await lab.nobody.send(query)).json()["errors"]
    assert error["extensions"] == {
        "code": "QUERY_TOO_COMPLEX", "limit": "introspection depth", "maximum": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "query", ["{ images { nodes { id } } }", "{ datasets { nodes { images { nodes { id } } } } }"]
)
async def test_a_query_that_takes_too_long_ends_with_its_statements(place: Place, query: str) -> None:
    """The table is locked by somebody else, for a list and for a loader."""
    async with a_lab(place, place.settings(limits={"query_seconds": 1})) as lab:
        ada = await lab.an_analyst()
        dataset = await ada.a_dataset()
        await ada.images(dataset, 1)
        async with lab.db.pool.acquire() as connection, connection.transaction():
            await connection.execute("lock table images in access exclusive mode")
            answer = await ada.send(query)
            await lab.until(
                "select not exists (select from pg_stat_activity where state = 'active'"
                " and wait_event_type = 'Lock' and datname = current_database())"
            )
        [error] = answer.json()["errors"]
        assert error["extensions"] == {"code": "QUERY_TOO_COMPLEX", "limit": "seconds", "maximum": 1}
        assert (await ada.ask(query))["nodes"]
