"""Where uploads wait until they are stored: a private directory that not even kill -9 leaves for long."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "bioscope-serve-"
LOCK = "lock"


@contextmanager
def spool_directory(parent: Path | None = None) -> Iterator[Path]:
    """A new directory below the system's for temporary files, or below `parent`; gone at the end.

    Those of processes that were killed are removed first: the system let go of their locks.
    """
    parent = parent or Path(tempfile.gettempdir())
    _sweep(parent)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as name:
        directory = Path(name)
        # Named once it is locked, so that nobody finds it unlocked while we live.
        with (directory / "locking").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (directory / "locking").rename(directory / LOCK)
            yield directory


def _sweep(parent: Path) -> None:
    for directory in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # held, or gone, or not ours
            if directory.lstat().st_uid != os.getuid():
                continue
            with (directory / LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
