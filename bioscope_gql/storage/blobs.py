"""Where bytes live: the promise that every store keeps, and the keys that name what it holds."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self
from urllib.parse import quote
from uuid import UUID

from bioscope_gql.vocabulary import ThumbnailSize

CHUNK_BYTES = 256 * 1024
"""How much of a blob is in memory at a time while it is read."""

MAX_LINK_SECONDS = 7 * 24 * 3600
"""The longest life of a link that S3 allows."""

DAMAGED = "Other bytes arrived than were announced; nothing was stored. Try again."
"""What StoreUnavailable says where a checksum does not fit."""

Reader = Literal["browser", "worker"]
"""Whose network a link is for."""

_SEGMENT = r"[a-z0-9][a-z0-9._-]{0,99}"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,5}}")
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SIZES = "|".join(size.value.lower() for size in ThumbnailSize)
_OWNED = re.compile(rf"(?:images/({_UUID})/({_UUID})|thumbnails/({_UUID})/({_UUID})/(?:{_SIZES})\.webp)")
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff/\\]")
_NOT_PLAIN = re.compile(r'[^ -~]|["%]')
_ATTRIBUTE_SAFE = "!#$&+-.^_`|~"


class BlobMissing(Exception):
    """The store works, and holds nothing under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The store holds nothing under {key}.")
        self.key = key


class StoreUnavailable(Exception):
    """The store can't do it now. The sentence is for operators: it may name hosts and directories."""


class Owner(NamedTuple):
    """The picture that a key belongs to."""

    dataset: UUID
    image: UUID


@dataclass(frozen=True)
class BlobInfo:
    """What a listing tells; `size` in bytes, `modified` with its time zone."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class Blob:
    """An open blob. `size` is that of the whole, `chunks` yields the asked part once, in small pieces."""

    size: int
    content_type: str | None
    chunks: AsyncIterator[bytes]


class BlobStore(Protocol):
    """Bytes under keys. Every method may raise StoreUnavailable, and ValueError for what is no key.

    A store is entered before use and left once; entering it asks nobody, so that a server can start
    while its store is away.
    """

    async def put(self, key: str, source: Path | bytes, *, content_type: str, sha256: str | None) -> None:
        """Store a copy of `source`, in place of what the key named before.

        Readers see the old bytes or the new ones, never half. Where `sha256` (hex) is given, other
        bytes are not stored. After an error or a cancellation nothing half-done is left.
        """

    def open(self, key: str, *, start: int = 0, end: int | None = None) -> AbstractAsyncContextManager[Blob]:
        """Read the bytes from `start` up to, not including, `end`; beyond the blob's end there are none.

        Raises:
            BlobMissing: there is nothing under the key.
        """

    def presign_get(
        self,
        key: str,
        *,
        seconds: int,
        content_type: str,
        filename: str | None,
        origin: str,
        to: Reader = "browser",
        sha256: str | None = None,
    ) -> str:
        """A link that anybody may follow for `seconds`; made without asking anybody.

        With a file name it is a download of that name. Without one it is shown in place, and for a
        browser it stays the same for a while, so that the browser's cache can know it: then it lives
        up to one and a half times as long. `origin` is our own address, e.g. ``https://lab.example``,
        for stores that have none themselves. Where we serve the bytes ourselves, they are compared with
        `sha256` (hex) first; an S3 server minds its own.
        """

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove what these keys name. Absent ones are fine."""

    def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[BlobInfo]:
        """All blobs whose keys begin with `prefix` and sort behind `after`, in the order of their bytes."""

    async def check(self) -> None:
        """Return if the store can be used; otherwise the error's sentence says what to do."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def image_key(dataset: UUID, image: UUID) -> str:
    """Where the original bytes of a picture are."""
    return f"images/{dataset}/{image}"


def thumbnail_key(image_key: str, size: ThumbnailSize) -> str:
    """Where a thumbnail is, from the key of its original."""
    owner = owner_of(image_key)
    if owner is None or not image_key.startswith("images/"):
        raise ValueError(f"{image_key!r} is not the key of a picture.")
    return f"thumbnails/{owner.dataset}/{owner.image}/{size.value.lower()}.webp"


def owner_of(key: str) -> Owner | None:
    """The picture that a key of either kind belongs to; None for keys that are not ours."""
    match = _OWNED.fullmatch(key)
    if match is None:
        return None
    dataset, image = (part for part in match.groups() if part)
    return Owner(UUID(dataset), UUID(image))


def is_key(key: str) -> bool:
    """Whether this is a few plain segments, none of which can lead elsewhere."""
    return _KEY.fullmatch(key) is not None


def checked_key(key: str) -> str:
    """The key itself; ValueError if it is none."""
    if not is_key(key):
        raise ValueError(f"{key!r} is not a key of the blob store.")
    return key


def checked_range(start: int, end: int | None) -> None:
    """ValueError for what counts from the end, as slices may: no store can do that."""
    if start < 0 or (end is not None and end < 0):
        raise ValueError(f"A blob can't be read from {start} to {end}.")


def content_disposition(filename: str | None) -> str:
    """The header of RFC 6266: `inline` without a name, else `attachment` with it, in any script."""
    if filename is None:
        return "inline"
    name = _UNSPEAKABLE.sub("_", filename) or "download"
    plain = _NOT_PLAIN.sub("_", name)
    if plain == name:
        return f'attachment; filename="{name}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE_SAFE)}"


def lifetime(now: float, seconds: int, *, steady: bool) -> tuple[int, int]:
    """From when and until when a link holds, in whole seconds of Unix time.

    A steady one begins on a grid of half its life and lives on as long again, so that links made
    within one step are the same.
    """
    if not 1 <= seconds <= MAX_LINK_SECONDS:
        raise ValueError(f"A link can live 1 to {MAX_LINK_SECONDS} seconds, not {seconds}.")
    step = min(seconds // 2, MAX_LINK_SECONDS - seconds) if steady else 0
    start = int(now) if step == 0 else int(now) // step * step
    return start, start + step + seconds
