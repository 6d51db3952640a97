"""Deleting as much as a lab has: bounds, a bad id among many, and a dataset of ten thousand pictures."""

import time
from typing import Any
from uuid import UUID

from tests.lab import Lab

DELETE = """
mutation ($ids: [ID!]!) { deleteImages(ids: $ids) {
  __typename
  ... on Deleted { ids } ... on NotFound { ids } ... on InvalidInput { fields { code } }
} }
"""
DELETE_DATASET = "mutation ($id: ID!) { deleteDataset(id: $id) { __typename } }"
MANY = 10_000
CALLER_SECONDS = 2.0
FILL = """
insert into images (id, filename, content_type, file_size, sha256, storage_path,
                    width, height, bit_depth, channels, frames, dataset, uploaded_by)
select id, 'a.png', 'image/png', 1, encode(sha256(id::text::bytea), 'hex'),
       'images/' || $1::uuid || '/' || id,
       1, 1, 8, 1, 1, $1, $2
from (select uuidv7() as id from generate_series(1, $3::int)) made returning id
"""


async def filled(lab: Lab, dataset: str, owner: str, count: int) -> list[str]:
    """Rows without bytes, as quickly as they can be made."""
    return [str(row["id"]) for row in await lab.db.rows(FILL, UUID(dataset), UUID(owner), count)]


async def test_of_many_ids_one_bad_one_refuses_all_and_is_named(lab: Lab) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()
    ids = await filled(lab, dataset, anna.id, 499)
    before = await lab.dump()

    refused = await anna.ask(DELETE, ids=[*ids, "no-id-at-all"])
    after = await lab.dump()
    taken = await anna.ask(DELETE, ids=ids)

    assert (refused["__typename"], refused["ids"]) == ("NotFound", ["no-id-at-all"])
    assert after == before
    assert (taken["__typename"], sorted(taken["ids"])) == ("Deleted", sorted(ids))
    assert await lab.count("images") == 0


async def test_five_hundred_ids_are_the_most_and_one_the_fewest(lab: Lab) -> None:
    anna = await lab.an_analyst()
    ids = await filled(lab, await anna.a_dataset(), anna.id, 501)

    def said(answer: Any) -> tuple[str, str]:
        return answer["__typename"], answer["fields"][0]["code"]

    assert said(await anna.ask(DELETE, ids=ids)) == ("InvalidInput", "TOO_MANY")
    assert said(await anna.ask(DELETE, ids=[])) == ("InvalidInput", "TOO_FEW")
    assert await lab.count("images") == 501
    assert (await anna.ask(DELETE, ids=ids[:500]))["__typename"] == "Deleted"
    assert await lab.count("images") == 1


async def test_a_dataset_of_ten_thousand_pictures_and_its_run_is_gone_in_two_seconds_for_who_asked(
    lab: Lab,
) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()
    async with lab.a_worker() as worker:
        await filled(lab, dataset, anna.id, MANY)
        await anna.run_over(dataset)
        job = await worker.job()

        began = time.perf_counter()
        deleted = await anna.ask(DELETE_DATASET, id=dataset)
        seconds = time.perf_counter() - began
        await worker.answer(job)

        assert deleted["__typename"] == "Deleted"
        assert seconds < CALLER_SECONDS
        await lab.until("select count(*) = 0 from object_deletions")
        for table in ("images", "classifications", "classification_items", "classification_results"):
            assert await lab.count(table) == 0
