"""Running a command again whenever the code changes, for whoever works on it."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bioscope_gql.embedded.child import guarded

EVERY_SECONDS = 0.5
STOP_SECONDS = 30


def reload() -> int:
    """Run this process's own command line without ``--reload``, and start it anew at every change.

    SIGTERM and SIGINT end both; the child ends too if this process is killed.
    """
    arguments = [each for each in sys.argv[1:] if each != "--reload"]
    command = guarded([sys.executable, "-m", "bioscope_gql", *arguments], name="dev", end_signal="TERM")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        while True:
            seen = _state()
            with _running(command) as child:
                status = _until_changed(child, seen)
            if status is not None:
                return status
            print("The code has changed: starting again.", file=sys.stderr)
    except KeyboardInterrupt:
        return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _running(command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - our own
    try:
        yield child
    finally:
        if child.stdin:
            child.stdin.close()
        child.wait(STOP_SECONDS)


def _until_changed(child: "subprocess.Popen[bytes]", seen: Mapping[Path, int]) -> int | None:
    """The exit status of the child; None once the code is another."""
    while _state() == seen:
        try:
            return child.wait(EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    return None


def _state() -> Mapping[Path, int]:
    package = Path(__file__).parents[1]
    return {path: path.stat().st_mtime_ns for path in package.rglob("*.py")}
