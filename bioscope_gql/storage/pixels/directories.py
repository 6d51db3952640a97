"""The chain of a TIFF's pages, followed before any library believes it."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from bioscope_gql.storage.pixels.bounds import Bounds, corrupt

MAX_TAGS = 4096
TILE_WIDTH = 322


@dataclass(frozen=True, slots=True)
class Layout:
    """How numbers are written: classic TIFF with four bytes an offset, BigTIFF with eight."""

    order: str
    big: bool

    @property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @property
    def tag_bytes(self) -> int:
        return 20 if self.big else 12


def walk(file: BinaryIO, size: int, bounds: Bounds) -> tuple[int, bool]:
    """The number of pages, and whether the first is tiled.

    Raises:
        Rejected: the chain is too long, leads out of the file or runs in a circle.
    """
    head = file.read(8)
    layout = Layout("<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+"))
    start = file.read(8) if layout.big else head[4:]
    seen: set[int] = set()
    tiled = False
    offset = _unpacked(layout.offset, start)
    while offset:
        if offset in seen:
            raise corrupt("its pages refer to each other in a circle")
        if offset >= size:
            raise corrupt(f"page {len(seen) + 1} would begin behind its end")
        seen.add(offset)
        bounds.check_frames(len(seen), counted=False)
        offset, has_tiles = _directory(file, offset, layout)
        tiled = tiled or (has_tiles and len(seen) == 1)
    if not seen:
        raise corrupt("it has no pages")
    return len(seen), tiled


def _directory(file: BinaryIO, offset: int, layout: Layout) -> tuple[int, bool]:
    """Where the next page begins (0: nowhere), and whether this one is tiled."""
    file.seek(offset)
    tags = _unpacked(layout.count, file.read(layout.count.size))
    if not 0 < tags <= MAX_TAGS:
        raise corrupt(f"a page has {tags} tags")
    entries = file.read(tags * layout.tag_bytes)
    codes = struct.Struct(layout.order + "H")
    has_tiles = any(
        codes.unpack_from(entries, at)[0] == TILE_WIDTH
        for at in range(0, len(entries) - layout.tag_bytes + 1, layout.tag_bytes)
    )
    return _unpacked(layout.offset, file.read(layout.offset.size)), has_tiles


def _unpacked(form: struct.Struct, data: bytes) -> int:
    if len(data) < form.size:
        raise corrupt("its directory of pages is cut off")
    return int(form.unpack(data[: form.size])[0])
