"""Single strips and tiles through libtiff, which Pillow brings along and which knows every compression.

tifffile alone decodes few of them. A segment is given a small TIFF of its own, so that no more than that
segment is ever in memory.
"""

import io
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SHORT, _LONG = 3, 4
_KEPT = (258, 262, 266, 277, 292, 293, 317, 338, 339, 347, 530)
"""Bits, colours, fill order, samples, fax options, predictor, extra samples, format, JPEG tables, chroma."""


class Shape(NamedTuple):
    rows: int
    columns: int


def unpacked(segment: bytes, compression: int, row_bytes: int, rows: int) -> bytes:
    """The bytes of a segment, decompressed and nothing else, as many as its rows have."""
    return bytes(_read(segment, {259: compression, 258: 8, 262: 1, 277: 1}, Shape(rows, row_bytes)).tobytes())


def pixels(segment: bytes, page: Any, shape: Shape, *, samples: int) -> NDArray[Any]:
    """The samples of a segment, (rows, columns, samples); YCbCr and CMYK as red, green and blue."""
    tags = {code: page.tags[code].value for code in _KEPT if code in page.tags}
    tags |= {259: int(page.compression), 277: samples}
    if isinstance(tags.get(258), tuple):
        tags[258] = tags[258][:samples]
    image = _read(segment, tags, shape)
    if image.mode in ("YCbCr", "CMYK", "LAB"):
        image = image.convert("RGB")
    array = np.asarray(image)
    return array.reshape(shape.rows, shape.columns, -1)


def _read(segment: bytes, tags: dict[int, Any], shape: Shape) -> Image.Image:
    image = Image.open(io.BytesIO(_file(segment, tags, shape)), formats=("TIFF",))
    image.load()
    return image


def _file(segment: bytes, tags: dict[int, Any], shape: Shape) -> bytes:
    """A TIFF of one strip."""
    fields: dict[int, tuple[int, bytes]] = {}
    own = {256: shape.columns, 257: shape.rows, 278: shape.rows, 279: len(segment), 273: 8}
    for code, value in sorted((tags | own).items()):
        fields[code] = _field(value, long=code in own)
    start = 8 + len(segment) + len(segment) % 2
    more = start + 2 + 12 * len(fields) + 4
    entries, data = [], b""
    for code, (kind, packed) in fields.items():
        count = len(packed) // {1: 1, _SHORT: 2, _LONG: 4, 7: 1}[kind]
        if len(packed) <= 4:
            place = packed.ljust(4, b"\0")
        else:
            place = struct.pack("<I", more + len(data))
            data += packed + b"\0" * (len(packed) % 2)
        entries.append(struct.pack("<HHI", code, kind, count) + place)
    head = struct.pack("<2sHI", b"II", 42, start)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return head + segment + b"\0" * (len(segment) % 2) + directory + data


def _field(value: Any, *, long: bool) -> tuple[int, bytes]:
    if isinstance(value, bytes):
        return 7, value
    numbers = [int(each) for each in (value if isinstance(value, tuple) else (value,))]
    wide = long or max(numbers) > 0xFFFF
    return (
        (_LONG, struct.pack(f"<{len(numbers)}I", *numbers))
        if wide
        else (
            _SHORT,
            struct.pack(f"<{len(numbers)}H", *numbers),
        )
    )
