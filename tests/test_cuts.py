"""A watcher whose connection is cut again and again, at whatever moment, hears of every picture's end."""

import asyncio
import os
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from tests.lab import PATIENCE_SECONDS, Json, Lab
from tests.lab_worker import TestWorker
from tests.test_runs import a_dataset_with

CUTS = 50
PICTURES = 200
SEED = int(os.environ.get("BIOSCOPE_TEST_SEED") or random.SystemRandom().randrange(10**6))


async def test_after_fifty_cuts_at_random_moments_and_on_two_replicas_no_end_was_missed(lab: Lab) -> None:
    chance = random.Random(SEED)
    watch = Watch()
    async with lab.another_replica() as other, lab.a_worker() as worker:
        ada = await lab.an_analyst()
        dataset, _ = await a_dataset_with(ada, PICTURES)
        run = await ada.run_over(dataset)
        for _ in range(CUTS):
            answering = asyncio.create_task(answer(worker, PICTURES // CUTS))
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.random() / 20):
                    await watch.listen(ada.at(chance.choice((lab, other))).watch(run, watch.cursor))
            await answering
        async with asyncio.timeout(PATIENCE_SECONDS):
            await watch.listen(ada.watch(run, watch.cursor))

    assert len(watch.ended) == PICTURES, SEED
    assert watch.status == "COMPLETED"
    assert await lab.db.value("select count(*) from classification_results") == PICTURES


async def answer(worker: TestWorker, count: int) -> None:
    for _ in range(count):
        await worker.answer(await worker.job())


@dataclass
class Watch:
    """What somebody has heard, and from where they go on."""

    cursor: str | None = None
    status: str = ""
    ended: set[str] = field(default_factory=set)

    async def listen(self, updates: AsyncGenerator[Json, None]) -> None:
        async with aclosing(updates):
            async for update in updates:
                self.cursor, self.status = update["cursor"], update["classification"]["status"]
                self.ended |= {item["id"] for item in update["items"] if item["status"] == "SUCCEEDED"}
