"""What tests of the intake share: its processes seen from outside, and its refusals."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bioscope_gql.errors import Rejected
from bioscope_gql.storage.intake import Intake
from bioscope_gql.vocabulary import RejectionCode

CHILD = "bioscope_gql.storage.pixels"

Put = Callable[[bytes], Path]
"""Writes an upload and says where."""


def children(of: int | None = None) -> list[psutil.Process]:
    """The intake's processes that are alive."""
    found = []
    for child in psutil.Process(of).children(recursive=True):
        try:
            if CHILD in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


async def until(condition: Callable[[], object]) -> None:
    """Return once it holds; what happens in other processes sends us no signal."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def refused(intake: Intake, path: Path) -> tuple[RejectionCode, str]:
    with pytest.raises(Rejected) as caught:
        await intake.examine(path)
    return caught.value.code, caught.value.message


def reads(child: psutil.Process, path: Path) -> bool:
    try:
        return str(path) in [file.path for file in child.open_files()]
    except psutil.NoSuchProcess:
        return False
