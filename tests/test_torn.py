"""What fails in one place of an operation fails there: its neighbours are answered."""

import pytest

from tests.lab import Lab

TORN = """
query ($image: ID!, $after: String) {
  torn: image(id: $image) { dataset { name } results(after: $after) { nodes { id } } }
  whole: image(id: $image) { dataset { name } }
}
"""


@pytest.mark.parametrize("order", [1, -1], ids=["torn_first", "torn_last"])
async def test_a_field_that_fails_takes_nothing_from_another_that_waits_for_the_same_row(
    lab: Lab, order: int
) -> None:
    uma = await lab.a_user()
    [image] = await uma.images(await uma.a_dataset("smears"), 1)
    lines = TORN.strip().splitlines()
    query = "\n".join([lines[0], *lines[1:-1][::order], lines[-1]])
    body = (await uma.send(query, image=image, after="broken")).json()

    assert body["data"] == {"torn": None, "whole": {"dataset": {"name": "smears"}}}
    assert [error["extensions"]["code"] for error in body["errors"]] == ["BAD_USER_INPUT"]
