"""The results topic: parsed record by record, recorded in batches; what can't be goes to the dead letters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from bioscope_gql.db import is_away
from bioscope_gql.events import consumer
from bioscope_gql.events.broker import Link, Reading
from bioscope_gql.events.consumer import Backlog, Records
from bioscope_gql.events.deadletters import DeadLetters
from bioscope_gql.events.messages import SeedResult, Unreadable, parse_result
from bioscope_gql.resolvers import results
from bioscope_gql.resolvers.results import Answer
from bioscope_gql.services import Services

FOREIGN = "It belongs to no picture of any run: the run may have been deleted, or the ids are wrong."

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Received:
    record: Any
    answer: Answer


class Results:
    """Reads the answers of all workers, in one group for all replicas."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.backlog = Backlog()

    def reading(self) -> Reading:
        kafka = self._services.settings.kafka

        def read(link: Link) -> Any:
            subscription = link.subscribe(kafka.topics.results, group=kafka.consumer_group)
            letters = DeadLetters(self._services, link)

            async def loop() -> None:
                self.backlog = Backlog()

                async def apply(records: Records) -> None:
                    await self._apply(records, letters)

                await consumer.consume(subscription.consumer, apply, self.backlog)

            return loop()

        return read

    async def _apply(self, records: Records, letters: DeadLetters) -> None:
        """Record the answers of a batch, then bury what is none.

        So what waits for the database is buried once, and where the letter of a record is, everything that
        came before it in its partition is recorded.
        """
        received, unreadable = [], []
        for record in records:
            try:
                received.append(Received(record, parse_result(record.value or b"")))
            except Unreadable as error:
                unreadable.append((record, error.reason))
        await self._record(received, letters)
        for record, reason in unreadable:
            self._services.metrics.answers.labels("unreadable").inc()
            await letters.bury(record, reason)

    async def _record(self, received: Sequence[Received], letters: DeadLetters) -> None:
        """Record a batch; one that the database refuses is halved until the culprit is alone."""
        if not received:
            return
        try:
            applied = await results.record(self._services, [each.answer for each in received])
        except Exception as error:
            if is_away(error):
                raise
            if len(received) == 1:
                await letters.bury(received[0].record, _refusal(error))
                return
            middle = len(received) // 2
            await self._record(received[:middle], letters)
            await self._record(received[middle:], letters)
            return
        count = self._services.metrics.answers
        count.labels("recorded").inc(applied.recorded)
        count.labels("superseded").inc(applied.superseded)
        count.labels("foreign").inc(len(applied.foreign))
        self._trace(received)
        foreign = {id(answer) for answer in applied.foreign}
        for each in received:
            if id(each.answer) in foreign:
                await letters.bury(each.record, FOREIGN)
        if applied.superseded:
            logger.info("answers_superseded", count=applied.superseded)

    def _trace(self, received: Sequence[Received]) -> None:
        for each in received:
            if not isinstance(each.answer, SeedResult):  # which never carries one
                item, record = str(each.answer.item_id), each.record
                self._services.tracing.received(record.topic, item, record.headers, each.answer.status)


def _refusal(error: Exception) -> str:
    """The reason of one that can't be recorded; what is no refusal of the database is a bug, so logged."""
    if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] in ("22", "23"):
        return f"The database refuses it: {error.args[0] if error.args else error.sqlstate}."
    logger.error("answer_not_recorded", exc_info=error)
    return f"It could not be recorded ({type(error).__name__}). The server's log has more."
