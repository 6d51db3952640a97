"""A worker for tests, which speaks the Kafka contract by hand and does what it is told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bioscope_gql.services import Services

Json = dict[str, Any]

PATIENCE_SECONDS = 20.0
MODEL = {"name": "teller", "version": "1.0.0"}


class Surroundings(Protocol):
    """What a worker needs of its laboratory."""

    services: Services

    async def until(self, sql: str, *args: Any) -> None: ...


class TestWorker:
    """Speaks the Kafka contract by hand: reads jobs of one model, sends whatever it is told to."""

    __test__ = False

    def __init__(
        self, lab: Surroundings, model: Json, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer
    ) -> None:
        self.lab, self.model = lab, model
        self.topics = lab.services.settings.kafka.topics
        self._consumer, self._producer = consumer, producer
        self.name = f"tester-{self.topics.jobs}"
        self._jobs: list[Json] = []

    @classmethod
    @asynccontextmanager
    async def opened(cls, lab: Surroundings, model: Json) -> AsyncIterator["TestWorker"]:
        topics = lab.services.settings.kafka.topics
        where = {"bootstrap_servers": list(lab.services.settings.kafka.bootstrap_servers)}
        async with AsyncExitStack() as stack:
            consumer = AIOKafkaConsumer(
                topics.jobs, auto_offset_reset="earliest", fetch_max_wait_ms=10, **where
            )
            producer = AIOKafkaProducer(acks="all", max_request_size=1 << 20, **where)
            for client in (consumer, producer):
                await client.start()
                stack.push_async_callback(client.stop)
            silent = model.pop("silent", False)
            worker = cls(lab, model, consumer, producer)
            if not silent:
                await worker.announce()
            yield worker

    async def announce(self, status: str = "up", **changes: Any) -> None:
        """Say who is there, and return once the server knows."""
        model = {**self.model, **changes}
        message = {
            "v": 1, "worker": {"name": self.name, "version": "1.0.0"}, "status": status,
            "models": [model], "concurrency": 4,
        }  # fmt: skip
        await self.send(message, topic=self.topics.workers)
        await self.lab.until(
            "select count(*) from workers w join models m on m.id = w.model where w.name = $1"
            " and m.name = $2 and m.version = $3 and (w.stopped_at is null) = $4",
            self.name, model["name"], model["version"], status == "up",
        )  # fmt: skip

    async def job(self) -> Json:
        """The next job of this worker's model, in the order of its partition."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._jobs:
                for records in (await self._consumer.getmany(timeout_ms=200)).values():
                    jobs = (json.loads(record.value) for record in records)
                    self._jobs += [job for job in jobs if job["model"]["version"] == self.model["version"]]
        return self._jobs.pop(0)

    async def jobs(self, count: int) -> list[Json]:
        return [await self.job() for _ in range(count)]

    async def send(
        self, message: Any, *, topic: str | None = None, key: bytes = b"k", partition: int | None = None
    ) -> None:
        """Any message, as JSON, or bytes as they are."""
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        topic = topic or self.topics.results
        await self._producer.send_and_wait(topic, raw, key=key, partition=partition)

    def encoded(self, message: Json) -> bytes:
        return json.dumps(message).encode()

    async def partitions(self, topic: str) -> list[int]:
        return sorted(await self._producer.partitions_for(topic))

    async def answer(self, job: Json, label: str = "dark", confidence: float = 0.9, **more: Any) -> None:
        await self.send(self.ok(job, label, confidence, **more), key=job["itemId"].encode())

    async def fail(self, job: Json, code: str = "CORRUPT_IMAGE", *, retryable: bool = False) -> None:
        error = {"code": code, "message": "It can't be read.", "retryable": retryable}
        await self.send({**self._head(job), "status": "error", "error": error}, key=job["itemId"].encode())

    async def started(self, job: Json) -> None:
        await self.send({**self._head(job), "status": "started"}, key=job["itemId"].encode())

    def ok(self, job: Json, label: str = "dark", confidence: float = 0.9, **more: Any) -> Json:
        model = {"name": self.model["name"], "version": self.model["version"]}
        scores = [{"label": label, "confidence": confidence}]
        return {**self._head(job), "status": "ok", "scores": scores, "model": model, **more}

    def _head(self, job: Json) -> Json:
        return {"v": 1, "itemId": job["itemId"], "attempt": job["attempt"], "worker": {"name": self.name}}
