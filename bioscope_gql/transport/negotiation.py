"""Media types: what a client sends and what it would like to get back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

JSON: Final = "application/json"
GRAPHQL_JSON: Final = "application/graphql-response+json"
HTML: Final = "text/html"
EVENT_STREAM: Final = "text/event-stream"
MULTIPART: Final = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of an Accept header."""

    type: str
    quality: float
    position: int

    def precision(self, media: str) -> int:
        """How closely this speaks of `media`: 3 exactly, 2 of its kind, 1 of anything, 0 not at all."""
        if self.type == media:
            return 3
        if self.type == media.partition("/")[0] + "/*":
            return 2
        return 1 if self.type == "*/*" else 0


def parse_accept(header: str) -> list[MediaRange]:
    """The entries of an Accept header; one with a broken quality counts as unwanted."""
    ranges = []
    for position, entry in enumerate(header.split(",")):
        name, *parameters = (piece.strip().lower() for piece in entry.split(";"))
        quality = next((p[2:].strip() for p in parameters if p.startswith("q=")), "1")
        if name:
            ranges.append(MediaRange(name, parse_quality(quality), position))
    return ranges


def parse_quality(text: str) -> float:
    """A number from 0 to 1; 0 for anything else."""
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0


def negotiate(accept: str | None, offers: Sequence[str]) -> str | None:
    """Which of `offers` the client likes best, None if it takes none of them.

    The more precise entry decides about an offer. Among equally liked ones the client's order
    counts, then ours; no header, or an empty one, takes the first offer.
    """
    if accept is None or not accept.strip():
        return offers[0]
    ranges = parse_accept(accept)
    liked: list[tuple[float, int, int, str]] = []
    for index, offer in enumerate(offers):
        best = max(ranges, key=lambda r: (r.precision(offer), -r.position), default=None)
        if best is not None and best.precision(offer) and best.quality > 0:
            liked.append((-best.quality, best.position, index, offer))
    return min(liked)[3] if liked else None


def takes_events(accept: str | None) -> bool:
    """Whether a client asks for server-sent events; one that takes anything does not mean them."""
    ranges = [each for each in parse_accept(accept or "") if each.precision(EVENT_STREAM) > 1]
    best = max(ranges, key=lambda r: (r.precision(EVENT_STREAM), -r.position), default=None)
    return best is not None and best.quality > 0


def parse_content_type(header: str | None) -> tuple[str, dict[str, str]]:
    """The type in lower case and its parameters, names in lower case and values unquoted."""
    media, *parameters = (header or "").split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return media.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
