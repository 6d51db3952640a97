"""All that takes locks on one dataset, at once: nobody is refused for it, and the books balance."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from tests.answerer import Answerer
from tests.lab import Lab, Person, Place, a_lab
from tests.load import BUSY, LONG, finished
from tests.test_lifecycle import change, delete_images

SECONDS = 60 if LONG else 3
PICTURES = 40 if LONG else 10
DRAIN_SECONDS = 60

WRONG_BOOKS = """
select c.id from classifications c cross join lateral (
  select count(*) as total,
    count(*) filter (where i.status = 'QUEUED') as queued,
    count(*) filter (where i.status = 'RUNNING') as running,
    count(*) filter (where i.status = 'SUCCEEDED') as succeeded,
    count(*) filter (where i.status = 'FAILED') as failed,
    count(*) filter (where i.status = 'CANCELLED') as cancelled,
    count(r.id) as results
  from classification_items i left join classification_results r on r.item = i.id
  where i.classification = c.id) n
where (c.total, c.queued, c.running, c.succeeded, c.failed, c.cancelled)
  is distinct from (n.total, n.queued, n.running, n.succeeded, n.failed, n.cancelled)
  or n.results <> n.succeeded or (c.finished_at is null) <> (c.queued + c.running > 0)
"""

pytestmark = pytest.mark.timeout(60 + SECONDS + DRAIN_SECONDS)


class Crowd:
    """What people do to one dataset; `answers` counts what came of it, by what they did and its type."""

    def __init__(self, lab: Lab, person: Person, dataset: str) -> None:
        self._lab, self._person, self._dataset = lab, person, dataset
        self.answers: Counter[tuple[str, str]] = Counter()

    async def busy(self, until: float) -> None:
        doings: list[Callable[[], Awaitable[str]]] = [
            self.run_all, self.run_one, self.cancel, self.retry, self.delete_run, self.delete_pictures,
        ]  # fmt: skip

        async def repeat(doing: Callable[[], Awaitable[str]]) -> None:
            while time.monotonic() < until:
                self.answers[doing.__name__, await doing()] += 1

        async with asyncio.TaskGroup() as tasks:
            for doing in doings:
                tasks.create_task(repeat(doing))

    async def run_all(self) -> str:
        return await self._ordered({"datasetId": self._dataset})

    async def run_one(self) -> str:
        return await self._ordered({"imageId": await self._some("images")})

    async def _ordered(self, target: dict[str, str]) -> str:
        typename: str = (await self._person.run(target=target))["__typename"]
        return typename

    async def cancel(self) -> str:
        return await self._changed("cancel")

    async def retry(self) -> str:
        return await self._changed("retry")

    async def delete_run(self) -> str:
        return await self._changed("delete")

    async def _changed(self, what: str) -> str:
        answer = await change(self._person, what, await self._some("classifications"))
        typename: str = answer["__typename"]
        return typename

    async def delete_pictures(self) -> str:
        gone = await self._lab.db.rows("select id::text from images order by random() limit 2")
        answer = await delete_images(self._person, *(row["id"] for row in gone))
        await self._person.images(self._dataset, 2)
        typename: str = answer["__typename"]
        return typename

    async def _some(self, table: str) -> str:
        """The id of some row; the others may be faster."""
        found: str | None = await self._lab.db.value(
            f"select id::text from {table} order by random() limit 1"
        )
        return found or "01a00000-0000-7000-8000-000000000000"


async def test_what_locks_one_dataset_at_once_refuses_nobody_and_leaves_true_counters(place: Place) -> None:
    settings = place.settings(limits={**BUSY, "lease_seconds": 1})
    kafka = settings.kafka
    worker = Answerer(
        place.bootstrap_servers,
        kafka.topics,
        gives_up=lambda job: random.random() < 0.2 * (job["attempt"] < 3),
    )
    async with a_lab(place, settings) as lab, worker.at_work():
        await lab.until("select count(*) > 0 from workers")
        ada = await lab.an_analyst()
        dataset = await ada.a_dataset()
        await ada.images(dataset, PICTURES)
        crowd = Crowd(lab, ada, dataset)
        await crowd.busy(time.monotonic() + SECONDS)
        await finished(lab, await lab.count("classifications"), within=DRAIN_SECONDS)
        wrong = await lab.db.rows(WRONG_BOOKS)

    assert wrong == []
    did = {what for (what, typename), _ in crowd.answers.items() if typename in ("Classification", "Deleted")}
    assert did == {"run_all", "run_one", "cancel", "retry", "delete_run", "delete_pictures"}
    assert max(worker.jobs.values()) > 1
