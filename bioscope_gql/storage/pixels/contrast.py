"""Making visible what no screen shows: 16 bits, floats, several channels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[Any]

DARKEST_PERCENT, BRIGHTEST_PERCENT = 0.5, 99.8

COLOURS = (
    (0.25, 0.45, 1.0),
    (0.2, 1.0, 0.3),
    (1.0, 0.25, 0.3),
    (0.9, 0.9, 0.9),
    (1.0, 0.9, 0.2),
    (0.9, 0.3, 1.0),
)
"""One for each of the first channels: what most microscopes call DAPI, GFP, RFP and so on."""

MAX_CHANNELS = len(COLOURS)


def grey(plane: Plane) -> Image.Image:
    """A single plane, stretched."""
    return Image.fromarray(stretched(plane))


def composite(planes: Sequence[Plane]) -> Image.Image:
    """Channels, each stretched by itself and in its colour, added up."""
    if len(planes) == 1:
        return grey(planes[0])
    total = np.zeros((*planes[0].shape, 3), np.float32)
    for plane, colour in zip(planes, COLOURS, strict=False):
        total += stretched(plane)[..., None] * np.asarray(colour, np.float32)
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def colour(samples: Plane) -> Image.Image:
    """Red, green and blue of any depth, (rows, columns, 3); one stretch for all, so that hues stay."""
    return Image.fromarray(samples if samples.dtype == np.uint8 else stretched(samples))


def stretched(plane: Plane) -> NDArray[np.uint8]:
    """From the darkest to the brightest but for the outliers; what is no number becomes black."""
    if plane.dtype == np.bool_:
        return plane.astype(np.uint8) * np.uint8(255)
    levels = plane.real if np.iscomplexobj(plane) else plane
    finite = levels[np.isfinite(levels)] if levels.dtype.kind == "f" else levels
    if not finite.size:
        return np.zeros(levels.shape, np.uint8)
    low, high = np.percentile(finite, (DARKEST_PERCENT, BRIGHTEST_PERCENT)).astype(np.float64)
    if high <= low:
        low, high = float(finite.min()), float(finite.max())
    if high <= low:
        return np.full(levels.shape, 128 if low > 0 else 0, np.uint8)
    with np.errstate(all="ignore"):
        scaled = (levels.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.asarray(np.nan_to_num(scaled, nan=0, posinf=255, neginf=0).clip(0, 255), np.uint8)


def painted(indices: Plane, colormap: Plane) -> Image.Image:
    """A palette's colours; one of greys only is a grey picture."""
    table = (colormap >> 8 if colormap.max() > 255 else colormap).astype(np.uint8)
    indices = np.minimum(indices, table.shape[1] - 1)
    if (table[0] == table[1]).all() and (table[1] == table[2]).all():
        return Image.fromarray(table[0][indices])
    return Image.fromarray(np.ascontiguousarray(np.moveaxis(table[:, indices], 0, -1)))


def shrunk(plane: Plane, side: int) -> Plane:
    """Means of blocks of (rows, columns, samples), still `side` long: so stretching looks at what is seen."""
    factor = max(plane.shape[:2]) // side
    if factor < 2 or plane.dtype.kind not in "uif":
        return plane
    down, across = min(factor, plane.shape[0]), min(factor, plane.shape[1])
    rows, columns = plane.shape[0] // down, plane.shape[1] // across
    blocks = plane[: rows * down, : columns * across].reshape(rows, down, columns, across, -1)
    means = blocks.mean((1, 3), dtype=np.float32 if plane.dtype.itemsize < 4 else np.float64)
    return np.asarray(means.astype(plane.dtype) if plane.dtype.kind in "ui" else means)
