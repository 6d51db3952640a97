"""Pages: every row once and none left out, whatever comes and goes meanwhile; cursors that fit one list."""

import base64
import json
from typing import Any

import pytest

from tests.lab import Lab, Person, Refused

IMAGES = """
query ($first: Int, $after: String, $filter: ImageFilter) {
  images(first: $first, after: $after, filter: $filter) {
    nodes { id } edges { cursor node { id } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
}
"""
DATASETS = """
query ($first: Int, $after: String, $order: DatasetOrder, $filter: DatasetFilter) {
  datasets(first: $first, after: $after, orderBy: $order, filter: $filter) {
    nodes { name } pageInfo { hasNextPage endCursor }
  }
}
"""
UNDER = """
query ($first: Int, $after: String) {
  datasets { nodes { name images(first: $first, after: $after) {
    nodes { id } pageInfo { hasNextPage hasPreviousPage endCursor } totalCount
  } } }
}
"""


async def page(person: Person, query: str = IMAGES, **variables: Any) -> Any:
    return await person.ask(query, **variables)


def ids(page: Any) -> list[str]:
    return [node["id"] for node in page["nodes"]]


def newest_first(made_together: list[str]) -> list[str]:
    """Of one time, so their ids decide."""
    return sorted(made_together, reverse=True)


async def all_pages(person: Person, query: str, *below: str, **variables: Any) -> list[list[Any]]:
    """The nodes of each page of a list that lies under these fields."""
    found: list[list[Any]] = []
    info = {"hasNextPage": True, "endCursor": None}
    while info["hasNextPage"]:
        got = await page(person, query, after=info["endCursor"], **variables)
        for name in below:
            got = got[name]
        found.append(got["nodes"])
        info = got["pageInfo"]
    return found


async def walked(person: Person, query: str, **variables: Any) -> list[Any]:
    """The rows of all pages."""
    return [node for nodes in await all_pages(person, query, **variables) for node in nodes]


async def codes(person: Person, query: str, **variables: Any) -> list[str]:
    with pytest.raises(Refused) as refused:
        await person.ask(query, **variables)
    return refused.value.codes


async def test_a_page_says_exactly_where_it_stands(lab: Lab) -> None:
    ada = await lab.a_user()
    made = newest_first(await ada.images(await ada.a_dataset(), 5))
    first = await page(ada, first=2)
    second = await page(ada, first=2, after=first["pageInfo"]["endCursor"])
    third = await page(ada, first=2, after=second["pageInfo"]["endCursor"])
    beyond = await page(ada, first=2, after=third["pageInfo"]["endCursor"])

    assert [ids(each) for each in (first, second, third, beyond)] == [made[:2], made[2:4], made[4:], []]
    for each in (first, second, third):
        assert [edge["node"]["id"] for edge in each["edges"]] == ids(each)
        assert each["pageInfo"]["startCursor"] == each["edges"][0]["cursor"]
        assert each["pageInfo"]["endCursor"] == each["edges"][-1]["cursor"]
    stands = [
        (p["pageInfo"]["hasPreviousPage"], p["pageInfo"]["hasNextPage"]) for p in (first, second, third)
    ]
    assert stands == [(False, True), (True, True), (True, False)]
    assert beyond["pageInfo"] == {
        "hasNextPage": False, "hasPreviousPage": True, "startCursor": None, "endCursor": None,
    }  # fmt: skip
    assert [each["totalCount"] for each in (first, second, third, beyond)] == [5, 5, 5, 5]


async def test_a_page_that_just_holds_all_has_no_next_and_an_empty_list_has_no_cursors(lab: Lab) -> None:
    ada, bob = await lab.a_user(), await lab.a_user()
    await ada.images(await ada.a_dataset(), 2)
    whole, none = await page(ada, first=2), await page(bob, first=2)

    assert (len(whole["nodes"]), whole["pageInfo"]["hasNextPage"]) == (2, False)
    assert none == {
        "nodes": [], "edges": [], "totalCount": 0,
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None},
    }  # fmt: skip


async def test_rows_that_stay_come_once_while_others_come_and_go(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    made = newest_first(await ada.images(dataset, 23))
    seen: list[str] = []
    removed: set[str] = set()
    added: list[str] = []
    after = None
    while True:
        got = await page(ada, first=4, after=after)
        seen += ids(got)
        if not got["pageInfo"]["hasNextPage"]:
            break
        after = got["pageInfo"]["endCursor"]
        # The row behind the cursor itself goes, one before it, one after it; and new ones come in front.
        rest = [id for id in made if id not in seen and id not in removed]
        gone = {seen[-1], seen[0], *rest[-1:]}
        await lab.db.execute("delete from images where id = any($1::uuid[])", list(gone))
        removed |= gone
        added += await ada.images(dataset, 2)

    stayed = [id for id in made if id not in removed]
    assert len(stayed) > 5
    assert len(seen) == len(set(seen))
    assert [id for id in seen if id in stayed] == stayed
    assert not set(seen) & set(added)


async def test_rows_of_one_time_or_one_name_come_once_in_both_directions(lab: Lab) -> None:
    ada = await lab.a_user()
    for number in range(7):
        await ada.a_dataset(f"name {number % 2}")
    await lab.db.execute("update datasets set created_at = '2026-01-01T00:00:00.123456Z'")
    made = [str(row[0]) for row in await lab.db.rows("select id from datasets order by id")]
    query = DATASETS.replace("nodes { name }", "nodes { id name }")

    for field in ("CREATED_AT", "NAME"):
        for direction in ("ASC", "DESC"):
            order = {"field": field, "direction": direction}
            found = await walked(ada, query, first=3, order=order)
            key = (lambda id: id) if field == "CREATED_AT" else (lambda id: (made.index(id) % 2, id))
            expected = sorted(made, key=key, reverse=direction == "DESC")
            assert [node["id"] for node in found] == expected


async def test_a_cursor_is_bound_to_its_list_its_order_and_its_filter(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    await ada.a_dataset()
    await ada.images(dataset, 2)
    cursor = (await page(ada, first=1))["pageInfo"]["endCursor"]
    of_datasets = (await page(ada, DATASETS, first=1))["pageInfo"]["endCursor"]
    by_name = (await page(ada, DATASETS, first=1, order={"field": "NAME"}))["pageInfo"]["endCursor"]
    under = (await page(ada, UNDER, first=1))["nodes"][1]["images"]["pageInfo"]["endCursor"]

    bad = ["BAD_USER_INPUT"]
    assert await codes(ada, IMAGES, after=cursor, filter={"datasetId": dataset}) == bad
    assert await codes(ada, IMAGES, after=of_datasets) == bad
    assert await codes(ada, IMAGES, after=by_name) == bad
    assert await codes(ada, DATASETS, after=cursor) == bad
    assert await codes(ada, DATASETS, after=of_datasets, order={"direction": "ASC"}) == bad
    assert await codes(ada, DATASETS, after=of_datasets, order={"field": "NAME"}) == bad
    assert await codes(ada, DATASETS, after=of_datasets, filter={"search": "smears"}) == bad
    assert set(await codes(ada, UNDER, after=of_datasets)) == set(bad)
    # What says the same is the same.
    order = {"field": "CREATED_AT", "direction": "DESC"}
    assert len((await page(ada, DATASETS, after=of_datasets, order=order))["nodes"]) == 1
    assert len((await page(ada, DATASETS, after=of_datasets, filter={"search": None}))["nodes"]) == 1
    assert len((await page(ada, first=5, after=under))["nodes"]) == 1


async def test_what_is_no_cursor_is_refused_in_a_sentence(lab: Lab) -> None:
    ada = await lab.a_user()
    await ada.images(await ada.a_dataset(), 2)
    await ada.a_dataset()
    real = (await page(ada, first=1))["pageInfo"]["endCursor"]
    binding, time, id = json.loads(base64.urlsafe_b64decode(real + "=="))

    def forged(said: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()

    assert len((await page(ada, after=forged([binding, time, id])))["nodes"]) == 1
    for after in (
        "", "nonsense", "é", "=", "\0", real[:-3], real + "A" * 40, "W" * 5000, id, "1",
        forged(None), forged([]), forged({}), forged("abc"), forged([binding, time]),
        forged([binding, time, 1]), forged([binding, time, "none"]), forged([binding, "yesterday", id]),
        forged([binding, 5, id]), forged([binding, "0001-01-01T00:00:00+14:00", id]),
        forged([binding, [time], id]), forged([7, time, id]), forged([[[[[binding]]]], time, id]),
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            await page(ada, after=after)
        assert refused.value.codes == ["BAD_USER_INPUT"], after
        assert refused.value.errors[0]["message"].startswith("`after` "), after

    by_name = (await page(ada, DATASETS, first=1, order={"field": "NAME"}))["pageInfo"]["endCursor"]
    binding, _, id = json.loads(base64.urlsafe_b64decode(by_name + "=="))
    for name in (5, ["a"], {"a": 1}, True):
        assert await codes(ada, DATASETS, after=forged([binding, name, id]), order={"field": "NAME"}) == [
            "BAD_USER_INPUT"
        ]
    harmless = await page(ada, DATASETS, after=forged([binding, "\0", id]), order={"field": "NAME"})
    assert len(harmless["nodes"]) == 2


async def test_first_is_one_to_a_hundred_and_twenty_by_default(lab: Lab) -> None:
    ada = await lab.a_user()
    await ada.images(await ada.a_dataset(), 105)

    for first in (0, 101, -1, 2**31 - 1, -(2**31), 2**31, 10**30, 1.5, "5", True):
        assert await codes(ada, IMAGES, first=first) == ["BAD_USER_INPUT"], first
        assert await codes(ada, UNDER, first=first) == ["BAD_USER_INPUT"], first
    assert len((await page(ada, first=None))["nodes"]) == 20
    assert len((await ada.ask("{ images { nodes { id } } }"))["nodes"]) == 20
    assert len((await ada.ask("{ images(first: null, after: null) { nodes { id } } }"))["nodes"]) == 20
    assert [len((await page(ada, first=first))["nodes"]) for first in (1, 100)] == [1, 100]
    assert len((await ada.ask("{ datasets(orderBy: null, filter: null) { nodes { id } } }"))["nodes"]) == 1


async def test_pages_under_several_rows_are_pages_of_each(lab: Lab) -> None:
    ada = await lab.a_user()
    few, many = await ada.a_dataset("few"), await ada.a_dataset("many")
    of_few, of_many = await ada.images(few, 1), newest_first(await ada.images(many, 3))
    first = await page(ada, UNDER, first=2)
    second = await page(ada, UNDER, first=2, after=first["nodes"][0]["images"]["pageInfo"]["endCursor"])

    shown = {each["name"]: each["images"] for each in first["nodes"]}
    assert ids(shown["many"]) == of_many[:2]
    assert ids(shown["few"]) == of_few
    assert [shown[name]["pageInfo"]["hasNextPage"] for name in ("many", "few")] == [True, False]
    assert [shown[name]["totalCount"] for name in ("many", "few")] == [3, 1]
    assert {each["name"]: ids(each["images"]) for each in second["nodes"]} == {
        "many": of_many[2:],
        "few": of_few,
    }


async def test_one_operation_may_hold_several_pages_of_a_list(lab: Lab) -> None:
    ada = await lab.a_user()
    made = newest_first(await ada.images(await ada.a_dataset(), 3))
    end = (await page(ada, first=1))["pageInfo"]["endCursor"]
    found = await ada.ask(
        "query ($after: String) { a: images(first: 1) { nodes { id } } b: images(first: 2) { nodes { id } }"
        " c: images(first: 1, after: $after) { nodes { id } }"
        ' d: images(filter: {search: "none"}) { nodes { id } totalCount } e: images { totalCount } }',
        after=end,
    )

    assert [ids(found[name]) for name in "abcd"] == [made[:1], made[:2], made[1:2], []]
    assert (found["d"]["totalCount"], found["e"]["totalCount"]) == (0, 3)
