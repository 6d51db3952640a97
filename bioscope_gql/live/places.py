"""Where somebody is in what a subscription tells."""

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True)
class Place:
    """A subscriber's place, by cursors of the subscription. On a socket nobody looks at it."""

    after: str | None = None
    """What a client that comes back has seen already; it wins over what the operation says."""
    reached: str | None = None
    """What it has seen once it has read the event that is told next."""
    source: Hashable = None
    """Of the event that is told next: events of the same source are the same. None: it is like no other."""
