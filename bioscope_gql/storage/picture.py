"""What is known about an accepted picture, read from an answer that nobody vouches for."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bioscope_gql.vocabulary import CONTENT_TYPES, ThumbnailSize

MAX_METADATA_BYTES: Final = 16 * 1024
MAX_THUMBNAIL_BYTES: Final = 1024 * 1024

_MAX_COUNT = 2**31 - 1
_MAX_SENTENCE = 500


class Untrustworthy(ValueError):
    """An answer that no sound process gives."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What intake found out about an accepted file.

    `width` and `height` are pixels as stored: an orientation that the file asks for turns the
    thumbnails and stands in `file_metadata`. `frames` counts the planes that the file stores,
    whatever they mean (3 for three channels in three pages); `channels` counts colours or
    fluorescence channels. `bit_depth` is that of one sample. `pixel_size` is in micrometres, x and y;
    None when the file does not say. `captured_at` is aware; a time that names no zone is taken as UTC,
    and stands as written in `file_metadata`.
    """

    content_type: str
    width: int
    height: int
    bit_depth: int
    channels: int
    frames: int
    pixel_size: tuple[float, float] | None
    captured_at: datetime | None
    file_metadata: dict[str, Any]
    thumbnails: Mapping[ThumbnailSize, bytes]

    @classmethod
    def read(cls, answer: Mapping[str, Any], thumbnails: Mapping[str, bytes]) -> "Picture":
        """Check every field of what a process said, which may speak for a hostile file by now.

        Raises:
            Untrustworthy: it can't be a picture.
        """
        if answer.get("content_type") not in CONTENT_TYPES:
            raise Untrustworthy("content_type")
        return cls(
            content_type=answer["content_type"],
            width=_count(answer, "width"),
            height=_count(answer, "height"),
            bit_depth=_count(answer, "bit_depth"),
            channels=_count(answer, "channels"),
            frames=_count(answer, "frames"),
            pixel_size=_pixel_size(answer.get("pixel_size")),
            captured_at=_moment(answer.get("captured_at")),
            file_metadata=_metadata(answer.get("file_metadata")),
            thumbnails=_thumbnails(thumbnails),
        )


def sentence(text: object) -> str:
    """A process's words for a person: one line, not too long.

    Raises:
        Untrustworthy: it is no text.
    """
    if not isinstance(text, str) or not text:
        raise Untrustworthy("sentence")
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_SENTENCE])


def _count(answer: Mapping[str, Any], name: str) -> int:
    value = answer.get(name)
    if type(value) is not int or not 1 <= value <= _MAX_COUNT:
        raise Untrustworthy(name)
    return value


def _pixel_size(value: object) -> tuple[float, float] | None:
    match value:
        case None:
            return None
        case [float() as x, float() as y] if all(0 < each < math.inf for each in (x, y)):
            return x, y
    raise Untrustworthy("pixel_size")


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            raise Untrustworthy("captured_at")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Untrustworthy("captured_at") from error


def _metadata(value: object) -> dict[str, Any]:
    """As it came: the JSON it was read from had neither NaN nor surrogates, and it is small enough."""
    if not isinstance(value, dict):
        raise Untrustworthy("file_metadata")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except ValueError as error:
        raise Untrustworthy("file_metadata") from error
    if size > MAX_METADATA_BYTES or "\\u0000" in text:
        raise Untrustworthy("file_metadata")
    return value


def _thumbnails(values: Mapping[str, bytes]) -> Mapping[ThumbnailSize, bytes]:
    if set(values) != set(ThumbnailSize):
        raise Untrustworthy("thumbnails")
    for data in values.values():
        if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
            raise Untrustworthy("thumbnails")
    return {size: values[size] for size in ThumbnailSize}
