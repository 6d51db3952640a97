"""The same work with nothing around it: the rows by plain asyncpg, the records by plain aiokafka."""

import asyncio
import json
import time
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bioscope_gql.db import KEEP_PLANS, Database
from bioscope_gql.vocabulary import uuid7

BATCH = 500
RECORD = json.dumps({"filler": "x" * 700}).encode()
"""As long as a job with its link."""


async def rows_per_second(db: Database, dataset: UUID, count: int) -> float:
    """Insert the run with its items, then per 500: update the items, insert their results, count them.

    The items are leased from the start, so that the dispatch loop of the server beside it leaves them alone.
    """
    began = time.perf_counter()
    run = uuid7()
    async with db.transaction() as tx:
        await tx.execute(KEEP_PLANS)
        await tx.execute(
            "insert into classifications (id, dataset, model, model_name, model_version, total, queued)"
            " select $1, $2, id, name, version, $3::int, $3 from models limit 1", run, dataset, count,
        )  # fmt: skip
        rows = await tx.fetch(
            "insert into classification_items (id, classification, image, model, dispatched_at, lease_until)"
            " select uuidv7(), $1, i.id, (select id from models limit 1), now(), now() + interval '1 hour'"
            " from images i where i.dataset = $2 returning id, image", run, dataset,
        )  # fmt: skip
    for first in range(0, count, BATCH):
        part = rows[first : first + BATCH]
        async with db.transaction() as tx:
            await tx.execute(KEEP_PLANS)
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


async def records_per_second(servers: str, jobs: str, answers: str, count: int) -> float:
    """Send so many jobs, read them elsewhere, answer each, and read the answers.

    One producer and one consumer on either side, as idempotent and as acknowledged as the line's own.
    """
    async with (
        AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True) as producer,
        AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True) as answerer,
        AIOKafkaConsumer(jobs, bootstrap_servers=servers, auto_offset_reset="earliest") as worker,
        AIOKafkaConsumer(answers, bootstrap_servers=servers, auto_offset_reset="earliest") as reader,
    ):
        began = time.perf_counter()

        async def send() -> None:
            for number in range(count):
                await producer.send(jobs, RECORD, key=str(number).encode())

        async def answer() -> None:
            for _ in range(count):
                record = await worker.getone()
                json.loads(record.value or b"")
                await answerer.send(answers, RECORD, key=record.key)

        async def read() -> None:
            for _ in range(count):
                json.loads((await reader.getone()).value or b"")

        async with asyncio.TaskGroup() as tasks:
            for each in (send(), answer(), read()):
                tasks.create_task(each)
        return count / (time.perf_counter() - began)
