"""Uploaded pictures as 8-bit RGB, whatever they were."""

import io
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from bioscope_gql.worker.answers import WorkerError

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
PIXELS_AT_MOST = 100_000_000

_BIG_TIFF = (b"II+\0", b"MM\0+")

_DARKEST_PERCENT, _BRIGHTEST_PERCENT = 0.5, 99.8

Rgb = NDArray[np.uint8]


def decode(data: bytes) -> Rgb:
    """The first frame as rows of RGB pixels, upright, on white where it is transparent.

    Grey levels beyond 8 bits are stretched from their darkest half percent to their brightest fifth of one.

    Raises:
        WorkerError: CORRUPT_IMAGE or TOO_MANY_PIXELS; both would come again.
    """
    try:
        if data.startswith(_BIG_TIFF):
            return np.asarray(_rgb(_big_tiff(data)))
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _bound(image.width, image.height)
            image.load()
            return np.asarray(_rgb(ImageOps.exif_transpose(image)))
    except WorkerError:
        raise
    except UnidentifiedImageError as error:
        raise _corrupt(f"it is none of {', '.join(FORMATS)} that this model knows to read") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many("far more") from error
    except Exception as error:
        raise _corrupt(" ".join(str(error).split()).rstrip(".") or type(error).__name__) from error


def _big_tiff(data: bytes) -> Image.Image:
    """The first page. Pillow knows no BigTIFF of big-endian machines."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        _bound(page.imagewidth * page.samplesperpixel, page.imagelength)
        levels = page.asarray()
    if levels.dtype != np.uint8:
        levels = _stretched(levels)
    return Image.fromarray(levels)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_stretched(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        above = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), above).convert("RGB")
    return image.convert("RGB")


def _stretched(levels: NDArray[Any]) -> Rgb:
    finite = levels[np.isfinite(levels)]
    if not finite.size:
        return np.zeros(levels.shape, np.uint8)
    low, high = np.percentile(finite, (_DARKEST_PERCENT, _BRIGHTEST_PERCENT))
    if high <= low:
        low, high = float(finite.min()), float(finite.max())
    scale = 255 / (high - low) if high > low else 0.0
    result: Rgb = np.nan_to_num(np.clip((levels - low) * scale, 0, 255)).astype(np.uint8)
    return result


def _bound(width: int, height: int) -> None:
    if width * height > PIXELS_AT_MOST:
        raise _too_many(f"{width:,} x {height:,}")


def _too_many(has: str) -> WorkerError:
    return WorkerError(
        "TOO_MANY_PIXELS", f"The picture has {has} pixels; this model takes {PIXELS_AT_MOST:,} at most."
    )


def _corrupt(why: str) -> WorkerError:
    return WorkerError("CORRUPT_IMAGE", f"The picture can't be decoded: {why}.")
