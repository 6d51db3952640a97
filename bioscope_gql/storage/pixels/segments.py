"""The strips and tiles of one TIFF page: all of them are decoded, some pixels are kept."""

import lzma
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioscope_gql.storage.pixels import wrapping
from bioscope_gql.storage.pixels.bounds import Bounds, corrupt, unsupported

KEPT_SIDE = 2048
"""From this side on, only every n-th pixel is kept; four times the largest thumbnail's."""

NONE, LZMA = 1, 34925
DEFLATE = {8, 32946}
BY_LIBTIFF = {5, 32773, 50000}
"""LZW, PackBits, Zstandard: libtiff unpacks them, tifffile knows the rest."""

AS_PIXELS = {2, 3, 4, 7}
"""Fax and JPEG: libtiff does everything."""

Decode = Callable[[bytes, int], NDArray[Any]]


class Place(NamedTuple):
    """Where a segment lies in its page."""

    sample: int
    top: int
    left: int
    rows: int
    columns: int


class Page:
    """One page of a TIFF. `tags` is tifffile's page."""

    def __init__(self, tags: Any, file: BinaryIO, size: int, bounds: Bounds) -> None:
        self.tags = tags
        self._file = file
        separate, depth, self.height, self.width, together = tags.shaped
        if depth > 1 or getattr(tags, "tiledepth", 1) > 1:
            raise unsupported("it is a TIFF of voxels; save it as a stack of planes")
        self.samples = separate * together
        self.planar = separate > 1
        self.step = max(1, max(self.width, self.height) // KEPT_SIDE)
        self._together = together
        self._check(size, bounds)

    @property
    def native(self) -> bool:
        """Whether we decode it segment by segment; else Pillow has to read the page as a whole."""
        compression = int(self.tags.compression)
        if self.tags.dtype is None or foreign(self.tags):
            return False
        if compression in AS_PIXELS or int(self.tags.predictor) == 3:
            return True
        bits = self.tags.bitspersample
        return compression in {NONE, LZMA, *DEFLATE, *BY_LIBTIFF} and bits in (1, 8, 16, 32, 64, 128)

    def read(self, *, keep: bool) -> NDArray[Any] | None:
        """Decode everything; with `keep`, every `step`-th pixel of every `step`-th row.

        The answer has the shape (rows, columns, samples).

        Raises:
            Rejected: a segment is damaged, or compressed as nobody can read it.
        """
        decode = self._decoder()
        kept: NDArray[Any] | None = None
        for index, (offset, length) in enumerate(zip(*self._extents(), strict=False)):
            if not length:
                continue  # a sparse file leaves out what is empty
            self._file.seek(offset)
            place = self._place(index)
            data = self._decoded(decode, index, place, self._file.read(length))
            if keep:
                if kept is None:
                    kept = self._canvas(data.dtype)
                self._put(kept, data, place)
        return self._canvas(np.dtype(np.uint8)) if keep and kept is None else kept

    def _decoded(self, decode: Decode, index: int, place: Place, segment: bytes) -> NDArray[Any]:
        try:
            data = decode(segment, index)
        except MemoryError:
            raise
        except Exception as error:  # the decoders' errors have no base in common
            raise corrupt(f"part {index + 1} of a page can't be decoded") from error
        if data.shape[0] < min(place.rows, self.height - place.top):
            raise corrupt(f"part {index + 1} of a page is too short")
        return data

    def _decoder(self) -> Decode:
        compression = int(self.tags.compression)
        if compression in AS_PIXELS or int(self.tags.predictor) == 3:
            return self._through_libtiff
        return self._by_tifffile if compression == NONE else self._unpacked

    def _by_tifffile(self, segment: bytes, index: int) -> NDArray[Any]:
        data, _, shape = self.tags.decode(segment, index)
        return np.asarray(data.reshape(shape[1:]) if data.size == math.prod(shape) else data[0])

    def _unpacked(self, segment: bytes, index: int) -> NDArray[Any]:
        plain = self._decompressed(segment, self._place(index))
        compression, self.tags.compression = self.tags.compression, NONE
        try:
            return self._by_tifffile(plain, index)  # its decoder is made now, for what is not compressed
        finally:
            self.tags.compression = compression

    def _decompressed(self, segment: bytes, place: Place) -> bytes:
        """As many bytes as belong to the segment, and no more, whatever it would unpack to."""
        row_bytes = math.ceil(place.columns * self._together * self.tags.bitspersample / 8)
        compression, most = int(self.tags.compression), row_bytes * place.rows
        if compression in DEFLATE:
            stream = zlib.decompressobj()
            plain = stream.decompress(segment, most)
            stream.decompress(stream.unconsumed_tail, 1)  # to the end of it, where its checksum is
            return plain
        if compression == LZMA:
            return lzma.LZMADecompressor().decompress(segment, most)
        return wrapping.unpacked(segment, compression, row_bytes, place.rows)

    def _through_libtiff(self, segment: bytes, index: int) -> NDArray[Any]:
        place = self._place(index)
        shape = wrapping.Shape(place.rows, place.columns)
        return wrapping.pixels(segment, self.tags, shape, samples=self._together)

    def _extents(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.tags.dataoffsets, self.tags.databytecounts

    def _check(self, size: int, bounds: Bounds) -> None:
        """Every part must lie in the file: what is cut off is found before anything is decoded."""
        bounds.check_extent(self.width, self.height, tiled=self.tags.is_tiled)
        place = self._place(0)
        bounds.check_extent(place.columns, max(1, place.rows), tiled=self.tags.is_tiled)
        item = self.tags.dtype.itemsize if self.tags.dtype else 2
        bounds.check_decoded(place.columns * place.rows * self._together * item)
        offsets, lengths = self._extents()
        if len(offsets) != len(lengths) or len(offsets) < self._parts():
            raise corrupt(f"a page has {len(offsets)} of its {self._parts()} parts")
        for offset, length in zip(offsets, lengths, strict=True):
            if offset < 0 or length < 0 or (length and offset + length > size):
                raise corrupt(f"it ends at {size:,} bytes, where a page goes on to {offset + length:,}")

    def _parts(self) -> int:
        rows, columns = self._segment()
        planes = self.samples if self.planar else 1
        return int(planes * math.ceil(self.height / rows) * math.ceil(self.width / columns))

    def _segment(self) -> tuple[int, int]:
        if self.tags.is_tiled:
            return max(1, self.tags.tilelength), max(1, self.tags.tilewidth)
        return max(1, min(self.tags.rowsperstrip, self.height)), self.width

    def _place(self, index: int) -> Place:
        rows, columns = self._segment()
        down, across = math.ceil(self.height / rows), math.ceil(self.width / columns)
        sample, rest = divmod(index, down * across)
        top, left = rest // across * rows, rest % across * columns
        if not self.tags.is_tiled:
            rows = min(rows, self.height - top)
        return Place(sample, top, left, rows, columns)

    def _canvas(self, dtype: "np.dtype[Any]") -> NDArray[Any]:
        rows, columns = math.ceil(self.height / self.step), math.ceil(self.width / self.step)
        return np.zeros((rows, columns, self.samples), dtype)

    def _put(self, kept: NDArray[Any], data: NDArray[Any], place: Place) -> None:
        inside = data[: self.height - place.top, : self.width - place.left]
        thinned = inside[-place.top % self.step :: self.step, -place.left % self.step :: self.step]
        top, left = -(-place.top // self.step), -(-place.left // self.step)
        part = kept[top : top + thinned.shape[0], left : left + thinned.shape[1]]
        if self.planar:
            part[..., place.sample] = thinned[..., 0]
        else:
            part[...] = thinned[..., : self.samples]


def foreign(tags: Any) -> bool:
    """Whether its colours are what only Pillow turns into red, green and blue: CIELAB, YCbCr but in JPEG."""
    return int(tags.photometric) in (8, 9, 10) or (int(tags.photometric) == 6 and int(tags.compression) != 7)


def wholly(path: Path, pages: Sequence[int], *, keep: int) -> Image.Image:
    """Decode all these pages as Pillow does, for what is too rare to be read by parts; one is kept."""
    kept: Image.Image | None = None
    with Image.open(path, formats=("TIFF",)) as image:
        for index in pages:
            image.seek(index)
            image.load()
            if index == keep:
                kept = image.convert("RGB") if image.mode in ("YCbCr", "LAB", "CMYK") else image.copy()
    if kept is None:
        raise corrupt("it lacks the planes that it promises")
    return kept
