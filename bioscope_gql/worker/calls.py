"""Calling the function of a model, whatever kind it is."""

import asyncio
import inspect
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from bioscope_gql.worker.threads import Threads

Timed: TypeAlias = tuple[object, float]
"""What a function returned, and how many seconds it took."""


class Calls:
    """Runs a function on the event loop if it is async, otherwise in one of a few threads."""

    def __init__(self, function: Callable[[Any], object], *, at_once: int) -> None:
        self._function = function
        self._threads = Threads(at_once)
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
        )

    def close(self) -> None:
        self._threads.close()

    async def call(self, argument: object) -> Timed:
        """What the function returns for `argument`, or raises."""
        try:
            return await self._called(argument)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # something that the function awaited was cancelled, not we: its picture needs an answer
            raise RuntimeError("CancelledError, though nobody cancelled the function.") from error

    async def _called(self, argument: object) -> Timed:
        if not self._is_async:
            found, seconds = await self._threads.call(partial(_timed, self._function), argument)
            if not inspect.isawaitable(found):
                return found, seconds
        else:
            found = self._function(argument)
        return await _timed_too(found)


def _timed(function: Callable[[Any], object], argument: object) -> Timed:
    began = time.perf_counter()
    return function(argument), time.perf_counter() - began


async def _timed_too(found: Any) -> Timed:
    began = time.perf_counter()
    return await found, time.perf_counter() - began
