"""The workers topic: who is there, with which models. Every replica shares the work of taking it down."""

from collections import OrderedDict
from typing import Any

import structlog

from bioscope_gql.events import consumer
from bioscope_gql.events.broker import Link, Reading
from bioscope_gql.events.consumer import Records
from bioscope_gql.events.messages import Announcement, Unreadable, parse
from bioscope_gql.resolvers import models
from bioscope_gql.services import Services

logger = structlog.get_logger()


class Announcements:
    def __init__(self, services: Services) -> None:
        self._services = services

    def reading(self) -> Reading:
        kafka = self._services.settings.kafka

        def read(link: Link) -> Any:
            subscription = link.subscribe(kafka.topics.workers, group=f"{kafka.consumer_group}.workers")

            async def loop() -> None:
                await consumer.consume(subscription.consumer, self._apply)

            return loop()

        return read

    async def _apply(self, records: Records) -> None:
        """Of each worker only the last word counts."""
        last: OrderedDict[str, Announcement] = OrderedDict()
        for record in records:
            try:
                message = parse(Announcement, record.value or b"")
            except Unreadable as error:
                logger.warning("announcement_unreadable", reason=error.reason, offset=record.offset)
                continue
            last[message.worker.name] = message
        for message in last.values():
            await models.announce(self._services, message)
