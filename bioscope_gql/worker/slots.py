"""The hands of a worker: they take jobs, and each job gets its answer."""

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial

from bioscope_gql.events.messages import Job, ModelRef, Unreadable, parse
from bioscope_gql.worker.answers import Answers, WorkerError, from_exception
from bioscope_gql.worker.company import Company
from bioscope_gql.worker.jobs import HELD_AT_MOST, Delivery
from bioscope_gql.worker.lease import Lease
from bioscope_gql.worker.options import Options
from bioscope_gql.worker.outbox import Outbox
from bioscope_gql.worker.pictures import Picture, Pictures
from bioscope_gql.worker.turns import GivenBack, Turns

_log = logging.getLogger(__name__)


def hands(turns: Turns) -> int:
    """How many jobs are in hand at most: as many as are classified at a time are fetched ahead."""
    return min(2 * turns.pictures_at_once, HELD_AT_MOST)


class Slots:
    """Does the jobs of a queue: fetches each picture, has it classified in its turn, posts the answer.

    A job is done when the broker has confirmed its answer. A suspect is done alone: if it kills this worker
    too it takes no other picture along, has been told as started, and does not meet the next worker at once.
    """

    def __init__(
        self,
        turns: Turns,
        model: ModelRef,
        options: Options,
        *,
        answers: Answers,
        outbox: Outbox,
        pictures: Pictures,
    ) -> None:
        self._turns = turns
        self._model = model
        self._options = options
        self._answers = answers
        self._outbox = outbox
        self._pictures = pictures
        self._company = Company()
        self._stopping = False
        self.in_hand = 0

    def stop(self) -> None:
        """Begin with no further picture: those that were fetched ahead come again."""
        self._stopping = True
        self._turns.stop()

    async def run(self, queue: "asyncio.Queue[Delivery | None]") -> None:
        """Work until None comes out of the queue and what is in hand is finished."""
        try:
            async with asyncio.TaskGroup() as slots:
                for _ in range(hands(self._turns)):
                    slots.create_task(self._slot(queue))
        finally:
            self._turns.close()

    async def _slot(self, queue: "asyncio.Queue[Delivery | None]") -> None:
        while (delivery := await queue.get()) is not None:
            job = self._job(delivery)
            if job is None:
                delivery.done()
                continue
            self.in_hand += 1
            try:
                async with self._company.alone() if delivery.suspect else self._company.together():
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
        lease = Lease(job.lease_seconds, partial(self._say, job, delivery, self._answers.started(job)))
        try:
            if delivery.suspect:
                await self._set_aside(job, delivery)
            answer = await self._answer(job, lease)
        except GivenBack:
            return
        except WorkerError as error:
            _log.info("Item %s has no result: %s: %s", job.item_id, error.code, error)
            answer = self._answers.failed(job, error)
        except Exception as error:  # noqa: BLE001 - whatever a model raises, its picture gets an answer
            _log.exception("The model failed at item %s, image %s.", job.item_id, job.image_id)
            answer = self._answers.failed(job, from_exception(error))
        finally:
            lease.end()
        self._say(job, delivery, answer).add_done_callback(partial(self._arrived, job, delivery))

    async def _set_aside(self, job: Job, delivery: Delivery) -> None:
        if self._stopping:
            raise GivenBack
        await self._say(job, delivery, self._answers.started(job))
        await delivery.set_aside()

    async def _answer(self, job: Job, lease: Lease) -> bytes:
        lease.work()
        picture = Picture.of(job, await self._pictures.fetch(job))
        lease.rest()
        found, seconds = await self._turns.classified(picture, lease.work)
        return self._answers.ok(job, found, seconds * 1000)

    def _say(self, job: Job, delivery: Delivery, message: bytes) -> "asyncio.Future[None]":
        topic, key = self._options.topics.results, str(job.item_id).encode()
        return self._outbox.post(topic, key, message, delivery.echo)

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
