"""What training shows the networks of a picture: cut out, turned, mirrored, stained and lit differently."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from smear_samples import ROOM, WHITE, Bytes, Sample, unpacked

from bioscope_gql.worker.smear import STRIDE
from bioscope_gql.worker.smear_pixels import BRIGHTEST, CROP, Floats

View = tuple[Floats, Floats, Floats, Floats, Floats]
"""Pixels, heat maps, sizes, where sizes count, which kinds are labelled."""

_SIZE = 256
_SCALES = {"aslan": (0.3, 1.0), "bccd": (0.4, 1.25)}
_OTHER_SCALES = (0.8, 1.8)


def jittered(pixels: Floats, rng: np.random.Generator) -> Floats:
    """Another stain and exposure; the background stays near 1."""
    gamma = np.exp(rng.normal(0, 0.25, 3) * 0.6 + rng.normal(0, 0.25)).astype(np.float32)
    pixels = np.power(np.maximum(pixels, 1e-3), gamma) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    if rng.random() < 0.3:
        pixels = pixels + rng.normal(0, rng.uniform(0, 0.04), pixels.shape).astype(np.float32)
    result: Floats = np.clip(pixels, 0, BRIGHTEST).astype(np.float32)
    return result


def field_view(sample: Sample, rng: np.random.Generator) -> View:
    """A square of a picture with what the detector should find in it."""
    low, high = _SCALES.get(sample.source, _OTHER_SCALES)
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    side = _SIZE / scale
    x, y = _centre(sample, side, rng)
    corner = np.array([x - side / 2, y - side / 2], np.float32)
    pixels = _cut(sample.pixels, (corner[0], corner[1], corner[0] + side, corner[1] + side), scale)
    outside = pixels.sum(-1) == 0
    pixels = jittered(unpacked(pixels), rng)
    pixels[outside] = 1.0
    boxes = sample.boxes.copy()
    boxes[:, 1:] = (boxes[:, 1:] - np.tile(corner, 2)) * scale
    pixels, boxes = _turned(pixels, boxes, rng)
    heat, sizes, known = _targets(boxes)
    labelled = np.array(sample.labelled, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), heat, sizes, known, labelled


def cell_view(roomy: Bytes, rng: np.random.Generator) -> Floats:
    """A leukocyte as the second network may see it."""
    zoom, angle = rng.uniform(0.8, 1.25), rng.uniform(0, 2 * np.pi)
    dx, dy = rng.normal(0, 5, 2)
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    mirrored = -1 if rng.random() < 0.5 else 1
    half, middle = (CROP - 1) / 2, (ROOM - 1) / 2
    matrix = (
        *(mirrored * cos, -sin, middle + dx - mirrored * cos * half + sin * half),
        *(mirrored * sin, cos, middle + dy - mirrored * sin * half - cos * half),
    )
    how = Image.Resampling.BILINEAR
    turned = Image.fromarray(roomy).transform((CROP, CROP), Image.Transform.AFFINE, matrix, how)
    pixels = np.asarray(turned, np.float32)
    outside = pixels.sum(-1) == 0
    pixels = jittered(unpacked(pixels), rng)
    pixels[outside] = 1.0
    return pixels.transpose(2, 0, 1)


def _centre(sample: Sample, side: float, rng: np.random.Generator) -> tuple[float, float]:
    """Anywhere, or, every other time, with a leukocyte (else any cell) in view."""
    height, width, _ = sample.pixels.shape
    x, y = (
        rng.uniform(min(side / 2, length / 2), max(length - side / 2, length / 2))
        for length in (width, height)
    )
    if len(sample.boxes) and rng.random() < 0.5:
        white = np.flatnonzero(sample.boxes[:, 0] == WHITE)
        cell = rng.choice(white) if len(white) else rng.integers(len(sample.boxes))
        _, left, top, right, bottom = sample.boxes[cell]
        x = (left + right) / 2 + rng.uniform(-0.4, 0.4) * side
        y = (top + bottom) / 2 + rng.uniform(-0.4, 0.4) * side
    return float(x), float(y)


def _cut(pixels: Bytes, extent: tuple[float, float, float, float], scale: float) -> Floats:
    image, factor = Image.fromarray(pixels), 1.0
    if scale < 0.75:  # else it would alias
        factor = scale * 1.2
        size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        image = image.resize(size, Image.Resampling.BOX)
    left, top, right, bottom = (edge * factor for edge in extent)
    extent, how = (left, top, right, bottom), Image.Resampling.BILINEAR
    return np.asarray(image.transform((_SIZE, _SIZE), Image.Transform.EXTENT, extent, how), np.float32)


def _turned(pixels: Floats, boxes: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    if rng.random() < 0.5:
        pixels, boxes[:, [1, 3]] = pixels[:, ::-1], _SIZE - boxes[:, [3, 1]]
    if rng.random() < 0.5:
        pixels, boxes[:, [2, 4]] = pixels[::-1], _SIZE - boxes[:, [4, 2]]
    if rng.random() < 0.5:
        pixels, boxes = pixels.transpose(1, 0, 2), boxes[:, [0, 2, 1, 4, 3]]
    return pixels, boxes


def _targets(boxes: Floats) -> tuple[Floats, Floats, Floats]:
    """A bump on the heat map at each cell; its size around the bump's top."""
    count = _SIZE // STRIDE
    heat, sizes = np.zeros((3, count, count), np.float32), np.zeros((2, count, count), np.float32)
    known: Floats = np.zeros((count, count), np.float32)
    down, across = np.mgrid[:count, :count].astype(np.float32)
    for kind, left, top, right, bottom in boxes:
        x, y = (left + right) / 2 / STRIDE, (top + bottom) / 2 / STRIDE
        if not (0 <= x < count and 0 <= y < count):
            continue
        wide, high = max(right - left, 3) / STRIDE, max(bottom - top, 3) / STRIDE
        bump = np.exp(-_spread(across - int(x), wide) - _spread(down - int(y), high))
        heat[int(kind)] = np.maximum(heat[int(kind)], bump)
        near = bump > 0.5
        sizes[0][near], sizes[1][near], known[near] = np.log(wide), np.log(high), 1
    return heat, sizes, known


def _spread(away: Floats, size: float) -> NDArray[np.float32]:
    result: Floats = away**2 / (2 * max(0.6, size / 9) ** 2)
    return result
