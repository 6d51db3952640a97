"""What people correct of a picture afterwards."""

from typing import Any

import pytest

from bioscope_gql.vocabulary import uuid7
from tests.lab import Lab, Person

UPDATE = """
mutation ($input: UpdateImageInput!) { updateImage(input: $input) {
  __typename
  ... on Image { id filename metadata capturedAt pixelSize { x y unit } }
  ... on Problem { code message }
  ... on InvalidInput { fields { code path } }
  ... on NotFound { ids }
} }
"""


async def update(person: Person, id: str, **changes: Any) -> Any:
    return await person.ask(UPDATE, input={"id": id, **changes})


async def a_picture_of(person: Person) -> tuple[str, str]:
    dataset = await person.a_dataset()
    return dataset, (await person.images(dataset, 1))[0]


async def test_what_is_sent_changes_what_is_left_out_stays_and_null_clears(lab: Lab) -> None:
    ada = await lab.a_user()
    _, image = await a_picture_of(ada)
    device = uuid7()
    await lab.db.execute(
        "insert into devices (id, name, name_key, device_type) values ($1, 'scope', 'scope', 'microscope')",
        device,
    )
    whole = {
        "__typename": "Image", "id": image, "filename": "Köln.png", "metadata": {"stain": "Giemsa"},
        "capturedAt": "2026-03-01T10:00:00Z", "pixelSize": {"x": 0.25, "y": 0.5, "unit": "µm"},
    }  # fmt: skip
    changed = await update(
        ada, image, filename="../folder/Köln.png\u0007", metadata={"stain": "Giemsa"}, deviceId=str(device),
        capturedAt="2026-03-01T12:00:00+02:00", pixelSize={"x": 0.25, "y": 0.5},
    )  # fmt: skip

    assert changed == whole
    assert await lab.db.value("select device from images") == device
    assert await ada.ask('{ images(filter: {search: "koln"}) { nodes { id } } }') == {
        "nodes": [{"id": image}]
    }
    assert await update(ada, image) == whole
    assert await update(ada, image, metadata={"slide": 7}) == {**whole, "metadata": {"slide": 7}}
    cleared = await update(ada, image, capturedAt=None, pixelSize=None, deviceId=None)
    assert cleared == {**whole, "metadata": {"slide": 7}, "capturedAt": None, "pixelSize": None}
    assert await lab.db.value("select device from images") is None
    assert await ada.ask("{ images { nodes { filename metadata } } }") == {
        "nodes": [{"filename": "Köln.png", "metadata": {"slide": 7}}]
    }


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        ({"filename": None}, "NULL", "filename"),
        ({"metadata": None}, "NULL", "metadata"),
        ({"metadata": [1]}, "OUT_OF_RANGE", "metadata"),
        ({"metadata": {"a": "x" * 17_000}}, "TOO_LONG", "metadata"),
        ({"pixelSize": {"x": 0, "y": 1}}, "OUT_OF_RANGE", "pixelSize"),
        ({"pixelSize": {"x": 1, "y": -1}}, "OUT_OF_RANGE", "pixelSize"),
    ],
    ids=str,
)
async def test_values_that_can_not_be_are_refused_and_nothing_changes(
    lab: Lab, changes: Any, code: str, path: str
) -> None:
    ada = await lab.a_user()
    _, image = await a_picture_of(ada)
    before = await lab.dump()

    refused = await update(ada, image, **{"capturedAt": "2026-03-01T10:00:00Z", **changes})
    assert (refused["__typename"], refused["fields"]) == ("InvalidInput", [{"code": code, "path": [path]}])
    assert await lab.dump() == before


async def test_to_edit_a_picture_takes_contribute_and_to_know_of_it_takes_view(lab: Lab) -> None:
    ada, bob = await lab.a_user(), await lab.a_user()
    dataset, image = await a_picture_of(ada)
    before = await lab.dump()
    for id in (image, "nonsense"):
        refused = await update(bob, id, filename="x.png")
        assert (refused["__typename"], refused["ids"]) == ("NotFound", [id])
    assert await lab.dump() == before
    await lab.grant(dataset, bob, "VIEW")
    before = await lab.dump()
    refused = await update(bob, image, filename="x.png")
    assert (refused["__typename"], refused["code"]) == ("Forbidden", "ACCESS")
    unknown = await update(ada, image, filename="x.png", deviceId=ONE)
    assert (unknown["__typename"], unknown["ids"]) == ("NotFound", [ONE])
    assert await lab.dump() == before

    await lab.grant(dataset, bob, "CONTRIBUTE")
    assert (await update(bob, image, filename="x.png"))["filename"] == "x.png"


ONE = "00000000-0000-0000-0000-000000000000"
