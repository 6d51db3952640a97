"""The first look at every uploaded file, in processes that may die of it."""

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bioscope_gql.errors import Rejected
from bioscope_gql.settings import Limits
from bioscope_gql.storage.examiner import Ended, Examiner
from bioscope_gql.storage.picture import Picture
from bioscope_gql.vocabulary import RejectionCode

__all__ = ["Intake", "Picture"]

IDLE_SECONDS: Final = 10.0

_BOUNDS = {
    "pixels",
    "tiled_pixels",
    "frames",
    "decoded_bytes",
    "file_bytes",
    "tiled_file_bytes",
    "intake_seconds",
}
_log = logging.getLogger(__name__)


class Intake:
    """Examines files in up to `limits.intake_processes` processes of its own, and owns them.

    They start when they are needed and end after `idle_seconds` without work, so that memory at rest
    is small; no picture library is ever loaded into this process. Whoever comes while all are busy
    waits for a turn, first come, first served. Leaving it waits for the files that are being read,
    which their time-out bounds, and turns away those that wait.
    """

    def __init__(self, limits: Limits, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._bounds = limits.model_dump(include=_BOUNDS)
        self._seconds = limits.intake_seconds
        self._idle_seconds = idle_seconds
        self._at_once = limits.intake_processes
        self._places = asyncio.Semaphore(self._at_once)
        self._idle: dict[Examiner, asyncio.TimerHandle] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        for _ in range(self._at_once):
            await self._places.acquire()
        while self._idle:
            examiner, timer = self._idle.popitem()
            timer.cancel()
            self._end(examiner)
        while self._endings:
            await asyncio.wait(self._endings)
        for _ in range(self._at_once):
            self._places.release()

    async def examine(self, path: Path) -> Picture:
        """What the file is, once every frame of it has been decoded. Cancelling frees the process.

        Raises:
            Rejected: the file is not to be kept; the sentence says why.
        """
        async with self._places:
            if self._closed:
                raise _unavailable()
            try:
                return await self._examined(path)
            except Ended:
                _log.warning("A process crashed while it read an uploaded file", extra={"path": str(path)})
                raise Rejected(
                    RejectionCode.CORRUPT,
                    "The file made the program that reads pictures crash. It is damaged or made to harm: "
                    "open it in another program and save it anew.",
                ) from None

    async def _examined(self, path: Path) -> Picture:
        """Once more if a process that had worked before ends: it may have died of something else."""
        examiner = await self._free()
        if examiner.fresh:
            return await self._ask(examiner, path)
        try:
            return await self._ask(examiner, path)
        except Ended:
            return await self._ask(await self._started(), path)

    async def _ask(self, examiner: Examiner, path: Path) -> Picture:
        try:
            async with asyncio.timeout(self._seconds):
                picture = await examiner.examine(path)
        except Rejected:
            self._rest(examiner)
            raise
        except TimeoutError:
            self._end(examiner)
            raise Rejected(
                RejectionCode.TOO_LARGE,
                f"Reading the file took longer than is allowed ({self._seconds} s). "
                "Save it with fewer frames or another compression.",
            ) from None
        except BaseException:
            self._end(examiner)
            raise
        self._rest(examiner)
        return picture

    async def _free(self) -> Examiner:
        """The process that rested last, so that those beyond the need can end."""
        while self._idle:
            examiner, timer = self._idle.popitem()
            timer.cancel()
            if examiner.usable:
                return examiner
            self._end(examiner)
        return await self._started()

    async def _started(self) -> Examiner:
        try:
            return await Examiner.start(self._bounds)
        except (Ended, OSError) as error:
            _log.error("No process for reading uploaded files could be started: %s", error)
            raise _unavailable() from error

    def _rest(self, examiner: Examiner) -> None:
        if self._closed:
            self._end(examiner)
            return
        loop = asyncio.get_running_loop()
        self._idle[examiner] = loop.call_later(self._idle_seconds, self._retire, examiner)

    def _retire(self, examiner: Examiner) -> None:
        if self._idle.pop(examiner, None):
            self._end(examiner)

    def _end(self, examiner: Examiner) -> None:
        self._own(examiner.end())

    def _own(self, ending: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)


def _unavailable() -> Rejected:
    return Rejected(
        RejectionCode.STORAGE_UNAVAILABLE,
        "The server can't read pictures at the moment. Upload the file again in a minute.",
    )
