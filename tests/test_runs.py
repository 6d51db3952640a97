"""Runs: what an order may be over, what it freezes, and what is refused with nothing done."""

from typing import Any

import pytest

from tests.lab import Lab, Person, Refused
from tests.lab_worker import MODEL

START = {"queued": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0}


async def a_dataset_with(person: Person, count: int) -> tuple[str, list[str]]:
    dataset = await person.a_dataset()
    return dataset, await person.images(dataset, count)


async def test_a_run_over_a_dataset_ends_when_every_picture_has_its_result(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 3)
    async with lab.a_worker() as worker:
        run = await ada.run(target={"datasetId": dataset})
        assert run["status"] == "PENDING"
        assert run["progress"] == {**START, "total": 3, "queued": 3, "fraction": 0.0}
        assert (run["modelName"], run["modelVersion"]) == ("teller", "1.0.0")
        for job in await worker.jobs(3):
            await worker.answer(job, "bright", 0.75)
        last = await ada.finished(run["id"])

    assert last["classification"]["status"] == "COMPLETED"
    assert last["classification"]["progress"] == {**START, "total": 3, "succeeded": 3, "fraction": 1.0}
    labels = await ada.ask("{ images { nodes { latestResult { label confidence } } } }")
    assert labels["nodes"] == [{"latestResult": {"label": "bright", "confidence": 0.75}}] * 3


async def test_a_job_carries_all_that_a_worker_needs(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, [image] = await a_dataset_with(ada, 1)
    async with lab.a_worker() as worker:
        run = await ada.run(target={"imageId": image})
        job = await worker.job()

    assert run["image"] == {"id": image}
    assert (job["v"], job["attempt"], job["leaseSeconds"]) == (1, 1, 60)
    assert (job["classificationId"], job["imageId"], job["datasetId"]) == (run["id"], image, dataset)
    assert job["model"] == MODEL
    assert (job["classification_id"], job["image_id"], job["dataset_id"], job["model_name"]) == (
        run["id"], image, dataset, "teller",
    )  # fmt: skip
    picture = await lab.http.get(job["image"]["url"])
    assert picture.content == f"picture {image}".encode()


async def test_the_pictures_of_a_run_are_those_that_were_there_when_it_was_made(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, before = await a_dataset_with(ada, 2)
    async with lab.a_worker():
        run = await ada.run_over(dataset)
    await ada.images(dataset, 1)

    items = await ada.ask(
        "query ($id: ID!) { classification(id: $id) { items { totalCount nodes { image { id } } } } }", id=run
    )
    assert items["items"]["totalCount"] == 2
    assert {node["image"]["id"] for node in items["items"]["nodes"]} == set(before)


async def test_a_run_over_several_pictures_takes_each_once(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, ids = await a_dataset_with(ada, 3)
    async with lab.a_worker():
        run = await ada.run(target={"imageIds": [ids[0], ids[2], ids[0]]})

    assert run["progress"]["total"] == 2
    assert (run["image"], run["dataset"]) == (None, {"id": dataset})


async def test_only_missing_skips_what_this_version_has_a_result_for(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 2)
    async with lab.a_worker() as worker:
        first = await ada.run_over(dataset)
        for job in await worker.jobs(2):
            await worker.answer(job)
        await ada.finished(first)
        nothing = await ada.run(target={"datasetId": dataset}, onlyMissing=True)
        again = await ada.run(target={"datasetId": dataset})

    assert (nothing["__typename"], nothing["code"], nothing["skippedCount"]) == (
        "NothingToDo",
        "NOTHING_TO_DO",
        2,
    )
    assert again["progress"]["total"] == 2


async def test_files_that_the_model_does_not_take_fail_at_once_and_by_themselves(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, ids = await a_dataset_with(ada, 2)
    await lab.db.execute("update images set content_type = 'image/tiff' where id = $1::uuid", ids[0])
    async with lab.a_worker(contentTypes=["image/png"]) as worker:
        run = await ada.run(target={"datasetId": dataset})
        assert run["status"] == "RUNNING"
        assert run["progress"] == {**START, "total": 2, "queued": 1, "failed": 1, "fraction": 0.5}
        job = await worker.job()
        assert job["imageId"] == ids[1]
        await worker.answer(job)
        last = await ada.finished(run["id"])

    assert last["classification"]["status"] == "PARTIAL"
    assert last["classification"]["error"] == "1 of 2 pictures failed: UNSUPPORTED_CONTENT_TYPE (1)."


async def test_a_run_gets_the_newest_version_that_a_live_worker_serves(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 1)
    async with lab.a_worker() as worker:
        await worker.announce(version="2.0.0")
        newest = await ada.run(target={"datasetId": dataset})
        await worker.announce("down", version="2.0.0")
        live = await ada.run(target={"datasetId": dataset})
        asked = await ada.run(target={"datasetId": dataset}, modelVersion="2.0.0")

    assert [run["modelVersion"] for run in (newest, live, asked)] == ["2.0.0", "1.0.0", "2.0.0"]


async def test_with_several_models_and_no_name_it_is_said_that_one_must_be_named(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 1)
    async with lab.a_worker() as worker:
        await worker.announce(name="other")
        run = await ada.run(target={"datasetId": dataset})

    assert (run["__typename"], run["code"]) == ("ModelUnavailable", "AMBIGUOUS_MODEL")


async def refused(lab: Lab, person: Person, **order: Any) -> Any:
    """What an order answers, having changed nothing."""
    before = await lab.dump()
    answer = await person.run(**order)
    assert await lab.dump() == before
    return answer


async def test_a_user_may_not_run_models(lab: Lab) -> None:
    uma = await lab.a_user()
    dataset, _ = await a_dataset_with(uma, 1)
    async with lab.a_worker():
        answer = await refused(lab, uma, target={"datasetId": dataset})
    assert (answer["__typename"], answer["code"]) == ("Forbidden", "ROLE")


async def test_somebody_elses_dataset_is_as_if_absent(lab: Lab) -> None:
    ada, eve = await lab.an_analyst(), await lab.an_analyst()
    dataset, ids = await a_dataset_with(ada, 1)
    async with lab.a_worker():
        foreign = await refused(lab, eve, target={"datasetId": dataset})
        absent = await refused(lab, eve, target={"datasetId": "01a00000-0000-7000-8000-000000000000"})
        malformed = await refused(lab, eve, target={"datasetId": "no id"})
        picture = await refused(lab, eve, target={"imageIds": [ids[0], "no id"]})

    assert foreign["__typename"] == absent["__typename"] == malformed["__typename"] == "NotFound"
    assert foreign["message"] == absent["message"] == malformed["message"]
    assert (picture["__typename"], picture["ids"]) == ("NotFound", [ids[0], "no id"])


async def test_a_guest_who_may_only_look_may_not_run(lab: Lab) -> None:
    ada, bob = await lab.an_analyst(), await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 1)
    await lab.grant(dataset, bob, "VIEW")
    async with lab.a_worker():
        answer = await refused(lab, bob, target={"datasetId": dataset})
        await lab.grant(dataset, bob, "CONTRIBUTE")
        run = await bob.run(target={"datasetId": dataset})

    assert (answer["__typename"], answer["code"]) == ("Forbidden", "ACCESS")
    assert run["__typename"] == "Classification"


async def test_an_unknown_model_an_empty_dataset_and_mixed_datasets_start_nothing(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, [one] = await a_dataset_with(ada, 1)
    empty = await ada.a_dataset("empty")
    _, [other] = await a_dataset_with(ada, 1)
    nobody = await refused(lab, ada, target={"datasetId": dataset})
    async with lab.a_worker(contentTypes=["image/tiff"]):
        unknown = await refused(lab, ada, target={"datasetId": dataset}, modelName="nonesuch")
        version = await refused(lab, ada, target={"datasetId": dataset}, modelName="teller", modelVersion="9")
        unfit = await refused(lab, ada, target={"datasetId": dataset})
        nothing = await refused(lab, ada, target={"datasetId": empty})
        none = await refused(lab, ada, target={"imageIds": []})
        mixed = await refused(lab, ada, target={"imageIds": [one, other]})

    assert [(each["__typename"], each["code"]) for each in (nobody, unknown, version, unfit)] == [
        ("ModelUnavailable", "UNKNOWN_MODEL"),
        ("ModelUnavailable", "UNKNOWN_MODEL"),
        ("ModelUnavailable", "UNKNOWN_MODEL"),
        ("ModelUnavailable", "UNSUPPORTED_CONTENT_TYPE"),
    ]
    assert [each["__typename"] for each in (nothing, none)] == ["NothingToDo", "NothingToDo"]
    assert mixed["fields"] == [{"code": "MIXED_DATASETS", "path": ["target", "imageIds"]}]


async def test_a_target_is_exactly_one_thing(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, [image] = await a_dataset_with(ada, 1)
    with pytest.raises(Refused) as two:
        await ada.run(target={"datasetId": dataset, "imageId": image})
    assert two.value.codes == ["BAD_USER_INPUT"]


async def test_nobody_runs_anything(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 1)
    before = await lab.dump()
    with pytest.raises(Refused) as missing:
        await lab.nobody.run(target={"datasetId": dataset})
    assert missing.value.codes == ["UNAUTHENTICATED"]
    assert missing.value.errors[0]["extensions"]["reason"] == "MISSING"
    assert await lab.dump() == before
