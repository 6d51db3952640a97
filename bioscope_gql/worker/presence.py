"""Being there: what a worker says about itself."""

import asyncio
import logging

from bioscope_gql.events.messages import Announcement, encode
from bioscope_gql.worker.outbox import Outbox

EVERY_SECONDS = 10

_log = logging.getLogger(__name__)


class Presence:
    """Announces a worker at its start, every 10 s, and that it leaves."""

    def __init__(self, announcement: Announcement, topic: str, outbox: Outbox) -> None:
        self._announcement = announcement
        self._topic = topic
        self._outbox = outbox
        self._last: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Say `up` for ever; while the broker is away one message waits for it, not many."""
        away = False
        while True:
            if self._last is None or self._last.done():
                self._last = self._say(self._announcement)
                if away:
                    _log.info("Kafka is back.")
                away = False
            elif not away:
                _log.warning("Kafka does not answer: jobs and answers wait until it does.")
                away = True
            await asyncio.sleep(EVERY_SECONDS)

    def leave(self) -> None:
        """Say `down`. `run` has to be ended before."""
        self._last = self._say(self._announcement.model_copy(update={"status": "down"}))

    def _say(self, announcement: Announcement) -> "asyncio.Future[None]":
        return self._outbox.post(self._topic, announcement.worker.name.encode(), encode(announcement))
