"""Running the asynchronous part of a command."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

from bioscope_gql.errors import Problem

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on uvloop, which takes a third less time for sockets than asyncio's own loop.

    SIGTERM cancels the work, as SIGINT does, so that it leaves nothing half started behind. Work that
    knows a better way to stop says so for a while, see `serving.stop_signals`.

    Raises:
        Problem: SIGTERM came before it was done.
        KeyboardInterrupt: SIGINT did.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_until_told(work))


async def _until_told(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    terminated = asyncio.Event()

    def terminate() -> None:
        terminated.set()
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task
    except asyncio.CancelledError:
        if terminated.is_set():
            raise Problem("Told to stop before it was done.") from None
        raise
