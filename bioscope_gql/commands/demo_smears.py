"""Drawn blood smears, for whoever has no microscope pictures at hand.

The painter works as stained glass does: every cell takes light away (an optical density for each colour),
so cells that overlap darken each other. Lamp, lens and sensor add their faults last. Everything follows from
the seed. Lengths are pixels of a field 640 wide; `px` is how many real pixels one of them takes.

``python -m bioscope_gql.commands.demo_smears FOLDER COUNT`` draws into a folder and names each file. So the
server's process neither waits for a brush nor imports numpy and Pillow, which only painting functions do.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray
    from PIL.Image import Image

    Field: TypeAlias = NDArray[np.float32]

Colour: TypeAlias = tuple[int, int, int]
Spot: TypeAlias = tuple[float, float, float]
"""x, y and radius of a cell, in real pixels."""

TURN = 2 * math.pi
GLASS: Colour = (203, 205, 202)
"""The empty slide under the lamp."""
PLATELET: Colour = (146, 136, 200)
JPEG_QUALITY = 90


class Look(NamedTuple):
    """How one kind of white cell looks. Its nucleus is beads on an arc; lengths are in cell radii."""

    radius: float
    cytoplasm: Colour
    granule: Colour
    granularity: float
    """How densely the granules lie, 0 to 1."""
    veil: float
    """How much of the nucleus they hide, 0 to 1."""
    nucleus: Colour
    lobes: tuple[int, int]
    """Fewest and most."""
    lobe_radius: float
    waist: float
    """Radius between two lobes, as a share of a lobe's."""
    arc_radius: float
    arc_angle: float


# fmt: off
LOOKS = {
    "neutrophil": Look(
        81, (194, 185, 201), (178, 154, 190), 0.35, 0.2, (132, 117, 207), (3, 5), 0.27, 0.4, 0.51, 4.3),
    "lymphocyte": Look(
        57, (148, 158, 206), (140, 140, 204), 0.3, 0.0, (112, 86, 197), (1, 1), 0.85, 1.0, 0.08, 0.4),
    "eosinophil": Look(
        78, (194, 150, 178), (182, 110, 154), 0.5, 0.2, (124, 112, 203), (2, 2), 0.36, 0.3, 0.49, 3.0),
    "monocyte": Look(
        100, (180, 183, 197), (166, 160, 197), 0.3, 0.0, (159, 121, 222), (1, 1), 0.45, 1.0, 0.37, 2.6),
}
# fmt: on
KINDS = (*LOOKS, "no_leukocyte")
"""What is drawn in turn. No basophils: the reference model misnames drawn ones."""


class Smear(NamedTuple):
    """A drawn field and the truth about it. A cell counts when its centre lies inside the field."""

    image: Image
    kind: str
    red_cells: int
    platelets: int


def draw_file(folder: Path, number: int) -> Path:
    """Draw the picture of that number into `folder`, unless it lies there already; half a file never does."""
    file = folder / f"smear-{number + 1:02}.jpg"
    if not file.exists():
        draft = file.with_suffix(f".{os.getpid()}")
        draw(KINDS[number % len(KINDS)], number).image.save(draft, "JPEG", quality=JPEG_QUALITY)
        draft.replace(file)
    return file


def draw(kind: str, seed: int, size: tuple[int, int] = (640, 480)) -> Smear:
    """Paint one field; the same arguments always give the same picture.

    `kind` is one of KINDS; no side of `size` may be longer than twice the other.
    """
    import numpy as np

    look = LOOKS.get(kind)
    rng = np.random.default_rng([seed, *kind.encode()])
    px = max(size) / 640
    field = np.zeros((size[1], size[0], 3), np.float32)
    white = settle(rng, size, look.radius * px, 1, [], inset=look.radius * px) if look else []
    keep_off = [(x, y, 1.35 * r) for x, y, r in white]
    crowd = round(rng.uniform(9, 22) * size[0] * size[1] / (640 * 480 * px * px))
    red = settle(rng, size, rng.uniform(45, 52) * px, crowd, keep_off, apart=0.68, company=0.65)
    tiny = settle(
        rng, size, rng.uniform(7, 11) * px, int(rng.integers(5)), white + red, inset=12 * px, apart=1.2
    )
    stain = absorbed((int(rng.integers(182, 195)), int(rng.integers(154, 168)), int(rng.integers(150, 166))))
    for spot in red:
        paint_red_cell(field, rng, spot, stain)
    for spot in tiny:
        paint_platelet(field, rng, spot)
    if look:
        paint_leukocyte(field, rng, white[0], look, px)
    return Smear(photograph(field, rng, px), kind, len(red), len(tiny))


def settle(
    rng: Generator,
    size: tuple[int, int],
    radius: float,
    wanted: int,
    taken: list[Spot],
    *,
    inset: float = 0,
    apart: float = 1,
    company: float = 0,
) -> list[Spot]:
    """Up to `wanted` places, `inset` from the border and `apart` sums of radii from each other and `taken`.

    `company` is the share that settles beside another cell, as cells like to.
    """
    found: list[Spot] = []
    for _ in range(40 * wanted):
        x, y = rng.uniform(inset, size[0] - inset), rng.uniform(inset, size[1] - inset)
        r = radius * rng.normal(1, 0.07)
        if found and rng.random() < company:
            (x, y, beside), angle = found[rng.integers(len(found))], rng.uniform(0, TURN)
            away = (r + beside) * rng.uniform(apart, 1.05)
            x, y = x + away * math.cos(angle), y + away * math.sin(angle)
        free = all(math.dist((x, y), (a, b)) > apart * (r + c) for a, b, c in taken + found)
        if free and len(found) < wanted and 0 <= x < size[0] and 0 <= y < size[1]:
            found.append((x, y, r))
    return found


def paint_red_cell(field: Field, rng: Generator, spot: Spot, stain: Field) -> None:
    """A disc thinner in the middle. It hides some of what lies below and darkens the rest."""
    import numpy as np

    (part, dx, dy), r = around(field, spot), spot[2]
    disc = inside(round_depth(rng, dx, dy, r, 1.22, 0.07), r * rng.uniform(0.08, 0.2))
    middle = np.hypot(dx - rng.normal(0, 0.1) * r, dy - rng.normal(0, 0.1) * r) / r
    middle += 0.06 * clouds(rng, dx, r / 3)
    rim = np.abs(middle / rng.uniform(0.38, 0.65)) ** rng.uniform(2, 6)
    thick = disc * (1 - rng.uniform(0.1, 0.95) * np.exp(-rim)) * (0.9 + 0.2 * middle) * rng.uniform(0.75, 1.2)
    part *= 1 - rng.uniform(0.1, 0.7) * disc[..., None]
    part += thick[..., None] * stain * rng.normal(1, 0.05, 3).astype(np.float32)
    if rng.random() < 0.12:  # a drop dried on it: a dark ring round a bright spot
        drop = np.hypot(dx - rng.normal(0, 0.3) * r, dy - rng.normal(0, 0.3) * r)
        drop /= r * rng.uniform(0.06, 0.14)
        part += (0.25 * np.exp(-4 * (drop - 1) ** 2) - 0.3 * np.exp(-3 * drop**2))[..., None]


def paint_platelet(field: Field, rng: Generator, spot: Spot) -> None:
    (part, dx, dy), r = around(field, spot), spot[2]
    body = inside(round_depth(rng, dx, dy, r, 1.25, 0.12), r * 0.8) * (1 + 0.2 * clouds(rng, dx, r / 2))
    part += body[..., None] * absorbed(PLATELET) * rng.uniform(0.6, 1.1)


def paint_leukocyte(field: Field, rng: Generator, spot: Spot, look: Look, px: float) -> None:
    """Cytoplasm, the nucleus in it, granules over both; nothing below shines through."""

    def texture(grain: float) -> Field:
        return clouds(rng, dx, grain * px)[..., None]

    (part, dx, dy), r = around(field, spot), spot[2]
    edge = round_depth(rng, dx, dy, r, 1.1, 0.08)[..., None] + px * (0.8 * texture(9) + 2 * texture(24))
    core = nucleus_depth(rng, dx, dy, r, look)[..., None] + px * 1.6 * texture(12)
    cell, nucleus = inside(edge, 8 * px), inside(core, 5 * px)
    body = absorbed(look.cytoplasm) * (1 + 0.15 * texture(30))
    body += (absorbed(look.nucleus) * (0.95 + 0.07 * texture(8) + 0.08 * texture(20)) - body) * nucleus
    granules = (look.granularity * (1 + 0.7 * texture(4.2))).clip(0, 1) * (1 - (1 - look.veil) * nucleus)
    body += (absorbed(look.granule) - body) * granules
    part += (body - part) * cell


def photograph(field: Field, rng: Generator, px: float) -> Image:
    """What a plain camera makes of the densities: uneven lamp, colour fringe, blur, grain."""
    import numpy as np
    from PIL import Image, ImageFilter

    height, width = field.shape[:2]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    right = np.linspace(-1, 1, width, dtype=np.float32)
    lamp = 1 + rng.normal(0, 0.02) * right + rng.normal(0, 0.02) * down
    lamp -= rng.uniform(0, 0.025) * (right**2 + down**2)
    lamp += 0.008 * clouds(rng, field, 120 * px)
    tint = np.array(GLASS) * rng.normal(1, 0.01, 3)
    light = np.exp(-field) * lamp[..., None] * tint.astype(np.float32)
    light[..., 2] = np.roll(light[..., 2], -round(1.4 * px), axis=1)
    sharp = Image.fromarray(light.clip(0, 255).astype(np.uint8))
    soft = sharp.filter(ImageFilter.GaussianBlur(rng.uniform(0.9, 1.5) * px))
    grain = np.stack([clouds(rng, field, 1.7), clouds(rng, field, 5)], -1)
    noise = grain @ np.array([(1.2, 1.2, 1.2), rng.normal(0, 0.7, 3)], np.float32)
    return Image.fromarray((np.asarray(soft) + noise).clip(0, 255).astype(np.uint8))


def absorbed(colour: Colour) -> Field:
    """The optical density that turns empty glass into `colour`."""
    import numpy as np

    return -np.log(np.array(colour, np.float32) / np.array(GLASS, np.float32))


def inside(depth: Field, softness: float) -> Field:
    """1 well inside an outline (depth > 0), 0 well outside, a smooth step between."""
    step = (depth / softness + 0.5).clip(0, 1)
    smooth: Field = step * step * (3 - 2 * step)
    return smooth


def clouds(rng: Generator, like: Field, grain: float) -> Field:
    """Smooth random texture around zero, as wide and high as `like`, with spots `grain` real pixels wide."""
    import numpy as np
    from PIL import Image

    height, width = like.shape[:2]
    coarse = rng.normal(size=(int(height / grain) + 2, int(width / grain) + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def around(field: Field, spot: Spot) -> tuple[Field, Field, Field]:
    """The part of the field that a cell can reach, to write into, and its pixels' offsets from its centre."""
    import numpy as np

    x, y, reach = spot[0], spot[1], spot[2] * 1.4 + 2
    top, left = max(0, int(y - reach)), max(0, int(x - reach))
    part = field[top : int(y + reach), left : int(x + reach)]
    steps = np.indices(part.shape[:2], np.float32)
    return part, steps[1] + (left - x), steps[0] + (top - y)


def round_depth(rng: Generator, dx: Field, dy: Field, r: float, stretch: float, bumps: float) -> Field:
    """How deep each pixel lies inside an irregular round outline, in real pixels; negative outside."""
    import numpy as np

    turn, longer = rng.uniform(0, math.pi), rng.uniform(1, stretch)
    cos, sin = math.cos(turn), math.sin(turn)
    u, v = (dx * cos + dy * sin) / longer, (dy * cos - dx * sin) * longer
    angle = np.arctan2(v, u)
    swell = np.zeros_like(angle)
    for wave in range(2, 7):
        swell += rng.normal(0, bumps / wave) * np.cos(wave * angle + rng.uniform(0, TURN))
    depth: Field = r - np.hypot(u, v) / (1 + swell)
    return depth


def nucleus_depth(rng: Generator, dx: Field, dy: Field, r: float, look: Look) -> Field:
    """How deep each pixel lies inside the string of beads, in real pixels; negative outside."""
    import numpy as np

    lobes, along = int(rng.integers(*look.lobes, endpoint=True)), np.linspace(0, 1, 32)
    phase = 0.2 + (lobes - 0.4) * along
    bead = look.waist + (1 - look.waist) * np.sin(np.pi * phase) ** 2
    bead *= look.lobe_radius * rng.uniform(0.8, 1.15, lobes)[phase.astype(int)]
    angle = rng.uniform(0, TURN) + look.arc_angle * rng.uniform(0.85, 1.15) * along
    away = look.arc_radius * rng.uniform(0.9, 1.1) * (1 + 0.2 * np.sin(8 * along + rng.uniform(0, TURN)))
    x, y = away * np.cos(angle), away * np.sin(angle)
    beads = r * np.stack([x - 0.6 * x.mean(), y - 0.6 * y.mean(), bead], 1)
    deepest: Field = np.max([c - np.hypot(dx - a, dy - b) for a, b, c in beads.astype(np.float32)], axis=0)
    return deepest


def main(folder: str, count: str) -> None:
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(int(count)):
            print(draw_file(Path(folder), number).name, flush=True)
    except OSError as error:
        sys.exit(f"{folder} can't be drawn into ({error.strerror}).")


if __name__ == "__main__":
    main(*sys.argv[1:])
