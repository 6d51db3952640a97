"""Pictures that are classified together."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bioscope_gql.worker.answers import INVALID_PREDICTION, WorkerError
from bioscope_gql.worker.calls import Calls, Timed
from bioscope_gql.worker.pictures import Picture
from bioscope_gql.worker.turns import GivenBack

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Place:
    """A picture's place in a batch."""

    picture: Picture
    begins: Callable[[], None]
    outcome: "asyncio.Future[Timed]"


class Batches:
    """So many pictures a call; a batch leaves when it is full, or `wait_seconds` after its first picture.

    While all calls are busy it waits for one and goes on filling. Pictures of a batch whose call raised
    are tried again one by one, so that one bad picture has only its own answer on its conscience.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Picture]], object],
        at_once: int,
        *,
        size: int,
        wait_seconds: float,
    ) -> None:
        self._calls = Calls(function, at_once=at_once)
        self._turns = asyncio.Semaphore(at_once)
        self._size = size
        self._wait_seconds = wait_seconds
        self._filling: list[_Place] = []
        self._full = asyncio.Event()
        self._stopping = False
        self.pictures_at_once = at_once * size

    async def classified(self, picture: Picture, begins: Callable[[], None]) -> Timed:
        if self._stopping:
            raise GivenBack
        place = _Place(picture, begins, asyncio.get_running_loop().create_future())
        batch, full = self._filling, self._full
        batch.append(place)
        if len(batch) == self._size:
            self._depart()
        if batch[0] is place:
            await self._lead(batch, full)
        return await place.outcome

    def stop(self) -> None:
        self._stopping = True
        self._full.set()

    def close(self) -> None:
        self._calls.close()

    async def _lead(self, batch: list[_Place], full: asyncio.Event) -> None:
        """The first picture of a batch waits for the others and for a turn, and takes all along."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_seconds):
                await full.wait()
        async with self._turns:
            if self._filling is batch:
                self._depart()
            if self._stopping:
                _refuse(batch, GivenBack())
                return
            for place in batch:
                place.begins()
            await self._settle(batch)

    def _depart(self) -> None:
        """Nobody joins the batch any more: the next picture leads another."""
        self._full.set()
        self._filling, self._full = [], asyncio.Event()

    async def _settle(self, batch: Sequence[_Place]) -> None:
        try:
            found, seconds = await self._calls.call([place.picture for place in batch])
        except Exception as error:  # noqa: BLE001 - whatever a model raises, each picture gets an answer
            if len(batch) == 1:
                _refuse(batch, error)
                return
            _log.warning("%d pictures together failed, each is tried alone: %r", len(batch), error)
            for place in batch:
                await self._settle([place])
        else:
            _share(batch, found, seconds / len(batch))


def _share(batch: Sequence[_Place], found: object, seconds: float) -> None:
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != len(batch):
        _refuse(batch, _wrong_number(found, len(batch)))
        return
    for place, prediction in zip(batch, found, strict=True):
        if isinstance(prediction, Exception):
            _refuse([place], prediction)
        else:
            place.outcome.set_result((prediction, seconds))


def _refuse(batch: Sequence[_Place], error: Exception) -> None:
    for place in batch:
        place.outcome.set_exception(error)


def _wrong_number(found: Any, wanted: int) -> WorkerError:
    what = f"{len(found)} predictions" if isinstance(found, list | tuple) else type(found).__name__
    return WorkerError(
        INVALID_PREDICTION,
        f"The classify function returned {what} for {wanted} pictures: "
        "it must return a list with one prediction for each, in the order of the pictures.",
    )
