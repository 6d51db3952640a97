"""One stack per data directory: an exclusive lock on its file `lock`."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bioscope_gql.errors import ConfigurationError

_PATIENCE_SECONDS = 0.3
_PAUSE_SECONDS = 0.02


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Hold the data directory until the block ends. If the process dies, the kernel lets go of it.

    Raises:
        ConfigurationError: another process holds it, or the file can't be opened.
    """
    path = data_dir / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(
            [f"The lock file {path} can't be opened ({error.strerror}). Choose a data directory of your own."]
        ) from error
    try:
        if not _try_for(descriptor, _PATIENCE_SECONDS):
            raise ConfigurationError([_refusal(data_dir, descriptor)])
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_held(data_dir: Path) -> bool:
    """Whether a stack is running on this data directory now."""
    try:
        descriptor = os.open(data_dir / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try_for(descriptor: int, seconds: float) -> bool:
    """A command that only asks `is_held` has the lock for an instant: so not one try, but some."""
    deadline = time.monotonic() + seconds
    while not _lock(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refusal(data_dir: Path, descriptor: int) -> str:
    pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    owner = f"process {pid}" if pid else "another process"
    return (
        f"A BioScope stack is already running on the data directory {data_dir} ({owner}): "
        "stop it first, or give this one a directory of its own with --data-dir."
    )
