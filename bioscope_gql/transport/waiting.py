"""Waiting for what graphql-core does: with an end, and without loose ends."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from graphql import ExecutionResult

from bioscope_gql.transport.limits import TooComplex

T = TypeVar("T")


async def in_time(result: Awaitable[T], seconds: float | None, tasks: Iterable[asyncio.Task[Any]]) -> T:
    """A result within so many seconds, or `TooComplex`; what loaders do for it ends with the waiting."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await result
    except TimeoutError:
        if not limit.expired():
            raise
        message = f"The operation took longer than {seconds:g} seconds. Ask for less at once."
        raise TooComplex(message, limit="seconds", maximum=int(seconds or 0)) from None
    finally:
        for task in tasks:
            task.cancel()


async def finished(event: Awaitable[ExecutionResult]) -> ExecutionResult:
    """An event's result. Who leaves meanwhile waits for it: cut off, graphql-core drops coroutines unawaited.

    That is a matter of milliseconds, for an event only reads and its statements have a time limit.
    """
    task = asyncio.ensure_future(event)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that nobody reports it as lost
        raise
