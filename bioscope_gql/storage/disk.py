"""The disk store: blobs as files under one directory, read through links that we sign ourselves."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from bioscope_gql.storage import folder
from bioscope_gql.storage.blobs import (
    CHUNK_BYTES,
    Blob,
    BlobInfo,
    Reader,
    checked_key,
    checked_range,
    lifetime,
)
from bioscope_gql.storage.links import LinkSigner

THREADS = 8

T = TypeVar("T")


@dataclass(frozen=True)
class OpenFile:
    """The file behind a key: `size` in bytes, and a `tag` that is another once the bytes are."""

    size: int
    tag: str
    chunks: Callable[[int, int], AsyncIterator[bytes]]
    sha256: Callable[[], Awaitable[str]]
    """Reads all of it; in hex."""


class DiskStore:
    """Files of mode 0600 in directories of mode 0700 under `root`, which is made when it is needed.

    All work on files runs in a few threads of the store's own, so that a slow disk holds up neither
    the event loop nor others' threads. Content types are not kept: links carry them.
    """

    def __init__(self, root: Path, signer: LinkSigner, *, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._signer = signer
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._threads.shutdown)

    async def put(self, key: str, source: Path | bytes, *, content_type: str, sha256: str | None) -> None:
        del content_type  # links carry it
        await self._to_its_end(folder.write, self._path(key), source, sha256)

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[Blob]:
        checked_range(start, end)
        async with self.open_file(key) as file:
            stop = file.size if end is None else min(end, file.size)
            yield Blob(file.size, None, file.chunks(start, stop))

    @asynccontextmanager
    async def open_file(self, key: str) -> AsyncIterator[OpenFile]:
        """The file behind a key, any parts of which can then be read.

        Raises:
            BlobMissing: there is nothing under the key.
        """
        work = asyncio.get_running_loop().run_in_executor(self._threads, folder.open_file, self._root, key)
        try:
            file = await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(_close_unwanted)
            raise
        with file:
            facts = os.fstat(file.fileno())
            tag = f"{facts.st_ino:x}-{facts.st_mtime_ns:x}-{facts.st_size:x}"
            yield OpenFile(
                facts.st_size,
                tag,
                lambda start, end: self._chunks(file, start, end),
                lambda: self._to_its_end(folder.sha256, file),
            )

    def presign_get(
        self,
        key: str,
        *,
        seconds: int,
        content_type: str,
        filename: str | None,
        origin: str,
        to: Reader = "browser",
        sha256: str | None = None,
    ) -> str:
        steady = filename is None and to == "browser"
        _, expires = lifetime(self._clock(), seconds, steady=steady)
        link = self._signer.sign(
            key, expires=expires, content_type=content_type, filename=filename, sha256=sha256
        )
        return origin.rstrip("/") + link

    async def delete(self, keys: Sequence[str]) -> None:
        await self._run(folder.remove, self._root, [self._path(key) for key in keys])

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[BlobInfo]:
        found = folder.walk(self._root, "", prefix, after or "")
        while batch := await self._run(folder.some, self._root, found):
            for info in batch:
                yield info

    async def check(self) -> None:
        await self._run(folder.probe, self._root, self._clock())

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _to_its_end(self, work: Callable[..., T], *arguments: object) -> T:
        """As `_run`, for what takes long: whoever is cancelled waits until the thread has stopped."""
        stopped = Event()
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, partial(work, self._root, *arguments, stopped))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.wait([running])
            running.exception()  # looked at, so that nobody reports it as lost
            raise

    async def _chunks(self, file: BinaryIO, start: int, end: int) -> AsyncIterator[bytes]:
        while start < end:
            chunk = await self._run(folder.read, self._root, file, start, min(CHUNK_BYTES, end - start))
            start += len(chunk)
            yield chunk


def _close_unwanted(opening: "asyncio.Future[BinaryIO]") -> None:
    if opening.exception() is None:
        opening.result().close()
