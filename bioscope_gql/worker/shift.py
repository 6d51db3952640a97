"""One worker at work, from its start until everything in hand is finished."""

import asyncio
import logging

from bioscope_gql.events.messages import Announcement, AnsweringModel, ModelRef, ServedModel, WorkerRef
from bioscope_gql.worker.answers import Answers
from bioscope_gql.worker.jobs import HELD_AT_MOST, JobReader
from bioscope_gql.worker.options import Options
from bioscope_gql.worker.outbox import Outbox
from bioscope_gql.worker.pictures import Pictures
from bioscope_gql.worker.presence import Presence
from bioscope_gql.worker.slots import Slots, hands
from bioscope_gql.worker.turns import MadeFor

_FLUSH_SECONDS = 5
_LEAVE_SECONDS = 3
_log = logging.getLogger(__name__)


class Shift:
    """Takes jobs of one model and answers them until told to stop.

    A broker that is away, at the start or later, is waited for. Nothing is lost however this ends: a job
    whose answer the broker has not confirmed comes again.
    """

    def __init__(self, model: ServedModel, worker: WorkerRef, turns: MadeFor, options: Options) -> None:
        ref = ModelRef(name=model.name, version=model.version)
        answering = AnsweringModel(name=model.name, version=model.version, digest=model.digest)
        made = turns(options.concurrency)
        at_once = min(made.pictures_at_once, HELD_AT_MOST)
        announcement = Announcement(worker=worker, status="up", models=(model,), concurrency=at_once)
        self._worker = worker
        self._options = options
        self._outbox = Outbox(options)
        self._reader = JobReader(ref, options, name=worker.name, in_hand_at_most=hands(made))
        self._presence = Presence(announcement, options.topics.workers, self._outbox)
        self._pictures = Pictures(options)
        self._slots = Slots(
            made,
            ref,
            options,
            answers=Answers(worker, answering),
            outbox=self._outbox,
            pictures=self._pictures,
        )

    async def run(self, stop: asyncio.Event) -> bool:
        """Work until `stop` is set; say whether all that was in hand then got its answer out in time."""
        asked = asyncio.create_task(stop.wait(), name="stop")
        sending = asyncio.create_task(self._outbox.run(), name="outbox")
        reading = asyncio.create_task(self._reader.run(), name="jobs")
        announcing = asyncio.create_task(self._presence.run(), name="presence")
        working = asyncio.create_task(self._slots.run(self._reader.queue), name="slots")
        tasks = (asked, sending, reading, announcing, working)
        _log.info("%s is at work.", self._worker.name)
        async with self._pictures:
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()  # a bug ends the process: its supervisor starts it again
                return await self._stop(reading, announcing, working)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _stop(
        self, reading: "asyncio.Task[None]", announcing: "asyncio.Task[None]", working: "asyncio.Task[None]"
    ) -> bool:
        _log.info("%s stops; %d pictures are in hand.", self._worker.name, self._slots.in_hand)
        self._reader.stop_fetching()
        self._slots.stop()
        self._reader.queue.put_nowait(None)
        await asyncio.wait([working], timeout=self._options.stop_seconds)
        finished = working.done() and working.exception() is None
        if not finished:
            _log.warning("%d pictures are left unfinished: they come again.", self._slots.in_hand)
        flushed = await self._outbox.flush(seconds=_FLUSH_SECONDS)
        announcing.cancel()
        self._presence.leave()
        self._reader.release()
        goodbye = asyncio.create_task(self._outbox.flush(seconds=_LEAVE_SECONDS), name="goodbye")
        await asyncio.wait([reading, goodbye], timeout=_LEAVE_SECONDS)
        _log.info("%s has left.", self._worker.name)
        return finished and flushed
