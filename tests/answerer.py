"""A worker that answers every job at once, whatever becomes of its broker meanwhile."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from bioscope_gql.settings import KafkaTopics

MODEL = {"name": "sure", "version": "1"}
ANNOUNCE_SECONDS = 2
PAUSE_SECONDS = 0.2


class Answerer:
    """`jobs` counts how often each item came, `came` says when it came first (by `time.monotonic`).

    `gives_up` says which jobs it starts and never answers.
    """

    def __init__(
        self, address: str, topics: KafkaTopics, *, gives_up: Callable[[Any], bool] = lambda _job: False
    ) -> None:
        self._address, self._topics, self._gives_up = address, topics, gives_up
        self._name = f"sure-{topics.jobs}"
        self.jobs: Counter[str] = Counter()
        self.came: dict[str, float] = {}

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        working = asyncio.create_task(self._work())
        try:
            yield
            assert not working.done(), working.result()
        finally:
            working.cancel()
            await asyncio.wait([working])

    async def _work(self) -> None:
        # Without a group: whoever else reads is none of its business, nor is any coordinator.
        consumer = AIOKafkaConsumer(
            self._topics.jobs, bootstrap_servers=self._address, auto_offset_reset="earliest"
        )
        producer = AIOKafkaProducer(bootstrap_servers=self._address, acks="all", enable_idempotence=True)
        for client in (consumer, producer):
            await _started(client)
        announcing = asyncio.create_task(self._announce(producer))
        try:
            async for record in consumer:
                job = json.loads(record.value)
                said = self._started(job) if self._gives_up(job) else self._answer(job)
                await producer.send(self._topics.results, said, key=record.key)
        finally:
            announcing.cancel()
            ends = [asyncio.create_task(client.stop()) for client in (consumer, producer)]
            await asyncio.wait([announcing, *ends], timeout=5)

    def _answer(self, job: Any) -> bytes:
        self._count(job)
        scores = [{"label": "a", "confidence": 0.9}]
        return json.dumps({**self._head(job), "status": "ok", "model": MODEL, "scores": scores}).encode()

    def _started(self, job: Any) -> bytes:
        self._count(job)
        return json.dumps({**self._head(job), "status": "started"}).encode()

    def _count(self, job: Any) -> None:
        self.came.setdefault(job["itemId"], time.monotonic())
        self.jobs[job["itemId"]] += 1

    def _head(self, job: Any) -> dict[str, Any]:
        return {"v": 1, "itemId": job["itemId"], "attempt": job["attempt"], "worker": {"name": self._name}}

    async def _announce(self, producer: AIOKafkaProducer) -> None:
        message = {
            "v": 1, "worker": {"name": self._name, "version": "1"}, "status": "up", "concurrency": 8,
            "models": [{**MODEL, "labels": ["a", "b"], "contentTypes": []}],
        }  # fmt: skip
        while True:
            await producer.send(self._topics.workers, json.dumps(message).encode(), key=self._name.encode())
            await asyncio.sleep(ANNOUNCE_SECONDS)


async def _started(client: Any) -> None:
    """Its broker may be away at first."""
    while True:
        try:
            await client.start()
        except (KafkaError, OSError):
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return
