"""Uploaded files come out as pictures that are known, or with a reason why they are not kept."""

import io
import json
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bioscope_gql.settings import Limits
from bioscope_gql.storage.intake import Intake, Picture
from bioscope_gql.storage.picture import Untrustworthy
from bioscope_gql.vocabulary import THUMBNAIL_PIXELS, RejectionCode, ThumbnailSize
from tests import pictures
from tests.intakes import Put, children, refused

WEBP = b"RIFF\x04\0\0\0WEBP"


@pytest.fixture
async def intake() -> AsyncIterator[Intake]:
    async with Intake(Limits(intake_processes=1)) as intake:
        yield intake


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.upload"
        path.write_bytes(data)
        return path

    return write


def shown(picture: Picture, size: ThumbnailSize = ThumbnailSize.LARGE) -> Image.Image:
    return Image.open(io.BytesIO(picture.thumbnails[size]))


def a_png_of(width: int, height: int) -> bytes:
    """One that claims a size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


# --------------------------------------------------------------------------------------- what is accepted


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
async def test_the_content_type_is_what_the_bytes_are(intake: Intake, put: Put, kind: str) -> None:
    picture = await intake.examine(put(pictures.a_picture(kind=kind)))
    assert picture.content_type == f"image/{kind.lower()}"
    assert (picture.width, picture.height, picture.bit_depth) == (64, 48, 8)
    assert (picture.channels, picture.frames, picture.pixel_size, picture.captured_at) == (3, 1, None, None)


async def test_thumbnails_keep_the_shape_and_are_never_enlarged(intake: Intake, put: Put) -> None:
    picture = await intake.examine(put(pictures.a_picture(size=(400, 100))))
    sizes = {size: shown(picture, size).size for size in ThumbnailSize}
    assert sizes == {
        ThumbnailSize.SMALL: (128, 32),
        ThumbnailSize.MEDIUM: (256, 64),
        ThumbnailSize.LARGE: (400, 100),
    }
    assert all(max(sizes[size]) <= THUMBNAIL_PIXELS[size] for size in ThumbnailSize)


async def test_orientation_turns_the_thumbnail_and_the_place_is_kept_secret(intake: Intake, put: Put) -> None:
    picture = await intake.examine(put(pictures.a_gps_jpeg()))
    assert (picture.width, picture.height) == (64, 48)
    assert shown(picture).size == (48, 64)
    assert picture.captured_at is not None
    assert picture.captured_at.isoformat() == "2024-03-05T08:11:12+00:00"
    assert picture.file_metadata == {
        "mode": "RGB",
        "make": "Example",
        "orientation": 6,
        "capturedAt": "2024:03:05 10:11:12 +02:00",
    }
    for data in picture.thumbnails.values():
        assert {b"EXIF", b"XMP ", b"ICCP"} & {data[at : at + 4] for at in range(12, len(data))} == set()


async def test_sixteen_bits_are_stretched_to_what_a_screen_shows(intake: Intake, put: Put) -> None:
    picture = await intake.examine(put(pictures.a_tiff(pictures.shades(48, 64, top=900), compression="zlib")))
    assert (picture.bit_depth, picture.channels, picture.file_metadata["dtype"]) == (16, 1, "uint16")
    levels = np.asarray(shown(picture).convert("L"))
    assert levels.min() < 10
    assert levels.max() > 245


async def test_an_ome_tiff_tells_its_axes_channels_and_scale(intake: Intake, put: Put) -> None:
    planes = pictures.shades(32, 40, top=4000, lead=(2, 3, 2))
    says = {
        "PhysicalSizeX": 250.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.25,
        "PhysicalSizeYUnit": "µm",
    }
    names = {"Channel": {"Name": ["DAPI", "GFP"]}}
    picture = await intake.examine(put(pictures.an_ome_tiff(planes, "TZCYX", **says, **names)))

    assert (picture.width, picture.height, picture.channels, picture.frames) == (40, 32, 2, 12)
    assert picture.pixel_size == (0.25, 0.25)
    assert picture.file_metadata["channelNames"] == ["DAPI", "GFP"]
    assert (picture.file_metadata["axes"], picture.file_metadata["ome"]) == ("TZCYX", True)
    assert shown(picture).mode == "RGB"


async def test_imagej_scale_counts_and_a_printers_resolution_does_not(intake: Intake, put: Put) -> None:
    stack = pictures.shades(32, 40, top=4000, lead=(3,))
    scaled = pictures.a_tiff(
        stack, imagej=True, resolution=(4.0, 4.0), metadata={"axes": "ZYX", "unit": "um", "spacing": 0.5}
    )
    printed = pictures.a_picture(kind="TIFF", dpi=(300, 300))
    assert (await intake.examine(put(scaled))).pixel_size == (0.25, 0.25)
    assert (await intake.examine(put(printed))).pixel_size is None
    assert (await intake.examine(put(pictures.a_picture(kind="JPEG", dpi=(300, 300))))).pixel_size is None


@pytest.mark.parametrize("compression", ["jpeg", "lzw"])
async def test_tiles_are_decoded_whatever_compressed_them(intake: Intake, put: Put, compression: str) -> None:
    image = pictures.drawn(1, (160, 128))
    picture = await intake.examine(put(pictures.a_tiled_tiff(image, compression)))
    assert (picture.width, picture.height, picture.channels) == (160, 128, 3)
    difference = np.abs(np.asarray(shown(picture), np.int16) - np.asarray(image, np.int16))
    assert difference.mean() < 4


async def test_a_pyramid_is_shown_by_one_of_its_levels_and_counts_as_one_frame(
    intake: Intake, put: Put
) -> None:
    picture = await intake.examine(put(pictures.a_pyramid(pictures.shades(1024, 1024, top=60_000))))
    assert (picture.width, picture.height, picture.frames) == (1024, 1024, 1)
    assert (picture.file_metadata["levels"], picture.file_metadata["tiled"]) == (3, True)
    assert shown(picture).size == (512, 512)


async def test_what_a_file_says_of_itself_is_cleaned_and_bounded(intake: Intake, put: Put) -> None:
    names = [f"\u202e{number}" + "x" * 1000 for number in range(500)]
    planes = pictures.shades(8, 8, top=200, lead=(500,))
    picture = await intake.examine(put(pictures.an_ome_tiff(planes, "CYX", Channel={"Name": names})))
    text = json.dumps(picture.file_metadata, ensure_ascii=False)
    assert picture.channels == 500
    assert len(text.encode()) <= 16 * 1024
    assert "\u202e" not in text
    assert picture.file_metadata["axes"] == "CYX"


# ---------------------------------------------------------------------------------------- what is refused


async def test_every_limit_comes_from_the_settings(put: Put) -> None:
    frames = pictures.a_tiff(pictures.shades(8, 8, top=200, lead=(5,)), photometric="minisblack")
    small = Limits(pixels=3000, tiled_pixels=20_000, frames=4, decoded_bytes=8_000, file_bytes=30_000)
    async with Intake(small) as intake:
        assert await refused(intake, put(pictures.a_picture())) == (
            RejectionCode.TOO_MANY_PIXELS,
            "The picture is 64 x 48 pixels large; 3,000 pixels is the most, and 1,000,000 on a side. "
            "Save it smaller, or as a tiled TIFF.",
        )
        assert (await refused(intake, put(frames)))[0] is RejectionCode.TOO_MANY_FRAMES
        assert await refused(intake, put(pictures.a_picture(size=(60, 48)))) == (
            RejectionCode.TOO_LARGE,
            "The picture takes 8,640 bytes once it is decoded; 8,000 is the most. "
            "Split it into several files, or save it as a tiled TIFF.",
        )
        assert await refused(intake, put(pictures.a_picture() + bytes(30_000))) == (
            RejectionCode.TOO_LARGE,
            f"The file has {len(pictures.a_picture()) + 30_000:,} bytes; "
            "30,000 is the most for one that is not a tiled TIFF.",
        )
        tiled = pictures.a_tiled_tiff(pictures.drawn(size=(128, 128)), "lzw")
        assert (await intake.examine(put(tiled + bytes(30_000)))).width == 128
        wide = pictures.a_tiled_tiff(pictures.drawn(size=(160, 128)), "lzw")
        assert (await refused(intake, put(wide)))[0] is RejectionCode.TOO_MANY_PIXELS


BROKEN = pictures.a_tiff(pictures.shades(64, 64, top=900), compression="zlib", rowsperstrip=8)
BOMB = pictures.a_tiff(
    np.zeros((8, 8), np.uint8),
    description='<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><OME>&b;</OME>',
    metadata=None,
)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", RejectionCode.EMPTY),
        (b"II*\0", RejectionCode.CORRUPT),
        (b"\x89PNG\r\n\x1a\n", RejectionCode.CORRUPT),
        (b"GIF89a" + bytes(100), RejectionCode.UNSUPPORTED_FORMAT),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", RejectionCode.UNSUPPORTED_FORMAT),
        (b"<html><script>alert(1)</script></html>", RejectionCode.UNSUPPORTED_FORMAT),
        (pictures.a_picture(kind="JPEG")[:-200], RejectionCode.CORRUPT),
        (BROKEN[:-100], RejectionCode.CORRUPT),
        (BROKEN[:-150] + bytes(150), RejectionCode.CORRUPT),
        (a_png_of(60_000, 60_000), RejectionCode.TOO_MANY_PIXELS),
        (a_png_of(64, 48), RejectionCode.CORRUPT),
        (BOMB, RejectionCode.FORBIDDEN_CONTENT),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
async def test_what_is_no_sound_picture_is_refused(
    intake: Intake, put: Put, data: bytes, code: RejectionCode
) -> None:
    found, message = await refused(intake, put(data))
    assert found is code, message
    assert message[0].isupper()
    assert message.endswith(".")
    assert (await intake.examine(put(pictures.a_picture()))).width == 64


async def test_a_strip_that_unpacks_to_more_than_it_should_is_cut_off(intake: Intake, put: Put) -> None:
    """300 MB of zeros where 64 are promised: no more than those are ever there."""
    strip = zlib.compress(bytes(300_000_000), 1)
    tags = {256: [8], 257: [8], 258: [8], 259: [8], 262: [1], 273: [8], 277: [1], 278: [8], 279: [len(strip)]}
    assert (await intake.examine(put(pictures.tiff_of(strip, tags)))).width == 8
    assert children()[0].memory_info().rss < 150_000_000


# -------------------------------------------------------------------------------- answers are not believed


SOUND = {
    "content_type": "image/png",
    "width": 1,
    "height": 1,
    "bit_depth": 8,
    "channels": 1,
    "frames": 1,
    "pixel_size": [0.5, 0.5],
    "captured_at": "2024-01-01T00:00:00+00:00",
    "file_metadata": {},
}


@pytest.mark.parametrize(
    "lie",
    [
        {"content_type": "text/html"},
        {"width": 0},
        {"width": True},
        {"frames": 2**31},
        {"pixel_size": [1.0, -1.0]},
        {"captured_at": "2024-01-01T00:00:00"},
        {"captured_at": "soon"},
        {"file_metadata": []},
        {"file_metadata": {"a": "\0"}},
        {"file_metadata": {"a": "\ud800"}},
        {"file_metadata": {"a": "x" * 20_000}},
    ],
    ids=str,
)
def test_an_answer_that_no_sound_process_gives_is_not_believed(lie: dict[str, Any]) -> None:
    thumbnails: dict[str, bytes] = {str(size): WEBP for size in ThumbnailSize}
    assert Picture.read(SOUND, thumbnails).pixel_size == (0.5, 0.5)
    with pytest.raises(Untrustworthy):
        Picture.read(SOUND | lie, thumbnails)
    with pytest.raises(Untrustworthy):
        Picture.read(SOUND, thumbnails | {ThumbnailSize.SMALL: b"<script>"})
