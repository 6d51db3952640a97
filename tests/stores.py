"""Stores to test with: the disk store, and S3 by moto or the server that the environment names.

BIOSCOPE_TEST_S3 is an endpoint with its keys, e.g. http://user:secret@127.0.0.1:9000; BIOSCOPE_TEST_MINIO is
the path of a MinIO program, for the tests that start a server of their own to freeze and to kill it. Without
the former, moto answers (make installs it beside .venv); it checks neither keys nor links nor checksums.
"""

import asyncio
import atexit
import os
import re
import shutil
import socket
import subprocess
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4
from xml.etree import ElementTree as ET

import httpx
import pytest
from pydantic import SecretStr

from bioscope_gql import settings
from bioscope_gql.storage.blobs import BlobStore
from bioscope_gql.storage.disk import DiskStore
from bioscope_gql.storage.links import LinkSigner
from bioscope_gql.storage.s3 import S3Options, S3Store
from tests.clients import a_client

SECRET = b"a secret of thirty-two bytes ...."
S3, MINIO = "BIOSCOPE_TEST_S3", "BIOSCOPE_TEST_MINIO"
MOTO = Path(__file__).parents[1] / ".venv/moto/bin/moto_server"
USER, PASSWORD = "bioscope", "bioscope-secret"


def a_disk_store(folder: Path, **options: Any) -> DiskStore:
    return DiskStore(folder, LinkSigner(SECRET), **options)


def real_s3_options() -> S3Options:
    """As `s3_options`, at a server that refuses what it should."""
    if not os.environ.get(S3):
        pytest.skip(f"{S3} names no S3 server with its keys, like http://user:secret@127.0.0.1:9000")
    return s3_options()


@cache
def moto() -> str:
    """The address of a moto server, which ends with this process."""
    if not MOTO.exists():
        pytest.skip(f"Neither is {MOTO} installed (make .venv/.moto) nor does {S3} name an S3 server")
    process = subprocess.Popen(
        [MOTO, "-H", "127.0.0.1", "-p", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    atexit.register(process.kill)
    lines = process.stderr or ()
    address = next(found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
    # Whoever does not read its requests stops it once the pipe is full.
    threading.Thread(target=lambda: deque(lines, maxlen=0), daemon=True).start()
    return address.replace("//", f"//{USER}:{PASSWORD}@")


def s3_options() -> S3Options:
    """A bucket of its own, which is not there yet, at the server that the environment names, else at moto."""
    address = os.environ.get(S3) or moto()
    parts = urlsplit(address)
    endpoint = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    return S3Options(
        endpoint=endpoint,
        access_key=parts.username or "",
        secret_key=parts.password or "",
        bucket=f"bioscope-test-{uuid4().hex[:12]}",
        create_bucket=True,
    )


def settings_of(options: S3Options) -> settings.S3:
    """What a server must be told to use this bucket."""
    return settings.S3(
        endpoint=options.endpoint,
        access_key=options.access_key,
        secret_key=SecretStr(options.secret_key),
        bucket=options.bucket,
    )


@asynccontextmanager
async def an_s3_store(options: S3Options, **more: Any) -> AsyncIterator[S3Store]:
    """An empty store, whose bucket is removed afterwards with all that is in it."""
    try:
        async with S3Store(options, **more) as store:
            yield store
    finally:
        async with S3Store(replace(options, create_bucket=True)) as store:
            await store.delete(await keys_of(store))
        await _ask_s3(options, "DELETE")


async def read(store: BlobStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    async with store.open(key, start=start, end=end) as blob:
        return b"".join([chunk async for chunk in blob.chunks])


async def keys_of(store: BlobStore, prefix: str = "", after: str | None = None) -> list[str]:
    return [info.key async for info in store.list(prefix, after=after)]


async def unfinished(options: S3Options, key: str) -> list[str]:
    """The uploads of this key that were begun and not ended."""
    answer = await _ask_s3(options, "GET", {"uploads": "", "prefix": key})
    found = ET.fromstring(answer.content).iterfind("{*}Upload/{*}Key")  # noqa: S314 - our own server
    return [each.text or "" for each in found]


async def _ask_s3(options: S3Options, method: str, query: dict[str, Any] | None = None) -> httpx.Response:
    from miniopy_async.credentials.credentials import Credentials
    from miniopy_async.helpers import BaseURL
    from miniopy_async.signer import presign_v4

    region, keys = options.region, Credentials(options.access_key, options.secret_key)
    url = BaseURL(options.endpoint, region).build(method, region, options.bucket, query_params=query or {})
    signed = presign_v4(method, url, region, keys, datetime.now(UTC), 60)
    async with a_client() as client:
        answer = await client.request(method, signed.geturl())
    return answer.raise_for_status()


class Minio:
    """A MinIO server of the test's own."""

    def __init__(self, program: str, data: Path) -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self._command = [program, "server", str(data), "--address", self.address, "--quiet"]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> S3Options:
        return S3Options(
            endpoint=f"http://{self.address}",
            access_key=USER,
            secret_key=PASSWORD,
            bucket="pictures",
            create_bucket=True,
        )

    async def start(self) -> None:
        environment = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD, "MINIO_BROWSER": "off"}
        self.process = subprocess.Popen(
            self._command,
            env=os.environ | environment | {"MINIO_UPDATE": "off"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with a_client() as client, asyncio.timeout(30):
            while not await self._serves(client):
                assert self.process.poll() is None, "MinIO ended at its start."
                await asyncio.sleep(0.05)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def _serves(self, client: httpx.AsyncClient) -> bool:
        try:
            answer = await client.get(f"http://{self.address}/minio/health/cluster")
        except httpx.TransportError:
            return False
        return answer.status_code == 200


@contextmanager
def a_minio(data: Path) -> Iterator[Minio]:
    """A server that is not started yet, and is killed afterwards."""
    program = os.environ.get(MINIO) or shutil.which("minio")
    if not program:
        pytest.skip(f"{MINIO} names no MinIO program, and none is on the PATH")
    minio = Minio(program, data)
    try:
        yield minio
    finally:
        minio.kill()


class Way:
    """A way to a server on which nothing more goes there after so many bytes, until it is freed."""

    def __init__(self, to: str, hold_after_bytes: int) -> None:
        self._to = urlsplit(to)
        self._left = hold_after_bytes
        self._free = asyncio.Event()
        self.held = asyncio.Event()

    def free(self) -> None:
        self._free.set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """The address at which it begins."""
        async with await asyncio.start_server(self._carry, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _carry(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, there = await asyncio.open_connection(self._to.hostname, self._to.port)
        ways = [asyncio.create_task(self._there(near, there)), asyncio.create_task(self._pass(far, back))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for each in ways:
            each.cancel()
        there.close()
        back.close()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(64 << 10):
            self._left -= len(data)
            if self._left < 0 and not self._free.is_set():
                self.held.set()
                await self._free.wait()
            writer.write(data)
            await writer.drain()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(64 << 10):
            writer.write(data)
            await writer.drain()
