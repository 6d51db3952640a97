"""What the two networks for blood smears see of a picture: stain and light of the background divided out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 384
"""Pixels of the detector's input on its longer side."""
CROP = 80
"""Pixels of the side of what the second network sees of a leukocyte."""
BRIGHTEST = 1.6
"""Where the background is 1, nothing counts as brighter than this."""

_GRID = 8

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]
Box = tuple[float, float, float, float]


def letter(rgb: Rgb, side: int = SIDE) -> tuple[Floats, float]:
    """The picture with `side` pixels on its longer side, and its scale; filled up to multiples of 32."""
    height, width, _ = rgb.shape
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    pixels = flat_field(np.asarray(Image.fromarray(rgb).resize(size, how)))
    missing = ((0, -pixels.shape[0] % 32), (0, -pixels.shape[1] % 32), (0, 0))
    return np.pad(pixels, missing, constant_values=1.0), scale


def flat_field(rgb: Rgb, grid: int = _GRID) -> Floats:
    """The picture with illumination and stain of the background divided out: there it is close to 1."""
    height, width, _ = rgb.shape
    rows, columns = (np.linspace(0, length, grid + 1).astype(int) for length in (height, width))
    background = np.empty((grid, grid, 3), np.float32)
    for i in range(grid):
        for j in range(grid):
            down = slice(rows[i], max(rows[i + 1], rows[i] + 1))
            across = slice(columns[j], max(columns[j + 1], columns[j] + 1))
            block = rgb[down, across].reshape(-1, 3)
            background[i, j] = np.percentile(block[:: max(1, len(block) // 512)], 85, axis=0)
    padded = np.pad(background, ((1, 1), (1, 1), (0, 0)), mode="edge")
    # a big dark cell fills its block: what lies around it says more about the light there
    around = sum(padded[y : y + grid, x : x + grid] for y in range(3) for x in range(3)) / 9
    background = np.maximum(background, around)
    channels = (Image.fromarray(background[..., channel]) for channel in range(3))
    size, how = (width, height), Image.Resampling.BICUBIC
    everywhere = np.stack([np.asarray(channel.resize(size, how)) for channel in channels], -1)
    return _lit(rgb.astype(np.float32), everywhere)


def crop(rgb: Rgb, box: Box, size: int = CROP, grow: float = 1.3) -> Floats:
    """A square around a cell, `grow` times as wide as it, its light judged by what lies around."""
    left, top, right, bottom = box
    radius = max(right - left, bottom - top) / 2
    centre = (left + right) / 2, (top + bottom) / 2
    image = Image.fromarray(rgb)
    wide = _square(image, centre, radius * 2.6, size * 2)
    inside = wide.sum(-1) > 0
    background = np.percentile(wide[inside], 80, axis=0) if inside.any() else np.full(3, 255.0)
    near = _square(image, centre, radius * grow, size)
    pixels = _lit(near, background)
    pixels[near.sum(-1) == 0] = 1.0
    return pixels


def _square(image: Image.Image, centre: tuple[float, float], half: float, size: int) -> Floats:
    x, y = centre
    extent = (x - half, y - half, x + half, y + half)
    how = Image.Resampling.BILINEAR
    return np.asarray(image.transform((size, size), Image.Transform.EXTENT, extent, how), np.float32)


def _lit(pixels: Floats, background: NDArray[Any]) -> Floats:
    result: Floats = np.clip(pixels / np.maximum(background, 16), 0, BRIGHTEST).astype(np.float32)
    return result
