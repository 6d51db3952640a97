"""The pictures that the blood-smear model learns from, and what is known about each.

A folder holds checkouts of four repositories under the MIT licence:

    Complete-Blood-Cell-Count-Dataset/   MahmudulAlam; boxes of red cells, leukocytes, platelets
    draaslan/                            draaslan/blood-cell-detection-dataset; boxes
    WBC_Dataset/                         singgihbekti; boxes and kinds of leukocytes
    Chula-RBC-12-Dataset/                Chula-PIC-Lab; centres of red cells

and, optionally, apple_BCCD/labels.csv with the kinds of leukocytes of the first one's pictures.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioscope_gql.worker.smear import LEUKOCYTES
from bioscope_gql.worker.smear_pixels import BRIGHTEST, CROP, Floats, crop, letter

Bytes = NDArray[np.uint8]
Split = Literal["train", "val", "test"]
KindBox = tuple[int, float, float, float, float]
"""Kind (as in `smear.CELLS`), left, top, right, bottom."""

RED, WHITE, PLATELET = range(3)
ROOM = 120
"""Pixels of the crops that are trained on: half as wide again as what the model sees, for turning them."""

_KINDS = {"RBC": RED, "WBC": WHITE, "Platelets": PLATELET, "rbc": RED, "wbc": WHITE}
_TEST_SLIDES = {"1B", "2B", "59", "9", "10", "4B", "5B", "5Bb", "12", "13"}


@dataclass
class Sample:
    """One picture. `labelled` says for each kind whether all of its cells in view are boxed.

    `pixels`, `boxes` and the crops are in the detector's scale and ready once `load` was called.
    """

    path: Path
    source: str
    split: Split
    found: list[KindBox]
    labelled: tuple[int, int, int]
    kinds: list[str] | None = None
    pixels: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))
    boxes: Floats = field(default_factory=lambda: np.empty((0, 5), np.float32))
    roomy: list[Bytes] = field(default_factory=list)
    exact: list[Bytes] = field(default_factory=list)

    def load(self) -> "Sample":
        with Image.open(self.path) as image:
            rgb = np.asarray(image.convert("RGB"))
        pixels, scale = letter(rgb)
        self.pixels = packed(pixels)
        scaled = [(kind, *(edge * scale for edge in box)) for kind, *box in self.found]
        self.boxes = np.array(scaled, np.float32).reshape(-1, 5)
        if self.kinds:
            white = [
                (left, top, right, bottom) for kind, left, top, right, bottom in self.found if kind == WHITE
            ]
            self.roomy = [packed(crop(rgb, box, ROOM, 1.3 * ROOM / CROP)) for box in white]
            self.exact = [packed(crop(rgb, box)) for box in white]
        return self


def packed(pixels: Floats) -> Bytes:
    """Flat-fielded pixels in a byte each."""
    result: Bytes = np.round(pixels / BRIGHTEST * 255).astype(np.uint8)
    return result


def unpacked(pixels: NDArray[np.generic]) -> Floats:
    result: Floats = pixels.astype(np.float32) * np.float32(BRIGHTEST / 255)
    return result


def samples(root: Path) -> Iterator[Sample]:
    """All pictures under `root`; no picture is in two splits, no slide of WBC_Dataset either."""
    return chain(_bccd(root), _aslan(root), _chula_wbc(root), _chula_rbc(root))


def _bccd(root: Path) -> Iterator[Sample]:
    kinds, folder = _kinds(root / "apple_BCCD/labels.csv"), root / "Complete-Blood-Cell-Count-Dataset"
    validation = {path.stem for path in (folder / "Validation/Images").glob("*.jpg")}
    for part in ("Training", "Testing"):
        for path in sorted((folder / part / "Images").glob("*.jpg")):
            found = list(_boxes(folder / part / "Annotations" / f"{path.stem}.xml"))
            named = kinds.get(int(path.stem[-5:]), [])
            white = sum(kind == WHITE for kind, *_ in found)
            sure = len(named) == white == 1 and named[0] in LEUKOCYTES
            split: Split = "test" if part == "Testing" else "val" if path.stem in validation else "train"
            yield Sample(path, "bccd", split, found, (1, 1, 1), named if sure else None)


def _kinds(file: Path) -> dict[int, list[str]]:
    if not file.exists():
        return {}
    with file.open(encoding="utf-8") as rows:
        return {
            int(row["Image"]): [kind.strip().lower() for kind in row["Category"].split(",") if kind.strip()]
            for row in csv.DictReader(rows)
        }


def _boxes(file: Path) -> Iterator[KindBox]:
    for thing in ET.parse(file).iter("object"):  # noqa: S314 - see above
        edges = (float(thing.findtext(f"bndbox/{name}", "0")) for name in ("xmin", "ymin", "xmax", "ymax"))
        left, top, right, bottom = edges
        if right > left and bottom > top:
            yield _KINDS[thing.findtext("name", "")], left, top, right, bottom


def _aslan(root: Path) -> Iterator[Sample]:
    side, found = 256, dict[str, list[KindBox]]()
    file = root / "draaslan/annotations.csv"
    if not file.exists():
        return
    with file.open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            left, top, right, bottom = (float(row[name]) * side for name in ("xmin", "ymin", "xmax", "ymax"))
            boxes = found.setdefault(row["image"], [])
            if right > left and bottom > top:
                boxes.append((_KINDS[row["label"]], left, top, right, bottom))
    for number, (name, boxes) in enumerate(sorted(found.items())):
        split: Split = "train" if number % 5 else "test"
        yield Sample(root / "draaslan/images" / name, "aslan", split, boxes, (1, 1, 0))


def _chula_wbc(root: Path) -> Iterator[Sample]:
    width, height = 1440, 900
    for path in sorted((root / "WBC_Dataset/WBC_Samples").glob("*/images/*.jpg")):
        label = path.parent.parent / "labels" / f"{path.stem}.txt"
        if not label.exists():  # eleven pictures of monocytes have none
            continue
        found, kinds = list[KindBox](), list[str]()
        for line in filter(str.strip, label.read_text("utf-8").splitlines()):
            kind, x, y, wide, high = map(float, line.split())
            left, right = (x - wide / 2) * width, (x + wide / 2) * width
            top, bottom = (y - high / 2) * height, (y + high / 2) * height
            found.append((WHITE, left, top, right, bottom))
            kinds.append(LEUKOCYTES[int(kind)])
        split: Split = "test" if _slide(path.stem) in _TEST_SLIDES else "train"
        yield Sample(path, "chula-wbc", split, found, (0, 1, 0), kinds)


def _slide(name: str) -> str:
    """Kind and slide go together there, so a slide must not be in two splits."""
    return re.sub(r"^HF-", "", name).split("_")[0].split("-", 1)[1]


def _chula_rbc(root: Path) -> Iterator[Sample]:
    """Every fourth picture, to be judged by only: not all cells in view are named."""
    folder = root / "Chula-RBC-12-Dataset"
    for path in sorted((folder / "Label").glob("*.txt"), key=lambda path: int(path.stem))[::4]:
        points = [line.split()[:2] for line in path.read_text("utf-8").splitlines() if line.strip()]
        centres = [(float(x), float(y)) for x, y in points]
        found: list[KindBox] = [(RED, x - 20, y - 20, x + 20, y + 20) for x, y in centres]
        image = folder / "Dataset" / f"{path.stem}.jpg"
        if image.exists():
            yield Sample(image, "chula-rbc", "test", found, (1, 0, 0))
