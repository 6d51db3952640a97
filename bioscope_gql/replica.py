"""One replica: what it has opened, and the duties that it does besides answering requests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog

from bioscope_gql.events.broker import Broker
from bioscope_gql.events.dispatch import Dispatch
from bioscope_gql.events.results import Results
from bioscope_gql.events.sweeper import Sweeper
from bioscope_gql.events.workers import Announcements
from bioscope_gql.live.signals import Signals
from bioscope_gql.resolvers import models
from bioscope_gql.services import Services
from bioscope_gql.storage import janitor
from bioscope_gql.storage.blobs import StoreUnavailable

CLEAN_SECONDS = 30.0
COMPARE_FIRST_SECONDS = 300.0
"""So long after the start the store is compared with the table for the first time."""

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
SETTLED_SECONDS = 30.0
"""A duty that went well for so long has recovered."""

logger = structlog.get_logger()

Work = Callable[[], Coroutine[Any, Any, None]]


class Duty:
    """Work that goes on for ever. Where it fails, that is logged and it begins again, after a pause."""

    def __init__(self, name: str, work: Work) -> None:
        self.name = name
        self.is_well = True
        self._work = work

    async def run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                await self._work()
                logger.error("duty_ended", duty=self.name)
            except Exception:
                logger.exception("duty_failed", duty=self.name, again_in_seconds=pause)
            self.is_well = False
            if time.monotonic() - began > SETTLED_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            self.is_well = True


class Replica:
    """The services and the duties of one process, and how they are."""

    def __init__(self, services: Services, *, development: bool = False) -> None:
        self.services = services
        self.development = development
        self.stopping = False
        self.broker = Broker(services.settings.kafka, development=development)
        signals = Signals(services, self.broker)
        self.results = Results(services)
        readings = [self.results.reading(), Announcements(services).reading(), signals.reading()]
        self._duties = [
            Duty("results", lambda: self.broker.run(readings)),
            Duty("dispatch", Dispatch(services, self.broker).run),
            Duty("sweeper", Sweeper(services, self.broker, self.results).run),
            Duty("signals", signals.run),
            Duty("watchdog", signals.watchdog),
            Duty("janitor", self._clean),
            Duty("comparison", self._compare),
        ]

    async def _clean(self) -> None:
        """Remove the bytes of deleted pictures: at once, and again where the store was away."""
        services = self.services
        while True:
            await services.wake_janitor.wait(CLEAN_SECONDS)
            await janitor.work_off(services.db, services.store)

    async def _compare(self) -> None:
        """Queue the bytes that no picture refers to. What can't be done now is told, and done later."""
        services = self.services
        grace = timedelta(days=services.settings.limits.janitor_grace_days)
        pause = min(janitor.period(grace).total_seconds(), COMPARE_FIRST_SECONDS)
        while True:
            await asyncio.sleep(pause)
            pause = janitor.period(grace).total_seconds()
            try:
                await janitor.tidy(services.db, services.store, grace=grace)
            except janitor.TooMuchToRemove as error:
                logger.error("janitor_stopped", reason=str(error))  # noqa: TRY400 - the sentence says it all
            except StoreUnavailable as error:
                logger.warning("store_not_compared", reason=str(error))
            else:
                services.wake_janitor()

    @property
    def duties(self) -> Mapping[str, bool]:
        """Whether each duty is at work; one that just failed is not."""
        return {duty.name: duty.is_well for duty in self._duties}

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """All duties, for as long as the block lasts."""
        await models.declare(self.services, self.services.settings.kafka.static_models)
        tasks = [asyncio.create_task(duty.run(), name=duty.name) for duty in self._duties]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
