"""From the order to the result: pictures per second through the whole line, and how long a single one takes.

A trivial worker (a process of its own, which answers every job at once and fetches nothing) stands at the
other end of the embedded broker. Beside it, in the same run, the floor: the same rows by plain asyncpg.

    python bench/pipeline.py [PICTURES]
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

from trivial_worker import MODEL

from bioscope_gql import observability
from bioscope_gql.commands import running
from bioscope_gql.commands.development import development
from bioscope_gql.db import Database
from bioscope_gql.live import watch
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import accounts, classifications, datasets
from bioscope_gql.resolvers.classifications import Order, Target
from bioscope_gql.services import Services
from bioscope_gql.settings import App, Settings
from bioscope_gql.vocabulary import Role, uuid7

SINGLES = 200
WARM_UP = 200
COLUMNS = [
    *("id", "filename", "content_type", "file_size", "sha256", "storage_path", "width", "height"),
    *("bit_depth", "channels", "frames", "dataset"),
]


async def measure(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bioscope-bench-", dir="/tmp") as folder:
        settings = Settings(app=App(port=0, data_dir=Path(folder) / "data", log_level="warning"))
        async with development(settings, worker=False) as stack:
            services = stack.services
            worker = await asyncio.create_subprocess_exec(
                sys.executable, str(Path(__file__).with_name("trivial_worker.py")),
                services.settings.kafka.bootstrap_servers[0], stdin=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                await _report(services, count)
            finally:
                worker.terminate()
                await worker.wait()


async def _report(services: Services, count: int) -> None:
    viewer = await _somebody(services)
    while not await services.db.value("select count(*) from workers"):
        await asyncio.sleep(0.05)
    warm, _ = await _dataset(services, viewer, WARM_UP)
    await _run(services, viewer, Target(dataset=warm))
    large, _ = await _dataset(services, viewer, count)
    began = time.perf_counter()
    await _run(services, viewer, Target(dataset=large))
    through = count / (time.perf_counter() - began)
    print(f"whole line   {count:>7} pictures   {through:>8.0f} pictures/s")
    floor = await _floor(services.db, large, count)
    print(f"floor        {count:>7} pictures   {floor:>8.0f} pictures/s (the same rows by plain asyncpg)")
    print(f"ratio        {floor / through:>7.1f}")
    _, ids = await _dataset(services, viewer, SINGLES)
    times = sorted([await _timed(services, viewer, id) for id in ids])
    print(
        f"one picture  p50 {times[SINGLES // 2]:.1f} ms   p99 {times[SINGLES * 99 // 100]:.1f} ms"
        "   (from the order to its result seen)"
    )


async def _somebody(services: Services) -> Viewer:
    row = await accounts.create(
        services, email="b@lab.example", username="bench", password="long enough for it", role=Role.ANALYST
    )
    return Viewer(id=row["id"], role=Role.ANALYST)


async def _dataset(services: Services, viewer: Viewer, count: int) -> tuple[UUID, list[UUID]]:
    """A new dataset with rows of pictures; no bytes, for nobody fetches them."""
    row = await datasets.create(services, viewer, name=f"{count} pictures", description=None)
    ids = [uuid7() for _ in range(count)]
    records = [
        (id, "a.png", "image/png", 1, f"{id.int:064x}", f"images/{row['id']}/{id}", 8, 8, 8, 3, 1, row["id"])
        for id in ids
    ]
    await services.db.pool.copy_records_to_table("images", records=records, columns=COLUMNS)
    return row["id"], ids


async def _run(services: Services, viewer: Viewer, target: Target) -> None:
    row = await classifications.run(services, viewer, Order(target, MODEL["name"]))
    status = row["status"]
    async for update in watch.run(services, viewer, row["id"], str(row["version"])):
        status = update.run["status"]
    if status != "COMPLETED":
        raise RuntimeError(f"The run ended {status}.")


async def _timed(services: Services, viewer: Viewer, image: UUID) -> float:
    began = time.perf_counter()
    await _run(services, viewer, Target(image=image))
    return 1000 * (time.perf_counter() - began)


async def _floor(db: Database, dataset: UUID, count: int) -> float:
    """Insert the run with its items, then per 500: update the items, insert their results, count them."""
    began = time.perf_counter()
    run = uuid7()
    async with db.transaction() as tx:
        await tx.execute(
            "insert into classifications (id, dataset, model, model_name, model_version, total, queued)"
            " select $1, $2, id, name, version, $3::int, $3 from models limit 1", run, dataset, count,
        )  # fmt: skip
        rows = await tx.fetch(
            "insert into classification_items (id, classification, image, model)"
            " select uuidv7(), $1, i.id, (select id from models limit 1) from images i where i.dataset = $2"
            " returning id, image", run, dataset,
        )  # fmt: skip
    for first in range(0, count, 500):
        part = rows[first : first + 500]
        async with db.transaction() as tx:
            await tx.execute(
                "update classification_items set status = 'SUCCEEDED', finished_at = clock_timestamp()"
                " where id = any($1::uuid[])", [row["id"] for row in part],
            )  # fmt: skip
            await tx.execute(
                "insert into classification_results (id, item, classification, image, dataset, label,"
                " confidence, scores, model_name, model_version)"
                " select uuidv7(), m.item, $3, m.image, $4, 'a', 1, '[]', 'm', '1'"
                " from unnest($1::uuid[], $2::uuid[]) as m(item, image)",
                [row["id"] for row in part], [row["image"] for row in part], run, dataset,
            )  # fmt: skip
            await tx.execute(
                "update classifications set queued = queued - $2, succeeded = succeeded + $2,"
                " version = version + 1, finished_at = case when queued = $2 then clock_timestamp() end"
                " where id = $1", run, len(part),
            )  # fmt: skip
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    observability.configure("error")
    running.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
