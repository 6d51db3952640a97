"""What becomes of runs while a real Kafka fails, and while replicas come and go: `make test-services`.

BIOSCOPE_TEST_LONG=1 makes the outages longer, the load heavier and the rounds many.
"""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from bioscope_gql.settings import Settings
from tests.answerer import Answerer
from tests.brokers import RealBroker, needs_real_kafka
from tests.lab import Lab, Place, a_lab
from tests.load import BUSY, LONG, Orders, balanced, books, finished, until, variables
from tests.processes import serving

RUNS = 500 if LONG else 200
OUTAGE_SECONDS = 60 if LONG else 10
ROUNDS = 20 if LONG else 3
SOON_SECONDS = 30
"""By when all is done, counted from the end of an outage."""
GAP_SECONDS = 5
"""How long no job may come to the worker while replicas come and go. The group of one that was killed notices
after 6 s; its share of the answers, unread until then, must not hold dispatch up."""

LEASE_SECONDS = 10

Tell = Callable[[str], None]

pytestmark = pytest.mark.timeout(60 + 4 * OUTAGE_SECONDS + 60 * ROUNDS)


@pytest.fixture
async def kafka() -> AsyncIterator[RealBroker]:
    """One of the test's own, on a port of its own; not started, and forgotten afterwards."""
    needs_real_kafka()
    broker = RealBroker(f"127.0.0.1:{_free_ports()}")
    try:
        yield broker
    finally:
        await broker.wipe()


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Figures for whoever runs it."""

    def told(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}")  # noqa: T201

    return told


@pytest.fixture
def at(kafka: RealBroker, place: Place) -> Place:
    return replace(place, bootstrap_servers=kafka.bootstrap_servers, embedded=False)


def _free_ports() -> int:
    """A free port whose neighbour, which the broker takes too, is free as well."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    return port
            except (OSError, OverflowError):
                continue


async def health(lab: Lab) -> tuple[str, str]:
    answer = (await lab.http.get("/health")).json()
    return answer["status"], answer["parts"]["kafka"]["status"]


@asynccontextmanager
async def at_work(
    at: Place, kafka: RealBroker, settings: Settings | None = None
) -> AsyncIterator[tuple[Lab, Answerer]]:
    """A server and a worker that it knows of."""
    await kafka.start()
    async with a_lab(at, settings or at.settings(limits=BUSY)) as lab:
        worker = Answerer(kafka.bootstrap_servers, lab.services.settings.kafka.topics)
        async with worker.at_work():
            await lab.until("select count(*) > 0 from workers")
            yield lab, worker


async def outage(lab: Lab, orders: Orders) -> float:
    """One that has begun: people go on ordering, and it lasts its time. After how long health shows it."""
    began = time.monotonic()
    await orders.give(RUNS)

    async def is_seen() -> bool:
        return await health(lab) == ("degraded", "down")

    await until(is_seen, within=15)
    seen = time.monotonic() - began
    await asyncio.sleep(max(0, OUTAGE_SECONDS - (time.monotonic() - began)))
    return seen


async def test_while_the_broker_is_frozen_runs_are_taken_and_afterwards_all_are_done(
    kafka: RealBroker, at: Place, tell: Tell
) -> None:
    async with at_work(at, kafka) as (lab, worker):
        orders = await Orders.of(lab)
        kafka.pause()
        seen = await outage(lab, orders)
        kafka.resume()
        done = await finished(lab, RUNS, within=SOON_SECONDS)
        tell(
            f"frozen for {OUTAGE_SECONDS} s, seen after {seen:.1f} s: {orders.told()};"
            f" all done {done:.1f} s after its end"
        )

        assert await books(lab) == balanced(RUNS)
        assert await health(lab) == ("ok", "ok")
        assert len(worker.jobs) == RUNS


async def test_a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    kafka: RealBroker, at: Place, tell: Tell
) -> None:
    async with at_work(at, kafka) as (lab, worker):
        orders = await Orders.of(lab)
        await orders.give(RUNS)
        kafka.kill()
        seen = await outage(lab, orders)
        await kafka.start()
        done = await finished(lab, RUNS * 2, within=SOON_SECONDS)
        again = sum(count - 1 for count in worker.jobs.values())
        tell(
            f"killed for {OUTAGE_SECONDS} s, seen after {seen:.1f} s: {orders.told()};"
            f" all done {done:.1f} s after it was back; {again} jobs came twice"
        )

        assert await books(lab) == balanced(RUNS * 2)
        assert await health(lab) == ("ok", "ok")


async def test_a_server_starts_and_takes_runs_before_there_is_a_broker(
    kafka: RealBroker, at: Place, tell: Tell
) -> None:
    settings = at.settings(limits=BUSY)
    model = {"name": "sure", "version": "1", "labels": ("a", "b")}
    settings = settings.model_copy(
        update={
            "kafka": type(settings.kafka).model_validate(
                {**settings.kafka.model_dump(), "static_models": [model]}
            )
        }
    )
    async with a_lab(at, settings, connected=False) as lab:
        orders = await Orders.of(lab)
        await orders.give(20)
        assert await health(lab) == ("degraded", "down")
        assert (await lab.http.get("/health/ready")).status_code == 200
        seen = await orders.person.ask("{ classifications(first: 50) { nodes { status } } }")
        assert seen == {"nodes": [{"status": "PENDING"}] * 20}
        assert (
            await lab.db.value("select count(*) from classification_items where dispatched_at is not null")
            == 0
        )

        await kafka.start()
        async with Answerer(kafka.bootstrap_servers, settings.kafka.topics).at_work():
            done = await finished(lab, 20, within=SOON_SECONDS)
        tell(f"absent at the start: all done {done:.1f} s after it was there")

        assert await books(lab) == balanced(20)


async def test_replicas_that_come_and_go_and_are_killed_under_load_lose_and_double_nothing(
    kafka: RealBroker, at: Place, tell: Tell
) -> None:
    settings = at.settings(limits={**BUSY, "lease_seconds": LEASE_SECONDS})
    async with at_work(at, kafka, settings) as (lab, worker):
        orders = await Orders.of(lab)
        async with orders.given_all_the_time(every_seconds=0.02):
            for number in range(ROUNDS):
                async with serving(at.folder, "serve", **variables(settings, at)) as other:
                    await until(lambda: _has_members(kafka, settings, 2), within=20)
                    ending = len(worker.came)
                    other.send_signal(signal.SIGTERM if number % 2 else signal.SIGKILL)
                    await other.ended()
                    await until(lambda: _has_members(kafka, settings, 1), within=20)
                    assert len(worker.came) > ending
        done = await finished(lab, len(orders.at), within=SOON_SECONDS)
        gap, latest = await _delays(lab, orders, worker)
        again = sum(count - 1 for count in worker.jobs.values())
        tell(
            f"{ROUNDS} replicas came and went: {orders.told()}; no job for {gap:.1f} s at most,"
            f" the latest came after {latest:.1f} s; {again} came again; all done {done:.1f} s after the load"
        )

        expected = balanced(len(orders.at))
        assert {**await books(lab), "tried_again": 0} == expected
        assert gap < GAP_SECONDS


async def _delays(lab: Lab, orders: Orders, worker: Answerer) -> tuple[float, float]:
    """The longest time without a job, and the longest that one took from its order."""
    items = await lab.db.rows("select id::text, classification::text as run from classification_items")
    came = sorted(worker.came.values())
    gap = max(later - earlier for earlier, later in pairwise(came))
    return gap, max(worker.came[item["id"]] - orders.at[item["run"]] for item in items)


async def _has_members(kafka: RealBroker, settings: Settings, count: int) -> bool:
    """Whether so many replicas share the results, and have settled who gets what."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([settings.kafka.consumer_group])
    finally:
        await admin.close()
    ((_, _, state, _, _, members, *_),) = answer.groups
    return (state, len(members)) == ("Stable", count)
