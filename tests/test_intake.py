"""The first look at an upload: what is refused and why, and what a crash or a hang costs."""

import asyncio
import io
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from bioscope_gql.errors import Rejected
from bioscope_gql.settings import Limits
from bioscope_gql.storage.intake import Intake, Picture
from bioscope_gql.vocabulary import THUMBNAIL_PIXELS, RejectionCode, ThumbnailSize
from tests.children import Children, gone
from tests.pictures import a_gps_jpeg, a_pyramid, a_tiff, an_ome_tiff, drawn, saved

PATIENCE_SECONDS = 30


@asynccontextmanager
async def an_intake(**limits: Any) -> AsyncIterator[Intake]:
    async with Intake(Limits(**{"intake_processes": 1, **limits})) as intake:
        yield intake


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    """Puts bytes into a file."""
    numbers = iter(range(1000))

    def made(data: bytes) -> Path:
        path = tmp_path / f"{next(numbers)}"
        path.write_bytes(data)
        return path

    return made


File = Callable[[bytes], Path]


async def refusal(intake: Intake, path: Path) -> RejectionCode:
    with pytest.raises(Rejected) as rejected:
        await intake.examine(path)
    assert rejected.value.message.endswith(".")
    return rejected.value.code


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("TIFF", "image/tiff"),
        ("BMP", "image/bmp"),
        ("WEBP", "image/webp"),
    ],
)
async def test_every_kind_is_known_by_what_it_is(file: File, kind: str, content_type: str) -> None:
    async with an_intake() as intake:
        picture = await intake.examine(file(saved(drawn(size=(64, 48)), kind)))
    assert (picture.content_type, picture.width, picture.height) == (content_type, 64, 48)
    assert (picture.bit_depth, picture.channels, picture.frames) == (8, 3, 1)
    assert (picture.pixel_size, picture.captured_at) == (None, None)


async def test_thumbnails_are_webp_of_the_sizes_promised_and_never_enlarged(file: File) -> None:
    async with an_intake() as intake:
        large = await intake.examine(file(saved(drawn(size=(1200, 600)), "PNG")))
        small = await intake.examine(file(saved(drawn(size=(40, 30)), "PNG")))
    assert {size: Image.open(io.BytesIO(data)).size for size, data in large.thumbnails.items()} == {
        size: (pixels, pixels // 2) for size, pixels in THUMBNAIL_PIXELS.items()
    }
    assert {Image.open(io.BytesIO(data)).size for data in small.thumbnails.values()} == {(40, 30)}
    assert {Image.open(io.BytesIO(data)).format for data in large.thumbnails.values()} == {"WEBP"}


async def test_sixteen_bits_are_stretched_so_that_faint_cells_are_seen(file: File) -> None:
    faint = np.full((64, 64), 1000, np.uint16)
    faint[16:48, 16:48] = 1400
    async with an_intake() as intake:
        picture = await intake.examine(file(a_tiff(faint)))
    shown = np.asarray(Image.open(io.BytesIO(picture.thumbnails[ThumbnailSize.SMALL])).convert("L"))
    assert picture.bit_depth == 16
    assert int(shown[32, 32]) - int(shown[2, 2]) > 150


async def test_an_ome_tiff_says_what_it_is(file: File) -> None:
    data = an_ome_tiff(
        np.zeros((3, 32, 32), np.uint8),
        "CYX",
        PhysicalSizeX=0.325,
        PhysicalSizeXUnit="µm",
        PhysicalSizeY=325.0,
        PhysicalSizeYUnit="nm",
        Channel={"Name": ["DNA", "actin", "tubulin"]},
    )
    async with an_intake() as intake:
        picture = await intake.examine(file(data))
    assert (picture.channels, picture.frames) == (3, 3)
    assert picture.pixel_size == pytest.approx((0.325, 0.325))
    assert picture.file_metadata["channelNames"] == ["DNA", "actin", "tubulin"]


async def test_a_pyramid_is_read_without_its_levels_counting_as_frames(file: File) -> None:
    async with an_intake() as intake:
        picture = await intake.examine(file(a_pyramid(np.zeros((512, 512), np.uint8))))
    assert (picture.width, picture.height, picture.frames) == (512, 512, 1)


async def test_a_photograph_does_not_tell_where_it_was_taken(file: File) -> None:
    async with an_intake() as intake:
        picture = await intake.examine(file(a_gps_jpeg()))
    assert picture.captured_at is not None
    assert picture.captured_at.isoformat() == "2024-03-05T08:11:12+00:00"
    assert "gps" not in str(picture.file_metadata).lower()
    assert Image.open(io.BytesIO(picture.thumbnails[ThumbnailSize.SMALL])).size == (48, 64)


async def test_what_is_no_picture_or_a_broken_one_is_refused_with_its_reason(file: File) -> None:
    whole = saved(drawn(size=(64, 64)), "PNG")
    jpeg = saved(drawn(size=(300, 300)), "JPEG")
    async with an_intake() as intake:
        codes = {
            name: await refusal(intake, file(data))
            for name, data in {
                "empty": b"",
                "text": b"Dear laboratory",
                "gif": saved(drawn(), "GIF"),
                "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
                "half png": whole[: len(whole) // 2],
                "half jpeg": jpeg[: len(jpeg) // 2],
                "only a magic number": b"II*\0",
            }.items()
        }
    assert codes == {
        "empty": RejectionCode.EMPTY,
        "text": RejectionCode.UNSUPPORTED_FORMAT,
        "gif": RejectionCode.UNSUPPORTED_FORMAT,
        "svg": RejectionCode.UNSUPPORTED_FORMAT,
        "half png": RejectionCode.CORRUPT,
        "half jpeg": RejectionCode.CORRUPT,
        "only a magic number": RejectionCode.CORRUPT,
    }


async def test_the_limits_of_the_settings_bound_pixels_and_frames(file: File) -> None:
    pages = [np.zeros((8, 8), np.uint8)] * 4
    async with an_intake(pixels=1000, tiled_pixels=1000, frames=3) as intake:
        pixels = await refusal(intake, file(saved(drawn(size=(40, 30)), "PNG")))
        frames = await refusal(intake, file(a_tiff(np.stack(pages), photometric="minisblack")))
        fits = await intake.examine(file(saved(drawn(size=(30, 30)), "PNG")))
    assert (pixels, frames) == (RejectionCode.TOO_MANY_PIXELS, RejectionCode.TOO_MANY_FRAMES)
    assert fits.width == 30


def a_slow_one() -> bytes:
    """Takes a while to decode: large, and compressed as well as it goes."""
    return saved(drawn(size=(9000, 9000)), "PNG")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slow") / "slow.png"
    path.write_bytes(a_slow_one())
    return path


async def process_of(children: Children) -> psutil.Process:
    """The child that has taken up its work: it has opened a file of ours."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            for child in children.now():
                try:
                    if any("slow" in each.path for each in child.open_files()):
                        return child
                except psutil.Error:
                    continue
            await asyncio.sleep(0.005)


async def test_a_decoder_that_takes_too_long_is_ended_and_the_next_picture_is_read(
    file: File, slow: Path
) -> None:
    children = Children()
    async with an_intake(intake_seconds=1, pixels=100_000_000) as intake:
        looking = asyncio.create_task(refusal(intake, slow))
        (await process_of(children)).send_signal(signal.SIGSTOP)
        assert await looking is RejectionCode.TOO_LARGE
        assert (await intake.examine(file(saved(drawn(), "PNG")))).width == 64
    assert gone(children.now())


async def test_a_decoder_that_crashes_costs_only_its_own_picture(file: File, slow: Path) -> None:
    children = Children()
    async with an_intake(intake_processes=2) as intake:
        looking = asyncio.create_task(refusal(intake, slow))
        crashed = await process_of(children)
        beside = asyncio.create_task(intake.examine(file(saved(drawn(), "PNG"))))
        crashed.kill()
        assert await looking is RejectionCode.CORRUPT
        assert (await beside).width == 64
        assert (await intake.examine(file(saved(drawn(), "JPEG")))).width == 64


async def test_whoever_gives_up_frees_the_process(file: File, slow: Path) -> None:
    children = Children()
    async with an_intake() as intake:
        looking = asyncio.create_task(intake.examine(slow))
        busy = await process_of(children)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        assert gone([busy])
        assert (await intake.examine(file(saved(drawn(), "PNG")))).width == 64


async def test_processes_end_when_nobody_has_work_for_them(file: File) -> None:
    children = Children()
    async with Intake(Limits(intake_processes=1), idle_seconds=0.05) as intake:
        assert children.now() == []
        await intake.examine(file(saved(drawn(), "PNG")))
        started = children.now()
        assert await asyncio.to_thread(gone, started)
        assert (await intake.examine(file(saved(drawn(), "PNG")))).width == 64


async def test_everybody_is_served_by_as_many_processes_as_there_may_be(file: File) -> None:
    children = Children()
    async with an_intake(intake_processes=2) as intake:
        pictures: list[Picture] = await asyncio.gather(
            *(intake.examine(file(saved(drawn(number), "PNG"))) for number in range(12))
        )
        assert len(children.now()) <= 2
    assert [picture.width for picture in pictures] == [64] * 12
    assert gone(children.now())
