"""Every sample of the manifest is accepted or refused as it should be."""

import csv
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bioscope_gql.errors import Rejected
from bioscope_gql.settings import Limits
from bioscope_gql.storage.intake import Intake
from bioscope_gql.vocabulary import RejectionCode

SAMPLES = Path(__file__).parents[2] / "shared" / "samples"
MANIFEST = SAMPLES / "manifest.csv"

REFUSED = {
    "odd/truncated_half.jpg": RejectionCode.CORRUPT,
    "odd/truncated_tail.png": RejectionCode.CORRUPT,
    "odd/truncated_half.tif": RejectionCode.CORRUPT,
    "odd/text.jpg": RejectionCode.UNSUPPORTED_FORMAT,
    "odd/empty.jpg": RejectionCode.EMPTY,
    "odd/page.html.jpg": RejectionCode.UNSUPPORTED_FORMAT,
    "odd/vector.svg": RejectionCode.UNSUPPORTED_FORMAT,
    "odd/animated.gif": RejectionCode.UNSUPPORTED_FORMAT,
    "odd/bomb_50000x50000_1bit.png": RejectionCode.TOO_MANY_PIXELS,
    "odd/bomb_ztxt.png": RejectionCode.FORBIDDEN_CONTENT,
    "odd/bomb_header_100000x100000.tif": RejectionCode.TOO_MANY_PIXELS,
    "odd/ifd_loop.tif": RejectionCode.CORRUPT,
    "odd/3000_pages.tif": RejectionCode.TOO_MANY_FRAMES,
    "odd/billion_laughs.ome.tif": RejectionCode.FORBIDDEN_CONTENT,
}
"""What the manifest leaves to us is decided here too."""

BIT_DEPTHS = {"1": 1, "L": 8, "P": 8, "RGB": 8, "RGBA": 8, "CMYK": 8, "I;16": 16, "F": 32}
OTHERWISE = {
    "odd/animated.png": {"frames": 1},  # of an APNG the first frame counts
    "odd/rgb_16bit.png": {"bit_depth": 16},  # Pillow, which wrote the manifest, sees eight
    "odd/bigtiff_big_endian_16bit.tif": {
        "width": 256,
        "height": 256,
        "bit_depth": 16,
        "frames": 1,
    },  # nothing
}
"""Where the manifest tells what Pillow makes of a file, and we know better."""


def rows() -> list[dict[str, str]]:
    if not MANIFEST.exists():
        return []
    with MANIFEST.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


ROWS = rows()
pytestmark = pytest.mark.skipif(not ROWS, reason="the samples (../shared/samples) are not on this machine")


@pytest.fixture
async def intake() -> AsyncIterator[Intake]:
    async with Intake(Limits(intake_processes=1)) as intake:
        yield intake


def expected(row: dict[str, str]) -> dict[str, int]:
    known = {name: int(row[name]) for name in ("width", "height", "frames") if row[name]}
    if row["mode"] in BIT_DEPTHS:
        known["bit_depth"] = BIT_DEPTHS[row["mode"]]
    return known | OTHERWISE.get(row["file"], {})


async def test_every_sample_is_judged_as_the_manifest_expects(intake: Intake) -> None:
    assert len(ROWS) == 79
    wrong: list[tuple[str, str, str]] = []
    for row in ROWS:
        name = row["file"]
        try:
            picture = await intake.examine(SAMPLES / name)
        except Rejected as rejected:
            if rejected.code is not REFUSED.get(name) or row["expect"].startswith("ok"):
                wrong.append((name, rejected.code, rejected.message))
            continue
        seen = {field: getattr(picture, field) for field in expected(row)}
        if name in REFUSED or row["expect"] == "reject" or seen != expected(row):
            wrong.append((name, "accepted", str(seen)))
        if row["format"] and picture.content_type != f"image/{row['format'].lower()}":
            wrong.append((name, "taken for", picture.content_type))
    assert wrong == []


async def test_the_ome_samples_say_what_was_written_into_them(intake: Intake) -> None:
    channels = await intake.examine(SAMPLES / "ome/human_3channel_8bit.ome.tif")
    assert (channels.channels, channels.frames, channels.pixel_size) == (3, 3, (0.645, 0.645))
    assert channels.file_metadata["channelNames"] == ["DNA", "PH3", "Cytoplasm"]
    assert channels.file_metadata["axes"] == "CYX"

    lapse = await intake.examine(SAMPLES / "ome/embryo_timelapse_objective_date.ome.tif")
    assert (lapse.bit_depth, lapse.channels, lapse.frames, lapse.pixel_size) == (16, 1, 4, (0.325, 0.325))
    assert lapse.captured_at is not None
    assert lapse.captured_at.isoformat() == "2024-03-05T10:11:12+00:00"
    assert lapse.file_metadata["objective"] == "Plan Apo 20x"
    assert lapse.file_metadata["magnification"] == 20.0


async def test_a_picture_that_knows_where_it_was_taken_does_not_tell(intake: Intake) -> None:
    picture = await intake.examine(SAMPLES / "odd/exif_rotated_gps.jpg")
    assert "gps" not in str(picture.file_metadata).lower()
    assert picture.file_metadata == {"mode": "RGB", "make": "Example", "model": "Scope 1", "orientation": 6}
