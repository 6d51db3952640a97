"""Anything by its id alone: what is there, for whom, and that absent and invisible are one."""

from typing import Any

import pytest
from graphql import GraphQLObjectType

from bioscope_gql.policy import VISIBLE
from bioscope_gql.schema import schema
from bioscope_gql.schema.nodes import node_types
from bioscope_gql.vocabulary import uuid7
from tests.lab import Lab, Person, Refused
from tests.test_grants import grant_of, share
from tests.test_queries import classified

NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"
NODES = "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }"


async def everything(lab: Lab) -> tuple[Person, dict[str, str]]:
    """Somebody with a row of each type that a run leaves, and their ids by type."""
    ada, ids = await classified(lab, datasets=1, images=1)
    [item] = await lab.db.rows("select id from classification_items")
    return ada, {
        "User": ada.id,
        "Dataset": ids["dataset"],
        "DatasetGrant": await grant_of(ada, ada, ids["dataset"]),
        "Image": ids["image"],
        "Model": ids["model"],
        "Classification": ids["run"],
        "ClassificationItem": str(item["id"]),
        "ClassificationResult": ids["result"],
    }


async def nodes(person: Person, ids: list[str]) -> list[Any]:
    found: list[Any] = await person.ask(NODES, ids=ids)
    return found


def test_every_type_with_an_id_of_its_own_has_one_rule_for_who_sees_it() -> None:
    printed = {
        name
        for name, type in schema()._schema.type_map.items()
        if isinstance(type, GraphQLObjectType) and "Node" in {each.name for each in type.interfaces}
    }
    assert printed == {shown.__name__ for shown in node_types().values()}
    assert set(node_types()) - set(VISIBLE) == set()


async def test_whatever_one_sees_is_found_by_its_id_one_by_one_and_all_at_once(lab: Lab) -> None:
    ada, ids = await everything(lab)

    for type, id in ids.items():
        assert await ada.ask(NODE, id=id) == {"__typename": type, "id": id}
    found = await nodes(ada, [*ids.values(), ids["Image"]])
    assert [each["__typename"] for each in found] == [*ids, "Image"]


async def test_what_is_absent_malformed_or_not_for_ones_eyes_is_null_in_its_place(lab: Lab) -> None:
    ada, ids = await everything(lab)
    guest, stranger = await lab.a_user(), await lab.a_user()
    await share(ada, ids["Dataset"], "VIEW", userId=guest.id)
    asked = [str(uuid7()), *ids.values(), "", "nonsense", ids["Dataset"].upper(), f"{{{ids['Dataset']}}}"]

    seen = [each and each["__typename"] for each in await nodes(stranger, asked)]
    assert seen == [None, *("Model" if type == "Model" else None for type in ids), None, None, None, None]
    seen = [each and each["__typename"] for each in await nodes(guest, asked)]
    assert seen == [None, *ids, None, None, "Dataset", None]
    for id in asked:
        one, at_once = await stranger.send(NODE, id=id), await nodes(stranger, [id])
        assert one.json()["data"] == {"node": at_once[0]}
        assert "errors" not in one.json()


async def test_a_hundred_ids_are_taken_and_no_more(lab: Lab) -> None:
    ada = await lab.an_analyst()

    assert await nodes(ada, [ada.id] * 100) == [{"__typename": "User", "id": ada.id}] * 100
    with pytest.raises(Refused) as refused:
        await nodes(ada, [ada.id] * 101)
    assert (refused.value.codes, refused.value.status) == (["BAD_USER_INPUT"], 200)
