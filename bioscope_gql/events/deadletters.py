"""Messages that could not be stored: kept in a table for people, and in a topic for machines."""

from typing import Any

import structlog

from bioscope_gql.events.broker import Link
from bioscope_gql.events.clients import OUTAGES
from bioscope_gql.services import Services
from bioscope_gql.vocabulary import uuid7

logger = structlog.get_logger()


class DeadLetters:
    """Where one link's bad records go."""

    def __init__(self, services: Services, link: Link) -> None:
        self._services, self._link = services, link

    async def bury(self, record: Any, reason: str) -> None:
        """Keep a record with its reason, once however often it is read.

        Raises:
            asyncpg.PostgresError: the database is away. The topic is tried only afterwards.
        """
        most = self._services.settings.limits.dead_letter_bytes
        raw: bytes = record.value or b""
        text = raw[:most].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        await self._services.db.execute(
            'insert into dead_letters (id, topic, partition, "offset", reason, payload, payload_is_cut)'
            " values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
            uuid7(),
            record.topic,
            record.partition,
            record.offset,
            reason,
            text,
            len(raw) > most,
        )
        logger.warning(
            "dead_letter", topic=record.topic, partition=record.partition, offset=record.offset, reason=reason
        )
        try:
            await self._link.send(
                self._services.settings.kafka.topics.dead_letters,
                raw[:most],
                key=record.key or b"",
                headers={
                    "reason": reason[:1000],
                    "topic": record.topic,
                    "partition": str(record.partition),
                    "offset": str(record.offset),
                },
            )
        except OUTAGES as error:
            logger.warning("dead_letter_not_published", reason=str(error))
