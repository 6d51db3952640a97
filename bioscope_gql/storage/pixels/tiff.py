"""TIFF in all its kinds: stacks, channels, pyramids, one page or thousands."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bioscope_gql.errors import Rejected
from bioscope_gql.storage.pixels import contrast, directories, ome, tifftags
from bioscope_gql.storage.pixels.bounds import MAX_SAMPLES, Bounds, corrupt, unsupported
from bioscope_gql.storage.pixels.found import Found
from bioscope_gql.storage.pixels.plain import LARGEST, displayed, upright
from bioscope_gql.storage.pixels.segments import Page, foreign, wholly

PALETTE, SEPARATED, WHITE_IS_ZERO = 3, 5, 0
YCBCR = 6


def examine(path: Path, size: int, bounds: Bounds) -> Found:
    """Decode every plane of the first series, strip by strip or tile by tile.

    Raises:
        Rejected: it is too large, damaged, or of a kind that can't be read.
    """
    with path.open("rb") as file:
        _, tiled = directories.walk(file, size, bounds)
        bounds.check_file(size, tiled=tiled)
        file.seek(0)
        # One file only: a picture must not make us open what lies beside it.
        with tifffile.TiffFile(file, _multifile=False) as tiff:
            first = tiff.pages.first
            ome.check(first.description)
            bounds.check_extent(first.imagewidth, first.imagelength, tiled=tiled)
            return Stack(path, file, size, bounds, tiff).examined()


class Stack:
    """The first series of a file: one picture's planes along whatever axes it has."""

    def __init__(self, path: Path, file: BinaryIO, size: int, bounds: Bounds, tiff: Any) -> None:
        self._path = path
        self._file = file
        self._size = size
        self._bounds = bounds
        self._tiff = tiff
        self._series = tiff.series[0]
        self._first = tiff.pages.first
        sizes = dict(zip(self._series.axes, self._series.shape, strict=True))
        self.height, self.width = sizes.get("Y", 1), sizes.get("X", 1)
        self.axes = [
            (a, n) for a, n in zip(self._series.axes, self._series.shape, strict=True) if a not in "YXS"
        ]
        self.frames = math.prod(n for _, n in self.axes)
        self.samples = sizes.get("S", 1)
        self.channels = sizes.get("C", 1) * self.samples

    def examined(self) -> Found:
        self._check()
        shown = self._shown()
        pixel_size, taken, says = tifftags.read(self._tiff)
        bits = self._first.bitspersample
        orientation = self._first.tags.valueof(274, 1)
        says |= {
            "axes": self._series.axes,
            "shape": [int(n) for n in self._series.shape],
            "dtype": str(self._series.dtype),
            "compression": getattr(self._first.compression, "name", str(self._first.compression)),
            "levels": len(self._series.levels) if len(self._series.levels) > 1 else None,
            "tiled": self._first.is_tiled or None,
            "bigTiff": self._tiff.is_bigtiff or None,
            "orientation": orientation if orientation != 1 else None,
        }
        return Found(
            content_type="image/tiff",
            width=int(self.width),
            height=int(self.height),
            bit_depth=int(bits[0] if isinstance(bits, tuple) else bits),
            channels=int(self.channels),
            frames=int(self.frames),
            shown=upright(shown, orientation if isinstance(orientation, int) else 1),
            pixel_size=pixel_size,
            captured_at=taken,
            says=says,
        )

    def _check(self) -> None:
        tiled = self._first.is_tiled
        self._bounds.check_extent(self.width, self.height, tiled=tiled)
        self._bounds.check_frames(self.frames)
        if self.samples > MAX_SAMPLES:
            raise unsupported(f"it has {self.samples} samples a pixel; {MAX_SAMPLES} is the most")
        if not tiled:
            item = self._series.dtype.itemsize if self._series.dtype else 2
            self._bounds.check_decoded(self.width * self.height * self.samples * self.frames * item)

    def _shown(self) -> Image.Image:
        """Decode everything, and make one small picture of it."""
        if foreign(self._keyframe) or not (self._contiguous or self._by_parts()):
            return self._shown_by_pillow()
        wanted, small = self._chosen(), self._smaller()
        kept = dict(self._planes(set() if small else set(wanted)))
        if small:
            pages = {index: small.pages[index] for index in wanted}
            kept = {index: self._read(page, keep=True) for index, page in pages.items() if page is not None}
        planes = [plane for index in wanted if (plane := kept.get(index)) is not None]
        if not planes:
            raise corrupt("it lacks the planes that it promises")
        return self._coloured(planes)

    def _by_parts(self) -> bool:
        return Page(self._keyframe, self._file, self._size, self._bounds).native

    @property
    def _keyframe(self) -> Any:
        return self._series.keyframe

    @property
    def _contiguous(self) -> bool:
        """One uncompressed block, which may be described by a single page."""
        return self._series.dataoffset is not None and not self._first.is_tiled

    def _planes(self, wanted: set[int]) -> Iterator[tuple[int, NDArray[Any] | None]]:
        """Every plane in turn: decoded, and handed out if it is wanted."""
        if self._contiguous:
            yield from self._cut(wanted)
            return
        pages = self._series.pages
        if len(pages) != self.frames:
            raise corrupt(f"it promises {self.frames} planes and has {len(pages)}")
        for index, page in enumerate(pages):
            if page is not None:
                yield index, self._read(page, keep=index in wanted)

    def _cut(self, wanted: set[int]) -> Iterator[tuple[int, NDArray[Any]]]:
        """The wanted planes of a block. Nothing is decoded, so its length is all there is to check."""
        dtype = np.dtype(self._tiff.byteorder + self._series.dtype.char)
        items = self.width * self.height * self.samples
        end = self._series.dataoffset + items * self.frames * dtype.itemsize
        if end > self._size:
            raise corrupt(f"it ends at {self._size:,} bytes, where its pixels go on to {end:,}")
        for index in sorted(wanted):
            self._file.seek(self._series.dataoffset + index * items * dtype.itemsize)
            plane = np.frombuffer(self._file.read(items * dtype.itemsize), dtype)
            if self._keyframe.shaped[0] > 1:  # one sample after the other
                plane = np.moveaxis(plane.reshape(self.samples, self.height, self.width), 0, -1)
            plane = plane.reshape(self.height, self.width, self.samples)
            yield index, self._shrunk(plane).astype(dtype.newbyteorder("="), copy=False)

    def _read(self, page: Any, *, keep: bool) -> NDArray[Any] | None:
        plane = Page(page.aspage(), self._file, self._size, self._bounds).read(keep=keep)
        return None if plane is None else self._shrunk(plane)

    def _shrunk(self, plane: NDArray[Any]) -> NDArray[Any]:
        """At once, so that few large planes are in memory; but a mean of palette entries is no colour."""
        palette = int(self._keyframe.photometric) == PALETTE
        return plane if palette else contrast.shrunk(plane, LARGEST)

    def _smaller(self) -> Any:
        """The smallest level of a pyramid that still makes the largest thumbnail; None without a pyramid."""
        fitting = [
            step
            for step in self._series.levels[1:]
            if len(step.pages) == self.frames
            and max(step.shape[step.axes.index(axis)] for axis in "YX") >= LARGEST
        ]
        return fitting[-1] if fitting else None

    def _chosen(self) -> list[int]:
        """The plane of each channel to show: the first in time, the middle of every other axis."""
        channels = dict(self.axes).get("C", 1)
        chosen = []
        for channel in range(min(channels, contrast.MAX_CHANNELS)):
            index = 0
            for axis, length in self.axes:
                place = channel if axis == "C" else 0 if axis == "T" else length // 2
                index = index * length + place
            chosen.append(index)
        return chosen

    def _coloured(self, planes: Sequence[NDArray[Any]]) -> Image.Image:
        first, photometric = planes[0], int(self._keyframe.photometric)
        if photometric == PALETTE and self._keyframe.colormap is not None:
            return contrast.painted(first[..., 0], self._keyframe.colormap)
        if photometric == SEPARATED and first.shape[-1] == 4 and first.dtype == np.uint8:
            return Image.fromarray(first, "CMYK").convert("RGB")
        if first.shape[-1] >= 3 and photometric in (2, YCBCR, SEPARATED):
            return contrast.colour(np.ascontiguousarray(first[..., :3]))
        if len(planes) == 1 and first.shape[-1] > 2:
            planes = [
                first[..., sample : sample + 1]
                for sample in range(min(first.shape[-1], contrast.MAX_CHANNELS))
            ]
        shown = contrast.composite([plane[..., 0] for plane in planes])
        return Image.eval(shown, lambda level: 255 - level) if photometric == WHITE_IS_ZERO else shown

    def _shown_by_pillow(self) -> Image.Image:
        if self._first.is_tiled:
            self._bounds.check_extent(self.width, self.height)
        pages = [page.index for page in self._series.pages if page is not None]
        wanted = min(self._chosen()[0], len(pages) - 1)
        try:
            return displayed(wholly(self._path, pages, keep=pages[wanted]))
        except UnidentifiedImageError as error:
            raise unsupported(self._kind()) from error
        except (OSError, ValueError, SyntaxError, LookupError) as error:
            raise _unreadable(error, self._kind()) from error

    def _kind(self) -> str:
        compression = getattr(self._first.compression, "name", self._first.compression)
        return f"it is a TIFF of {self._first.bitspersample} bits a sample with the compression {compression}"


def _unreadable(error: Exception, kind: str) -> Rejected:
    lacking = "decoder" in str(error) and "not available" in str(error)
    return unsupported(kind) if lacking else corrupt("a page can't be decoded")
