"""When it is a picture's turn."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias

from bioscope_gql.worker.calls import Calls, Timed
from bioscope_gql.worker.pictures import Picture


class GivenBack(Exception):
    """The worker stops, and had not begun with the picture."""


class Turns(Protocol):
    """How the function of a model gets its pictures."""

    @property
    def pictures_at_once(self) -> int:
        """How many pictures are classified at a time when there are enough."""

    async def classified(self, picture: Picture, begins: Callable[[], None]) -> Timed:
        """What the model says of a picture, and the seconds that it took; `begins` is called just before.

        Raises:
            GivenBack: the turn did not come before `stop`.
            Exception: whatever the function raises.
        """

    def stop(self) -> None:
        """Begin with no further picture."""

    def close(self) -> None:
        """Let go of what the calls needed."""


MadeFor: TypeAlias = Callable[[int], Turns]
"""Makes the turns for so many calls of the function at a time."""


class Singly:
    """A picture a call, in the order in which they come."""

    def __init__(self, function: Callable[[Picture], object], at_once: int) -> None:
        self._calls = Calls(function, at_once=at_once)
        self._turns = asyncio.Semaphore(at_once)
        self._stopping = False
        self.pictures_at_once = at_once

    async def classified(self, picture: Picture, begins: Callable[[], None]) -> Timed:
        async with self._turns:
            if self._stopping:
                raise GivenBack
            begins()
            return await self._calls.call(picture)

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self._calls.close()
