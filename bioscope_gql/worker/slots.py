"""The hands of a worker: they take jobs, and each job gets its answer."""

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

from bioscope_gql.events.messages import Job, ModelRef, Unreadable, parse
from bioscope_gql.worker.answers import Answers, WorkerError, from_exception
from bioscope_gql.worker.jobs import Delivery
from bioscope_gql.worker.lease import Lease
from bioscope_gql.worker.options import Options
from bioscope_gql.worker.outbox import Outbox
from bioscope_gql.worker.pictures import Picture, Pictures
from bioscope_gql.worker.threads import Threads

Function: TypeAlias = Callable[[Picture], Any]
"""Takes a picture and returns what `Answers.ok` takes, or an awaitable of it."""

_log = logging.getLogger(__name__)


class _GivenBack(Exception):
    """The worker stops, and had not begun with the job."""


class Slots:
    """Does the jobs of a queue: fetches each picture, runs the function over it, posts the answer.

    The function runs over at most `concurrency` pictures at a time: in a thread, unless it is async. As
    many pictures are fetched ahead. A job is done when the broker has confirmed its answer.
    """

    def __init__(
        self,
        function: Function,
        model: ModelRef,
        options: Options,
        *,
        answers: Answers,
        outbox: Outbox,
        pictures: Pictures,
    ) -> None:
        self._function = function
        self._model = model
        self._options = options
        self._answers = answers
        self._outbox = outbox
        self._pictures = pictures
        self._turns = asyncio.Semaphore(options.concurrency)
        self._threads = Threads(options.concurrency)
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
        )
        self._stopping = False
        self.in_hand = 0

    def stop(self) -> None:
        """Begin with no further picture: those that were fetched ahead come again."""
        self._stopping = True

    async def run(self, queue: "asyncio.Queue[Delivery | None]") -> None:
        """Work until None comes out of the queue and what is in hand is finished."""
        try:
            async with asyncio.TaskGroup() as slots:
                for _ in range(2 * self._options.concurrency):
                    slots.create_task(self._slot(queue))
        finally:
            self._threads.close()

    async def _slot(self, queue: "asyncio.Queue[Delivery | None]") -> None:
        while (delivery := await queue.get()) is not None:
            job = self._job(delivery)
            if job is None:
                delivery.done()
                continue
            self.in_hand += 1
            try:
                await self._do(job, delivery)
            finally:
                self.in_hand -= 1
        queue.put_nowait(None)  # for the next slot

    def _job(self, delivery: Delivery) -> Job | None:
        """The job, unless there is nothing to do for it: somebody else has it, or it comes again."""
        if delivery.lost:
            return None
        try:
            job = parse(Job, delivery.value)
        except Unreadable as error:
            _log.warning("A job that can't be read is passed over: %s", error)
            return None
        if job.model != self._model:
            return None
        if job.deadline <= datetime.now(UTC):
            _log.info("Item %s is passed over, its deadline was %s.", job.item_id, job.deadline)
            return None
        return job

    async def _do(self, job: Job, delivery: Delivery) -> None:
        lease = Lease(job.lease_seconds, partial(self._say, job, self._answers.started(job)))
        try:
            answer = await self._answer(job, lease)
        except _GivenBack:
            return
        except WorkerError as error:
            _log.info("Item %s has no result: %s: %s", job.item_id, error.code, error)
            answer = self._answers.failed(job, error)
        except Exception as error:  # noqa: BLE001 - whatever a model raises, its picture gets an answer
            _log.exception("The model failed at item %s, image %s.", job.item_id, job.image_id)
            answer = self._answers.failed(job, from_exception(error))
        finally:
            lease.end()
        self._say(job, answer).add_done_callback(partial(self._arrived, job, delivery))

    async def _answer(self, job: Job, lease: Lease) -> bytes:
        lease.work()
        picture = Picture.of(job, await self._pictures.fetch(job))
        lease.rest()
        async with self._turns:
            if self._stopping:
                raise _GivenBack
            lease.work()
            found, seconds = await self._classified(picture)
        return self._answers.ok(job, found, seconds * 1000)

    async def _classified(self, picture: Picture) -> tuple[object, float]:
        """What the function returned, and how many seconds it took."""
        if not self._is_async:
            found, seconds = await self._threads.call(partial(_timed, self._function), picture)
            if not inspect.isawaitable(found):
                return found, seconds
        else:
            found = self._function(picture)
        return await _timed_too(found)

    def _say(self, job: Job, message: bytes) -> "asyncio.Future[None]":
        return self._outbox.post(self._options.topics.results, str(job.item_id).encode(), message)

    def _arrived(self, job: Job, delivery: Delivery, arrival: "asyncio.Future[None]") -> None:
        if arrival.cancelled():
            return
        if arrival.exception() is not None:
            _log.error(
                "The answer for item %s is too big for the topic %s: raise its max.message.bytes to 1 MiB.",
                job.item_id,
                self._options.topics.results,
            )
        delivery.done()


def _timed(function: Function, picture: Picture) -> tuple[object, float]:
    began = time.perf_counter()
    return function(picture), time.perf_counter() - began


async def _timed_too(found: Awaitable[object]) -> tuple[object, float]:
    began = time.perf_counter()
    return await found, time.perf_counter() - began
