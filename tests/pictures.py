"""Small pictures, drawn in memory: each function returns the bytes of a whole file."""

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw

TILE = 16

Size = tuple[int, int]


def a_picture(
    number: int = 0, *, kind: str = "PNG", size: tuple[int, int] = (64, 48), **options: Any
) -> bytes:
    """A few blots on light ground, other ones for another number. `kind` is Pillow's word for a format."""
    return saved(drawn(number, size), kind, **options)


def drawn(number: int = 0, size: Size = (64, 48), mode: str = "RGB") -> Image.Image:
    """The same before it is saved; `mode` is one of Pillow's."""
    random = np.random.default_rng(number)
    image = Image.new("RGB", size, (236, 228, 232))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, r = (int(random.integers(least, most)) for least, most in ((0, size[0]), (0, size[1]), (2, 9)))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(int(c) for c in random.integers(60, 220, 3)))
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def a_tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    """By tifffile; its options tell compression ("zlib"), tiles, axes and so on."""
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def an_ome_tiff(pixels: NDArray[Any], axes: str, **says: Any) -> bytes:
    """An OME-TIFF whose XML says what tifffile makes of `says`, e.g. ``PhysicalSizeX=0.5``."""
    return a_tiff(pixels, ome=True, metadata={"axes": axes, **says}, photometric="minisblack")


def a_tiled_tiff(image: Image.Image, compression: str) -> bytes:
    """Grey or RGB in tiles of 16 x 16 pixels, as tifffile can't write it: "jpeg" or "lzw"."""
    pixels = np.asarray(image)
    rows, columns = pixels.shape[0] // TILE, pixels.shape[1] // TILE
    tiles = [
        _encoded(pixels[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE], compression)
        for y in range(rows)
        for x in range(columns)
    ]
    samples = len(image.getbands())
    tags = {
        256: [columns * TILE], 257: [rows * TILE], 258: [8] * samples,
        259: [7 if compression == "jpeg" else 5],
        262: [2 if samples == 3 else 1], 277: [samples], 322: [TILE], 323: [TILE],
        324: [8 + sum(map(len, tiles[:number])) for number in range(len(tiles))],
        325: [len(tile) for tile in tiles],
    }  # fmt: skip
    return tiff_of(b"".join(tiles), tags)


def a_pyramid(pixels: NDArray[Any], levels: int = 2) -> bytes:
    """A tiled TIFF with half, quarter and so on of its size as sub-images."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        options: dict[str, Any] = {"tile": (TILE, TILE), "compression": "zlib", "photometric": "minisblack"}
        writer.write(pixels, subifds=levels, **options)
        for level in range(1, levels + 1):
            writer.write(pixels[:: 2**level, :: 2**level], subfiletype=1, **options)
    return file.getvalue()


def a_gps_jpeg() -> bytes:
    """Lies on its side (orientation 6: 48 x 64 upright), and knows where and when it was taken."""
    image = drawn()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Example"
    exif.get_ifd(0x8769).update({0x9003: "2024:03:05 10:11:12", 0x9011: "+02:00"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return saved(image, "JPEG", exif=exif)


def shades(
    height: int, width: int, *, top: int, dtype: Any = np.uint16, lead: Sequence[int] = ()
) -> NDArray[Any]:
    """A slope from 0, upper left, to `top`, lower right; the same in every plane of `lead`."""
    slope = np.add.outer(np.linspace(0, top / 2, height), np.linspace(0, top / 2, width))
    return np.broadcast_to(slope.astype(dtype), (*lead, height, width)).copy()


def _encoded(tile: NDArray[Any], compression: str) -> bytes:
    if compression == "jpeg":
        return saved(Image.fromarray(tile), "JPEG", quality=95, subsampling=0, keep_rgb=True)
    with tifffile.TiffFile(io.BytesIO(saved(Image.fromarray(tile), "TIFF", compression="tiff_lzw"))) as file:
        page = file.pages.first
        assert len(page.dataoffsets) == 1
        file.filehandle.seek(page.dataoffsets[0])
        return bytes(file.filehandle.read(page.databytecounts[0]))


def tiff_of(data: bytes, tags: dict[int, list[int]]) -> bytes:
    """A little-endian TIFF of one page, all numbers of four bytes, with `data` from byte 8 on."""
    data += b"\0" * (len(data) % 2)
    directory = struct.pack("<H", len(tags))
    more, behind = b"", 8 + len(data) + 2 + 12 * len(tags) + 4
    for code, values in tags.items():
        packed = struct.pack(f"<{len(values)}I", *values)
        place = packed if len(values) == 1 else struct.pack("<I", behind + len(more))
        more += packed if len(values) > 1 else b""
        directory += struct.pack("<HHI", code, 4, len(values)) + place
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + bytes(4) + more
