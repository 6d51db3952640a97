"""Train the blood-smear model anew: both networks, about a quarter of an hour on one core.

    pip install torch onnx
    python tools/train_classifier.py --data DIR --out DIR

`smear_samples.py` says what DIR has to hold. What comes out (`cells.onnx`, `wbc.onnx`, `model.json`) replaces
`bioscope_gql/worker/weights/`; give it a new version there, and run `pytest tests/test_reference.py`.
PyTorch is needed here only and is no dependency of the project.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from smear_samples import Sample, samples, unpacked
from smear_views import cell_view, field_view

from bioscope_gql.worker.smear import CELLS, LEUKOCYTES, STRIDE
from bioscope_gql.worker.smear_pixels import CROP, SIDE

MIX = {"bccd": 0.55, "aslan": 0.15, "chula-wbc": 0.3}
"""How often the detector sees a picture of each source."""

FIELDS_PER_STEP, CELLS_PER_STEP = 12, 32
FIRST_THRESHOLDS = (0.3, 0.3, 0.425)
"""From where a kind of cell counts as found; best tuned again on validation pictures."""

Torch = Any
"""PyTorch is not installed where types are checked."""


def detector() -> Torch:
    """Heat maps of the kinds of cells and logarithms of their sizes, for every `STRIDE` pixels a point."""
    import torch  # type: ignore[import-not-found, unused-ignore]
    from torch import nn

    class Detector(nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            a, b, c, d, e = 16, 24, 40, 56, 72
            self.s2, self.s4 = conv(3, a, 2), nn.Sequential(conv(a, b, 2), conv(b, b))
            self.s8 = nn.Sequential(conv(b, c, 2), conv(c, c))
            self.s16 = nn.Sequential(conv(c, d, 2), conv(d, d))
            self.s32 = nn.Sequential(conv(d, e, 2), conv(e, e))
            self.l32, self.l16 = nn.Conv2d(e, b, 1), nn.Conv2d(d, b, 1)
            self.l8, self.l4 = nn.Conv2d(c, b, 1), nn.Conv2d(b, b, 1)
            self.m16, self.m8, self.m4 = conv(b, b), conv(b, b), conv(b, b)
            self.heat, self.size = nn.Conv2d(b, len(CELLS), 1), nn.Conv2d(b, 2, 1)
            nn.init.constant_(self.heat.bias, -3.0)
            nn.init.constant_(self.size.bias, 2.2)

        def forward(self, image: Torch) -> Torch:
            x4 = self.s4(self.s2((image - 0.8) * 3))
            x8 = self.s8(x4)
            x16 = self.s16(x8)
            y = self.m16(self.l16(x16) + twice(self.l32(self.s32(x16))))
            y = self.m8(self.l8(x8) + twice(y))
            y = self.m4(self.l4(x4) + twice(y))
            return torch.sigmoid(self.heat(y)), self.size(y)

    def twice(tensor: Torch) -> Torch:
        return nn.functional.interpolate(tensor, scale_factor=2.0, mode="nearest")

    return Detector()


def differential() -> Torch:
    """One number for each kind of leukocyte."""
    import torch
    from torch import nn

    class Differential(nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            a, b, c, d, e = 16, 32, 48, 72, 96
            pool = nn.MaxPool2d(2)
            self.body = nn.Sequential(
                conv(3, a, 2), conv(a, b), pool, conv(b, c), pool, conv(c, d), conv(d, e)
            )
            self.drop, self.head = nn.Dropout(0.3), nn.Linear(e * 2, len(LEUKOCYTES))

        def forward(self, crops: Torch) -> Torch:
            y = self.body((crops - 0.8) * 3)
            return self.head(self.drop(torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1)))

    return Differential()


def conv(inputs: int, outputs: int, stride: int = 1) -> Torch:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Course:
    """One network's training: steps of AdamW under a one-cycle schedule, with a line now and then."""

    def __init__(self, net: Torch, steps: int, *, rate: float, decay: float) -> None:
        import torch

        self.net, self.steps = net, steps
        self._optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, rate, total_steps=steps, pct_start=0.15
        )
        self._began, self._mean = time.monotonic(), 0.0

    def learn(self, step: int, loss: Torch) -> None:
        import torch

        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self._optimizer.step()
        self._schedule.step()
        self._mean = 0.98 * self._mean + 0.02 * loss.item() if step else loss.item()
        if step % 100 == 0 or step == self.steps - 1:
            print(f"  step {step} loss {self._mean:.3f} {time.monotonic() - self._began:.0f} s", flush=True)


def train_detector(known: Sequence[Sample], steps: int, rng: np.random.Generator) -> Torch:
    import torch

    pools = {source: of(known, {"train"}, source) for source in MIX}
    pools = {source: pool for source, pool in pools.items() if pool}
    shares = np.array([MIX[source] for source in pools])
    course = Course(detector(), steps, rate=4e-3, decay=1e-3)
    for step in range(steps):
        sources = rng.choice(list(pools), FIELDS_PER_STEP, p=shares / shares.sum())
        views = [field_view(pools[source][rng.integers(len(pools[source]))], rng) for source in sources]
        pixels, heat, sizes, where, labelled = (
            torch.from_numpy(np.stack(part)) for part in zip(*views, strict=True)
        )
        seen, guessed = course.net(pixels)
        wrong = torch.nn.functional.l1_loss(guessed, sizes, reduction="none") * where[:, None]
        course.learn(step, focal(seen, heat, labelled) + 0.5 * wrong.sum() / where.sum().clamp(min=1))
    return course.net.eval()


def focal(seen: Torch, heat: Torch, labelled: Torch) -> Torch:
    """CenterNet's loss, over the kinds of cells that are labelled."""
    seen = seen.clamp(1e-4, 1 - 1e-4)
    top = (heat > 0.999).float()
    loss = -(top * (1 - seen) ** 2 * seen.log() + (1 - top) * (1 - heat) ** 4 * seen**2 * (1 - seen).log())
    counted = labelled[:, :, None, None]
    return (loss * counted).sum() / (top * counted).sum().clamp(min=1)


def train_differential(known: Sequence[Sample], steps: int, rng: np.random.Generator) -> Torch:
    import torch

    cells = [
        (crop, LEUKOCYTES.index(kind), sample.source)
        for sample in of(known, {"train"})
        for crop, kind in zip(sample.roomy, sample.kinds or (), strict=True)
    ]
    # each source and kind weighs about the same: slide and kind go together in these pictures
    counts = Counter((source, kind) for _, kind, source in cells)
    weights = np.array([counts[source, kind] ** -0.6 for _, kind, source in cells])
    course = Course(differential(), steps, rate=3e-3, decay=5e-3)
    for step in range(steps):
        picked = [
            cells[number] for number in rng.choice(len(cells), CELLS_PER_STEP, p=weights / weights.sum())
        ]
        seen = torch.from_numpy(np.stack([cell_view(crop, rng) for crop, _, _ in picked]))
        kinds = torch.tensor([kind for _, kind, _ in picked])
        course.learn(step, torch.nn.functional.cross_entropy(course.net(seen), kinds, label_smoothing=0.05))
    return course.net.eval()


def judged(net: Torch, known: Sequence[Sample]) -> tuple[float, dict[str, float]]:
    """The temperature that makes confidences honest, and the accuracy for each source."""
    import torch

    logits, truth, accuracy = [], [], {}
    for source in ("chula-wbc", "bccd"):
        held = of(known, {"test", "val"} if source == "bccd" else {"test"}, source)
        kinds = [LEUKOCYTES.index(kind) for sample in held for kind in sample.kinds or ()]
        if not kinds:
            continue
        crops = np.stack([unpacked(crop) for sample in held for crop in sample.exact])
        with torch.no_grad():
            found = net(torch.from_numpy(crops).permute(0, 3, 1, 2))
        logits.append(found)
        truth.append(torch.tensor(kinds))
        accuracy[source] = round(float((found.argmax(1) == truth[-1]).float().mean()), 4)
    if not logits:
        return 1.0, accuracy
    grid = np.exp(np.linspace(-1, 1.2, 45))
    losses = [
        torch.nn.functional.cross_entropy(torch.cat(logits) / each, torch.cat(truth)).item() for each in grid
    ]
    return round(float(grid[int(np.argmin(losses))]), 3), accuracy


def of(known: Sequence[Sample], splits: Collection[str], source: str | None = None) -> list[Sample]:
    return [each for each in known if each.split in splits and source in (None, each.source)]


def export(net: Torch, example: Sequence[int], file: Path, names: Sequence[str], free: Any) -> None:
    import torch

    torch.onnx.export(
        net,
        (torch.ones(*example),),
        str(file),
        input_names=list(names[:1]),
        output_names=list(names[1:]),
        dynamic_axes=free,
        opset_version=17,
        dynamo=False,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train the blood-smear model anew.")
    parser.add_argument("--data", type=Path, required=True, help="the folder with the four repositories")
    parser.add_argument("--out", type=Path, required=True, help="where the networks go")
    parser.add_argument("--detector-steps", type=int, default=1600)
    parser.add_argument("--differential-steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        import torch
    except ImportError:
        print("Training needs PyTorch: pip install torch onnx. The project does without.", file=sys.stderr)
        return 1
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    known = [sample.load() for sample in samples(options.data)]
    print("pictures", dict(Counter((sample.source, sample.split) for sample in known)), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)

    print("leukocytes")
    net = train_differential(known, options.differential_steps, rng)
    temperature, accuracy = judged(net, known)
    print(f"  accuracy {accuracy}, temperature {temperature}")
    crops = {"crops": {0: "n"}, "logits": {0: "n"}}
    export(net, (2, 3, CROP, CROP), options.out / "wbc.onnx", ("crops", "logits"), crops)

    print("cells")
    net = train_detector(known, options.detector_steps, rng)
    fields = {name: {2: f"{name}_height", 3: f"{name}_width"} for name in ("image", "heat", "size")}
    export(net, (1, 3, 288, SIDE), options.out / "cells.onnx", ("image", "heat", "size"), fields)

    told = {
        "name": "blood-smear",
        "version": "unreleased",
        "thresholds": FIRST_THRESHOLDS,
        "temperature": temperature,
        "metrics": {"accuracy": accuracy},
        "cells": CELLS,
        "wbc": LEUKOCYTES,
        "side": SIDE,
        "crop": CROP,
        "stride": STRIDE,
    }
    (options.out / "model.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
