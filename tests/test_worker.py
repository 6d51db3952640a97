"""The worker SDK: what a classify function gets, and what becomes of what it does."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bioscope_gql.vocabulary import CONTENT_TYPES
from bioscope_gql.worker.sdk import Measurement, Picture, Prediction, Worker, WorkerError
from tests.worker_lab import LIMIT_SECONDS, Lab, Message, a_lab, at_work

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with a_lab(tmp_path) as lab:
        yield lab


def a_worker(returns: object = None, *, version: str = "1") -> tuple[Worker, list[Picture]]:
    """A worker that returns, or raises, always the same; and the pictures that it was given."""
    worker, seen = Worker("m", version, labels=["a", "b"], content_types=["image/png"]), list[Picture]()

    @worker.classify
    async def classify(picture: Picture) -> Any:
        seen.append(picture)
        if isinstance(returns, Exception):
            raise returns
        return {"a": 1.0} if returns is None else returns

    return worker, seen


async def logged(text: str) -> None:
    """Wait until the worker writes a line with `text` into its log."""
    seen = asyncio.Event()

    class Reader(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                seen.set()

    reader, logger = Reader(), logging.getLogger("bioscope_gql.worker")
    logger.addHandler(reader)
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await seen.wait()
    finally:
        logger.removeHandler(reader)


def without(name: str, message: Message) -> Message:
    return {key: value for key, value in message.items() if key != name}


async def test_a_picture_is_fetched_classified_and_answered(lab: Lab) -> None:
    prediction = Prediction(
        {"b": 0.25, "a": 0.75},
        details={"counts": {"RBC": 14}},
        measurements=[Measurement(name="area", value=12.5, unit="um2")],
    )
    worker, seen = a_worker(prediction)
    job = lab.a_job(b"the bytes")
    async with at_work(worker, lab.options()):
        await lab.send(job)
        said = await lab.said_of(job)

    ids = (job.image_id, job.dataset_id, job.classification_id, job.item_id)
    assert seen == [Picture(b"the bytes", "image/png", 640, 480, *ids, 1)]
    assert [without("durationMs", message) for message in said] == [
        {
            "v": 1,
            "itemId": str(job.item_id),
            "attempt": 1,
            "status": "ok",
            "scores": [{"label": "a", "confidence": 0.75}, {"label": "b", "confidence": 0.25}],
            "model": {"name": "m", "version": "1"},
            "worker": {"name": "w1", "version": "1"},
            "details": {"counts": {"RBC": 14}},
            "measurements": [{"name": "area", "value": 12.5, "unit": "um2"}],
        }
    ]
    assert 0 <= said[0]["durationMs"] < 250
    assert await lab.committed("m@1") == 1


async def test_a_function_that_is_not_async_runs_in_a_thread(lab: Lab) -> None:
    worker, threads = Worker("m", "1"), list[str]()

    @worker.classify
    def classify(picture: Picture) -> dict[str, float]:
        import threading

        threads.append(threading.current_thread().name)
        return {picture.data.decode(): float(np.float32(0.5))}

    job = lab.a_job(b"label")
    async with at_work(worker, lab.options()):
        await lab.send(job)
        answer = await lab.answer(job)

    assert answer["scores"] == [{"label": "label", "confidence": 0.5}]
    assert threads == ["classify-0"]


async def test_a_worker_announces_its_model_at_the_start_and_says_when_it_leaves(lab: Lab) -> None:
    worker = Worker("m", "1", labels=["a"], description="Says a.", digest=f"sha256:{'0' * 64}")
    worker.classify(lambda _picture: {"a": 1})
    async with at_work(worker, lab.options(concurrency=3)):
        (up,) = await lab.workers.until(lambda messages: len(messages) >= 1)

    assert up == {
        "v": 1,
        "worker": {"name": "w1", "version": "1"},
        "status": "up",
        "models": [
            {
                "name": "m",
                "version": "1",
                "description": "Says a.",
                "labels": ["a"],
                "contentTypes": list(CONTENT_TYPES),
                "digest": f"sha256:{'0' * 64}",
            }
        ],
        "concurrency": 3,
    }
    assert await lab.workers.until(lambda messages: len(messages) >= 2) == [up, {**up, "status": "down"}]


async def test_two_versions_of_a_model_get_their_own_jobs_only(lab: Lab) -> None:
    old, seen_by_old = a_worker()
    new, seen_by_new = a_worker(version="2")
    jobs = [lab.a_job(version="12"[number % 2]) for number in range(6)]
    async with at_work(old, lab.options(name="old")), at_work(new, lab.options(name="new")):
        await lab.send(*jobs)
        answers = [await lab.answer(job) for job in jobs]

    assert [answer["worker"]["name"] for answer in answers] == ["old", "new"] * 3
    assert len(seen_by_old) == len(seen_by_new) == 3
    assert await lab.committed("m@1") == await lab.committed("m@2") == 6


async def test_a_job_of_another_model_is_passed_over_whether_header_or_body_says_so(lab: Lab) -> None:
    worker, seen = a_worker()
    by_body, by_header, ours = lab.a_job(name="other"), lab.a_job(), lab.a_job()
    async with at_work(worker, lab.options()):
        await lab.send_raw(b"{}", {"model": "other", "model-version": "1"})
        await lab.send_raw(lab.encoded(by_header), {"model": "m", "model-version": "7"})
        await lab.send_raw(lab.encoded(by_body), {})
        await lab.send_raw(lab.encoded(ours), {})
        await lab.answer(ours)

    assert [picture.item_id for picture in seen] == [ours.item_id]
    assert {message["itemId"] for message in lab.results.messages} == {str(ours.item_id)}
    assert await lab.committed("m@1") == 4


async def test_a_job_whose_deadline_has_passed_or_that_nobody_can_read_is_passed_over(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    worker, seen = a_worker()
    late = lab.a_job().model_copy(update={"deadline": datetime.now(UTC) - timedelta(seconds=1)})
    ours = lab.a_job()
    async with at_work(worker, lab.options()):
        await lab.send(late)
        await lab.send_raw(b'{"v": 1}', ours.headers)
        await lab.send_raw(b"\xff", ours.headers)
        await lab.send(ours)
        await lab.answer(ours)

    assert [picture.item_id for picture in seen] == [ours.item_id]
    assert {message["itemId"] for message in lab.results.messages} == {str(ours.item_id)}
    assert await lab.committed("m@1") == 4
    unreadable = [
        record
        for record in caplog.records
        if record.levelno == logging.WARNING and record.name.startswith("bioscope_gql")
    ]
    assert len(unreadable) == 2


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (
            WorkerError("OUT_OF_FOCUS", "Nothing is sharp.", retryable=True),
            {"code": "OUT_OF_FOCUS", "message": "Nothing is sharp.", "retryable": True},
        ),
        (
            ZeroDivisionError("by zero"),
            {"code": "WORKER_FAILED", "message": "ZeroDivisionError: by zero", "retryable": False},
        ),
        (
            ValueError("a \0 and a \ud800"),
            {"code": "WORKER_FAILED", "message": "ValueError: a \ufffd and a ?", "retryable": False},
        ),
        (
            WorkerError("TOO_LONG", "x" * 3000),
            {"code": "TOO_LONG", "message": "x" * 2000, "retryable": False},
        ),
    ],
    ids=["its own", "unforeseen", "unprintable", "long"],
)
async def test_an_error_of_the_function_becomes_the_answer(
    lab: Lab, raised: Exception, told: Message
) -> None:
    worker, _ = a_worker(raised)
    job = lab.a_job()
    async with at_work(worker, lab.options()):
        await lab.send(job)
        answer = await lab.answer(job)

    assert answer == {
        "v": 1,
        "itemId": str(job.item_id),
        "attempt": 1,
        "status": "error",
        "error": told,
        "worker": {"name": "w1", "version": "1"},
    }


async def test_a_stop_iteration_in_a_thread_ends_the_job_and_not_the_worker(lab: Lab) -> None:
    worker = Worker("m", "1")

    @worker.classify
    def classify(_picture: Picture) -> dict[str, float]:
        return next(iter(()))

    first, second = lab.a_job(), lab.a_job()
    async with at_work(worker, lab.options()):
        await lab.send(first, second)
        answers = [await lab.answer(job) for job in (first, second)]

    assert [answer["error"]["code"] for answer in answers] == ["WORKER_FAILED"] * 2


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ("a", "The classify function returned str: it must return a Prediction"),
        ({}, "scores: Tuple should have at least 1 item"),
        ({"a": 1.5}, "less than or equal to 1"),
        ({"a": float("nan")}, "confidence: Input should be a finite number"),
        ({"a\n": 1}, "String should match pattern"),
        ({"a": "sure"}, "could not convert string to float"),
        (Prediction({"a": 1}, details={"x": "y" * 70_000}), "details may take at most 64 KiB"),
        (Prediction({"a": 1}, details={"x": "\0"}), "contains the character NUL"),
        (Prediction({"a": 1}, details={"x": np.zeros(3)}), "not JSON serializable"),
        (Prediction({"\U0001f52c" * 200 + str(n): 0.5 for n in range(1000)}), "a message may have 262,144"),
    ],
)
async def test_what_the_contract_cannot_carry_is_an_invalid_prediction(
    lab: Lab, returned: object, why: str
) -> None:
    worker, _ = a_worker(returned)
    job = lab.a_job()
    async with at_work(worker, lab.options()):
        await lab.send(job)
        answer = await lab.answer(job)

    assert answer["error"]["code"] == "INVALID_PREDICTION"
    assert answer["error"]["retryable"] is False
    assert why in answer["error"]["message"]


async def test_slow_work_says_started_and_goes_on_saying_so_within_a_third_of_its_lease(lab: Lab) -> None:
    worker, go = Worker("m", "1"), asyncio.Event()

    @worker.classify
    async def classify(_picture: Picture) -> dict[str, float]:
        await go.wait()
        return {"a": 1}

    job = lab.a_job().model_copy(update={"lease_seconds": 0.3})
    async with at_work(worker, lab.options()):
        await lab.send(job)
        await lab.results.until(lambda messages: len(messages) >= 3)
        go.set()
        said = await lab.said_of(job)

    assert [message["status"] for message in said[:3]] == ["started"] * 3
    assert said[-1]["status"] == "ok"
    assert said[0] == {
        "v": 1,
        "itemId": str(job.item_id),
        "attempt": 1,
        "status": "started",
        "worker": {"name": "w1", "version": "1"},
    }


async def test_a_picture_that_waits_for_its_turn_does_not_count_as_started(lab: Lab) -> None:
    worker, go, at_once, most = Worker("m", "1"), asyncio.Event(), 0, 0

    @worker.classify
    async def classify(_picture: Picture) -> dict[str, float]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await go.wait()
        at_once -= 1
        return {"a": 1}

    jobs = [lab.a_job() for _ in range(7)]
    async with at_work(worker, lab.options(concurrency=2)):
        await lab.send(*jobs)
        started = await lab.results.until(lambda messages: len(messages) >= 2)
        go.set()
        answers = [await lab.answer(job) for job in jobs]

    assert [message["status"] for message in started] == ["started"] * 2
    assert [answer["status"] for answer in answers] == ["ok"] * 7
    assert most == 2
    assert len(lab.results.messages) == 9


async def test_a_broker_that_is_away_at_the_start_and_again_later_is_waited_for(lab: Lab) -> None:
    worker, go, returned = Worker("m", "1"), asyncio.Event(), asyncio.Event()

    @worker.classify
    async def classify(_picture: Picture) -> dict[str, float]:
        await go.wait()
        returned.set()
        return {"a": 1}

    first, second = lab.a_job(), lab.a_job()
    await lab.send(first)
    lab.broker.pause()
    async with at_work(worker, lab.options()):
        await logged("Jobs wait for Kafka, trying again")
        lab.broker.resume()
        await lab.said_of(first, until=("started",))
        lab.broker.pause()
        go.set()
        await returned.wait()
        lab.broker.resume()
        assert (await lab.answer(first))["status"] == "ok"
        await lab.send(second)
        assert (await lab.answer(second))["status"] == "ok"


def test_a_worker_without_a_function_and_a_code_that_is_none_are_refused() -> None:
    with pytest.raises(RuntimeError, match="decorate a function"):
        asyncio.run(Worker("m", "1").run(Lab.nowhere(), asyncio.Event()))
    with pytest.raises(ValueError, match="code"):
        WorkerError("out of focus", "Nothing is sharp.")
    with pytest.raises(ValueError, match="name"):
        Worker("no spaces please", "1")
