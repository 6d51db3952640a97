"""Batch functions: what they are given, what becomes of what they return, and what a stop does."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bioscope_gql.worker.sdk import Picture, Prediction, Worker, WorkerError
from tests.worker_lab import Lab, Message, a_lab, at_work

pytestmark = pytest.mark.timeout(60)

LONG_MS = 60_000


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with a_lab(tmp_path) as lab:
        yield lab


class Batched:
    """A worker of batches of `size`, what it was called with, and a gate that each call waits at."""

    def __init__(
        self, returns: Callable[[Sequence[bytes]], object], *, size: int, wait_ms: float = LONG_MS
    ) -> None:
        self.worker = Worker("m", "1")
        self.calls: list[list[bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = self.most = 0

        @self.worker.classify_batch(size=size, wait_ms=wait_ms)
        async def classify(pictures: Sequence[Picture]) -> Any:
            self.calls.append([picture.data for picture in pictures])
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            try:
                await self.gate.wait()
                return returns([picture.data for picture in pictures])
            finally:
                self.at_once -= 1


def named(pictures: Sequence[bytes]) -> list[dict[str, float]]:
    return [{data.decode(): 1.0} for data in pictures]


def label(answer: Message) -> str:
    text: str = answer["scores"][0]["label"]
    return text


async def answered(lab: Lab, worker: Worker, pictures: Sequence[bytes], **options: Any) -> list[Message]:
    jobs = [lab.a_job(data) for data in pictures]
    async with at_work(worker, lab.options(**options)):
        await lab.send(*jobs)
        return [await lab.answer(job) for job in jobs]


async def test_a_full_batch_is_one_call_and_each_picture_gets_its_own_answer(lab: Lab) -> None:
    batched = Batched(named, size=4)
    answers = await answered(lab, batched.worker, [b"a", b"b", b"c", b"d"])

    assert [label(answer) for answer in answers] == ["a", "b", "c", "d"]
    assert [sorted(call) for call in batched.calls] == [[b"a", b"b", b"c", b"d"]]
    assert {answer["durationMs"] < 1000 for answer in answers} == {True}
    assert await lab.committed("m@1") == 4


async def test_a_batch_that_does_not_fill_leaves_after_its_wait(lab: Lab) -> None:
    batched = Batched(named, size=100, wait_ms=20)
    answers = await answered(lab, batched.worker, [b"a", b"b", b"c"])

    assert [label(answer) for answer in answers] == ["a", "b", "c"]
    assert sorted(data for call in batched.calls for data in call) == [b"a", b"b", b"c"]


async def test_a_batch_function_that_is_not_async_runs_in_a_thread(lab: Lab) -> None:
    worker, threads = Worker("m", "1"), set[str]()

    @worker.classify_batch(size=2)
    def classify(pictures: Sequence[Picture]) -> list[Prediction]:
        threads.add(threading.current_thread().name)
        return [Prediction({picture.data.decode(): 1}) for picture in pictures]

    answers = await answered(lab, worker, [b"a", b"b", b"c"])

    assert [label(answer) for answer in answers] == ["a", "b", "c"]
    assert threads == {"classify-0"}


async def test_concurrency_counts_calls_and_is_announced_as_pictures(lab: Lab) -> None:
    batched = Batched(named, size=2)
    batched.gate.clear()
    jobs = [lab.a_job(str(number).encode()) for number in range(12)]
    async with at_work(batched.worker, lab.options(concurrency=3)):
        (up,) = await lab.workers.until(lambda messages: len(messages) >= 1)
        await lab.send(*jobs)
        started = await lab.results.until(lambda messages: len(messages) >= 6)
        batched.gate.set()
        answers = [await lab.answer(job) for job in jobs]

    assert up["concurrency"] == 6
    assert batched.most == 3
    assert {message["status"] for message in started} == {"started"}
    assert sorted(map(label, answers), key=int) == [str(number) for number in range(12)]
    assert [len(call) for call in batched.calls] == [2] * 6


async def test_an_error_in_a_place_is_that_pictures_answer_alone(lab: Lab) -> None:
    batched = Batched(
        lambda pictures: [
            WorkerError("OUT_OF_FOCUS", "Nothing is sharp.", retryable=True) if data == b"b" else {"a": 1.0}
            for data in pictures
        ],
        size=3,
    )
    answers = await answered(lab, batched.worker, [b"a", b"b", b"c"])

    assert [answer["status"] for answer in answers] == ["ok", "error", "ok"]
    assert answers[1]["error"] == {"code": "OUT_OF_FOCUS", "message": "Nothing is sharp.", "retryable": True}
    assert len(batched.calls) == 1


async def test_what_makes_a_batch_fail_fails_alone_and_the_others_are_classified(lab: Lab) -> None:
    def picky(pictures: Sequence[bytes]) -> list[dict[str, float]]:
        if b"bad" in pictures:
            raise ZeroDivisionError("by zero")
        return named(pictures)

    batched = Batched(picky, size=3)
    answers = await answered(lab, batched.worker, [b"a", b"bad", b"c"])

    assert [answer["status"] for answer in answers] == ["ok", "error", "ok"]
    assert (label(answers[0]), label(answers[2])) == ("a", "c")
    assert answers[1]["error"] == {
        "code": "WORKER_FAILED", "message": "ZeroDivisionError: by zero", "retryable": False,
    }  # fmt: skip
    assert [len(call) for call in batched.calls] == [3, 1, 1, 1]


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ([{"a": 1.0}], "returned 1 predictions for 2 pictures"),
        ({"a": 1.0}, "returned dict for 2 pictures"),
        ("ab", "returned str for 2 pictures"),
        (None, "returned NoneType for 2 pictures"),
    ],
)
async def test_anything_but_a_prediction_for_each_is_invalid_for_all(
    lab: Lab, returned: object, why: str
) -> None:
    batched = Batched(lambda _pictures: returned, size=2)
    answers = await answered(lab, batched.worker, [b"a", b"b"])

    assert [answer["error"]["code"] for answer in answers] == ["INVALID_PREDICTION"] * 2
    assert all(why in answer["error"]["message"] for answer in answers)


async def test_one_prediction_that_the_contract_cannot_carry_is_invalid_alone(lab: Lab) -> None:
    batched = Batched(lambda pictures: [{"a": 2.0 if data == b"b" else 1.0} for data in pictures], size=2)
    answers = await answered(lab, batched.worker, [b"a", b"b"])

    assert answers[0]["status"] == "ok"
    assert answers[1]["error"]["code"] == "INVALID_PREDICTION"


async def test_all_pictures_of_a_slow_batch_say_started_and_go_on_saying_so(lab: Lab) -> None:
    batched = Batched(named, size=2)
    batched.gate.clear()
    jobs = [lab.a_job(data).model_copy(update={"lease_seconds": 0.3}) for data in (b"a", b"b")]
    async with at_work(batched.worker, lab.options()):
        await lab.send(*jobs)
        ids = {str(job.item_id) for job in jobs}
        await lab.results.until(
            lambda messages: all(sum(m["itemId"] == id for m in messages) >= 3 for id in ids)
        )
        batched.gate.set()
        said = [await lab.said_of(job) for job in jobs]

    assert [[message["status"] for message in each][:3] for each in said] == [["started"] * 3] * 2
    assert [each[-1]["status"] for each in said] == ["ok", "ok"]


async def test_a_stop_finishes_the_batch_at_work_and_hands_back_the_one_that_fills(lab: Lab) -> None:
    batched = Batched(named, size=2)
    batched.gate.clear()
    jobs = [lab.a_job(data) for data in (b"a", b"b", b"c")]
    async with at_work(batched.worker, lab.options()) as stop:
        await lab.send(*jobs)
        await lab.results.until(lambda messages: len(messages) >= 2)
        stop.set()
        batched.gate.set()
    assert [len(call) for call in batched.calls] == [2]
    finished = {message["itemId"] for message in lab.results.messages if message["status"] == "ok"}
    assert len(finished) == 2

    successor = Batched(named, size=2, wait_ms=5)
    (left,) = [job for job in jobs if str(job.item_id) not in finished]
    async with at_work(successor.worker, lab.options(name="w2")):
        assert (await lab.answer(left))["status"] == "ok"


def test_a_batch_of_a_size_that_cannot_be_is_refused() -> None:
    worker = Worker("m", "1")
    for size, wait_ms in ((0, 5), (501, 5), (1, -1), (1, 60_001)):
        with pytest.raises(ValueError, match="can't be"):
            worker.classify_batch(size=size, wait_ms=wait_ms)
    worker.classify(lambda _picture: {"a": 1})
    with pytest.raises(RuntimeError, match="one function"):
        worker.classify_batch()(lambda _pictures: [])
