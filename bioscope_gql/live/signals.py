"""From replica to replica: that a run changed. What changed, the database says."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog

from bioscope_gql.db import certain, is_away
from bioscope_gql.events.broker import Broker, Link, Reading
from bioscope_gql.events.clients import OUTAGES
from bioscope_gql.events.messages import Signal, Unreadable, encode, parse
from bioscope_gql.services import Services

WATCHDOG_SECONDS = 2.0
POLL_MS = 1_000

logger = structlog.get_logger()


class Signals:
    """Tells the other replicas what was committed here, and wakes our watchers for what was there."""

    def __init__(self, services: Services, broker: Broker) -> None:
        self._services, self._broker = services, broker
        self._topic = services.settings.kafka.topics.signals

    def reading(self) -> Reading:
        """Every replica reads all signals, without a group, from now on."""

        def read(link: Link) -> Any:
            subscription = link.subscribe(self._topic, group=None)

            async def loop() -> None:
                consumer = subscription.consumer
                while True:
                    for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                        for record in records:
                            self._hear(record.value or b"")

            return loop()

        return read

    async def run(self) -> None:
        """Tell until cancelled. What can't be told now is not kept: the watchdog of the others finds it."""
        while True:
            changes = await self._services.hub.untold()
            link = self._broker.link
            if link is None:
                await self._broker.connected.wait()
                continue
            for change in changes:
                signal = Signal(id=change.run, dataset_id=change.dataset, version=change.version)
                try:
                    await link.send(self._topic, encode(signal), key=str(change.run).encode())
                except OUTAGES as error:
                    logger.info("signal_not_sent", reason=str(error))

    async def watchdog(self) -> None:
        """Compare everything watched with the database now and then: a signal may be lost."""
        looked = 0
        while True:
            await asyncio.sleep(WATCHDOG_SECONDS)
            hub = self._services.hub
            try:
                if hub.watched:
                    await self._wake_outdated(hub.watched)
                if hub.is_watched_wide:
                    looked = await self._wake_wide(looked)
            except Exception as error:
                if not is_away(error):
                    raise

    async def _wake_outdated(self, watched: Mapping[UUID, int]) -> None:
        rows = await self._services.db.rows(
            "select id, version from classifications where id = any($1::uuid[])", list(watched)
        )
        versions = {row["id"]: row["version"] for row in rows}
        for run, told in watched.items():
            if versions.get(run, told + 1) > told:
                self._services.hub.wake_one(run)

    async def _wake_wide(self, looked: int) -> int:
        """Whether any run changed since the snapshot of the look before; the snapshot of this one."""
        row = certain(
            await self._services.db.row(
                "select pg_snapshot_xmin(pg_current_snapshot()) as now,"
                " exists (select from classifications where changed_xid >= $1) as changed",
                looked,
            )
        )
        if row["changed"]:
            self._services.hub.wake_wide()
        now: int = row["now"]
        return now

    def _hear(self, raw: bytes) -> None:
        try:
            self._services.hub.wake(parse(Signal, raw).id)
        except Unreadable as error:
            logger.warning("signal_unreadable", reason=error.reason)
