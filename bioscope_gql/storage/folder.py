"""Files under one directory: what the threads of the disk store do.

Each function says in a sentence (StoreUnavailable) what the file system complains about.
"""

import errno
import fcntl
import hashlib
import io
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from threading import Event
from typing import BinaryIO

from bioscope_gql.storage.blobs import DAMAGED, BlobInfo, BlobMissing, StoreUnavailable, checked_key, is_key

COPY_BYTES = 1024 * 1024
LISTED_AT_ONCE = 500
DRAFTS = ".drafts"
"""The directory of unfinished files. No key begins with a dot, so no key reaches it."""

DRAFT_SECONDS = 600
"""A draft that nobody has locked or written to for so long was left by a process that was killed."""

SETTLE_TRIES = 100


class Stopped(Exception):
    """Whoever asked for this copy does not want it any more."""


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
        elif error.errno == errno.ELOOP:
            message = (
                f"{error.filename} in the picture store is a symbolic link. Put what it names in its place."
            )
        else:
            message = f"The picture store {root} does not work: {error.strerror}. Check the disk."
        raise StoreUnavailable(message) from error


def write(root: Path, path: Path, source: Path | bytes, sha256: str | None, stopped: Event) -> None:
    """Copy `source` to a draft, make that durable and give it its name."""
    original = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with original, _trouble(root), _draft(root) as draft:
        digest = _copy(original, draft, stopped)
        if sha256 is not None and digest != sha256.lower():
            raise StoreUnavailable(DAMAGED)
        _settle(draft, path, root)


@contextmanager
def _draft(root: Path) -> Iterator[Path]:
    """The path of a new file, which is gone afterwards unless it was renamed."""
    draft = root / DRAFTS / secrets.token_hex(16)
    changed: set[Path] = set()
    _make_directory(draft.parent, root, changed)
    for each in changed:
        _sync_directory(each)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _copy(original: BinaryIO, draft: Path, stopped: Event) -> str:
    """Write what `original` holds, to the disk itself, and return its SHA-256."""
    digest = hashlib.sha256()
    with open(draft, "xb", buffering=0, opener=_private) as file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        while chunk := memoryview(original.read(COPY_BYTES)):
            if stopped.is_set():
                raise Stopped
            digest.update(chunk)
            while chunk:
                chunk = chunk[file.write(chunk) :]
        os.fsync(file.fileno())
    return digest.hexdigest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _settle(draft: Path, path: Path, root: Path) -> None:
    """Rename the draft, durably, though a deletion may take the empty directory meanwhile.

    What is slow, the disk, comes when the file is in its place and no deletion takes its directory.
    """
    changed = {path.parent}
    for tries_left in reversed(range(SETTLE_TRIES)):
        try:
            _make_directory(path.parent, root, changed)
            os.replace(draft, path)
        except FileNotFoundError:
            if tries_left == 0:
                raise
        else:
            for each in changed:
                with suppress(FileNotFoundError):  # deleted already, with its directory
                    _sync_directory(each)
            return


def _make_directory(path: Path, root: Path, changed: set[Path]) -> None:
    """Make it and those above it; `changed` are then those with a new entry, which must reach the disk.

    FileNotFoundError means that a deletion took one of them meanwhile.
    """
    if path.exists():
        _refuse_links(path, root)
        return
    if path == root:
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        _make_directory(path.parent, root, changed)
    changed.add(path.parent)
    with suppress(FileExistsError):  # not `exist_ok`, which looks again and fails if it is gone by then
        path.mkdir(mode=0o700)


def _refuse_links(path: Path, root: Path) -> None:
    """ELOOP if this or a directory on the way to it is a symbolic link; `root` itself may be one."""
    while path != root:
        if stat.S_ISLNK(path.lstat().st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        path = path.parent


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_file(root: Path, key: str) -> BinaryIO:
    with _trouble(root):
        try:
            path = root / checked_key(key)
            _refuse_links(path.parent, root)
            return open(path, "rb", buffering=0, opener=_no_link)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise BlobMissing(key) from error


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def read(root: Path, file: BinaryIO, start: int, size: int) -> bytes:
    with _trouble(root):
        chunk = os.pread(file.fileno(), size, start)
    if not chunk:
        raise StoreUnavailable(f"A file of the picture store {root} became shorter while it was read.")
    return chunk


def sha256(root: Path, file: BinaryIO, stopped: Event) -> str:
    """Of all of an open file, in hex."""
    digest, start = hashlib.sha256(), 0
    with _trouble(root):
        while chunk := os.pread(file.fileno(), COPY_BYTES, start):
            if stopped.is_set():
                raise Stopped
            digest.update(chunk)
            start += len(chunk)
    return digest.hexdigest()


def remove(root: Path, paths: Sequence[Path]) -> None:
    """Unlink what is there, and the directories that become empty."""
    with _trouble(root):
        for path in paths:
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                _refuse_links(path.parent, root)
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


def some(root: Path, found: Iterator[BlobInfo]) -> tuple[BlobInfo, ...]:
    with _trouble(root):
        return tuple(islice(found, LISTED_AT_ONCE))


def walk(directory: Path, base: str, prefix: str, after: str) -> Iterator[BlobInfo]:
    """The blobs in a directory in key order. `base` is its key with a slash.

    Directories that can hold no match are not looked into, nor those that are not ours (lost+found).
    """
    for name in _names(directory):
        key = base + name
        if name.endswith("/"):
            matches = is_key(key[:-1]) and (key.startswith(prefix) or prefix.startswith(key))
            if matches and (key > after or after.startswith(key)):
                yield from walk(directory / name, key, prefix, after)
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


def probe(root: Path, now: float) -> None:
    """Write a little, and clear away what killed processes left."""
    with _trouble(root), _draft(root) as draft:
        draft.write_bytes(b"probe")
        with os.scandir(root / DRAFTS) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    old = entry.stat(follow_symlinks=False).st_mtime < now - DRAFT_SECONDS
                    if old and not _is_locked(entry.path):
                        os.unlink(entry.path)


def _is_locked(path: str) -> bool:
    with open(path, "rb", opener=_no_link) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False  # a file system without locks
    return False
