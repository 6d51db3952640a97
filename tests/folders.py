"""Where tests keep what they make: in memory where there is plenty, since a database is hundreds of files."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENOUGH_BYTES = 6 * 2**30


def roomiest() -> str:
    """The directory for temporary folders that is quick: making a database takes 8 ms there, not 300."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes private ones there
    if memory.is_dir() and shutil.disk_usage(memory).free > ENOUGH_BYTES:
        return str(memory)
    return "/tmp"  # noqa: S108 - as above


@contextmanager
def a_folder(*, closed: bool = False) -> Iterator[Path]:
    """One that PostgreSQL's account can pass through when root runs this, unless `closed`; not so pytest's
    own, which lies behind a private one."""
    directory = Path(tempfile.mkdtemp(prefix="bioscope-test-", dir=roomiest()))
    if not closed:
        directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
