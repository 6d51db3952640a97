"""Finds the cells of a blood smear and names its leukocytes, with two small networks.

`cells.onnx` marks red cells, leukocytes and platelets and says how big each is; `wbc.onnx` tells five kinds
of leukocytes apart. Both are trained by `tools/train_classifier.py`. Not a medical device.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bioscope_gql.worker.smear_pixels import Box, Floats, Rgb, crop, letter

CELLS = ("RBC", "WBC", "Platelet")
LEUKOCYTES = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")
NO_LEUKOCYTE, NO_CELLS = "no_leukocyte", "no_cells"
LABELS = (*LEUKOCYTES, NO_LEUKOCYTE, NO_CELLS)
WEIGHTS = Path(__file__).parent / "weights"
FILES = ("cells.onnx", "wbc.onnx", "model.json")

STRIDE = 4
"""Pixels of the detector's input for each point of its heat maps."""

_RED, _WHITE, _PLATELET = range(3)
_NEAR = 0.45


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell in a picture: `box` is left, top, right, bottom in its pixels; `label` names leukocytes."""

    kind: str
    score: float
    box: Box
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a picture shows. `scores` are best first; `counts` has every kind of cell."""

    scores: Sequence[tuple[str, float]]
    counts: dict[str, int]
    cells: Sequence[Cell]


class Smear:
    """The model. One may be used in several threads at a time.

    Raises:
        OSError: on making it; the weights are not there.
    """

    def __init__(self, folder: Path = WEIGHTS) -> None:
        import onnxruntime

        told = json.loads((folder / "model.json").read_text("utf-8"))
        self.version: str = told["version"]
        self.digest = _digest(folder)
        self._thresholds: list[float] = told["thresholds"]
        self._temperature: float = told["temperature"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._detector, self._differential = (
            onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for name in FILES[:2]
        )

    def classify(self, rgb: Rgb) -> Finding:
        pixels, scale = letter(rgb)
        heat, sizes = self._detector.run(None, {"image": _batch(pixels[None])})
        cells = Peaks.of(heat[0], sizes[0], self._thresholds).cells(scale, rgb.shape)
        counts = {kind: sum(cell.kind == kind for cell in cells) for kind in CELLS}
        white = [cell for cell in cells if cell.kind == CELLS[_WHITE]]
        if not white:
            # 1: nothing like a leukocyte; 0.5: all but one
            sure = 1 - 0.5 * float(heat[0, _WHITE].max()) / self._thresholds[_WHITE]
            label = NO_LEUKOCYTE if cells else NO_CELLS
            return Finding([(label, min(max(sure, 0.0), 1.0))], counts, cells)
        kinds = self._kinds(rgb, white)
        weights = np.array([cell.score for cell in white])
        mixed = (kinds * weights[:, None]).sum(0) / weights.sum()
        scores = sorted(zip(LEUKOCYTES, map(float, mixed), strict=True), key=lambda pair: -pair[1])
        named = [
            Cell(cell.kind, cell.score, cell.box, LEUKOCYTES[int(each.argmax())])
            for cell, each in zip(white, kinds, strict=True)
        ]
        return Finding(scores, counts, named + [cell for cell in cells if cell.kind != CELLS[_WHITE]])

    def _kinds(self, rgb: Rgb, white: Sequence[Cell]) -> Floats:
        """Probabilities of the five kinds, a row for each leukocyte."""
        crops = np.stack([crop(rgb, cell.box) for cell in white])
        (logits,) = self._differential.run(None, {"crops": _batch(crops)})
        scaled = logits / self._temperature
        powers = np.exp(scaled - scaled.max(-1, keepdims=True))
        result: Floats = powers / powers.sum(-1, keepdims=True)
        return result


@dataclass(frozen=True)
class Peaks:
    """Local maxima of the heat maps, strongest first within a kind, in pixels of the detector's input."""

    kinds: NDArray[np.intp]
    scores: Floats
    centres: Floats
    sizes: Floats

    @classmethod
    def of(cls, heat: Floats, sizes: Floats, thresholds: Sequence[float]) -> Self:
        _, height, width = heat.shape
        padded = np.pad(heat, ((0, 0), (1, 1), (1, 1)))
        around = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
        above = heat > np.array(thresholds, np.float32)[:, None, None]
        kind, y, x = np.nonzero((heat == np.max(around, axis=0)) & above)
        order = np.lexsort((-heat[kind, y, x], kind))
        kind, y, x = kind[order], y[order], x[order]
        return cls(
            kind,
            heat[kind, y, x],
            (np.stack([x, y], -1).astype(np.float32) + 0.5) * STRIDE,
            np.exp(sizes[:, y, x].T) * STRIDE,
        )

    def cells(self, scale: float, shape: Sequence[int]) -> list[Cell]:
        """As cells of the picture, of those too close to a stronger one of their kind only the strongest."""
        height, width = shape[:2]
        longer = self.sizes.max(-1)
        kept: list[int] = []
        for peak in range(len(self.kinds)):
            same = [other for other in kept if self.kinds[other] == self.kinds[peak]]
            away = np.hypot(*(self.centres[same] - self.centres[peak]).T)
            if np.all(away > _NEAR * np.minimum(longer[same], longer[peak])):
                kept.append(peak)
        cells = []
        for peak in kept:
            (x, y), (half_x, half_y) = self.centres[peak] / scale, self.sizes[peak] / scale / 2
            if x <= width and y <= height:
                box = (
                    max(0, x - half_x),
                    max(0, y - half_y),
                    min(width, x + half_x),
                    min(height, y + half_y),
                )
                left, top, right, bottom = (round(float(edge), 1) for edge in box)
                score = float(self.scores[peak])
                cells.append(Cell(CELLS[self.kinds[peak]], score, (left, top, right, bottom)))
        return cells


def _digest(folder: Path) -> str:
    """One hash over all files: what `sha256sum` says of each, a line after the other."""
    lines = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES)
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _batch(pixels: Floats) -> Floats:
    """Channels before rows and columns, as networks have it."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)
