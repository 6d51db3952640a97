"""Random histories: answers in any order, doubled, lost and late, leases that end, cancels and retries.

After each step the books balance: the counters are what the items say, no item has two results, a run is
final exactly when nothing of it is open, versions only grow.
"""

import asyncio
import contextlib
import json
import os
import random
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bioscope_gql.errors import Conflict, NothingToDo
from bioscope_gql.events.messages import Failed, Failure, Ok, Started, WorkerRef
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import accounts, classifications, datasets, items, lifecycle, results
from bioscope_gql.resolvers.classifications import Order, Target
from bioscope_gql.services import Services
from bioscope_gql.vocabulary import Role, uuid7
from tests.lab import Place, services_of

HISTORIES = int(os.environ.get("BIOSCOPE_TEST_HISTORIES", "200"))
PICTURES = 4
STEPS = (
    "dispatch",
    "start",
    "answer",
    "fail",
    "retryable",
    "twice",
    "late",
    "expire",
    "cancel",
    "retry",
    "sweep",
)
WORKER = WorkerRef(name="w")

BOOKS = """
select c.total, c.queued, c.running, c.succeeded, c.failed, c.cancelled, c.status, c.version, c.finished_at,
  (select count(*) from classification_items i where i.classification = c.id) as items,
  (select jsonb_object_agg(status, n) from (select status, count(*) as n from classification_items i
    where i.classification = c.id group by 1) s) as by_status,
  (select count(*) from classification_results r where r.classification = c.id) as results,
  (select count(*) from classification_items i where i.classification = c.id and i.status = 'SUCCEEDED'
    and not exists (select from classification_results r where r.item = i.id)) as without_result,
  (select max(i.version) from classification_items i where i.classification = c.id) as newest
from classifications c where c.id = $1
"""


@dataclass
class History:
    """One run and all that was ever dispatched of it."""

    services: Services
    viewer: Viewer
    run: UUID
    model: UUID
    pictures: int
    jobs: list[tuple[UUID, int]] = field(default_factory=list)
    attempts: dict[UUID, int] = field(default_factory=dict)
    version: int = 0

    async def step(self, what: str, chance: random.Random) -> None:
        job = chance.choice(self.jobs) if self.jobs else None
        match what:
            case "dispatch":
                taken = await items.take(self.services, items.Demand(self.model, 4, None))
                self.jobs += [(row["id"], row["attempt"]) for row in taken]
            case "expire":
                await self.services.db.execute(
                    "update classification_items set lease_until = clock_timestamp() - interval '1 second'"
                    " where lease_until is not null and random() < 0.5"
                )
            case "sweep":
                await asyncio.gather(items.sweep(self.services), items.sweep(self.services))
            case "cancel" | "retry":
                act = lifecycle.cancel if what == "cancel" else lifecycle.retry
                with contextlib.suppress(Conflict, NothingToDo):
                    await act(self.services, self.viewer, self.run)
            case _ if job is not None:
                await self.answered(what, *job)

    async def answered(self, what: str, item: UUID, attempt: int) -> None:
        """A worker says something of an attempt."""
        await results.record(self.services, self._answers(what, item, attempt))

    def _answers(self, what: str, item: UUID, attempt: int) -> list[Any]:
        ok = Ok.model_validate({
            "itemId": str(item), "attempt": attempt,
            "scores": [{"label": f"of attempt {attempt}", "confidence": 0.5}],
            "model": {"name": "m", "version": "1"}, "worker": {"name": "w"},
        })  # fmt: skip
        failure = Failure(code="BROKEN", retryable=what == "retryable")
        failed = Failed(item_id=item, attempt=attempt, error=failure, worker=WORKER)
        started = Started(item_id=item, attempt=attempt, worker=WORKER)
        late = self._answers("answer", item, attempt - 1)[0] if attempt > 1 else ok
        answers: dict[str, list[Any]] = {
            "start": [started], "answer": [ok], "fail": [failed], "retryable": [started, failed],
            "twice": [ok, failed, ok, started], "late": [late, failed],
        }  # fmt: skip
        return answers[what]

    async def check(self) -> None:
        books = await self.services.db.row(BOOKS, self.run)
        assert books is not None
        open_items = books["queued"] + books["running"]
        counted = {name: books[name] for name in ("queued", "running", "succeeded", "failed", "cancelled")}
        by_status = {name.lower(): n for name, n in json.loads(books["by_status"]).items()}
        assert {name: n for name, n in counted.items() if n} == by_status
        assert sum(counted.values()) == books["total"] == books["items"] == self.pictures
        assert (open_items == 0) == (books["finished_at"] is not None)
        assert (open_items == 0) == (books["status"] not in ("PENDING", "RUNNING"))
        assert books["results"] == books["succeeded"]
        assert books["without_result"] == 0
        assert self.version <= books["version"]
        assert books["newest"] <= books["version"]
        self.version = books["version"]
        await self._check_attempts()

    async def _check_attempts(self) -> None:
        """An attempt never falls; a result is the answer to the attempt that its item is at."""
        rows = await self.services.db.rows(
            "select i.id, i.attempt, i.tries, i.status, r.label from classification_items i"
            " left join classification_results r on r.item = i.id"
        )
        for row in rows:
            assert row["attempt"] >= self.attempts.get(row["id"], 1)
            assert row["tries"] <= self.services.settings.limits.tries
            self.attempts[row["id"]] = row["attempt"]
            if row["status"] == "SUCCEEDED":
                assert row["label"] == f"of attempt {row['attempt']}"
                assert (row["id"], row["attempt"]) in self.jobs


async def begun(services: Services, pictures: int = PICTURES) -> History:
    """A run over so many pictures, the only one in its database."""
    name = uuid7().hex
    user = await accounts.create(
        services, email=f"{name}@x.example", username=name, password="long enough", role=Role.ANALYST
    )
    viewer = Viewer(id=user["id"], role=Role.ANALYST)
    dataset = await datasets.create(services, viewer, name="d", description=None)
    await services.db.execute("delete from classifications")
    model = await services.db.value(
        "insert into models (id, name, version) values (uuidv7(), 'm', '1')"
        " on conflict (name, version) do update set description = null returning id"
    )
    await services.db.execute(
        "insert into images (id, filename, content_type, file_size, sha256, storage_path, width, height,"
        " bit_depth, channels, frames, dataset) select uuidv7(), 'a', 'image/png', 1,"
        " lpad(to_hex(n), 64, '0'), 'x' || uuidv7(), 1, 1, 8, 1, 1, $1 from generate_series(1, $2::int) n",
        dataset["id"], pictures,
    )  # fmt: skip
    run = await classifications.run(services, viewer, Order(Target(dataset=dataset["id"]), "m"))
    return History(services, viewer, run["id"], model, pictures)


@pytest.mark.timeout(60 + HISTORIES)
async def test_whatever_happens_the_books_balance(place: Place) -> None:
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=HISTORIES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.sampled_from(STEPS), min_size=5, max_size=25), st.integers(0, 2**32))
    def histories(steps: list[str], seed: int) -> None:
        asyncio.run_coroutine_threadsafe(lived(services, steps, seed), loop).result()

    async with services_of(place) as services:
        await asyncio.to_thread(histories)


async def lived(services: Services, steps: list[str], seed: int) -> None:
    history = await begun(services)
    chance = random.Random(seed)
    for step in ["dispatch", *steps]:
        await history.step(step, chance)
        await history.check()
