"""Faults that no run may show: a server that is killed, a database that stops, answers of every bad kind.

On the embedded broker, and on a real Kafka where the environment names one. BIOSCOPE_TEST_LONG=1 makes
the outages longer, the load heavier and the rounds many.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from bioscope_gql import migrations
from bioscope_gql.embedded.cluster import STATE_DIR
from bioscope_gql.embedded.postgres import Postgres
from tests.answerer import Answerer
from tests.clients import a_client
from tests.folders import a_folder
from tests.lab import Place, Refused, a_lab, unwrapped
from tests.lab_documents import RUN
from tests.load import BUSY, LONG, Orders, balanced, books, finished, until, variables
from tests.processes import serving

KILLS = 20 if LONG else 3
RUNS_EACH = 25
OUTAGE_SECONDS = 30 if LONG else 4
SOON_SECONDS = 30
ORDERERS = 4

pytestmark = pytest.mark.timeout(120 + 30 * KILLS + 4 * OUTAGE_SECONDS)


@dataclass
class Customers:
    """People who order runs over one picture at a server that may die at any moment. It owes what it took."""

    headers: dict[str, str]
    image: str
    taken: set[str] = field(default_factory=set)

    async def have(self, count: int) -> None:
        """Return once so many runs were taken."""

        async def enough() -> bool:
            return len(self.taken) >= count

        await until(enough, within=SOON_SECONDS)

    async def order(self, url: str) -> None:
        """Order until the server is gone."""
        variables = {"input": {"target": {"imageId": self.image}}}
        async with a_client(base_url=url, headers=self.headers, timeout=20) as http:
            with suppress(httpx.TransportError):
                while True:
                    answer = await http.post("/graphql", json={"query": RUN, "variables": variables})
                    self.taken.add(unwrapped(answer)["id"])


async def test_of_runs_that_a_killed_server_had_taken_none_is_lost_stuck_or_doubled(place: Place) -> None:
    settings = place.settings(limits={**BUSY, "lease_seconds": 3})
    async with Answerer(place.bootstrap_servers, settings.kafka.topics).at_work():
        async with a_lab(place, settings) as lab:
            await lab.until("select count(*) > 0 from workers")
            orders = await Orders.of(lab)
            process = variables(lab.services.settings, place)
        customers = Customers(orders.person.headers, orders.image)
        for number in range(1, KILLS + 1):
            async with serving(place.folder, "serve", **process) as server, asyncio.TaskGroup() as tasks:
                for _ in range(ORDERERS):
                    tasks.create_task(customers.order(server.url))
                await customers.have(number * RUNS_EACH)
                await asyncio.sleep(random.uniform(0, 0.5))  # a random moment is what this is about
                server.send_signal(signal.SIGKILL)
                await server.ended()
        async with a_lab(place, settings) as lab:
            made = {row["id"] for row in await lab.db.rows("select id::text from classifications")}
            await finished(lab, len(made), within=SOON_SECONDS)
            ended = await books(lab)
    assert len(customers.taken) >= KILLS * RUNS_EACH
    assert customers.taken <= made
    assert {**ended, "tried_again": 0} == balanced(len(made))


@asynccontextmanager
async def a_database(place: Place) -> AsyncIterator[tuple[Place, "Database"]]:
    """The same place with a PostgreSQL of its own, which can be stopped."""
    with a_folder() as folder:
        database = Database(folder)
        try:
            await database.start()
            await migrations.forwards(database.dsn)
            yield replace(place, dsn=database.dsn), database
        finally:
            await database.end()


class Database:
    """A PostgreSQL that ends as with `pg_ctl stop -m immediate`, and comes back over the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._postgres = self._new()

    def _new(self) -> Postgres:
        return Postgres(self._folder, log_dir=self._folder / "logs", durable=True, state_dir=STATE_DIR)

    @property
    def dsn(self) -> str:
        return self._postgres.dsn

    async def start(self) -> None:
        await self._postgres.start()

    async def stop_at_once(self) -> None:
        (sockets,) = parse_qs(urlsplit(self.dsn).query)["host"]
        lock = next(Path(sockets).glob(".s.PGSQL.*.lock"))
        os.kill(int(lock.read_text().split()[0]), signal.SIGQUIT)
        await self._postgres.wait()
        await self._postgres.stop()

    async def start_again(self) -> None:
        before, self._postgres = self.dsn, self._new()
        await self._postgres.start()
        assert self.dsn == before

    async def end(self) -> None:
        await self._postgres.stop()


async def test_a_database_that_stops_while_runs_are_made_and_answered_loses_none(place: Place) -> None:
    async with a_database(place) as (at, database):
        settings = at.settings(limits={**BUSY, "lease_seconds": 3})
        async with (
            a_lab(at, settings) as lab,
            Answerer(at.bootstrap_servers, settings.kafka.topics).at_work(),
        ):
            await lab.until("select count(*) > 0 from workers")
            orders = await Orders.of(lab)
            refused: set[tuple[str, int]] = set()
            stopped = asyncio.Event()

            async def order() -> None:
                while not stopped.is_set():
                    try:
                        await orders.give(1)
                    except Refused as refusal:
                        refused.update((code, refusal.status) for code in refusal.codes)
                        await asyncio.sleep(0.05)

            async with asyncio.TaskGroup() as tasks:
                for _ in range(ORDERERS):
                    tasks.create_task(order())
                await orders.have(20)
                await database.stop_at_once()
                await asyncio.sleep(OUTAGE_SECONDS)
                assert refused == {("SERVICE_UNAVAILABLE", 503)}
                await database.start_again()
                await orders.have(len(orders.at) + 20)
                stopped.set()
            made = await lab.count("classifications")
            await finished(lab, made, within=SOON_SECONDS)
            known = {row["id"] for row in await lab.db.rows("select id::text from classifications")}
            assert set(orders.at) <= known
            assert {**await books(lab), "tried_again": 0} == balanced(made)
            assert await lab.count("dead_letters") == 0
            assert (await lab.http.get("/health")).json()["status"] == "ok"
            assert refused == {("SERVICE_UNAVAILABLE", 503)}
