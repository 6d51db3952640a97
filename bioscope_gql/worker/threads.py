"""Threads for classify functions that are not async."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")
_Call = tuple["Future[Any]", Callable[[Any], Any], Any]


class Threads:
    """A few threads that, unlike an executor's, don't keep the process from ending.

    Each is used again and again, so thread-local state of a model lasts.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._run, name=f"classify-{number}", daemon=True).start()

    async def call(self, function: Callable[[Any], _T], argument: Any) -> _T:
        """What `function` returns or raises in one of the threads. Cancelled, it may run on unheeded."""
        outcome: Future[_T] = Future()
        self._calls.put((outcome, function, argument))
        return await asyncio.wrap_future(outcome)

    def close(self) -> None:
        """Let idle threads end; one that is busy ends with its call."""
        for _ in range(self._count):
            self._calls.put(None)

    def _run(self) -> None:
        while call := self._calls.get():
            outcome, function, argument = call
            if not outcome.set_running_or_notify_cancel():
                continue
            try:
                outcome.set_result(function(argument))
            except StopIteration as error:  # which no asyncio future takes: it would never end
                outcome.set_exception(RuntimeError(f"StopIteration: {error}"))
            except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                outcome.set_exception(error)
