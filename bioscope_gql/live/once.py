"""What several want at the same time is done once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

GOOD_SECONDS = 1.0
"""How long a result serves those who come later: a client that reads slowly gets a view of its own."""


@dataclass(slots=True)
class _Work(Generic[T]):
    task: "asyncio.Task[T]"
    waiting: int = 0


class Once(Generic[T]):
    """Work by key: whoever asks while it is done, or shortly after, gets the same result or error.

    It is done on behalf of all who wait, and ends early only when all of them have left.
    """

    def __init__(self) -> None:
        self._works: dict[Hashable, _Work[T]] = {}

    async def get(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What comes of `work`, which is begun unless that of the same key serves; raises what it raises."""
        found = self._works.get(key)
        if found is None:
            found = self._works[key] = _Work(asyncio.create_task(work()))
            found.task.add_done_callback(lambda task: self._keep(key, task))
        if found.task.done():
            return found.task.result()
        found.waiting += 1
        try:
            return await asyncio.shield(found.task)
        except asyncio.CancelledError:
            if found.waiting == 1 and not found.task.done():
                self._forget(key, found.task)
                found.task.cancel()
                await asyncio.wait([found.task])
            raise
        finally:
            found.waiting -= 1

    def _keep(self, key: Hashable, task: "asyncio.Task[T]") -> None:
        """For a while, if it is worth keeping."""
        if task.cancelled() or task.exception() is not None:
            self._forget(key, task)
        else:
            task.get_loop().call_later(GOOD_SECONDS, self._forget, key, task)

    def _forget(self, key: Hashable, task: "asyncio.Task[T]") -> None:
        found = self._works.get(key)
        if found is not None and found.task is task:
            del self._works[key]
