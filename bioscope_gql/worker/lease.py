"""Telling the API that a job is in hand, so that nobody else gets it meanwhile."""

import asyncio
from collections.abc import Callable

START_AFTER_SECONDS = 0.25
"""Quick work needs no `started`: its answer says as much."""


class Lease:
    """Says `started` once work has taken 250 ms, and again every third of the lease, until it ends.

    `say` posts one message and returns the future of its arrival; none is posted while the last one waits
    for a broker that is away.
    """

    def __init__(self, lease_seconds: float, say: "Callable[[], asyncio.Future[None]]") -> None:
        self._every = lease_seconds / 3
        self._say = say
        self._timer: asyncio.TimerHandle | None = None
        self._said: asyncio.Future[None] | None = None

    def work(self) -> None:
        """Work begins, or goes on."""
        if self._timer is None:
            self._set(min(START_AFTER_SECONDS, self._every))

    def rest(self) -> None:
        """The job waits for its turn. If it counts as started it has to go on saying so."""
        if self._said is None:
            self.end()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._renew)

    def _renew(self) -> None:
        if self._said is None or self._said.done():
            self._said = self._say()
        self._set(max(self._every, 0.01))
