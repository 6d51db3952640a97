"""What was found in a file, as plain and small as it has to be to travel."""

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 12 * 1024
"""Of all that a file says of itself, as JSON; well below what the other side takes."""

MAX_TEXT = 300
MAX_TEXT_IN_LIST = 80
MAX_ITEMS = 64
MAX_DEPTH = 4

_MAX_INTEGER = 2**53
_EXIF_DATE = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")


@dataclass(slots=True)
class Found:
    """One picture. `shown` is small enough to be made a thumbnail of, upright, L or RGB."""

    content_type: str
    width: int
    height: int
    bit_depth: int
    channels: int
    frames: int
    shown: "Image.Image"
    pixel_size: tuple[float, float] | None = None
    captured_at: datetime | None = None
    says: dict[str, Any] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        """Everything but the thumbnails, fit for JSON."""
        return {
            "content_type": self.content_type,
            "width": self.width,
            "height": self.height,
            "bit_depth": self.bit_depth,
            "channels": self.channels,
            "frames": self.frames,
            "pixel_size": self.pixel_size,
            "captured_at": self.captured_at.isoformat() if self.captured_at else None,
            "file_metadata": bounded(self.says),
        }


def bounded(says: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that say something, cleaned; those that would make it too large are left out."""
    kept: dict[str, Any] = {}
    size = 2
    for name, value in says.items():
        plain = clean(value)
        if plain in (None, "", [], {}):
            continue
        takes = len(json.dumps({name: plain}, ensure_ascii=False).encode())
        if size + takes <= MAX_BYTES:
            kept[name] = plain
            size += takes
    return kept


def clean(value: object, depth: int = 0) -> Any:
    """The value as JSON and PostgreSQL take it; None for what neither does."""
    match value:
        case bool() | None:
            return value
        case int():
            return value if abs(value) <= _MAX_INTEGER else None
        case float():
            return value if math.isfinite(value) else None
        case str():
            return text(value, MAX_TEXT_IN_LIST if depth else MAX_TEXT)
        case bytes():
            return text(value.decode("utf-8", "replace"))
        case list() | tuple() if depth < MAX_DEPTH:
            return [clean(each, depth + 1) for each in value[:MAX_ITEMS]]
        case dict() if depth < MAX_DEPTH:
            return {text(str(name)): clean(each, depth + 1) for name, each in list(value.items())[:MAX_ITEMS]}
    return None


def text(value: str, most: int = MAX_TEXT) -> str:
    """One line without control characters, lone surrogates and what surrounds it; at most so long."""
    line = "".join(c if c.isprintable() else " " for c in value[: most * 4])
    return " ".join(line.split())[:most]


def number(value: object) -> float | None:
    """A finite number above zero, or None."""
    with suppress(TypeError, ValueError, OverflowError, ZeroDivisionError):
        found = float(value)  # type: ignore[arg-type]
        if math.isfinite(found) and found > 0:
            return found
    return None


def pixel_size(x: object, y: object) -> tuple[float, float] | None:
    """Micrometres, if both are numbers that a microscope, or at most a camera, can mean."""
    across, down = number(x), number(y)
    if across is None or down is None or not all(1e-6 <= each <= 1e5 for each in (across, down)):
        return None
    return float(f"{across:.9g}"), float(f"{down:.9g}")


def moment(value: object, offset: object = None) -> datetime | None:
    """A time as EXIF, TIFF or ISO 8601 write it; of no zone: UTC. None unless it is a plausible one."""
    written = text(str(value))
    match = _EXIF_DATE.match(written)
    try:
        if match and ":" in written[4:5]:
            found = datetime(*map(int, match.groups()), tzinfo=_zone(offset))  # type: ignore[arg-type, misc]
        else:
            found = datetime.fromisoformat(written)
        found = found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 1900 <= found.year <= 2200 else None


def _zone(offset: object) -> timezone:
    match = _OFFSET.fullmatch(str(offset).strip())
    if not match:
        return UTC
    sign, hours, minutes = match.groups()
    distance = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-distance if sign == "-" else distance) if distance < timedelta(hours=24) else UTC
