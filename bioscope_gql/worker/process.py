"""What a worker's process hears from outside."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_LEVELS = {"aiokafka": logging.CRITICAL, "asyncio": logging.WARNING}
"""aiokafka writes forty errors a second while its broker is away; that it is away is said elsewhere, once."""


def log_to_stderr() -> None:
    """Log lines for people, unless the program has set up logging already."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def quiet_libraries() -> None:
    """Keep what libraries say about passing trouble out of the log."""
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed: a tenth to a fifth more jobs per second than asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


@contextmanager
def stop_requests(*, end_with_parent: bool) -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets, and, if wanted, the end of standard input.

    A second SIGINT ends the process at once: somebody at a terminal does not want to wait.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def interrupted() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    if end_with_parent:
        arguments = (loop, stop)
        threading.Thread(target=_until_parent_ends, args=arguments, name="parent", daemon=True).start()
    try:
        yield stop
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)


def _until_parent_ends(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1024):
            pass
    with suppress(RuntimeError):  # the loop has ended already
        loop.call_soon_threadsafe(stop.set)
