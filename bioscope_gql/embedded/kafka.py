"""The broker of the embedded stack, seen from the process that starts it."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from bioscope_gql.embedded import broker
from bioscope_gql.embedded.child import Child
from bioscope_gql.errors import ConfigurationError

_START_SECONDS = 20
_STOP_SECONDS = 5


class Broker:
    """A stand-in for Kafka that forgets everything at a stop. Development only."""

    def __init__(self, topics: Mapping[str, int], log_dir: Path) -> None:
        self.bootstrap_servers = ""
        self._topics = topics
        self._log_dir = log_dir
        self._child: Child | None = None
        self._pid = 0

    async def start(self) -> None:
        """Return once it serves all topics.

        Raises:
            ConfigurationError: it did not come up.
        """
        self._child = await Child.start(
            [*_command(), *(f"{name}={partitions}" for name, partitions in self._topics.items())],
            name="broker",
            log_dir=self._log_dir,
            announces=True,
        )
        line = await self._child.announcement(_START_SECONDS)
        if not line:
            words = self._child.last_words()
            raise ConfigurationError(
                [f"The embedded Kafka stand-in did not start: {words} (see {self._child.log})."]
            )
        told = json.loads(line)
        self.bootstrap_servers, self._pid = told["bootstrap_servers"], told["pid"]

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop(_STOP_SECONDS)

    async def wait(self) -> int:
        """Return when it has ended, wanted or not."""
        if self._child is None:
            raise RuntimeError("The broker was not started.")
        return await self._child.wait()

    def pause(self) -> None:
        """An outage, for tests: connections stay open and nobody answers."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


def _command() -> list[str]:
    """By path and without `site`: a third of the start, and it works from any directory."""
    try:
        library = broker.find_library()
    except FileNotFoundError as error:
        raise ConfigurationError([str(error)]) from error
    return [sys.executable, "-I", "-S", str(Path(broker.__file__).resolve()), "--library", str(library)]
