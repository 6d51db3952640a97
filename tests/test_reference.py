"""The reference classifier: how often it is right, what it says, and what it makes of broken pictures."""

import asyncio
import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioscope_gql.commands.worker import for_settings
from bioscope_gql.embedded import lock
from bioscope_gql.events.messages import MAX_DETAILS_BYTES, Topics
from bioscope_gql.settings import Settings
from bioscope_gql.vocabulary import CONTENT_TYPES
from bioscope_gql.worker.options import Options
from bioscope_gql.worker.raster import decode
from bioscope_gql.worker.sdk import WorkerError
from bioscope_gql.worker.smear import FILES, LABELS, WEIGHTS, Smear
from tests.worker_lab import LIMIT_SECONDS, Lab, a_lab, a_process

pytestmark = pytest.mark.timeout(90)

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT.parent / "shared/samples"
RIGHT_AT_LEAST = 0.80

needs_samples = pytest.mark.skipif(
    not (SAMPLES / "manifest.csv").exists(),
    reason="../shared/samples, which it is judged by, is absent",
)


@pytest.fixture(scope="module")
def smear() -> Smear:
    return Smear()


def a_smear(*, leukocytes: int = 0, red_cells: int = 12) -> Image.Image:
    """Pale red discs, and big ones with a dark nucleus, on a light ground."""
    rgb = np.full((480, 640, 3), (235, 225, 228), np.float32)
    y, x = np.mgrid[:480, :640]
    places = [(60 + 110 * (n % 6), 60 + 130 * (n // 6)) for n in range(leukocytes + red_cells)]
    for number, (left, top) in enumerate(places):
        away = np.hypot(x - left, y - top)
        if number < leukocytes:
            rgb[away < 52] = (190, 170, 205)
            rgb[np.hypot(x - left + 12, y - top) < 24] = (88, 50, 130)
            rgb[np.hypot(x - left - 16, y - top) < 22] = (88, 50, 130)
        else:
            rgb[away < 33] = (205, 150, 155)
    return Image.fromarray(rgb.astype(np.uint8))


def as_file(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@needs_samples
def test_it_is_right_about_four_of_five_labelled_pictures(
    smear: Smear, capsys: pytest.CaptureFixture[str]
) -> None:
    with (SAMPLES / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["file"].startswith("blood/")]
    right, asked, milliseconds = 0, 0, []
    for row in rows:
        known = json.loads(row["labels"])["subtypes"] or [row["label"]]
        if not set(known) <= set(LABELS):
            continue
        data = (SAMPLES / row["file"]).read_bytes()
        began = time.perf_counter()
        found = smear.classify(decode(data))
        milliseconds.append((time.perf_counter() - began) * 1000)
        asked += 1
        right += found.scores[0][0] in known

    with capsys.disabled():
        print(  # noqa: T201 - for whoever changes the model
            f"\n{right} of {asked} pictures right, {np.median(milliseconds):.0f} ms each (median)"
        )
    assert asked == 22
    assert right / asked >= RIGHT_AT_LEAST


@needs_samples
@pytest.mark.parametrize("file", ["smear.bmp", "smear.png", "smear.webp", "smear_rgb_lzw.tif"])
def test_every_format_is_read(smear: Smear, file: str) -> None:
    found = smear.classify(decode((SAMPLES / "formats" / file).read_bytes()))

    assert found.scores[0][0] == "eosinophil"
    assert found.counts["WBC"] == 1


def test_without_leukocytes_it_says_so(smear: Smear) -> None:
    red = smear.classify(decode(as_file(a_smear(red_cells=12))))
    nothing = smear.classify(decode(as_file(a_smear(red_cells=0))))

    assert red.scores[0][0] == "no_leukocyte"
    assert red.counts == {"RBC": 12, "WBC": 0, "Platelet": 0}
    assert nothing.scores[0][0] == "no_cells"
    assert nothing.counts == {"RBC": 0, "WBC": 0, "Platelet": 0}
    assert all(0.5 <= confidence <= 1 for found in (red, nothing) for _, confidence in found.scores)


def test_a_leukocyte_is_found_where_it_is_and_the_five_kinds_share_its_confidence(smear: Smear) -> None:
    found = smear.classify(decode(as_file(a_smear(leukocytes=1, red_cells=8))))

    (white,) = [cell for cell in found.cells if cell.kind == "WBC"]
    left, top, right, bottom = white.box
    assert left <= 60 <= right
    assert top <= 60 <= bottom
    assert white.label == found.scores[0][0]
    assert [label for label, _ in found.scores] != sorted(label for label, _ in found.scores)
    assert sum(confidence for _, confidence in found.scores) == pytest.approx(1, abs=1e-5)


def test_the_digest_is_that_of_the_files(smear: Smear) -> None:
    sums = [hashlib.sha256((WEIGHTS / name).read_bytes()).hexdigest() for name in FILES]
    lines = "".join(f"{digest}  {name}\n" for digest, name in zip(sums, FILES, strict=True))

    assert smear.digest == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()
    assert smear.version == "1.0.0"


def test_more_than_eight_bits_are_stretched_and_what_is_transparent_is_white() -> None:
    levels = np.linspace(1000, 3000, 100 * 100).reshape(100, 100).astype(np.uint16)
    deep = decode(as_file(Image.fromarray(levels), "TIFF"))
    broken = levels.astype(np.float32)
    broken[0, 0] = np.nan
    floats = decode(as_file(Image.fromarray(broken), "TIFF"))
    clear = decode(as_file(Image.new("RGBA", (2, 2), (200, 0, 0, 0))))

    assert deep.shape == floats.shape == (100, 100, 3)
    assert (int(np.min(deep)), int(np.max(deep))) == (0, 255)
    assert (int(np.min(floats)), int(np.max(floats))) == (0, 255)
    assert clear.tolist() == [[[255, 255, 255]] * 2] * 2


@pytest.mark.parametrize(
    "data",
    [b"", b"text", as_file(a_smear())[:-500], as_file(a_smear(), "JPEG")[:2000], as_file(a_smear(), "GIF")],
    ids=["empty", "text", "half a PNG", "half a JPEG", "GIF"],
)
def test_what_is_no_whole_picture_is_corrupt(data: bytes) -> None:
    with pytest.raises(WorkerError) as refused:
        decode(data)

    assert (refused.value.code, refused.value.retryable) == ("CORRUPT_IMAGE", False)
    assert str(refused.value).startswith("The picture can't be decoded: ")


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = as_file(Image.new("1", (11_000, 10_000)))

    with pytest.raises(WorkerError) as refused:
        decode(bomb)

    assert refused.value.code == "TOO_MANY_PIXELS"
    assert len(bomb) < 100_000


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with a_lab(tmp_path) as lab:
        yield lab


async def test_as_a_worker_it_answers_with_counts_boxes_and_measurements(lab: Lab) -> None:
    job = lab.a_job(as_file(a_smear(red_cells=12)), name="blood-smear", version="1.0.0")
    bad = lab.a_job(b"text", name="blood-smear", version="1.0.0")
    async with a_process(lab, ROOT / "bioscope_gql/worker/reference.py", "--end-with-parent") as process:
        (up,) = await lab.workers.until(lambda messages: len(messages) >= 1)
        await lab.send(job, bad)
        answer, refused = await lab.answer(job), await lab.answer(bad)
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 0

    (model,) = up["models"]
    assert (model["name"], model["version"]) == ("blood-smear", "1.0.0")
    assert model["labels"] == list(LABELS)
    assert model["contentTypes"] == list(CONTENT_TYPES)
    assert answer["model"] == {"name": "blood-smear", "version": "1.0.0", "digest": model["digest"]}
    assert answer["scores"][0]["label"] == "no_leukocyte"
    assert answer["details"]["counts"] == {"RBC": 12, "WBC": 0, "Platelet": 0}
    assert len(answer["details"]["boxes"]) == 12
    assert set(answer["details"]["boxes"][0]) == {"kind", "box", "score"}
    assert len(json.dumps(answer["details"])) < MAX_DETAILS_BYTES
    assert answer["measurements"] == [
        {"name": "RBC", "value": 12.0},
        {"name": "WBC", "value": 0.0},
        {"name": "Platelet", "value": 0.0},
    ]
    assert 0 < answer["durationMs"] < 5000
    assert refused["error"]["code"] == "CORRUPT_IMAGE"


@asynccontextmanager
async def a_stack_file(lab: Lab, data_dir: Path) -> AsyncIterator[None]:
    """As if an embedded stack with this broker ran on the directory."""
    told = {"data_dir": str(data_dir), "pid": os.getpid(), "dsn": "postgresql://", "url": None}
    data_dir.mkdir()
    (data_dir / "stack.json").write_text(
        json.dumps(told | {"bootstrap_servers": lab.broker.bootstrap_servers})
    )
    with lock.exclusive(data_dir):
        yield


async def test_the_worker_command_finds_the_embedded_stack_by_its_directory(lab: Lab, tmp_path: Path) -> None:
    job = lab.a_job(as_file(a_smear()), name="blood-smear", version="1.0.0")
    async with a_stack_file(lab, tmp_path / "data"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bioscope_gql", "worker", "--data-dir", str(tmp_path / "data")),
            *("--concurrency", "2"),
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
        )
        try:
            (up,) = await lab.workers.until(lambda messages: len(messages) >= 1)
            await lab.send(job)
            answer = await lab.answer(job)
        finally:
            process.send_signal(signal.SIGTERM)
            code = await asyncio.wait_for(process.wait(), LIMIT_SECONDS)

    assert up["concurrency"] == 2
    assert answer["scores"][0]["label"] == "no_leukocyte"
    assert code == 0


def test_the_worker_command_takes_what_the_settings_say() -> None:
    settings = Settings.model_validate(
        {
            "app": {"public_url": "https://bioscope.lab.example"},
            "kafka": {
                "bootstrap_servers": ["kafka1:9092", "kafka2:9092"],
                "topics": {"jobs": "jobs.{model}"},
                "security": {"protocol": "SASL_PLAINTEXT", "username": "w", "password": "s3cret"},
            },
            "worker": {"client_id": "w", "client_secret": "s3cret"},
        }
    )

    assert for_settings(settings, 4) == Options(
        bootstrap_servers="kafka1:9092,kafka2:9092",
        topics=Topics(jobs="jobs.{model}"),
        concurrency=4,
        security={
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "w",
            "sasl_plain_password": "s3cret",
        },
        api_url="https://bioscope.lab.example",
        client_id="w",
        client_secret="s3cret",
    )


def test_the_worker_command_without_a_broker_says_what_to_set(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bioscope_gql", "worker"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 78
    assert ran.stderr.startswith("kafka.bootstrap_servers is missing: set it in bioscope.yaml")
