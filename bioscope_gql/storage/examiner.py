"""One process that looks into files, and the words in which it is asked and answers."""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import bioscope_gql
from bioscope_gql.errors import Rejected
from bioscope_gql.storage.picture import MAX_THUMBNAIL_BYTES, Picture, Untrustworthy, sentence
from bioscope_gql.vocabulary import RejectionCode, ThumbnailSize

MAX_ANSWER_BYTES: Final = 256 * 1024
START_SECONDS: Final = 30

_ROOT = str(Path(bioscope_gql.__file__).parents[1])
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TZ")
_SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TIFFFILE_NUM_THREADS": "1"}
_FRUGAL = {"MALLOC_ARENA_MAX": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONMALLOC": "pymalloc"}


class Ended(Exception):
    """The process went away, or spoke nonsense, instead of answering."""


class Examiner:
    """A child process that examines one file at a time. Whoever starts one ends it.

    It gets none of our environment but what finding libraries takes, for it will be fed by strangers;
    and it ends by itself when this process does.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.fresh = True

    @classmethod
    async def start(cls, limits: Mapping[str, int]) -> "Examiner":
        """Start one that can be asked.

        Raises:
            Ended: it did not come up.
            OSError: the system has no room for it.
        """
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "bioscope_gql.storage.pixels", json.dumps(dict(limits))),
            env={**environment, **_SINGLE, **_FRUGAL, "PYTHONPATH": _ROOT},
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            start_new_session=True,
        )
        examiner = cls(process)
        try:
            async with asyncio.timeout(START_SECONDS):
                await examiner._answer()
        except TimeoutError as error:
            await examiner.end()
            raise Ended from error
        except BaseException:
            await examiner.end()
            raise
        return examiner

    @property
    def usable(self) -> bool:
        return self._process.returncode is None

    async def examine(self, path: Path) -> Picture:
        """What it finds in the file. After any error but Rejected it must be ended.

        Raises:
            Rejected: the file is not to be kept.
            Ended: it crashed, or its answer makes no sense.
        """
        self.fresh = False
        try:
            await self._ask(path)
            answer = await self._answer()
            if "rejected" in answer:
                raise Rejected(RejectionCode(answer["rejected"]), sentence(answer.get("message")))
            return Picture.read(answer, await self._thumbnails(answer.get("thumbnails")))
        except ValueError as error:
            raise Ended from error

    async def end(self) -> None:
        """Kill it, and return when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin:
            self._process.stdin.close()
        await self._process.wait()

    async def _ask(self, path: Path) -> None:
        pipe = self._process.stdin
        question = os.fsencode(path)
        if pipe is None or pipe.is_closing():
            raise Ended
        try:
            pipe.write(len(question).to_bytes(4, "big") + question)
            await pipe.drain()
        except ConnectionError as error:
            raise Ended from error

    async def _answer(self) -> dict[str, Any]:
        length = int.from_bytes(await self._read(4), "big")
        if length > MAX_ANSWER_BYTES:
            raise Untrustworthy("answer")
        try:
            answer = json.loads(await self._read(length), parse_constant=_no_number)
        except RecursionError as error:
            raise Untrustworthy("answer") from error
        if not isinstance(answer, dict):
            raise Untrustworthy("answer")
        return answer

    async def _thumbnails(self, lengths: object) -> dict[str, bytes]:
        if not isinstance(lengths, dict) or set(lengths) != set(ThumbnailSize):
            raise Untrustworthy("thumbnails")
        if not all(type(length) is int and 0 < length <= MAX_THUMBNAIL_BYTES for length in lengths.values()):
            raise Untrustworthy("thumbnails")
        return {size: await self._read(length) for size, length in lengths.items()}

    async def _read(self, length: int) -> bytes:
        if self._process.stdout is None:
            raise Ended
        try:
            return await self._process.stdout.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Ended from error


def _no_number(name: str) -> float:
    raise Untrustworthy(name)
