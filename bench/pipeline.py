"""From the order to the result: pictures per second through the whole line, and how long a single one takes.

A trivial worker (a process of its own, which answers every job at once and fetches nothing) stands at the
other end of the embedded broker, or of a real Kafka. Beside it, in the same run, the floors: the same rows by
plain asyncpg, the same records by plain aiokafka. Then what a run over LARGE pictures costs those who order
it, and those who order one picture a second later.

    python bench/pipeline.py [--pictures N] [--large N] [--kafka ADDRESS]
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import floors
import stages
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from trivial_worker import MODEL

from bioscope_gql import migrations, observability
from bioscope_gql.auth import keys
from bioscope_gql.commands import running
from bioscope_gql.commands.serving import listen, served, url_of
from bioscope_gql.embedded.stack import Stack
from bioscope_gql.live import watch
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import accounts, classifications, datasets
from bioscope_gql.resolvers.classifications import Order, Target
from bioscope_gql.services import Services, opened
from bioscope_gql.settings import App, KafkaTopics, Limits, Settings
from bioscope_gql.vocabulary import Priority, Role, uuid7

SINGLES = 200
WARM_UP = 500
COPIED_AT_ONCE = 10_000
COLUMNS = [
    *("id", "filename", "content_type", "file_size", "sha256", "storage_path", "width", "height"),
    *("bit_depth", "channels", "frames", "dataset"),
]


@asynccontextmanager
async def a_server(kafka: str | None) -> AsyncIterator[Services]:
    """The server on an embedded PostgreSQL, with the embedded broker or the Kafka at this address."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(a_folder()))
        mark = uuid4().hex[:8]
        topics = KafkaTopics(**{name: f"{mark}.{name}" for name in KafkaTopics.model_fields})
        settings = Settings(app=App(port=0, log_level="warning"), limits=Limits(runs_per_minute=1_000_000))
        names = [*topics.model_dump().values(), *floor_topics(mark)]
        embedded = await stack.enter_async_context(Stack(folder / "data", dict.fromkeys(names, 4)))
        if kafka:
            await make_topics(kafka, floor_topics(mark))
        listening = stack.enter_context(listen(settings))
        settings = settings.embedded(
            dsn=embedded.dsn, bootstrap_servers=kafka or embedded.bootstrap_servers, data_dir=folder / "data"
        ).at(url_of(listening))
        changes = {"topics": topics, "create_topics": bool(kafka), "consumer_group": mark}
        settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update=changes)})
        await migrations.forwards(embedded.dsn)
        keys.generate(folder / "data" / "keys")
        services = await stack.enter_async_context(opened(settings))
        await stack.enter_async_context(
            served(services, listening, spool=folder / "spool", development=not kafka)
        )
        yield services


@contextmanager
def a_folder() -> Iterator[str]:
    """One that PostgreSQL's account can pass through when root runs this."""
    with tempfile.TemporaryDirectory(prefix="bioscope-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        yield folder


def floor_topics(mark: str) -> tuple[str, str]:
    return f"{mark}.floor-jobs", f"{mark}.floor-answers"


async def make_topics(servers: str, names: Sequence[str]) -> None:
    """On a real Kafka; the embedded one is started with them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 4, 1) for name in names])
    finally:
        await admin.close()


@asynccontextmanager
async def a_worker(services: Services) -> AsyncIterator[None]:
    """Returns once it is known; ends with the block."""
    kafka = services.settings.kafka
    worker = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).with_name("trivial_worker.py")), kafka.bootstrap_servers[0],
        kafka.topics.jobs, kafka.topics.results, kafka.topics.workers,
    )  # fmt: skip
    try:
        while not await services.db.value("select count(*) from workers"):
            await asyncio.sleep(0.05)
        yield
    finally:
        worker.terminate()
        await worker.wait()


async def measure(pictures: int, large: int, kafka: str | None) -> None:
    async with a_server(kafka) as services, a_worker(services):
        bench = Bench(services, await _somebody(services))
        await bench.through(WARM_UP)
        await bench.throughput(pictures)
        await bench.shares(pictures)
        await bench.singles()
        if large:
            await bench.large(large)


@dataclass
class Bench:
    services: Services
    viewer: Viewer

    async def throughput(self, count: int) -> None:
        dataset, _ = await self.dataset(count)
        through = count / await self.run(Target(dataset=dataset))
        rows = await floors.rows_per_second(self.services.db, dataset, count)
        kafka = self.services.settings.kafka
        topics = floor_topics(kafka.consumer_group)
        records = await floors.records_per_second(kafka.bootstrap_servers[0], *topics, count)
        both = 1 / (1 / rows + 1 / records)
        print(f"whole line   {count:>7} pictures   {through:>8.0f} pictures/s")
        print(f"floor: rows  {count:>7} pictures   {rows:>8.0f} pictures/s (plain asyncpg)")
        print(f"floor: sent  {count:>7} pictures   {records:>8.0f} pictures/s (plain aiokafka, both ways)")
        print(f"ratio        {both / through:>7.1f} (one floor after the other / the line)")

    async def shares(self, count: int) -> None:
        with stages.watched() as watched:
            dataset, _ = await self.dataset(count)
            took = await self.run(Target(dataset=dataset))
            print(f"where it waits, of {took:.2f} s (stages overlap):")
            print("\n".join(watched.told(took)))

    async def singles(self) -> None:
        _, ids = await self.dataset(SINGLES)
        times = sorted([1000 * await self.run(Target(image=id)) for id in ids])
        print(
            f"one picture  p50 {times[SINGLES // 2]:.1f} ms   p99 {times[SINGLES * 99 // 100]:.1f} ms"
            "   (from the order to its result seen)"
        )

    async def large(self, count: int) -> None:
        """How the cost grows, and what others notice of it."""
        small = await self.through(1000) / 1000
        dataset, _ = await self.dataset(count)
        _, (normal, high) = await self.dataset(2)
        began = time.perf_counter()
        run = await classifications.run(
            self.services, self.viewer, Order(Target(dataset=dataset), MODEL["name"])
        )
        print(f"ordering     {count:>7} pictures   {time.perf_counter() - began:>8.2f} s")
        await asyncio.sleep(1)
        seconds = await asyncio.gather(
            self.run(Target(image=normal)), self.run(Target(image=high), Priority.HIGH)
        )
        left = await self.services.db.value("select queued from classifications where id = $1", run["id"])
        at_normal, at_high = (f"{1000 * each:.0f} ms" for each in seconds)
        print(f"meanwhile    one picture at NORMAL {at_normal}, at HIGH {at_high} ({left} still queued)")
        await self.end_of(run["id"], str(run["version"]))
        whole = (time.perf_counter() - began) / count
        print(
            f"growth       {1e6 * small:.0f} µs a picture at 1000, {1e6 * whole:.0f} µs at {count}:"
            f" {whole / small:.2f}x"
        )

    async def through(self, count: int) -> float:
        """How many seconds so many pictures take."""
        dataset, _ = await self.dataset(count)
        return await self.run(Target(dataset=dataset))

    async def run(self, target: Target, priority: Priority = Priority.NORMAL) -> float:
        """Order it and see its end: how many seconds that took."""
        began = time.perf_counter()
        order = Order(target, MODEL["name"], priority=priority)
        row = await classifications.run(self.services, self.viewer, order)
        await self.end_of(row["id"], str(row["version"]))
        return time.perf_counter() - began

    async def end_of(self, run: UUID, after: str) -> None:
        status = None
        async for update in watch.run(self.services, self.viewer, run, after):
            status = update.run["status"]
        if status != "COMPLETED":
            raise RuntimeError(f"The run ended {status}.")

    async def dataset(self, count: int) -> tuple[UUID, list[UUID]]:
        """A new dataset with rows of pictures; no bytes, for nobody fetches them."""
        row = await datasets.create(self.services, self.viewer, name=f"{count} pictures", description=None)
        ids = [uuid7() for _ in range(count)]
        place = f"images/{row['id']}"
        records = [
            (id, "a.png", "image/png", 1, f"{id.int:064x}", f"{place}/{id}", 8, 8, 8, 3, 1, row["id"])
            for id in ids
        ]
        for begin in range(0, count, COPIED_AT_ONCE):  # a statement has five seconds
            some = records[begin : begin + COPIED_AT_ONCE]
            await self.services.db.pool.copy_records_to_table("images", records=some, columns=COLUMNS)
        return row["id"], ids


async def _somebody(services: Services) -> Viewer:
    row = await accounts.create(
        services, email="b@lab.example", username="bench", password="long enough for it", role=Role.ANALYST
    )
    return Viewer(id=row["id"], role=Role.ANALYST)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--large", type=int, default=0, help="also a run over so many, e.g. 100000")
    parser.add_argument("--kafka", help="a real one, e.g. 127.0.0.1:29092 (make services)")
    options = parser.parse_args()
    observability.configure("error")
    running.run(measure(options.pictures, options.large, options.kafka))
