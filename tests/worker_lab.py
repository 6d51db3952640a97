"""What surrounds a worker: a broker, a server with pictures and an API, and a reader of its answers."""

import asyncio
import hashlib
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bioscope_gql.embedded.kafka import Broker
from bioscope_gql.events.messages import Job, JobImage, ModelRef, Topics, encode
from bioscope_gql.vocabulary import uuid7
from bioscope_gql.worker.sdk import Options, Worker
from tests.brokers import RealBroker, a_broker, real_kafka

PARTITIONS = 3
LIMIT_SECONDS = 25
ROOT = Path(__file__).parents[1]

Message = dict[str, Any]


@dataclass
class Files:
    """What the HTTP server has: bytes by path; statuses to answer first; requests as they came."""

    url: str
    bodies: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    posted: list[tuple[str, bytes]] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes]:
        if statuses := self.statuses.get(path):
            return statuses.pop(0), b""
        return (200, self.bodies[path]) if path in self.bodies else (404, b"")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = (
        1 << 20
    )  # head and body in one go: apart, the second would wait for the first to be acknowledged
    files: Files

    def do_GET(self) -> None:
        self.files.asked.append((self.path, self.headers.get("authorization")))
        self._send()

    def do_POST(self) -> None:
        self.files.posted.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.files.asked.append((self.path, self.headers.get("authorization")))
        self._send()

    def _send(self) -> None:
        status, body = self.files.answer(self.path)
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def files_served() -> Iterator[Files]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.files = files = Files(f"http://127.0.0.1:{server.server_address[1]}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Heard:
    """All messages of a topic, as they come."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._more = asyncio.Condition()

    async def listen(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            async with self._more:
                self.messages.append(json.loads(record.value))
                self._more.notify_all()

    async def until(self, enough: Callable[[list[Message]], bool]) -> list[Message]:
        async with asyncio.timeout(LIMIT_SECONDS), self._more:
            await self._more.wait_for(lambda: enough(self.messages))
            return list(self.messages)


class Lab:
    def __init__(
        self, broker: Broker | RealBroker, topics: Topics, files: Files, producer: AIOKafkaProducer, log: Path
    ) -> None:
        self.broker = broker
        self.log = log
        self.topics = topics
        self.files = files
        self.results = Heard()
        self.workers = Heard()
        self._producer = producer

    def options(self, **changes: Any) -> Options:
        given: dict[str, Any] = {"development": self.embedded, "name": "w1"} | changes
        return Options(bootstrap_servers=self.broker.bootstrap_servers, topics=self.topics, **given)

    @property
    def embedded(self) -> bool:
        return isinstance(self.broker, Broker)

    def a_job(
        self, data: bytes = b"a picture", *, name: str = "m", version: str = "1", link: bool = True
    ) -> Job:
        """A job whose picture is on the server."""
        image_id, now = uuid7(), datetime.now(UTC)
        path = f"/files/{image_id}" if link else f"/images/{image_id}/original"
        self.files.bodies[path] = data
        return Job(
            item_id=uuid7(),
            attempt=1,
            classification_id=uuid7(),
            image_id=image_id,
            dataset_id=uuid7(),
            model=ModelRef(name=name, version=version),
            image=JobImage(
                url=self.files.url + path if link else None,
                sha256=hashlib.sha256(data).hexdigest(),
                content_type="image/png",
                file_size=len(data),
                width=640,
                height=480,
            ),
            lease_seconds=60,
            deadline=now + timedelta(minutes=5),
            requested_at=now,
        )

    @staticmethod
    def nowhere() -> Options:
        return Options(bootstrap_servers="127.0.0.1:9")

    @staticmethod
    def encoded(job: Job) -> bytes:
        return encode(job)

    async def send(self, *jobs: Job) -> None:
        for job in jobs:
            await self.send_raw(encode(job), job.headers, str(job.item_id))

    async def send_raw(self, value: bytes, headers: dict[str, str], key: str = "k") -> None:
        pairs = [(name, text.encode()) for name, text in headers.items()]
        async with asyncio.timeout(LIMIT_SECONDS):
            await self._producer.send_and_wait(self.topics.jobs, value, key=key.encode(), headers=pairs)

    async def said_of(self, job: Job, *, until: tuple[str, ...] = ("ok", "error")) -> list[Message]:
        """What was said about a job, up to its answer."""

        def about(messages: list[Message]) -> list[Message]:
            return [message for message in messages if message["itemId"] == str(job.item_id)]

        heard = await self.results.until(
            lambda messages: any(message["status"] in until for message in about(messages))
        )
        return about(heard)

    async def answer(self, job: Job) -> Message:
        """The last that was said about it: `ok` or `error`."""
        return (await self.said_of(job))[-1]

    async def committed(self, group: str) -> int:
        """How many jobs the group has behind it."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.bootstrap_servers)
        await admin.start()
        try:
            partitions = [TopicPartition(self.topics.jobs, number) for number in range(PARTITIONS)]
            offsets = await admin.list_consumer_group_offsets(group, partitions=partitions)
            return sum(max(0, offset.offset) for offset in offsets.values())
        finally:
            await admin.close()


def _topics_of_its_own() -> Topics:
    """A real broker remembers what other labs left behind; an embedded one is new with each lab."""
    name = f"workers-{uuid7().hex}"
    return Topics(jobs=f"{name}.jobs", results=f"{name}.results", workers=f"{name}.workers")


@asynccontextmanager
async def a_lab(log_dir: Path) -> AsyncIterator[Lab]:
    topics = _topics_of_its_own() if real_kafka() else Topics()
    broker = a_broker({topics.jobs: PARTITIONS, topics.results: PARTITIONS, topics.workers: 1}, log_dir)
    await broker.start()
    servers = {"bootstrap_servers": broker.bootstrap_servers}
    producer = AIOKafkaProducer(**servers)
    readers = [
        AIOKafkaConsumer(topic, **servers, auto_offset_reset="earliest", fetch_max_wait_ms=5)
        for topic in (topics.results, topics.workers)
    ]
    tasks: list[asyncio.Task[None]] = []
    try:
        with files_served() as files:
            for client in (producer, *readers):
                await client.start()
            lab = Lab(broker, topics, files, producer, log_dir / "workers.log")
            for heard, reader in zip((lab.results, lab.workers), readers, strict=True):
                tasks.append(asyncio.create_task(heard.listen(reader)))
            yield lab
    finally:
        broker.resume()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in (producer, *readers):
            await client.stop()
        await broker.stop()


@asynccontextmanager
async def at_work(worker: Worker, options: Options) -> AsyncIterator[asyncio.Event]:
    """The worker runs in this process while the block lasts. It must end well."""
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(options, stop))
    try:
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await running


async def logged(lab: Lab, words: str) -> None:
    """Return once a worker's process has written these words into its log."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while words not in lab.log.read_text():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def a_process(lab: Lab, program: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker in a process of its own; killed at the end, if it still lives. It logs to `lab.log`."""
    variables = {
        f"BIOSCOPE_KAFKA__TOPICS__{name.upper()}": getattr(lab.topics, name)
        for name in ("jobs", "results", "workers")
    }
    with lab.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(program),
            "--bootstrap-servers",
            lab.broker.bootstrap_servers,
            *(["--development"] if lab.embedded else []),
            *arguments,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **variables},
            stdin=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
