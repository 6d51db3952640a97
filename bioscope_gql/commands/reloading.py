"""Running a command again whenever the code changes, for whoever works on it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

EVERY_SECONDS = 0.5
STOP_SECONDS = 30


def reload() -> int:
    """Run this process's own command line without ``--reload``, and start it anew at every change."""
    command = [sys.executable, "-m", "bioscope_gql", *(each for each in sys.argv[1:] if each != "--reload")]
    while True:
        seen = _state()
        child = subprocess.Popen(command)  # noqa: S603 - our own command line
        try:
            while _state() == seen:
                try:
                    return child.wait(EVERY_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            child.terminate()
            child.wait(STOP_SECONDS)
        print("The code has changed: starting again.", file=sys.stderr)


def _state() -> Mapping[Path, int]:
    package = Path(__file__).parents[1]
    return {path: path.stat().st_mtime_ns for path in package.rglob("*.py")}
