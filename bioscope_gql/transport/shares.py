"""How much of a replica one account may hold at once, however many connections it comes by."""

from collections import Counter
from collections.abc import Iterator
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
