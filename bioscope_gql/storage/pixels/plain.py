"""JPEG, PNG, BMP and WebP: one picture, eight bits a sample as a rule."""

import struct
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from bioscope_gql.storage.pixels.bounds import Bounds, corrupt, forbidden
from bioscope_gql.storage.pixels.found import Found, moment
from bioscope_gql.vocabulary import THUMBNAIL_PIXELS

LARGEST = max(THUMBNAIL_PIXELS.values())

ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to turn upright what EXIF and TIFF say lies otherwise."""

_SAYS = {0x010F: "make", 0x0110: "model", 0x0131: "software"}
_SAYS_OF_EXPOSURE = {0xA434: "lens", 0x829A: "exposureSeconds", 0x8827: "iso", 0x920A: "focalLength"}
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)
"""What Pillow raises over broken files, besides its own."""

_TEXT_TOO_LARGE = "MAX_TEXT"


def examine(path: Path, size: int, bounds: Bounds, *, content_type: str) -> Found:
    """Decode the first frame, of an animated WebP all of them.

    Raises:
        Rejected: it is too large or damaged.
    """
    bounds.check_file(size, tiled=False)
    kind = content_type.removeprefix("image/").upper()
    Image.MAX_IMAGE_PIXELS = None  # bounded here, from the settings
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=(kind,)) as image:
            return _examined(image, path, kind, bounds)
    except UnidentifiedImageError as error:
        raise corrupt(f"it begins like a {kind}, but is none") from error
    except _DAMAGE as error:
        if _TEXT_TOO_LARGE in str(error):
            raise forbidden("a compressed text that unpacks to more than a picture's text should") from error
        raise corrupt(_reason(error)) from error


def upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = ORIENTATIONS.get(orientation)
    return image if turn is None else image.transpose(turn)


def displayed(image: Image.Image) -> Image.Image:
    """Any mode as L or RGB, on white where it is transparent; deep greys are stretched."""
    if image.mode.startswith(("I", "F")):
        import numpy as np

        from bioscope_gql.storage.pixels.contrast import grey

        return grey(np.asarray(image))
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        ground.alpha_composite(layer)
        return ground.convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _examined(image: Image.Image, path: Path, kind: str, bounds: Bounds) -> Found:
    width, height = image.size
    bounds.check_extent(width, height)
    bands, bits = len(image.getbands()), _bit_depth(image, path, kind)
    frames = getattr(image, "n_frames", 1) if kind == "WEBP" else 1
    bounds.check_frames(frames)
    bounds.check_decoded(width * height * frames * bands * max(1, bits // 8))
    if kind == "JPEG" and image.mode in ("RGB", "L"):
        image.draft(image.mode, (LARGEST * 2, LARGEST * 2))  # decodes every byte, at a fraction of the scale
    image.load()
    says, orientation, taken = _exif(image)
    shown = upright(displayed(_shrunk(image)), orientation)
    for frame in range(1, frames):
        image.seek(frame)
        image.load()
    mode = {"mode": image.mode, "progressive": bool(image.info.get("progressive")) or None}
    return Found(
        f"image/{kind.lower()}",
        width,
        height,
        bits,
        bands,
        frames,
        shown,
        captured_at=taken,
        says=mode | says,
    )


def _shrunk(image: Image.Image) -> Image.Image:
    """Nearer to a thumbnail's size, so that what comes next is cheap; modes that can't be averaged stay."""
    factor = max(image.size) // (LARGEST * 2)
    if factor < 2 or image.mode not in ("L", "RGB", "CMYK", "YCbCr", "RGBA", "LA"):
        return image
    return image.reduce((min(factor, image.width), min(factor, image.height)))


def _bit_depth(image: Image.Image, path: Path, kind: str) -> int:
    if kind == "PNG":
        with path.open("rb") as file:
            return int(file.read(25)[24])
    if image.mode == "1":
        return 1
    return 16 if image.mode.startswith("I;16") else 8


def _exif(image: Image.Image) -> tuple[dict[str, Any], int, Any]:
    """What EXIF says, but for places and people; its damage is not the picture's."""
    says: dict[str, Any] = {}
    orientation, taken = 1, None
    with suppress(*_DAMAGE):
        exif = image.getexif()
        says |= {name: exif[tag] for tag, name in _SAYS.items() if tag in exif}
        orientation = int(exif.get(0x0112, 1))
        if orientation in ORIENTATIONS:
            says["orientation"] = orientation
        exposure = exif.get_ifd(0x8769)
        says |= {name: _plain(exposure[tag]) for tag, name in _SAYS_OF_EXPOSURE.items() if tag in exposure}
        written, offset = exposure.get(0x9003) or exif.get(0x0132), exposure.get(0x9011)
        taken = moment(written, offset)
        says["capturedAt"] = " ".join(str(each) for each in (written, offset) if each)
    return says, orientation, taken


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int)) else float(value)


def _reason(error: BaseException) -> str:
    words = " ".join(str(error).split()).rstrip(".")[:200]
    return f"{words[0].lower()}{words[1:]}" if words else type(error).__name__
