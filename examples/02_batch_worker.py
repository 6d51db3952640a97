"""A classifier that takes pictures in batches, as models on a GPU want them: sharp or blurred?

    BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS=localhost:9092 python examples/02_batch_worker.py

A call gets up to 32 pictures; what can't be read has an error in its place and spoils no other.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from bioscope_gql.worker.sdk import Picture, Prediction, Worker, WorkerError

SIZE = (64, 64)
worker = Worker("sharpness", "1.0.0", labels=["sharp", "blurred"], description="Sharp or blurred?")


def pixels(picture: Picture) -> np.ndarray | WorkerError:
    try:
        return np.asarray(Image.open(io.BytesIO(picture.data)).convert("L").resize(SIZE), np.float32) / 255
    except OSError as error:
        return WorkerError("CORRUPT_IMAGE", f"The picture can't be decoded: {error}.")


@worker.classify_batch(size=32, wait_ms=10)
def classify(pictures: Sequence[Picture]) -> list[Prediction | WorkerError]:
    read = [pixels(picture) for picture in pictures]
    good = [each for each in read if isinstance(each, np.ndarray)]
    steps = (
        np.abs(np.diff(np.stack(good), axis=2)).mean((1, 2)) if good else np.empty(0)
    )  # the model, at once
    sharp = iter(np.minimum(8 * steps, 1))
    return [
        each if isinstance(each, WorkerError) else Prediction({"sharp": (s := next(sharp)), "blurred": 1 - s})
        for each in read
    ]


if __name__ == "__main__":
    worker.main()
