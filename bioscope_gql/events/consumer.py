"""Reading a topic in batches: apply, commit to the database, then acknowledge. Nothing is skipped."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from bioscope_gql.db import is_away

POLL_MS = 1_000
MOST_RECORDS = 500
MOST_WAIT_SECONDS = 2.0

Records: TypeAlias = Sequence["ConsumerRecord[bytes, bytes]"]
Batches: TypeAlias = Mapping[TopicPartition, Sequence["ConsumerRecord[bytes, bytes]"]]
Apply = Callable[[Records], Awaitable[None]]
"""Takes a batch; raises what the database raises while it is away, and then it is given the same again."""

logger = structlog.get_logger()


class Backlog:
    """How far a reader is behind. While it `is_small`, what was answered in time was taken down in time."""

    def __init__(self) -> None:
        self.is_small = False
        self._behind: dict[TopicPartition, int] = {}

    @property
    def behind(self) -> int:
        """Records that are known and not dealt with, as of the last batch."""
        return sum(self._behind.values())

    def begins(self) -> None:
        """A batch is about to be dealt with; with the database away that may take a while."""
        self.is_small = False

    def ends(self, consumer: "AIOKafkaConsumer", batches: Batches) -> None:
        """Everything up to the end of these batches was dealt with; no batches: there was nothing more."""
        assigned = consumer.assignment()
        if not batches:
            self._behind.clear()
        for partition, records in batches.items():
            if partition in assigned:
                end = consumer.highwater(partition) or 0
                self._behind[partition] = end - records[-1].offset - 1
        self.is_small = sum(self._behind.get(each, 0) for each in assigned) <= MOST_RECORDS


async def consume(consumer: "AIOKafkaConsumer", apply: Apply, backlog: Backlog | None = None) -> None:
    """Read until cancelled. What was not acknowledged comes again, here or in another replica."""
    backlog = backlog or Backlog()
    while True:
        batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=MOST_RECORDS)
        if batches:
            backlog.begins()
            await _insist(consumer, apply, [record for batch in batches.values() for record in batch])
            await _acknowledge(consumer)
        backlog.ends(consumer, batches)


async def _acknowledge(consumer: "AIOKafkaConsumer") -> None:
    """A member that was away too long has lost its share: others get the batch again, which does no harm."""
    try:
        await consumer.commit()
    except (CommitFailedError, IllegalStateError) as error:
        logger.info("batch_not_acknowledged", reason=str(error) or type(error).__name__)


async def _insist(consumer: "AIOKafkaConsumer", apply: Apply, records: Records) -> None:
    """Apply, however long the database is away; meanwhile the group must not take us for dead."""
    wait = 0.05
    while True:
        try:
            await apply(records)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if not is_away(error):
                raise
            logger.warning("database_away", reason=str(error) or type(error).__name__, records=len(records))
        else:
            return
        await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - so that replicas don't come at once
        wait = min(2 * wait, MOST_WAIT_SECONDS)
        await _show_life(consumer)


async def _show_life(consumer: "AIOKafkaConsumer") -> None:
    """Poll without taking anything."""
    partitions = consumer.assignment()
    consumer.pause(*partitions)
    try:
        for partition, records in (await consumer.getmany(timeout_ms=0)).items():
            # Of a partition that was assigned just now, and so not paused: to be read again.
            consumer.seek(TopicPartition(*partition), records[0].offset)
    finally:
        consumer.resume(*(consumer.assignment() & partitions))
