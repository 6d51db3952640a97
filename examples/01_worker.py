"""A whole classifier: says of every picture whether it is dark or bright.

    BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS=localhost:9092 python examples/01_worker.py

`--help` lists the options. With the embedded stack (`bioscope dev`) add --development.
"""

import io

from PIL import Image, ImageStat

from bioscope_gql.worker.sdk import Picture, Worker, WorkerError

worker = Worker("brightness", "1.0.0", labels=["dark", "bright"], description="Dark or bright?")


@worker.classify
def classify(picture: Picture) -> dict[str, float]:
    try:
        grey = Image.open(io.BytesIO(picture.data)).convert("L")
    except OSError as error:
        raise WorkerError("CORRUPT_IMAGE", f"The picture can't be decoded: {error}.") from error
    bright = ImageStat.Stat(grey).mean[0] / 255
    return {"bright": bright, "dark": 1 - bright}


if __name__ == "__main__":
    worker.main()
