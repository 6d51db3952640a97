"""Hands queued items to the workers: lease and commit, then publish."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import structlog

from bioscope_gql.db import Row, is_away
from bioscope_gql.events import topics
from bioscope_gql.events.broker import Broker, Link
from bioscope_gql.events.clients import OUTAGES
from bioscope_gql.events.messages import Job, JobImage, ModelRef, encode
from bioscope_gql.resolvers import items
from bioscope_gql.services import Services

TIMER_SECONDS = 1.0
"""A wake-up may be lost with the process that would have given it."""

LINK_SECONDS = 600
"""How much longer than its job a picture's link lives."""

logger = structlog.get_logger()


class Dispatch:
    """Any number of replicas may do this at once."""

    def __init__(self, services: Services, broker: Broker) -> None:
        self._services, self._broker = services, broker
        self._topics = topics.names(services.settings.kafka)

    async def run(self) -> None:
        """Dispatch until cancelled: when a run was made, when results came, and now and then."""
        while True:
            await self._services.wake_dispatch.wait(TIMER_SECONDS)
            try:
                while await self.round():
                    pass
            except Exception as error:
                if not is_away(error):
                    raise
                logger.warning("dispatch_waits_for_the_database", reason=str(error))
                await asyncio.sleep(TIMER_SECONDS)

    async def round(self) -> int:
        """Hand out what fits now; how many pictures that were. Nothing while the broker is away."""
        handed_out = 0
        for demand in await items.demands(self._services):
            link = self._broker.link
            if link is None:
                return 0
            taken = await items.take(self._services, demand)
            handed_out += len(taken)
            await self._publish(link, taken)
        return handed_out

    async def _publish(self, link: Link, taken: Sequence[Row]) -> None:
        """What is certain not to have been sent gives its lease back; of anything else the lease decides."""
        for number, row in enumerate(taken):
            job = self._job(row)
            try:
                await link.send(
                    self._topics.jobs_of(row["model_name"]), encode(job), key=str(row["id"]).encode(),
                    headers={**job.headers, **self._trace(job, row)},
                )  # fmt: skip
            except OUTAGES as error:
                # The next ones would wait as long as this one did.
                left = [each["id"] for each in taken[number:]]
                logger.warning("jobs_not_sent", count=len(left), reason=str(error))
                await items.give_back(self._services, left)
                return
            self._services.metrics.jobs.labels(f"{row['model_name']}@{row['model_version']}").inc()

    def _trace(self, job: Job, row: Row) -> Mapping[str, str]:
        topic = self._topics.jobs_of(row["model_name"])
        return self._services.tracing.sent(topic, str(job.item_id), row["trace"])

    def _job(self, row: Row) -> Job:
        settings = self._services.settings
        return Job(
            item_id=row["id"],
            attempt=row["attempt"],
            classification_id=row["classification"],
            image_id=row["image"],
            dataset_id=row["dataset"],
            model=ModelRef(name=row["model_name"], version=row["model_version"]),
            image=JobImage(
                url=self._link_to(row),
                sha256=row["sha256"],
                content_type=row["content_type"],
                file_size=row["file_size"],
                width=row["width"],
                height=row["height"],
            ),
            lease_seconds=settings.limits.lease_seconds,
            deadline=row["lease_until"],
            requested_at=row["queued_at"],
        )

    def _link_to(self, row: Row) -> str | None:
        settings = self._services.settings
        if not settings.s3.worker_links:
            return None
        lease: timedelta = row["lease_until"] - row["dispatched_at"]
        return self._services.store.presign_get(
            row["storage_path"],
            seconds=int(lease.total_seconds()) + LINK_SECONDS,
            content_type=row["content_type"],
            filename=None,
            origin=settings.app.public_url or "",
            to="worker",
            sha256=row["sha256"],
        )
