"""What people do with a run that is there: cancel, retry, delete; and what happens when its pictures go."""

import asyncio
from typing import Any

from tests.lab import Json, Lab, Person
from tests.test_results import RUN, begun, progress, settled
from tests.test_runs import START, a_dataset_with

PROBLEM = "... on Problem { code message } ... on NotFound { ids }"
SUCCESS = {
    "cancel": "... on Classification { id status progress { "
    + " ".join([*START, "total", "fraction"])
    + " } }",
    "delete": "... on Deleted { ids dataset { id } }",
}
SUCCESS["retry"] = SUCCESS["cancel"]


async def change(person: Person, what: str, id: str) -> Any:
    answer = f"{{ __typename {SUCCESS[what]} {PROBLEM} }}"
    return await person.ask(f"mutation ($id: ID!) {{ {what}Classification(id: $id) {answer} }}", id=id)


async def unchanged(lab: Lab, person: Person, what: str, id: str) -> tuple[str, str]:
    """A refusal: its type and code; nothing was done."""
    before = await lab.dump()
    answer = await change(person, what, id)
    assert await lab.dump() == before
    return answer["__typename"], answer["code"]


async def delete_images(person: Person, *ids: str) -> Any:
    return await person.ask(
        "mutation ($ids: [ID!]!) { deleteImages(ids: $ids) { __typename ... on Deleted { ids dataset { id"
        " imageCount } } ... on Problem { code } ... on NotFound { ids }"
        " ... on InvalidInput { fields { code } } } }",
        ids=list(ids),
    )


async def test_a_cancelled_run_ends_at_once_and_late_answers_are_dropped(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, jobs = await begun(lab, worker, 3)
        await worker.answer(jobs[0])
        await worker.started(jobs[1])
        await settled(lab, worker)
        answer = await change(ada, "cancel", run)
        assert (answer["status"], answer["progress"]) == ("CANCELLED", progress(3, succeeded=1, cancelled=2))
        for job in jobs[1:]:
            await worker.answer(job)
        await settled(lab, worker)
        seen = await ada.ask(RUN, id=run)
    assert seen["progress"] == progress(3, succeeded=1, cancelled=2)
    assert seen["results"]["totalCount"] == 1


async def test_what_was_cancelled_before_its_dispatch_never_starts(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 2)
    async with lab.a_worker() as worker:
        await worker.announce("down")
        first = await ada.run(target={"datasetId": dataset})
        assert (await change(ada, "cancel", first["id"]))["status"] == "CANCELLED"
        await worker.announce("up")
        second = await ada.run(target={"datasetId": dataset})
        jobs = await worker.jobs(2)
    assert {job["classificationId"] for job in jobs} == {second["id"]}


async def test_retry_gives_failed_and_cancelled_items_their_next_attempt(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, jobs = await begun(lab, worker, 3)
        await worker.answer(jobs[0])
        await worker.fail(jobs[1])
        await settled(lab, worker)
        await change(ada, "cancel", run)
        answer = await change(ada, "retry", run)
        assert (answer["status"], answer["progress"]) == ("RUNNING", progress(3, queued=2, succeeded=1))
        again = await worker.jobs(2)
        assert {job["attempt"] for job in again} == {2}
        await worker.answer(jobs[2], "late")  # the first attempt's, and the item is open again
        for job in again:
            await worker.answer(job, "bright")
        await ada.finished(run)
        seen = await ada.ask(RUN, id=run)
    assert (seen["status"], seen["progress"], seen["error"]) == ("COMPLETED", progress(3, succeeded=3), None)
    assert sorted(item["result"]["label"] for item in seen["items"]["nodes"]) == ["bright", "bright", "dark"]
    assert seen["finishedAt"] is not None


async def test_what_does_not_fit_the_state_of_a_run_is_refused_with_nothing_done(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        assert await unchanged(lab, ada, "retry", run) == ("Conflict", "RUN_NOT_FINISHED")
        assert await unchanged(lab, ada, "delete", run) == ("Conflict", "RUN_NOT_FINISHED")
        await worker.answer(job)
        await ada.finished(run)
        assert await unchanged(lab, ada, "cancel", run) == ("Conflict", "RUN_FINISHED")
        assert await unchanged(lab, ada, "retry", run) == ("NothingToDo", "NOTHING_TO_DO")


async def test_who_may_change_a_run(lab: Lab) -> None:
    eve, guest, helper, boss = [await lab.an_analyst() for _ in range(4)]
    uma = await lab.a_user()
    async with lab.a_worker() as worker:
        _, run, [job] = await begun(lab, worker)
        for person, level in ((guest, "VIEW"), (helper, "CONTRIBUTE"), (boss, "MANAGE"), (uma, "MANAGE")):
            await lab.grant(job["datasetId"], person, level)
        for what in ("cancel", "retry", "delete"):
            assert await unchanged(lab, eve, what, run) == ("NotFound", "NOT_FOUND")
            assert await unchanged(lab, eve, what, "no id") == ("NotFound", "NOT_FOUND")
            assert await unchanged(lab, guest, what, run) == ("Forbidden", "ACCESS")
            assert await unchanged(lab, uma, what, run) == ("Forbidden", "ROLE")
        assert await unchanged(lab, helper, "cancel", run) == ("Forbidden", "ACCESS")
        assert (await change(boss, "cancel", run))["status"] == "CANCELLED"
        assert (await change(helper, "retry", run))["status"] == "PENDING"
        assert (await change(await lab.an_admin(), "cancel", run))["status"] == "CANCELLED"


async def test_a_deleted_run_takes_its_results_along(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        await worker.answer(job)
        await ada.finished(run)
    answer = await change(ada, "delete", run)
    assert (answer["ids"], answer["dataset"]) == ([run], {"id": job["datasetId"]})
    assert [await lab.count(table) for table in ("classification_items", "classification_results")] == [0, 0]
    assert await lab.count("images") == 1


async def test_a_deleted_picture_takes_its_item_along_and_the_counters_stay_true(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, jobs = await begun(lab, worker, 3)
        await worker.answer(jobs[0])
        await settled(lab, worker)
        answer = await delete_images(ada, jobs[0]["imageId"], jobs[1]["imageId"])
        assert answer["dataset"] == {"id": jobs[0]["datasetId"], "imageCount": 1}
        seen = await ada.ask(RUN, id=run)
        assert seen["progress"] == progress(1, queued=1)
        await worker.answer(jobs[1])  # of a picture that is gone: a dead letter
        await worker.answer(jobs[2])
        last = await ada.finished(run)
        await lab.until("select count(*) = 1 from dead_letters where payload <> 'the end'")
    assert last["classification"]["progress"] == progress(1, succeeded=1)


async def test_the_bytes_of_deleted_pictures_go_soon(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, ids = await a_dataset_with(ada, 3)
    await delete_images(ada, *ids[:2])
    await lab.until("select count(*) = 0 from object_deletions")
    left = [blob.key async for blob in lab.services.store.list("images/")]
    assert left == [f"images/{dataset}/{ids[2]}"]


async def test_a_run_whose_last_picture_goes_goes_too(lab: Lab) -> None:
    ada = await lab.an_analyst()
    _, [image] = await a_dataset_with(ada, 1)
    async with lab.a_worker():
        await ada.run(target={"imageId": image})
        await ada.run(target={"imageIds": [image]})
    await delete_images(ada, image)
    assert await lab.count("classifications") == 0


async def test_one_bad_id_keeps_all_pictures(lab: Lab) -> None:
    ada, eve = await lab.an_analyst(), await lab.an_analyst()
    dataset, [mine] = await a_dataset_with(ada, 1)
    _, [hers] = await a_dataset_with(eve, 1)
    before = await lab.dump()
    for ids in ([mine, "junk"], [mine, hers]):
        answer = await delete_images(ada, *ids)
        assert (answer["__typename"], answer["ids"]) == ("NotFound", [ids[1]])
    await lab.grant(dataset, eve, "CONTRIBUTE")
    assert (await delete_images(eve, mine, hers))["code"] == "ACCESS"
    assert (await delete_images(ada))["fields"] == [{"code": "TOO_FEW"}]
    assert (await delete_images(ada, *[mine] * 501))["fields"] == [{"code": "TOO_MANY"}]
    after = await lab.dump()
    del before["dataset_grants"], after["dataset_grants"]
    assert after == before


async def test_a_dataset_goes_with_its_runs_at_work(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, jobs = await begun(lab, worker, 2)
        gone = await ada.ask(
            "mutation ($id: ID!) { deleteDataset(id: $id) { ... on Deleted { ids dataset { id } } } }",
            id=jobs[0]["datasetId"],
        )
        assert gone == {"ids": [jobs[0]["datasetId"]], "dataset": None}
        assert await ada.ask(RUN, id=run) is None
        await worker.answer(jobs[0])
        await lab.until("select count(*) = 1 from dead_letters where payload <> 'the end'")
    assert [await lab.count(table) for table in ("images", "classification_items")] == [0, 0]


async def test_the_same_key_and_input_ten_times_at_once_start_one_run(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, ids = await a_dataset_with(ada, 2)
    async with lab.a_worker():
        order: Json = {"target": {"datasetId": dataset}, "idempotencyKey": "k1"}
        runs = await asyncio.gather(*(ada.run(**order) for _ in range(10)))
        assert len({run["id"] for run in runs}) == 1
        other = await ada.run(target={"imageId": ids[0]}, idempotencyKey="k1")
        assert (other["__typename"], other["code"]) == ("Conflict", "IDEMPOTENCY_KEY_REUSED")
        assert await lab.count("classifications") == 1
        one = await ada.run(target={"imageIds": ids}, idempotencyKey="k2")
        same = await ada.run(target={"imageIds": ids[::-1]}, idempotencyKey="k2")
        assert one["id"] == same["id"]
        eve = await lab.an_analyst()
        await lab.grant(dataset, eve, "CONTRIBUTE")
        assert (await eve.run(**order))["id"] != runs[0]["id"]


async def test_a_refusal_keeps_no_key(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    async with lab.a_worker():
        order: Json = {"target": {"datasetId": dataset}, "idempotencyKey": "k"}
        assert (await ada.run(**order))["__typename"] == "NothingToDo"
        await ada.images(dataset, 1)
        assert (await ada.run(**order))["__typename"] == "Classification"


async def test_a_run_that_nobody_serves_says_that_it_waits(lab: Lab) -> None:
    query = "query ($id: ID!) { classification(id: $id) { progress { waitingForWorker etaSeconds } status } }"
    async with lab.a_worker() as worker:
        ada, run, jobs = await begun(lab, worker, 2)
        assert (await ada.ask(query, id=run))["progress"] == {"waitingForWorker": False, "etaSeconds": None}
        await worker.announce("down")
        assert (await ada.ask(query, id=run))["progress"]["waitingForWorker"]
        await worker.answer(jobs[0])
        await settled(lab, worker)
        assert (await ada.ask(query, id=run))["progress"]["etaSeconds"] >= 1
        await worker.answer(jobs[1])
        await ada.finished(run)
        assert (await ada.ask(query, id=run))["progress"] == {"waitingForWorker": False, "etaSeconds": None}
