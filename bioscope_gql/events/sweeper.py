"""Takes back what no worker answered in time."""

import asyncio
import time

import structlog

from bioscope_gql.db import is_away
from bioscope_gql.events.broker import Broker
from bioscope_gql.events.results import Results
from bioscope_gql.resolvers import items
from bioscope_gql.services import Services

EVERY_SECONDS = 1.0
GAP_SECONDS = 5.0
"""Longer than this between two sweeps means that answers could not arrive meanwhile."""

logger = structlog.get_logger()


class Sweeper:
    """Any number of replicas may do this at once. The leases' clock rests while answers can't come in."""

    def __init__(self, services: Services, broker: Broker, results: Results) -> None:
        self._services, self._broker, self._results = services, broker, results
        self._swept_at: float | None = None

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            if self._broker.link is None or not self._results.backlog.is_small:
                continue
            try:
                await self._sweep()
            except Exception as error:
                if not is_away(error):
                    raise
                logger.warning("sweeper_waits_for_the_database", reason=str(error))

    async def _sweep(self) -> None:
        now = time.monotonic()
        gap = 0.0 if self._swept_at is None else now - self._swept_at
        if gap > GAP_SECONDS:
            await items.rest(self._services, gap)
        count = await items.sweep(self._services)
        self._swept_at = now
        if count:
            logger.info("leases_ended", count=count)
