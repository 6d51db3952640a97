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

    `deaf_to` says which jobs it takes and never answers.
    """

    def __init__(
        self, address: str, topics: KafkaTopics, *, deaf_to: Callable[[Any], bool] = lambda _job: False
    ) -> None:
        self._address, self._topics, self._deaf_to = address, topics, deaf_to
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
                if not self._deaf_to(job):
                    await producer.send(self._topics.results, self._answer(job), key=record.key)
        finally:
            announcing.cancel()
            ends = [asyncio.create_task(client.stop()) for client in (consumer, producer)]
            await asyncio.wait([announcing, *ends], timeout=5)

    def _answer(self, job: Any) -> bytes:
        self.came.setdefault(job["itemId"], time.monotonic())
        self.jobs[job["itemId"]] += 1
        answer = {
            "v": 1, "itemId": job["itemId"], "attempt": job["attempt"], "status": "ok", "model": MODEL,
            "scores": [{"label": "a", "confidence": 0.9}], "worker": {"name": self._name},
        }  # fmt: skip
        return json.dumps(answer).encode()

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
