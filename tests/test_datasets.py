"""Datasets: made, changed, found and listed, by those who may see them."""

from datetime import datetime
from typing import Any

import pytest

from bioscope_gql.vocabulary import uuid7
from tests.lab import Lab, Person, Refused

SHOWN = """{
  __typename
  ... on Dataset { id name description access imageCount totalBytes owner { id } }
  ... on Problem { code message }
  ... on NotFound { ids }
  ... on InvalidInput { fields { code path } }
}"""
CREATE = f"mutation ($input: CreateDatasetInput!) {{ createDataset(input: $input) {SHOWN} }}"
UPDATE = f"mutation ($input: UpdateDatasetInput!) {{ updateDataset(input: $input) {SHOWN} }}"
FIND = "query ($id: ID!) { dataset(id: $id) { id name description createdAt updatedAt } }"
LIST = """
query ($filter: DatasetFilter, $order: DatasetOrder) {
  datasets(filter: $filter, orderBy: $order) { nodes { name } totalCount }
}
"""


async def create(person: Person, **sent: Any) -> Any:
    return await person.ask(CREATE, input=sent)


async def update(person: Person, id: str, **sent: Any) -> Any:
    return await person.ask(UPDATE, input={"id": id, **sent})


async def names(person: Person, order: Any = None, **filter: Any) -> list[str]:
    """What a list shows, in its order; its count says the same."""
    found = await person.ask(LIST, filter=filter or None, order=order)
    assert found["totalCount"] == len(found["nodes"])
    return [node["name"] for node in found["nodes"]]


async def test_a_new_dataset_is_empty_and_its_makers(lab: Lab) -> None:
    uma = await lab.a_user()
    made = await create(uma, name="  Blutausstrich №1 👩‍🔬 ", description="with\nlines\tand tabs")

    assert made == {
        "__typename": "Dataset", "id": made["id"], "name": "Blutausstrich №1 👩‍🔬",
        "description": "with\nlines\tand tabs", "access": "MANAGE", "imageCount": 0, "totalBytes": 0,
        "owner": {"id": uma.id},
    }  # fmt: skip
    found = await uma.ask(FIND, id=made["id"])
    assert (found["name"], found["description"]) == (made["name"], made["description"])
    assert found["createdAt"] == found["updatedAt"]
    assert found["createdAt"].endswith("Z")


async def test_two_datasets_may_have_one_name(lab: Lab) -> None:
    uma = await lab.a_user()
    one, other = await create(uma, name="smears"), await create(uma, name="smears", description=None)

    assert one["id"] != other["id"]
    assert other["description"] is None
    assert await names(uma) == ["smears", "smears"]


async def test_what_can_not_be_a_dataset_is_told_field_by_field(lab: Lab) -> None:
    uma = await lab.a_user()
    impossible: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"name": ""}, {"name": "TOO_SHORT"}),
        ({"name": " \n "}, {"name": "TOO_SHORT"}),
        ({"name": "x" * 201}, {"name": "TOO_LONG"}),
        ({"name": "a\0b"}, {"name": "FORBIDDEN_CHARACTERS"}),
        ({"name": "a\nb"}, {"name": "FORBIDDEN_CHARACTERS"}),
        ({"name": "a\u202eb"}, {"name": "FORBIDDEN_CHARACTERS"}),
        ({"name": "a", "description": "x" * 10_001}, {"description": "TOO_LONG"}),
        ({"name": "a", "description": "a\0b"}, {"description": "FORBIDDEN_CHARACTERS"}),
        ({"name": "", "description": "\x1b"}, {"name": "TOO_SHORT", "description": "FORBIDDEN_CHARACTERS"}),
    ]  # fmt: skip
    kept = await create(uma, name="x" * 200, description="x" * 10_000)
    before = await lab.dump()
    made = [await create(uma, **sent) for sent, _ in impossible]
    changed = [await update(uma, kept["id"], **sent) for sent, _ in impossible]

    for answers in (made, changed):
        assert {(each["__typename"], each["code"]) for each in answers} == {("InvalidInput", "INVALID_INPUT")}
        told = [{field["path"][0]: field["code"] for field in each["fields"]} for each in answers]
        assert told == [codes for _, codes in impossible]
    assert await lab.dump() == before


async def test_a_change_leaves_what_it_leaves_out(lab: Lab) -> None:
    uma = await lab.a_user()
    id = (await create(uma, name="one", description="first"))["id"]
    before = await uma.ask(FIND, id=id)
    told = []
    for change in ({"name": " two "}, {"description": "second"}, {}, {"description": None}, {"name": "3"}):
        made = await update(uma, id, **change)
        told.append((made["name"], made["description"]))
    after = await uma.ask(FIND, id=id)

    assert told == [("two", "first"), ("two", "second"), ("two", "second"), ("two", None), ("3", None)]
    assert (after["name"], after["description"]) == ("3", None)
    assert after["createdAt"] == before["createdAt"]
    assert datetime.fromisoformat(after["updatedAt"]) > datetime.fromisoformat(before["updatedAt"])
    assert await names(uma, search="3") == ["3"]
    assert await names(uma, search="first") == []


async def test_a_dataset_can_not_lose_its_name(lab: Lab) -> None:
    uma = await lab.a_user()
    id = await uma.a_dataset()
    before = await lab.dump()
    answer = await update(uma, id, name=None, description="new")

    assert (answer["__typename"], answer["fields"]) == ("InvalidInput", [{"code": "NULL", "path": ["name"]}])
    assert await lab.dump() == before


async def test_only_those_who_manage_a_dataset_change_it(lab: Lab) -> None:
    uma, bob, eve, root = (
        await lab.a_user(),
        await lab.an_analyst(),
        await lab.an_analyst(),
        await lab.an_admin(),
    )
    id = await uma.a_dataset()
    before = await lab.dump()
    foreign = await update(eve, id, name="mine")
    assert (foreign["__typename"], foreign["ids"]) == ("NotFound", [id])
    assert await lab.dump() == before

    for level in ("VIEW", "CONTRIBUTE"):
        await lab.grant(id, bob, level)
        before = await lab.dump()
        refused = await update(bob, id, name="mine")
        assert (refused["__typename"], refused["code"]) == ("Forbidden", "ACCESS")
        assert (await bob.ask("query ($id: ID!) { dataset(id: $id) { access } }", id=id)) == {"access": level}
        assert await lab.dump() == before

    await lab.grant(id, bob, "MANAGE")
    assert (await update(bob, id, name="of Bob"))["name"] == "of Bob"
    assert (await update(root, id, name="of Root"))["access"] == "MANAGE"


async def test_absent_invisible_and_malformed_answer_alike(lab: Lab) -> None:
    uma, eve = await lab.a_user(), await lab.a_user()
    id = await uma.a_dataset()
    before = await lab.dump()
    ids = [id, str(uuid7()), "none", "", "\0", id.replace("-", ""), f"{{{id}}}", " " + id]
    found = [await eve.ask(FIND, id=each) for each in ids]
    changed = [await update(eve, each, name="mine") for each in ids]

    assert found == [None] * len(ids)
    assert {(each["__typename"], each["code"], each["message"]) for each in changed} == {
        ("NotFound", "NOT_FOUND", "There is no dataset of this id that you may see.")
    }
    assert [each["ids"] for each in changed[:3]] == [[each] for each in ids[:3]]
    assert await lab.dump() == before


async def test_a_search_finds_parts_of_name_and_description_without_case_and_accents(lab: Lab) -> None:
    uma = await lab.a_user()
    await create(uma, name="Próbka krwi", description="Erythrozyten, STRASSE")
    await create(uma, name="probe 50% off", description="a_b c\\d")
    await create(uma, name="Ünïcödé", description=None)

    found = {
        text: await names(uma, search=text)
        for text in (
            "probka", "PRÓBKA", "ERYTHRO", "straße", "krwi ery", "unicode", "ro", "pr", "ÜN", "0% o",
            "%", "50%",
            "a_b", "abb", "_", "c\\d", "\\", "nothing", "pro\0", "\0",
        )
    }  # fmt: skip
    smear, probe, unicode = "Próbka krwi", "probe 50% off", "Ünïcödé"
    assert found == {
        "probka": [smear], "PRÓBKA": [smear], "ERYTHRO": [smear], "straße": [smear], "krwi ery": [smear],
        "unicode": [unicode], "ro": [], "pr": [probe, smear], "ÜN": [unicode], "0% o": [probe], "%": [],
        "50%": [probe], "a_b": [probe], "abb": [], "_": [], "c\\d": [probe], "\\": [], "nothing": [],
        "pro\0": [], "\0": [],
    }  # fmt: skip
    assert await names(uma, search="") == await names(uma, search=None) == [unicode, probe, smear]


async def test_a_list_can_be_of_one_owner(lab: Lab) -> None:
    uma, bob, eve, root = await lab.a_user(), await lab.a_user(), await lab.a_user(), await lab.an_admin()
    shared = (await create(uma, name="shared"))["id"]
    await create(uma, name="hers")
    await create(bob, name="his")
    await create(eve, name="of Eve")
    await lab.grant(shared, bob, "VIEW")

    assert await names(bob) == ["his", "shared"]
    assert await names(bob, ownerId=uma.id) == ["shared"]
    assert await names(bob, ownerId=bob.id) == ["his"]
    assert await names(bob, ownerId=eve.id) == await names(bob, ownerId="none") == []
    assert await names(bob, ownerId=None) == ["his", "shared"]
    assert await names(bob, ownerId=uma.id, search="his") == []
    assert await names(root) == ["of Eve", "his", "hers", "shared"]
    assert await names(root, ownerId=uma.id) == ["hers", "shared"]


async def test_a_list_is_ordered_by_age_or_name_both_ways(lab: Lab) -> None:
    uma = await lab.a_user()
    for name in ("b", "c", "a", "b"):
        await create(uma, name=name)

    def order(field: str, direction: str) -> dict[str, str]:
        return {"field": field, "direction": direction}

    assert await names(uma) == await names(uma, order={}) == ["b", "a", "c", "b"]
    assert await names(uma, order("CREATED_AT", "DESC")) == ["b", "a", "c", "b"]
    assert await names(uma, order("CREATED_AT", "ASC")) == ["b", "c", "a", "b"]
    assert await names(uma, order("NAME", "ASC")) == ["a", "b", "b", "c"]
    assert await names(uma, {"field": "NAME"}) == ["c", "b", "b", "a"]


async def test_a_dataset_counts_its_pictures_and_their_bytes(lab: Lab) -> None:
    uma, bob = await lab.a_user(), await lab.a_user()
    id, empty = await uma.a_dataset("full"), await uma.a_dataset("empty")
    await uma.images(id, 3)
    await lab.grant(id, bob, "VIEW")
    bytes_there = await lab.db.value("select sum(file_size)::int from images")
    query = "{ datasets { nodes { id imageCount totalBytes access } } }"

    assert (await uma.ask(query))["nodes"] == [
        {"id": empty, "imageCount": 0, "totalBytes": 0, "access": "MANAGE"},
        {"id": id, "imageCount": 3, "totalBytes": bytes_there, "access": "MANAGE"},
    ]
    assert (await bob.ask(query))["nodes"] == [
        {"id": id, "imageCount": 3, "totalBytes": bytes_there, "access": "VIEW"}
    ]


async def test_nobody_makes_changes_or_sees_a_dataset(lab: Lab) -> None:
    uma = await lab.a_user()
    id = await uma.a_dataset()
    before = await lab.dump()
    for query, variables in (
        (CREATE, {"input": {"name": "mine"}}),
        (UPDATE, {"input": {"id": id, "name": "mine"}}),
        (FIND, {"id": id}),
        (LIST, {}),
    ):
        with pytest.raises(Refused) as refused:
            await lab.nobody.ask(query, **variables)
        assert refused.value.codes == ["UNAUTHENTICATED"]
        assert refused.value.errors[0]["extensions"]["reason"] == "MISSING"
    assert await lab.dump() == before
