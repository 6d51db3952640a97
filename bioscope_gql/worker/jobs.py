"""The jobs of one model, as they come from Kafka."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bioscope_gql.events.clients import OUTAGES, bounded
from bioscope_gql.events.messages import ModelRef
from bioscope_gql.worker.kafka import (
    AIOKafkaConsumer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
    consumer,
)
from bioscope_gql.worker.options import Options
from bioscope_gql.worker.progress import Progress

HELD_AT_MOST = 1_000
"""Jobs that are read and not done; more are not fetched."""

TRACEPARENT = "traceparent"
"""The header of W3C Trace Context."""

_COMMIT_EVERY_SECONDS = 0.05
_RETRY_SECONDS = 0.5
_STILL_HERE_SECONDS = 30
_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Delivery:
    """One job as it came. `done()` once its answer has arrived, or when it needs none.

    `suspect`: it may be what killed the last worker that had it.
    """

    value: bytes
    suspect: bool
    echo: Mapping[str, bytes]
    """Headers that its answers carry too: where it stands in a trace."""
    _offset: int
    _progress: Progress
    _reader: "JobReader"

    @property
    def lost(self) -> bool:
        """Its partition went to another worker, who will get it too."""
        return self._progress.lost

    def done(self) -> None:
        self._progress.done(self._offset)
        self._reader.wake()

    async def set_aside(self) -> None:
        """Whoever comes after us goes on behind this job: if it kills us, its lease brings it again."""
        self._progress.done(self._offset)
        await self._reader.commit()


class JobReader(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads jobs into `queue`, passes over those of other models, commits what is done.

    `ready` is set once the group has given this worker its share, and again after every outage.

    What it commits says that `name` is at work, until it leaves well. Who finds another's name when it takes
    a partition over knows that its last owner died, and that one of the `in_hand_at_most` first jobs may be
    why.
    """

    def __init__(self, model: ModelRef, options: Options, *, name: str, in_hand_at_most: int) -> None:
        self._name = name
        self._in_hand_at_most = in_hand_at_most
        self._options = options
        self._topic = options.topics.jobs_of(model.name)
        self._group = f"{model.name}@{model.version}"
        self._wanted = {"model": model.name.encode(), "model-version": model.version.encode()}
        self._assigned: set[TopicPartition] = set()
        self._partitions: dict[TopicPartition, Progress] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._reachable = True
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._released = asyncio.Event()
        self.queue: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self.ready = asyncio.Event()

    def wake(self) -> None:
        """Something is done: there may be something to commit, and room for more."""
        self._changed.set()

    def stop_fetching(self) -> None:
        """Take no more jobs; what is held can still be finished and committed."""
        self._closing.set()
        self._changed.set()
        while not self.queue.empty():
            self.queue.get_nowait()

    def release(self) -> None:
        """Commit what is done and leave the group: then `run` ends."""
        self.stop_fetching()
        self._released.set()

    async def run(self) -> None:
        """Read until released; a broker that is away is waited for."""
        while not self._released.is_set():
            try:
                async with consumer(
                    self._options, topic=self._topic, group=self._group, listener=self
                ) as made:
                    self._consumer = made
                    self._reachable = True
                    await self._read(made)
            except OUTAGES as error:
                level = logging.WARNING if self._reachable else logging.DEBUG
                _log.log(level, "Jobs wait for Kafka, trying again: %s", error or type(error).__name__)
                self._reachable = False
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                self._consumer = None
                self._lose(tuple(self._partitions))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """What is done is committed; what is held comes again, to whoever has the partition then."""
        if self._consumer is not None:
            await bounded(self._leave(self._consumer), 1)
        self._lose(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._assigned = set(assigned)
        self.ready.set()

    def _lose(self, partitions: Iterable[TopicPartition]) -> None:
        self.ready.clear()
        self._assigned.difference_update(partitions)
        for partition in partitions:
            if progress := self._partitions.pop(partition, None):
                progress.lost = True

    async def _read(self, made: AIOKafkaConsumer) -> None:
        committing = asyncio.create_task(self._commit_regularly(), name="commit")
        try:
            while not self._closing.is_set():
                room = HELD_AT_MOST - sum(progress.held for progress in self._partitions.values())
                if room > 0:
                    batches = await made.getmany(timeout_ms=100, max_records=room)
                    for partition in batches.keys() - self._partitions.keys():
                        await self._take_over(made, partition, batches[partition][0].offset)
                    self._sort(batches)
                else:
                    await self._wait_for_room(made)
            await self._released.wait()
        finally:
            committing.cancel()
            await asyncio.wait([committing])
            await bounded(self._leave(made), 2)

    async def _take_over(self, made: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> None:
        """Find out how the last owner of a partition ended, and say that there is another."""
        # the public `committed` tells the offset only
        found = await made._coordinator.fetch_committed_offsets([partition])  # noqa: SLF001
        died = partition in found and found[partition].metadata not in ("", self._name)
        if partition not in self._assigned:  # revoked meanwhile
            return
        if died:
            _log.warning(
                "The last worker on partition %d died: careful with what it may have had in hand.",
                partition.partition,
            )
        self._partitions[partition] = Progress(offset, suspects=self._in_hand_at_most if died else 0)
        await self._committed(made, {partition: (offset, self._name)})

    async def _wait_for_room(self, made: AIOKafkaConsumer) -> None:
        """Wait for a change, and poll now and then without taking anything: else the group forgets us."""
        self._changed.clear()
        try:
            async with asyncio.timeout(_STILL_HERE_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            partitions = made.assignment()
            made.pause(*partitions)
            await made.getmany(timeout_ms=0)
            made.resume(*partitions)

    def _sort(self, batches: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        for partition, records in batches.items():
            progress = self._partitions.get(partition)
            if progress is None:  # revoked while it was being fetched
                continue
            for record in records:
                if self._is_for_us(record):
                    suspect = progress.read(record.offset)
                    value = record.value or b""
                    self.queue.put_nowait(
                        Delivery(value, suspect, _echo(record), record.offset, progress, self)
                    )
                else:
                    progress.passed(record.offset)
            self._changed.set()

    def _is_for_us(self, record: ConsumerRecord) -> bool:
        headers = dict(record.headers)
        return all(headers.get(name, value) == value for name, value in self._wanted.items())

    async def _commit_regularly(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.commit()
            await asyncio.sleep(_COMMIT_EVERY_SECONDS)

    async def commit(self) -> None:
        """What is done and not yet committed."""
        held = dict(self._partitions)
        offsets = {p: offset for p, progress in held.items() if (offset := progress.to_commit) is not None}
        told = {partition: (offset, self._name) for partition, offset in offsets.items()}
        if self._consumer is None or not told or not await self._committed(self._consumer, told):
            return
        for partition, offset in offsets.items():
            held[partition].committed(offset)

    async def _leave(self, made: AIOKafkaConsumer) -> None:
        """Commit what is done, and that nobody died."""
        await self._committed(made, {p: (progress.prefix, "") for p, progress in self._partitions.items()})

    async def _committed(
        self, made: AIOKafkaConsumer, offsets: Mapping[TopicPartition, tuple[int, str]]
    ) -> bool:
        """Whether it could be done; nothing is lost otherwise: without a commit the jobs come again."""
        if not offsets:
            return True
        try:
            await made.commit(offsets)
        except OUTAGES as error:
            _log.info("Could not commit, will try again: %s", type(error).__name__)
            self._changed.set()
            return False
        return True


def _echo(record: ConsumerRecord) -> Mapping[str, bytes]:
    return {name: value for name, value in record.headers if name == TRACEPARENT}
