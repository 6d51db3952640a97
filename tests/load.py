"""Load for tests of faults: runs ordered one after the other, and the books that must balance afterwards."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bioscope_gql.settings import Settings
from tests.lab import Lab, Person, Place

LONG = bool(os.environ.get("BIOSCOPE_TEST_LONG"))
"""Outages longer, load heavier and rounds many."""

BUSY = {"runs_per_minute": 1_000_000}
"""Limits for people who order more runs than anybody would."""


@dataclass
class Orders:
    """Runs over one picture, when they were ordered (`at`, by run) and how long that took."""

    person: Person
    image: str
    at: dict[str, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    @classmethod
    async def of(cls, lab: Lab) -> "Orders":
        ada = await lab.an_analyst()
        (image,) = await ada.images(await ada.a_dataset(), 1)
        return cls(ada, image)

    async def give(self, count: int) -> None:
        for _ in range(count):
            began = time.monotonic()
            run = await self.person.run(target={"imageId": self.image})
            self.seconds.append(time.monotonic() - began)
            assert run["__typename"] == "Classification", run
            self.at[run["id"]] = began

    async def have(self, count: int) -> None:
        """Return once somebody has ordered so many."""

        async def enough() -> bool:
            return len(self.at) >= count

        await until(enough, within=30)

    @asynccontextmanager
    async def given_all_the_time(self, *, every_seconds: float) -> AsyncIterator[None]:
        """Orders until the block ends; one that is under way then is finished."""
        ended = asyncio.Event()

        async def give() -> None:
            while not ended.is_set():
                await self.give(1)
                await asyncio.sleep(every_seconds)

        giving = asyncio.create_task(give())
        try:
            yield
        finally:
            ended.set()
            await giving

    def told(self) -> str:
        times = sorted(self.seconds)
        return (
            f"{len(times)} runs ordered, p50 {_ms(times, 50)}, p99 {_ms(times, 99)}, most {_ms(times, 100)}"
        )


def _ms(times: Sequence[float], percent: int) -> str:
    return f"{1000 * times[min(len(times) - 1, len(times) * percent // 100)]:.0f} ms"


async def until(found: Callable[[], Awaitable[bool]], *, within: float) -> float:
    """Wait for what has no bell; how long it took."""
    began = time.monotonic()
    async with asyncio.timeout(within):
        while not await found():
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def finished(lab: Lab, count: int, *, within: float) -> float:
    async def all_done() -> bool:
        return bool(
            await lab.db.value(
                "select count(*) = $1 from classifications where finished_at is not null", count
            )
        )

    return await until(all_done, within=within)


async def books(lab: Lab) -> dict[str, int]:
    """How the runs ended; `tried_again` are pictures that the outage cost an attempt or a try."""
    row = await lab.db.row(
        """select
          (select count(*) from classifications where status = 'COMPLETED') as completed,
          (select count(*) from classification_items where status = 'SUCCEEDED') as succeeded,
          (select count(*) from classification_results) as results,
          (select count(distinct item) from classification_results) as of_items,
          (select count(*) from classification_items where attempt > 1 or tries > 0) as tried_again"""
    )
    assert row is not None
    return dict(row)


def balanced(count: int) -> dict[str, int]:
    same = dict.fromkeys(("completed", "succeeded", "results", "of_items"), count)
    return {**same, "tried_again": 0}


def variables(settings: Settings, at: Place) -> dict[str, str]:
    """The same settings, for a replica in a process of its own."""
    found: dict[str, object] = {
        "DATABASE__DSN": at.dsn,
        "KAFKA__BOOTSTRAP_SERVERS": at.bootstrap_servers,
        "KAFKA__CREATE_TOPICS": str(settings.kafka.create_topics).lower(),
        "KAFKA__CONSUMER_GROUP": settings.kafka.consumer_group,
        "KAFKA__TOPIC_PARTITIONS": settings.kafka.topic_partitions,
        "AUTH__KEYS": settings.auth.keys[0],
        "APP__PUBLIC_URL": "http://127.0.0.1",
        "LIMITS__LEASE_SECONDS": settings.limits.lease_seconds,
        "LIMITS__RUNS_PER_MINUTE": settings.limits.runs_per_minute,
    }
    found |= {f"KAFKA__TOPICS__{name.upper()}": topic for name, topic in settings.kafka.topics}
    for name in ("endpoint", "access_key", "bucket", "directory"):
        if value := getattr(settings.s3, name):
            found[f"S3__{name.upper()}"] = value
    if settings.s3.secret_key:
        found["S3__SECRET_KEY"] = settings.s3.secret_key.get_secret_value()
    return {f"BIOSCOPE_{name}": str(value) for name, value in found.items()}
