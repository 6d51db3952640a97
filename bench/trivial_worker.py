"""A worker that answers every job at once: what is left is what the line itself costs.

python bench/trivial_worker.py BOOTSTRAP_SERVERS JOBS RESULTS WORKERS    (the last three are topics)
"""

import asyncio
import json
import os
import sys
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

MODEL = {"name": "trivial", "version": "1"}
WORKER = {"name": f"trivial-{os.getpid()}"}
ANNOUNCE_SECONDS = 10


async def work(servers: str, jobs: str, results: str, workers: str) -> None:
    consumer = AIOKafkaConsumer(
        jobs,
        bootstrap_servers=servers,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=5,
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_batch_size=131_072)
    async with consumer, producer:
        announcing = asyncio.create_task(announce(producer, workers))
        while not announcing.done():
            for records in (await consumer.getmany(timeout_ms=100)).values():
                for record in records:
                    await producer.send(results, answer(json.loads(record.value)), key=record.key)


def answer(job: Any) -> bytes:
    scores = [{"label": "a", "confidence": 0.9}, {"label": "b", "confidence": 0.1}]
    return json.dumps({
        "v": 1, "itemId": job["itemId"], "attempt": job["attempt"], "status": "ok", "scores": scores,
        "model": MODEL, "worker": WORKER, "durationMs": 0,
    }).encode()  # fmt: skip


async def announce(producer: AIOKafkaProducer, topic: str) -> None:
    message = {
        "v": 1,
        "worker": WORKER,
        "status": "up",
        "models": [{**MODEL, "labels": ["a", "b"]}],
        "concurrency": 8,
    }
    while True:
        await producer.send(topic, json.dumps(message).encode(), key=WORKER["name"].encode())
        await asyncio.sleep(ANNOUNCE_SECONDS)


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
