"""The reference classifier: blood smears.

    python -m bioscope_gql.worker.reference --help

It proves the way of a job from end to end and shows how a worker is written. Not a medical device.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioscope_gql.vocabulary import CONTENT_TYPES
from bioscope_gql.worker.raster import decode
from bioscope_gql.worker.sdk import Measurement, Picture, Prediction, Worker
from bioscope_gql.worker.smear import CELLS, LABELS, WEIGHTS, Cell, Smear

NAME = "blood-smear"
DESCRIPTION = (
    "Names the leukocyte of a stained blood smear (one of five kinds) and counts red cells, leukocytes and "
    "platelets. A reference model for trying the system out, not a medical device."
)
BOXES_AT_MOST = 300
"""Details may take 64 KiB; a box takes about 100 bytes."""


def worker(weights: Path = WEIGHTS) -> Worker:
    """The classifier with its weights loaded; its classify function may run in several threads."""
    smear = Smear(weights)
    made = Worker(
        NAME,
        smear.version,
        labels=LABELS,
        content_types=CONTENT_TYPES,
        description=DESCRIPTION,
        digest=smear.digest,
    )

    @made.classify
    def classify(picture: Picture) -> Prediction:
        found = smear.classify(decode(picture.data))
        return Prediction(
            [(label, round(confidence, 4)) for label, confidence in found.scores],
            details={"counts": found.counts, "boxes": _boxes(found.cells)},
            measurements=[Measurement(name=kind, value=float(found.counts[kind])) for kind in CELLS],
        )

    return made


def _boxes(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The cells for a page that draws them, leukocytes and then the surest first."""
    shown = sorted(cells, key=lambda cell: (cell.label is None, -cell.score))[:BOXES_AT_MOST]
    return [
        {"kind": cell.kind, "box": cell.box, "score": round(cell.score, 3)}
        | ({"label": cell.label} if cell.label else {})
        for cell in shown
    ]


if __name__ == "__main__":
    worker().main()
