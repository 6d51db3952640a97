"""The disk store: blobs as files under one directory, read through links that we sign ourselves."""

import asyncio
import errno
import hashlib
import io
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from bioscope_gql.storage.blobs import (
    CHUNK_BYTES,
    Blob,
    BlobInfo,
    BlobMissing,
    Reader,
    StoreUnavailable,
    checked_key,
    is_key,
    lifetime,
)
from bioscope_gql.storage.links import LinkSigner

COPY_BYTES = 1024 * 1024
LISTED_AT_ONCE = 500
THREADS = 8
DRAFTS = ".drafts"
"""The directory of unfinished files. No key begins with a dot, so no key reaches it."""

DRAFT_SECONDS = 24 * 3600
"""A draft as old as this was left by a process that was killed."""

SETTLE_TRIES = 20

T = TypeVar("T")


class _Stopped(Exception):
    """Whoever asked for this copy does not want it any more."""


@dataclass(frozen=True)
class OpenFile:
    """The file behind a key: `size` in bytes, and a `tag` that is another once the bytes are."""

    size: int
    tag: str
    chunks: Callable[[int, int], AsyncIterator[bytes]]


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
        path, stopped = self._path(key), Event()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, _write, self._root, path, source, sha256, stopped)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.wait([work])
            work.exception()  # looked at, so that nobody reports it as lost
            raise

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[Blob]:
        async with self.open_file(key) as file:
            stop = file.size if end is None else min(end, file.size)
            yield Blob(file.size, None, file.chunks(start, stop))

    @asynccontextmanager
    async def open_file(self, key: str) -> AsyncIterator[OpenFile]:
        """The file behind a key, any parts of which can then be read.

        Raises:
            BlobMissing: there is nothing under the key.
        """
        work = asyncio.get_running_loop().run_in_executor(self._threads, _open, self._root, key)
        try:
            file = await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(_close_unwanted)
            raise
        with file:
            facts = os.fstat(file.fileno())
            tag = f"{facts.st_ino:x}-{facts.st_mtime_ns:x}-{facts.st_size:x}"
            yield OpenFile(facts.st_size, tag, lambda start, end: self._chunks(file, start, end))

    def presign_get(
        self,
        key: str,
        *,
        seconds: int,
        content_type: str,
        filename: str | None,
        origin: str,
        to: Reader = "browser",
    ) -> str:
        steady = filename is None and to == "browser"
        _, expires = lifetime(self._clock(), seconds, steady=steady)
        link = self._signer.sign(key, expires=expires, content_type=content_type, filename=filename)
        return origin.rstrip("/") + link

    async def delete(self, keys: Sequence[str]) -> None:
        await self._run(_remove, self._root, [self._path(key) for key in keys])

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[BlobInfo]:
        found = _walk(self._root, "", prefix, after or "")
        while batch := await self._run(_some, self._root, found):
            for info in batch:
                yield info

    async def check(self) -> None:
        await self._run(_probe, self._root, self._clock())

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def _chunks(self, file: BinaryIO, start: int, end: int) -> AsyncIterator[bytes]:
        while start < end:
            chunk = await self._run(_read, self._root, file, start, min(CHUNK_BYTES, end - start))
            start += len(chunk)
            yield chunk


@contextmanager
def _trouble(root: Path) -> Iterator[None]:
    """Say in a sentence what the file system complains about."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"The disk of the picture store {root} is full. Make room there and try again."
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            message = (
                f"The picture store {root} can't be used by this account. Give it read and write access."
            )
        else:
            message = f"The picture store {root} does not work: {error.strerror}. Check the disk."
        raise StoreUnavailable(message) from error


def _write(root: Path, path: Path, source: Path | bytes, sha256: str | None, stopped: Event) -> None:
    """Copy `source` to a draft, make that durable and give it its name."""
    original = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with original, _trouble(root), _draft(root) as draft:
        digest = _copy(original, draft, stopped)
        if sha256 is not None and digest != sha256.lower():
            raise StoreUnavailable("Other bytes arrived than were announced; nothing was stored. Try again.")
        _settle(draft, path, root)


@contextmanager
def _draft(root: Path) -> Iterator[Path]:
    """The path of a new file, which is gone afterwards unless it was renamed."""
    draft = root / DRAFTS / secrets.token_hex(16)
    _make_directory(draft.parent, root)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _copy(original: BinaryIO, draft: Path, stopped: Event) -> str:
    """Write what `original` holds, to the disk itself, and return its SHA-256."""
    digest = hashlib.sha256()
    with open(draft, "xb", buffering=0, opener=_private) as file:
        while chunk := memoryview(original.read(COPY_BYTES)):
            digest.update(chunk)
            while chunk:
                chunk = chunk[file.write(chunk) :]
            if stopped.is_set():
                raise _Stopped
        os.fsync(file.fileno())
    return digest.hexdigest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _settle(draft: Path, path: Path, root: Path) -> None:
    """Rename the draft, durably, though a deletion may take the empty directory meanwhile."""
    for tries_left in reversed(range(SETTLE_TRIES)):
        try:
            _make_directory(path.parent, root)
            os.replace(draft, path)
        except FileNotFoundError:
            if tries_left == 0:
                raise
        else:
            _sync_directory(path.parent)
            return


def _make_directory(path: Path, root: Path) -> None:
    if path.is_dir():
        return
    if path == root:
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        _make_directory(path.parent, root)
    path.mkdir(mode=0o700, exist_ok=True)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(root: Path, key: str) -> BinaryIO:
    with _trouble(root):
        try:
            return open(root / checked_key(key), "rb", buffering=0, opener=_no_link)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise BlobMissing(key) from error


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _close_unwanted(opening: "asyncio.Future[BinaryIO]") -> None:
    if opening.exception() is None:
        opening.result().close()


def _read(root: Path, file: BinaryIO, start: int, size: int) -> bytes:
    with _trouble(root):
        chunk = os.pread(file.fileno(), size, start)
    if not chunk:
        raise StoreUnavailable(f"A file of the picture store {root} became shorter while it was read.")
    return chunk


def _remove(root: Path, paths: Sequence[Path]) -> None:
    """Unlink what is there, and the directories that become empty."""
    with _trouble(root):
        for path in paths:
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
            _prune(path.parent, root)


def _prune(path: Path, root: Path) -> None:
    while path != root:
        try:
            path.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return
            raise
        path = path.parent


def _some(root: Path, found: Iterator[BlobInfo]) -> tuple[BlobInfo, ...]:
    with _trouble(root):
        return tuple(islice(found, LISTED_AT_ONCE))


def _walk(directory: Path, base: str, prefix: str, after: str) -> Iterator[BlobInfo]:
    """The blobs in a directory in key order, skipping what can't match. `base` is its key with a slash."""
    for name in _names(directory):
        key = base + name
        if name.endswith("/"):
            matches = key.startswith(prefix) or prefix.startswith(key)
            if matches and (key > after or after.startswith(key)):
                yield from _walk(directory / name, key, prefix, after)
        elif key.startswith(prefix) and key > after and is_key(key):
            with suppress(FileNotFoundError):
                facts = os.stat(directory / name, follow_symlinks=False)
                yield BlobInfo(key, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC))


def _names(directory: Path) -> list[str]:
    """What a directory holds, in the order of keys: directories with their slash, no drafts, no links."""
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        directories = [f"{entry.name}/" for entry in visible if entry.is_dir(follow_symlinks=False)]
        return sorted(directories + [entry.name for entry in visible if entry.is_file(follow_symlinks=False)])
    return []


def _probe(root: Path, now: float) -> None:
    """Write a little, and clear away what killed processes left."""
    with _trouble(root), _draft(root) as draft:
        draft.write_bytes(b"probe")
        with os.scandir(root / DRAFTS) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < now - DRAFT_SECONDS:
                        os.unlink(entry.path)
