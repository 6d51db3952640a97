"""Which pictures the demo shows: a folder's, or drawn ones; and how they are parted into requests."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bioscope_gql.errors import Problem

FILES_PER_REQUEST = 5
BYTES_PER_REQUEST = 32 << 20
"""Small requests keep the bar moving; one larger file goes alone."""
FORM_BYTES = 16 << 10
"""What a request holds besides its files, at most: the operation, and each file's headers."""


@dataclass(frozen=True)
class Refused:
    """A file that was not stored, and why."""

    name: str
    code: str
    reason: str


def found_in(folder: Path) -> list[Path]:
    """All files below a folder by name, without the hidden ones.

    Raises:
        Problem: there are none, or the folder can't be read.
    """
    try:
        files = sorted(_files(folder), key=lambda file: file.relative_to(folder).parts)
    except OSError as error:
        raise Problem(f"{folder} can't be read ({error.strerror}): choose another folder.") from error
    if not files:
        raise Problem(f"{folder} holds no files: choose a folder with pictures, or leave --images out.")
    return files


def _files(folder: Path) -> Iterator[Path]:
    def stop(error: OSError) -> None:
        if error.filename == str(folder):
            raise error

    for where, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (
            file for name in names if not name.startswith(".") and (file := Path(where, name)).is_file()
        )


def batches(files: Iterable[tuple[Path, int]], *, most_files: int, most_bytes: int) -> Iterator[list[Path]]:
    """The files, each with its size, in requests that the server takes and that are soon done."""
    batch: list[Path] = []
    total = 0
    for file, size in files:
        full = len(batch) == min(FILES_PER_REQUEST, most_files)
        if batch and (full or total + size > min(BYTES_PER_REQUEST, most_bytes - FORM_BYTES)):
            yield batch
            batch, total = [], 0
        batch.append(file)
        total += size
    if batch:
        yield batch


def measured(files: Iterable[Path], *, most_bytes: int) -> tuple[list[tuple[Path, int]], dict[Path, Refused]]:
    """The files that can be sent with their sizes, and those that can't: unreadable, or beyond a request."""
    sendable, refused = [], {}
    for file in files:
        try:
            with file.open("rb"):
                size = file.stat().st_size
        except OSError as error:
            refused[file] = Refused(file.name, "UNREADABLE", f"It can't be read ({error.strerror}).")
            continue
        if size > most_bytes - FORM_BYTES:
            reason = f"It has {size:,} bytes; an upload takes at most {most_bytes:,}."
            refused[file] = Refused(file.name, "TOO_LARGE", reason)
        else:
            sendable.append((file, size))
    return sendable, refused


async def drawn(folder: Path, count: int, told: Callable[[], None]) -> list[Path]:
    """Smears drawn into `folder` by a process of their own; `told` is called for each that is there.

    Raises:
        Problem: the process failed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bioscope_gql.commands.demo_smears", str(folder), str(count),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    names = cast("asyncio.StreamReader", process.stdout)
    files = []
    try:
        async for line in names:
            files.append(folder / os.fsdecode(line).rstrip("\n"))
            told()
        if await process.wait() != 0:
            raise Problem("The smears could not be drawn. Free some space, or bring pictures with --images.")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return files
