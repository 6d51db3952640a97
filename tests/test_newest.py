"""The newest result of each picture and of each model, as marked there: true whatever happens to results."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from bioscope_gql.resolvers import newest
from tests.lab import Lab, Person
from tests.verdicts import a_run, a_verdict

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIES = """
select count(*) from images i left join lateral (
  select r.id, r.label, r.confidence, r.created_at from classification_results r where r.image = i.id
  order by r.created_at desc, r.id desc limit 1) n on true
where (i.latest_result, i.latest_label, i.latest_confidence, i.latest_at)
  is distinct from (n.id, n.label, n.confidence, n.created_at)
"""
WRONG_MARKS = """
select count(*) from classification_results r cross join lateral (
  select count(*) filter (where n.model_version = r.model_version) as of_version, count(*) as of_model
  from classification_results n where n.image = r.image and n.model_name = r.model_name
    and (n.created_at, n.id) > (r.created_at, r.id)) newer
where (r.newest_of_model, r.newest_of_version) <> (newer.of_model = 0, newer.of_version = 0)
"""
SHOWN = """
query ($id: ID!, $name: String, $version: String) { image(id: $id) {
  analyzed latestResult(modelName: $name, modelVersion: $version) { label confidence modelVersion }
} }
"""
COUNTS = """
query ($id: ID!, $name: String, $version: String) { dataset(id: $id) {
  labelCounts(modelName: $name, modelVersion: $version) { label count averageConfidence }
} }
"""
DELETE = "mutation ($id: ID!) { deleteClassification(id: $id) { __typename ... on Deleted { ids } } }"


async def lies(lab: Lab) -> int:
    """How many pictures show something else than their newest result, and results are marked wrongly."""
    shown, marked = [await lab.db.value(sql) for sql in (LIES, WRONG_MARKS)]
    return int(shown + marked)


async def shown(person: Person, image: str, **model: Any) -> Any:
    """Label and confidence of what a picture shows; None where that is nothing."""
    found = (await person.ask(SHOWN, id=image, **model))["latestResult"]
    return found and (found["label"], found["confidence"])


async def test_results_of_workers_are_shown_by_their_pictures_and_newer_ones_replace_them(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    images = await ada.images(dataset, 3)
    before = await ada.ask(SHOWN, id=images[0])
    async with lab.a_worker() as worker:
        for label in ("dark", "bright"):
            run = await ada.run_over(dataset)
            for _ in images:
                await worker.answer(await worker.job(), label=label)
            await ada.finished(run)
            assert [(await shown(ada, image) or ("",))[0] for image in images] == [label] * 3
            assert await lies(lab) == 0

    assert before == {"analyzed": False, "latestResult": None}
    assert (await ada.ask(SHOWN, id=images[0]))["analyzed"] is True


async def test_an_older_result_that_comes_later_does_not_replace_a_newer_one(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    (image,) = await ada.images(dataset, 1)
    runs = [await a_run(lab, dataset) for _ in range(2)]
    await a_verdict(lab, runs[0], image, "dark", 0.7, START + timedelta(hours=1))
    await a_verdict(lab, runs[1], image, "bright", 0.8, START)

    assert await shown(ada, image) == ("dark", 0.7)
    assert await lies(lab) == 0


@pytest.mark.parametrize("first", ["the older", "the newer"])
async def test_of_two_transactions_that_race_for_a_picture_the_newer_result_stays(
    lab: Lab, first: str
) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    (image,) = await ada.images(dataset, 1)
    results = {}
    for name, at in (("the older", START), ("the newer", START + timedelta(hours=1))):
        run = await a_run(lab, dataset)
        await a_verdict(lab, run, image, name, 0.5, at)
        results[name] = await lab.db.value("select id from classification_results where label = $1", name)
    await lab.db.execute(
        "update images set latest_result = null, latest_label = null, latest_confidence = null,"
        " latest_at = null"
    )
    await lab.db.execute("update classification_results set newest_of_model = true, newest_of_version = true")
    second = next(name for name in results if name != first)

    async def note_second() -> None:
        async with lab.db.transaction() as tx:
            await newest.note(tx, [UUID(image)], [results[second]])

    async with lab.db.transaction() as tx:
        await newest.note(tx, [UUID(image)], [results[first]])
        waiting = asyncio.create_task(note_second())
        while not await lab.db.value("select count(*) from pg_locks where not granted"):
            assert not waiting.done()
    await waiting

    assert await shown(ada, image) == ("the newer", 0.5)
    assert await lies(lab) == 0


async def test_when_a_run_goes_its_pictures_show_what_was_said_before_or_nothing(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    images = await ada.images(dataset, 3)
    first, second = [await a_run(lab, dataset) for _ in range(2)]
    await a_verdict(lab, first, images[0], "dark", 0.5, START)
    await a_verdict(lab, second, images[0], "bright", 0.75, START + timedelta(hours=1))
    await a_verdict(lab, second, images[1], "bright", 1.0, START + timedelta(hours=1))

    assert [await shown(ada, image) for image in images] == [("bright", 0.75), ("bright", 1.0), None]
    assert await ada.ask(DELETE, id=second) == {"__typename": "Deleted", "ids": [second]}
    assert [await shown(ada, image) for image in images] == [("dark", 0.5), None, None]
    assert await lies(lab) == 0
    assert await ada.ask("{ images(filter: {analyzed: true}) { totalCount } }") == {"totalCount": 1}


async def test_label_counts_and_the_latest_result_are_of_the_model_that_is_named(lab: Lab) -> None:
    ada, stranger = await lab.an_analyst(), await lab.a_user()
    dataset, other = await ada.a_dataset(), await ada.a_dataset()
    images = await ada.images(dataset, 3)
    old, new, cells = [
        await a_run(lab, dataset, *model)
        for model in (("teller", "1.0.0"), ("teller", "2.0.0"), ("cells", "1.0.0"))
    ]
    await a_verdict(lab, old, images[0], "dark", 0.5, START)
    await a_verdict(lab, old, images[1], "dark", 1.0, START)
    await a_verdict(lab, new, images[0], "bright", 0.75, START + timedelta(hours=1))
    await a_verdict(lab, cells, images[1], "bright", 0.25, START + timedelta(hours=2))

    def counted(**of: tuple[int, float]) -> Any:
        rows = [{"label": label, "count": n, "averageConfidence": mean} for label, (n, mean) in of.items()]
        return {"labelCounts": rows}

    assert await ada.ask(COUNTS, id=dataset) == counted(bright=(2, 0.5))
    assert await ada.ask(COUNTS, id=dataset, name="teller") == counted(bright=(1, 0.75), dark=(1, 1.0))
    assert await ada.ask(COUNTS, id=dataset, name="teller", version="1.0.0") == counted(dark=(2, 0.75))
    assert await ada.ask(COUNTS, id=dataset, version="1.0.0") == counted(bright=(1, 0.25), dark=(1, 0.5))
    assert await ada.ask(COUNTS, id=dataset, name="nobody") == counted()
    assert await ada.ask(COUNTS, id=other) == counted()
    assert await stranger.ask(COUNTS, id=dataset) is None
    assert await shown(ada, images[1]) == ("bright", 0.25)
    assert await shown(ada, images[1], name="teller") == ("dark", 1.0)
    assert await shown(ada, images[0], name="teller") == ("bright", 0.75)
    assert await shown(ada, images[0], name="teller", version="1.0.0") == ("dark", 0.5)
    assert await shown(ada, images[0], name="cells") is None
    assert await shown(ada, images[2]) is None


@pytest.mark.parametrize("seed", range(3))
async def test_pictures_tell_no_lies_after_results_and_deletions_in_any_order(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    images = await ada.images(dataset, 4)
    runs: list[str] = []
    for turn in range(60):
        what = chance.random()
        if what < 0.3 or not runs:
            model = chance.choice(["teller", "cells"]), chance.choice(["1.0.0", "2.0.0"])
            runs.append(await a_run(lab, dataset, *model))
        elif what < 0.85:
            at = START + timedelta(minutes=chance.randrange(5))
            try:
                await a_verdict(lab, chance.choice(runs), chance.choice(images), "dark", chance.random(), at)
            except asyncpg.UniqueViolationError:
                continue
        elif what < 0.95:
            await ada.ask(DELETE, id=runs.pop(chance.randrange(len(runs))))
        elif len(images) > 2:
            gone = images.pop()
            await ada.ask("mutation ($ids: [ID!]!) { deleteImages(ids: $ids) { __typename } }", ids=[gone])
            rows = await lab.db.rows("select id from classifications")
            runs = [run for run in runs if run in {str(row["id"]) for row in rows}]
        assert await lies(lab) == 0, turn
