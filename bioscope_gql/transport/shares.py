"""How much of a replica one account or socket may have: held at once, and sent within a minute."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from uuid import UUID

from bioscope_gql.errors import Refusal
from bioscope_gql.policy import Viewer


class Shares:
    """Counts what each account holds of `what`, of which it may have `most`. Who did not sign in has none."""

    def __init__(self, what: str, most: int) -> None:
        self._what, self._most = what, most
        self._held: Counter[UUID] = Counter()

    def refuse_above(self, viewer: Viewer | None) -> None:
        """
        Raises:
            Refusal: RATE_LIMITED, the account holds all that it may.
        """
        if viewer is not None and self._held[viewer.id] >= self._most:
            message = f"Your account has {self._most} {self._what} open already. Close one, then try again."
            raise Refusal(message, "RATE_LIMITED")

    @contextmanager
    def one(self, viewer: Viewer | None) -> Iterator[None]:
        """Hold one more for as long as the block lasts; ask first whether that is refused."""
        if viewer is None:
            yield
            return
        self._held[viewer.id] += 1
        try:
            yield
        finally:
            self._held[viewer.id] -= 1
            if not self._held[viewer.id]:
                del self._held[viewer.id]


class Traffic:
    """Counts messages and bytes that come `by` somebody's connections in each minute of the clock.

    All counters begin anew with the minute, so nothing is kept of who has left.
    """

    SECONDS = 60

    def __init__(
        self, by: str, *, messages: int, size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._by, self._messages, self._bytes, self._clock = by, messages, size, clock
        self._minute = -1
        self._came: dict[Hashable, tuple[int, int]] = {}

    def count(self, whose: Hashable, size: int) -> None:
        """Take note of one message of `size` bytes.

        Raises:
            Refusal: RATE_LIMITED, too many messages or bytes came within this minute.
        """
        minute = int(self._clock() // self.SECONDS)
        if minute != self._minute:
            self._came.clear()
            self._minute = minute
        messages, total = self._came.get(whose, (0, 0))
        self._came[whose] = messages, total = messages + 1, total + size
        self._refuse_above("messages", self._messages, messages)
        self._refuse_above("bytes", self._bytes, total)

    def _refuse_above(self, what: str, most: int, came: int) -> None:
        if came > most:
            message = f"More than {most:,} {what} came by {self._by} within a minute. Wait one, then go on."
            raise Refusal(message, "RATE_LIMITED")
