"""Answers of workers: recorded once, whatever arrives twice, late, in disorder, or broken."""

import asyncio
import json
from typing import Any

import pytest

from bioscope_gql.settings import StaticModel
from tests.lab import Json, Lab, Person, Place, a_lab
from tests.lab_worker import TestWorker
from tests.test_runs import START, a_dataset_with

RUN = """
query ($id: ID!) { classification(id: $id) {
  status error startedAt finishedAt
  progress { total queued running succeeded failed cancelled fraction }
  items(first: 100) { nodes {
    status attempt maxAttempts errorCode errorMessage workerName result { label }
  } }
  results { totalCount }
} }
"""


async def begun(lab: Lab, worker: TestWorker, count: int = 1) -> tuple[Person, str, list[Json]]:
    """An analyst, a run of theirs over so many pictures, and its jobs."""
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, count)
    run = await ada.run_over(dataset)
    return ada, run, await worker.jobs(count)


async def settled(lab: Lab, worker: TestWorker) -> None:
    """Return when all that was sent so far has been dealt with: a bad letter in each partition is its end."""
    topic = lab.services.settings.kafka.topics.results
    partitions = await worker.partitions(topic)
    known = await lab.db.value("select count(*) from dead_letters where payload = 'the end'")
    for partition in partitions:
        await worker.send(b"the end", topic=topic, partition=partition)
    await lab.until(
        "select count(*) = $1 from dead_letters where payload = 'the end'", known + len(partitions)
    )


def progress(total: int, **counters: int) -> Json:
    ended = sum(counters.get(name, 0) for name in ("succeeded", "failed", "cancelled"))
    return {**START, "total": total, **counters, "fraction": ended / total}


async def test_the_first_of_two_answers_counts(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        await worker.answer(job, "dark")
        await worker.answer(job, "bright")
        await worker.fail(job)
        await settled(lab, worker)

        seen = await ada.ask(RUN, id=run)
    assert seen["progress"] == progress(1, succeeded=1)
    assert [item["result"] for item in seen["items"]["nodes"]] == [{"label": "dark"}]
    assert seen["results"]["totalCount"] == 1


async def test_a_letter_is_dead_after_the_answers_before_it_are_recorded(lab: Lab) -> None:
    """So who finds the letter finds the answers too, even when they were read together with it."""
    async with lab.a_worker() as worker:
        _, _, [job] = await begun(lab, worker)
        await asyncio.gather(worker.started(job), worker.send(b"junk", key=job["itemId"].encode()))
        await settled(lab, worker)
        assert await lab.db.value(
            "select started_at < received_at from classification_items, dead_letters where payload = 'junk'"
        )


async def test_an_answer_to_another_attempt_changes_nothing(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        before = await lab.dump()
        await worker.answer({**job, "attempt": 2})
        await settled(lab, worker)
        after = await lab.dump()
        del before["dead_letters"], after["dead_letters"]
        assert after == before
        await worker.answer(job)
        assert (await ada.finished(run))["classification"]["status"] == "COMPLETED"


async def test_a_result_carries_what_really_ran(lab: Lab) -> None:
    digest = "sha256:" + "a" * 64
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        ok = worker.ok(
            job,
            scores=[{"label": "dark", "confidence": 0.2}, {"label": "bright", "confidence": 0.7}],
            model={"name": "teller", "version": "1.0.0", "digest": digest},
            durationMs=24,
            details={"counts": {"RBC": 14}},
            measurements=[{"name": "area", "value": 12.5, "unit": "um2"}, {"name": "n", "value": 2}],
        )
        await worker.send(ok)
        await ada.finished(run)
        [result] = (
            await ada.ask(
                "query ($id: ID!) { classification(id: $id) { results { nodes {"
                " label confidence scores { label"
                " confidence } modelName modelVersion modelDigest workerName durationMs details"
                " measurements { name value unit } image { id } classification { id } } } } }",
                id=run,
            )
        )["results"]["nodes"]
    assert result == {
        "label": "bright",
        "confidence": 0.7,
        "scores": [{"label": "bright", "confidence": 0.7}, {"label": "dark", "confidence": 0.2}],
        "modelName": "teller",
        "modelVersion": "1.0.0",
        "modelDigest": digest,
        "workerName": worker.name,
        "durationMs": 24,
        "details": {"counts": {"RBC": 14}},
        "measurements": [
            {"name": "area", "value": 12.5, "unit": "um2"},
            {"name": "n", "value": 2.0, "unit": None},
        ],
        "image": {"id": job["imageId"]},
        "classification": {"id": run},
    }


async def test_started_is_seen_and_counts(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [one, other] = await begun(lab, worker, 2)
        await worker.started(one)
        await settled(lab, worker)
        seen = await ada.ask(RUN, id=run)
        assert (seen["status"], seen["progress"]) == ("RUNNING", progress(2, queued=1, running=1))
        assert seen["startedAt"] is not None
        for job in (one, other):
            await worker.answer(job)
        last = await ada.finished(run)
    assert last["classification"]["progress"] == progress(2, succeeded=2)


async def test_a_failed_picture_fails_alone_and_says_why(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [one, other] = await begun(lab, worker, 2)
        await worker.fail(one)
        await worker.answer(other)
        await ada.finished(run)
        seen = await ada.ask(RUN, id=run)
    assert (seen["status"], seen["progress"]) == ("PARTIAL", progress(2, succeeded=1, failed=1))
    assert seen["error"] == "1 of 2 pictures failed: CORRUPT_IMAGE (1)."
    [failed] = [item for item in seen["items"]["nodes"] if item["status"] == "FAILED"]
    assert (failed["errorCode"], failed["errorMessage"]) == ("CORRUPT_IMAGE", "It can't be read.")


async def test_a_run_without_any_result_has_failed(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        await worker.fail(job)
        last = await ada.finished(run)
    assert last["classification"]["status"] == "FAILED"


async def test_a_retryable_error_queues_the_next_attempt_until_the_tries_are_used(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        for attempt in (1, 2, 3):
            assert job["attempt"] == attempt
            await worker.fail(job, "FETCH_FAILED", retryable=True)
            if attempt < 3:
                job = await worker.job()
        await ada.finished(run)
        seen = await ada.ask(RUN, id=run)
    [item] = seen["items"]["nodes"]
    assert (item["status"], item["attempt"], item["maxAttempts"], item["errorCode"]) == (
        "FAILED", 3, 3, "FETCH_FAILED",
    )  # fmt: skip


async def test_another_model_than_the_one_asked_for_fails_the_item(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        await worker.send(worker.ok(job, model={"name": "teller", "version": "1.0.1"}))
        await ada.finished(run)
        seen = await ada.ask(RUN, id=run)
    [item] = seen["items"]["nodes"]
    assert (item["errorCode"], item["errorMessage"]) == (
        "MODEL_MISMATCH", "teller 1.0.0 was asked for, teller 1.0.1 answered.",
    )  # fmt: skip
    assert seen["results"]["totalCount"] == 0


async def test_the_flat_message_of_version_0_closes_the_item_of_its_run_and_picture(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [one, other] = await begun(lab, worker, 2)
        for job in (one, other):
            await worker.send(
                {
                    "image_id": job["image_id"],
                    "classification_id": job["classification_id"],
                    "label": "neutrophil",
                    "confidence": 0.5,
                    "model_name": job["model_name"],
                }
            )
        last = await ada.finished(run)
        seen = await ada.ask(RUN, id=run)
    assert last["classification"]["status"] == "COMPLETED"
    assert [item["result"] for item in seen["items"]["nodes"]] == [{"label": "neutrophil"}] * 2


def poison(job: Json, ok: Json) -> dict[str, Any]:
    """What no consumer should trip over, by its kind."""
    big = {**ok, "details": {"text": "x" * 300_000}}
    return {
        "not json": b"{nonsense",
        "not utf-8": b"\xff\xfe\x00",
        "nothing": b"",
        "null": b"null",
        "a list": [ok],
        "a string": '"ok"',
        "no status": {key: value for key, value in ok.items() if key != "status"},
        "unknown status": {**ok, "status": "done"},
        "unknown version": {**ok, "v": 2},
        "a version of text": {**ok, "v": "1"},
        "attempt of text": {**ok, "attempt": "1"},
        "attempt beyond": {**ok, "attempt": 2**63},
        "no scores": {**ok, "scores": []},
        "confidence above": {**ok, "scores": [{"label": "a", "confidence": 1.01}]},
        "confidence below": {**ok, "scores": [{"label": "a", "confidence": -0.1}]},
        "confidence nan": json.dumps({**ok, "scores": [{"label": "a", "confidence": float("nan")}]}).encode(),
        "nul in a label": {**ok, "scores": [{"label": "a\0b", "confidence": 0.5}]},
        "nul in details": {**ok, "details": {"a": "\0"}},
        "lone surrogate": json.dumps({**ok, "details": {"a": "\ud800"}}).encode(),
        "deep": json.dumps(ok)[:-1].encode() + b', "details": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "too big": big,
        "unknown item": {**ok, "itemId": "01a00000-0000-7000-8000-000000000000"},
        "an id of junk": {**ok, "itemId": "junk"},
        "foreign picture": {
            "image_id": "01a00000-0000-7000-8000-000000000000", "classification_id": job["classificationId"],
            "label": "a", "confidence": 0.5, "model_name": "teller",
        },
    }  # fmt: skip


async def test_each_poisonous_record_goes_to_the_dead_letters_and_harms_no_neighbour(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, jobs = await begun(lab, worker, 30)
        bad = poison(jobs[0], worker.ok(jobs[0]))
        for job, record in zip(jobs[1:], bad.values(), strict=False):
            await worker.send(record)
            await worker.answer(job)
        for job in [jobs[0], *jobs[len(bad) + 1 :]]:
            await worker.answer(job)
        last = await ada.finished(run)
        await settled(lab, worker)
        letters = await lab.db.rows("select reason, payload from dead_letters where payload <> 'the end'")

    assert last["classification"]["progress"] == progress(30, succeeded=30)
    assert len(letters) == len(bad)
    assert all(letter["reason"].endswith(".") for letter in letters)
    assert all(len(letter["payload"]) <= 256 * 1024 for letter in letters)


@pytest.mark.parametrize("refusal", ["22", "23"])
async def test_one_record_that_the_database_refuses_is_found_among_its_neighbours(
    lab: Lab, refusal: str
) -> None:
    """A rule that the parser does not know: the batch is halved until the culprit is alone."""
    if refusal == "23":
        rule = "alter table classification_results add constraint picky check (label <> 'refused')"
    else:
        rule = (
            "create function picky() returns trigger language plpgsql as $$ begin"
            " if new.label = 'refused' then perform 'x'::int; end if; return new; end $$;"
            "create trigger picky before insert on classification_results"
            " for each row execute function picky()"
        )
    await lab.db.execute(rule)
    async with lab.a_worker() as worker:
        ada, run, jobs = await begun(lab, worker, 8)
        for place, job in enumerate(jobs):
            await worker.answer(job, "refused" if place == 5 else "dark")
        await lab.until("select succeeded = 7 from classifications")
        await lab.until("select count(*) = 1 from dead_letters")
        seen = await ada.ask(RUN, id=run)
    assert seen["progress"] == progress(8, queued=1, succeeded=7)


async def test_a_model_of_the_settings_that_never_announces_itself_can_be_run(place: Place) -> None:
    """A classifier written for BioScopeAI Core: flat answers, and nobody knows how many workers it has."""
    core = StaticModel(name="core", version="7", labels=("a",), content_types=("image/png",))
    settings = place.settings()
    kafka = settings.kafka.model_copy(update={"static_models": (core,)})
    async with (
        a_lab(place, settings.model_copy(update={"kafka": kafka})) as lab,
        lab.a_worker(name="core", version="7", silent=True) as worker,
    ):
        ada, run, [job] = await begun(lab, worker)
        assert job["model"] == {"name": "core", "version": "7"}
        flat = {"image_id": job["image_id"], "classification_id": job["classification_id"]}
        await worker.send({**flat, "label": "a", "confidence": 1, "model_name": "core"})
        last = await ada.finished(run)
        models = await ada.ask("{ models { nodes { name version liveWorkers } } }")
    assert last["classification"]["status"] == "COMPLETED"
    assert models["nodes"] == [{"name": "core", "version": "7", "liveWorkers": None}]
