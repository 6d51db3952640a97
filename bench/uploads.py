"""Many pictures through the API: pictures per second, memory, and what others wait meanwhile.

`bioscope serve` as a process of its own over an embedded PostgreSQL and a disk store (or the S3 of --s3). One
client sends PICTURES JPEG files of 640x480 in batches; another, a process of its own too, asks `me` all the
while. Memory is that of the serving process alone, and with the processes that read pictures.

    python bench/uploads.py [--pictures N] [--batch N] [--parallel N] [--s3 http://key:secret@host:port]
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import numpy as np
import psutil
from PIL import Image

from bioscope_gql.auth import keys
from bioscope_gql.commands import running
from bioscope_gql.embedded.stack import Stack
from bioscope_gql.settings import KafkaTopics

PROBE_SECONDS = 0.02
SAMPLE_SECONDS = 0.05
REGISTER = """
mutation ($name: String!, $email: String!) {
  register(input: {email: $email, username: $name, password: "correct horse battery"}) {
    ... on AuthTokens { accessToken }
  }
}
"""
UPLOAD = """
mutation ($dataset: ID!, $files: [Upload!]!) {
  uploadImages(input: {datasetId: $dataset, files: $files}) {
    ... on UploadReport { files { __typename } }
  }
}
"""


def a_picture(number: int) -> bytes:
    """Cells on a bright ground, with the noise of a camera; another one for every number."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:480, :640]
    light = np.full((480, 640), 225.0)
    for _ in range(60):
        distance = np.hypot(y - random.uniform(0, 480), x - random.uniform(0, 640)) - random.uniform(18, 34)
        light -= 70 / (1 + np.exp(distance / 2))
    tinted = light[..., None] * (1, 0.86, 0.9) + random.normal(0, 4, (480, 640, 3))
    out = io.BytesIO()
    Image.fromarray(tinted.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def a_body(pictures: list[tuple[str, bytes]], dataset: str) -> tuple[bytes, str]:
    """The multipart body of one upload, and its content type."""
    request = httpx.Request(
        "POST",
        "http://bench",
        data={
            "operations": json.dumps(
                {"query": UPLOAD, "variables": {"dataset": dataset, "files": [None] * len(pictures)}}
            ),
            "map": json.dumps({str(place): [f"variables.files.{place}"] for place in range(len(pictures))}),
        },
        files=[(str(place), picture) for place, picture in enumerate(pictures)],
    )
    return request.read(), request.headers["content-type"]


@contextmanager
def a_folder() -> Iterator[Path]:
    """One that PostgreSQL's account can pass through when root runs this."""
    with tempfile.TemporaryDirectory(prefix="bioscope-bench-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@asynccontextmanager
async def a_server(s3: str | None) -> AsyncIterator[tuple[psutil.Process, str]]:
    """`bioscope serve`, and its address."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(a_folder())
        topics = KafkaTopics().model_dump()
        embedded = await stack.enter_async_context(Stack(folder / "data", dict.fromkeys(topics.values(), 4)))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BIOSCOPE_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bioscope_gql", "serve", "--port", "0", "--migrate"),
            env={
                **environment,
                "BIOSCOPE_DATABASE__DSN": embedded.dsn,
                "BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS": embedded.bootstrap_servers,
                "BIOSCOPE_KAFKA__CREATE_TOPICS": "false",
                "BIOSCOPE_APP__PUBLIC_URL": "http://127.0.0.1:8000",
                "BIOSCOPE_APP__LOG_LEVEL": "warning",
                "BIOSCOPE_AUTH__KEYS": str(keys.generate(folder / "keys")),
                "BIOSCOPE_AUTH__REGISTRATION": "open",
                **store(s3, folder),
            },
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            line = ""
            while process.stdout and not line.startswith("Serving on "):
                line = (await process.stdout.readline()).decode() or sys.exit("The server ended.")
            yield psutil.Process(process.pid), line.removeprefix("Serving on ").partition("/graphql")[0]
        finally:
            process.terminate()
            await process.wait()


def store(s3: str | None, folder: Path) -> dict[str, str]:
    if s3 is None:
        return {"BIOSCOPE_S3__DIRECTORY": str(folder / "files")}
    parts = urlsplit(s3)
    return {
        "BIOSCOPE_S3__ENDPOINT": f"{parts.scheme}://{parts.hostname}:{parts.port}",
        "BIOSCOPE_S3__ACCESS_KEY": parts.username or "",
        "BIOSCOPE_S3__SECRET_KEY": parts.password or "",
        "BIOSCOPE_S3__BUCKET": f"bioscope-bench-{uuid4().hex[:12]}",
    }


def probe(url: str, token: str, stop: Any, answers: Any) -> None:
    """Ask `me` until told to stop, and send the seconds that each answer took."""
    seconds = []
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30) as http:
        http.post("/graphql", json={"query": "{ me { id } }"})
        while not stop.is_set():
            began = time.perf_counter()
            http.post("/graphql", json={"query": "{ me { id } }"}).raise_for_status()
            seconds.append(time.perf_counter() - began)
            time.sleep(PROBE_SECONDS)
    answers.put(seconds)


class Memory:
    """The highest resident memory in bytes, of the process and of its family."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.own = self.family = 0

    def sample(self) -> None:
        own = self._process.memory_info().rss
        children = 0
        for child in self._process.children(recursive=True):
            try:
                children += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.own, self.family = max(self.own, own), max(self.family, own + children)

    async def watch(self) -> None:
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)


async def measure(count: int, batch: int, parallel: int, s3: str | None) -> None:
    pictures = await asyncio.to_thread(lambda: [(f"cell {n}.jpg", a_picture(n)) for n in range(count)])
    size = sum(len(data) for _, data in pictures) / count / 1024
    async with a_server(s3) as (process, url), httpx.AsyncClient(base_url=url, timeout=300) as http:
        anna, bob = [await registered(http, name) for name in ("anna", "bob")]
        http.headers["authorization"] = f"Bearer {anna}"
        made = await http.post(
            "/graphql",
            json={"query": 'mutation { createDataset(input: {name: "d"}) { ... on Dataset { id } } }'},
        )
        dataset = made.json()["data"]["createDataset"]["id"]
        bodies = [a_body(pictures[first : first + batch], dataset) for first in range(0, count, batch)]
        memory = Memory(process)
        memory.sample()
        at_rest = memory.own
        quiet = await probed(url, bob, asyncio.sleep(2))
        watching = asyncio.create_task(memory.watch())
        used = spent(process)
        waited = await probed(url, bob, send(http, bodies, count, parallel))
        seconds, cpu = waited.pop(), spent(process) - used
        watching.cancel()
    print(f"{count} JPEG of 640x480, {size:.0f} KiB each, {batch} a request, {parallel} requests at once; "
          f"load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")  # fmt: skip
    print(f"pictures per second          {count / seconds:8.1f}")
    print(f"CPU of server and intake     {1000 * cpu / count:8.1f} ms a picture")
    print(
        f"memory of the API            {at_rest / 1e6:8.0f} MB at rest, {memory.own / 1e6:.0f} MB at its peak"
    )
    print(f"with the intake's processes  {memory.family / 1e6:8.0f} MB at its peak")
    print(f"`me` of another meanwhile    {said(waited)}; alone {said(quiet)}")


def spent(process: psutil.Process) -> float:
    """CPU seconds of a process and its children."""
    return sum(sum(each.cpu_times()[:2]) for each in [process, *process.children(recursive=True)])


def said(seconds: list[float]) -> str:
    p50, p99 = np.percentile(seconds, (50, 99)) * 1000
    return f"{p50:.1f} ms p50, {p99:.1f} ms p99, {max(seconds) * 1000:.0f} ms at most"


async def registered(http: httpx.AsyncClient, name: str) -> str:
    body = {"query": REGISTER, "variables": {"name": name, "email": f"{name}@lab.example"}}
    token: str = (await http.post("/graphql", json=body)).json()["data"]["register"]["accessToken"]
    return token


async def probed(url: str, token: str, work: Any) -> list[float]:
    """The seconds of every `me` while `work` runs; last the seconds that `work` took, if it says so."""
    context = multiprocessing.get_context("spawn")
    stop, answers = context.Event(), context.Queue()
    prober = context.Process(target=probe, args=(url, token, stop, answers))
    prober.start()
    try:
        seconds = await work
    finally:
        stop.set()
    found: list[float] = await asyncio.to_thread(answers.get, timeout=60)
    await asyncio.to_thread(prober.join)
    return found if seconds is None else [*found, seconds]


async def send(http: httpx.AsyncClient, bodies: list[tuple[bytes, str]], count: int, parallel: int) -> float:
    """The seconds from the start to the last outcome."""
    outcomes, left = 0, iter(bodies)

    async def worker() -> None:
        nonlocal outcomes
        for body, kind in left:
            headers = {"content-type": kind, "graphql-require-preflight": "1"}
            answer = (await http.post("/graphql", content=body, headers=headers)).json()
            outcomes += len(
                [f for f in answer["data"]["uploadImages"]["files"] if f["__typename"] == "UploadedImage"]
            )

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(parallel)))
    seconds = time.perf_counter() - began
    if outcomes != count:
        sys.exit(f"Of {count} pictures {outcomes} were taken.")
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--s3")
    args = parser.parse_args()
    return running.run(done(measure(args.pictures, args.batch, args.parallel, args.s3)))


async def done(work: Any) -> int:
    await work
    return 0


if __name__ == "__main__":
    sys.exit(main())
