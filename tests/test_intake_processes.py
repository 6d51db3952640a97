"""The intake's processes may hang, crash and be killed, and cost a picture at most."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from bioscope_gql.settings import Limits
from bioscope_gql.storage.intake import Intake
from bioscope_gql.vocabulary import RejectionCode
from tests import pictures
from tests.intakes import Put, children, reads, refused, until


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


async def test_one_process_is_used_again_and_holds_no_library_in_ours(put: Put) -> None:
    path = put(pictures.a_picture())
    program = (
        "import asyncio, sys, pathlib, psutil\n"
        "from bioscope_gql.settings import Limits\n"
        "from bioscope_gql.storage.intake import Intake\n"
        "async def main():\n"
        "    async with Intake(Limits()) as intake:\n"
        "        for _ in range(3):\n"
        "            await intake.examine(pathlib.Path(sys.argv[1]))\n"
        "        print(len(psutil.Process().children()))\n"
        "asyncio.run(main())\n"
        "print(len(psutil.Process().children()), {'PIL', 'numpy', 'tifffile'} & set(sys.modules))\n"
    )
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout.split("\n")[:2], ran.stderr) == (["1", "0 set()"], "")


async def test_a_process_gets_no_secrets_and_only_so_much_memory(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOSCOPE_DATABASE__URL", "postgresql://somebody:secret@db")
    async with Intake(Limits(decoded_bytes=100 << 20)) as intake:
        await intake.examine(put(pictures.a_picture()))
        [child] = children()
        assert not [name for name in child.environ() if name.startswith("BIOSCOPE")]
        assert child.rlimit(psutil.RLIMIT_AS) == ((200 << 20) + (768 << 20),) * 2
        assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert child.memory_info().rss < 80_000_000


async def test_as_many_processes_as_allowed_work_at_the_same_time(put: Put) -> None:
    path = put(pictures.a_picture())
    async with Intake(Limits(intake_processes=2)) as intake:
        found = await asyncio.gather(*(intake.examine(path) for _ in range(12)))
        assert [picture.width for picture in found] == [64] * 12
        assert len(children()) == 2
    assert children() == []


async def test_idle_processes_end(put: Put) -> None:
    async with Intake(Limits(intake_processes=1), idle_seconds=0.05) as intake:
        await intake.examine(put(pictures.a_picture()))
        await until(lambda: not children())
        assert (await intake.examine(put(pictures.a_picture(1)))).width == 64


async def test_a_decoder_that_hangs_is_killed_and_replaced(put: Put) -> None:
    async with Intake(Limits(intake_processes=1, intake_seconds=1)) as intake:
        await intake.examine(put(pictures.a_picture()))
        [child] = children()
        child.suspend()
        assert await refused(intake, put(pictures.a_picture())) == (
            RejectionCode.TOO_LARGE,
            "Reading the file took longer than is allowed (1 s). "
            "Save it with fewer frames or another compression.",
        )
        await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
        assert (await intake.examine(put(pictures.a_picture()))).width == 64


async def test_a_crash_costs_one_picture_and_no_other(put: Put) -> None:
    slow, quick = put(pictures.a_picture(size=(9000, 9000), compress_level=0)), put(pictures.a_picture())
    async with Intake(Limits(intake_processes=2)) as intake:
        doomed = asyncio.create_task(refused(intake, slow))
        await until(lambda: any(reads(child, slow) for child in children()))
        [victim] = children()
        neighbour = asyncio.create_task(intake.examine(quick))
        victim.kill()
        assert await doomed == (
            RejectionCode.CORRUPT,
            "The file made the program that reads pictures crash. It is damaged or made to harm: "
            "open it in another program and save it anew.",
        )
        assert (await neighbour).width == 64
        assert (await intake.examine(quick)).width == 64


async def test_a_process_that_died_while_it_rested_costs_nothing(intake: Intake, put: Put) -> None:
    path = put(pictures.a_picture())
    await intake.examine(path)
    [child] = children()
    child.kill()
    assert (await intake.examine(path)).width == 64


async def test_whoever_is_cancelled_frees_the_process(put: Put) -> None:
    async with Intake(Limits(intake_processes=1)) as intake:
        await intake.examine(put(pictures.a_picture()))
        [child] = children()
        child.suspend()
        waiting = asyncio.create_task(intake.examine(put(pictures.a_picture())))
        queued = asyncio.create_task(intake.examine(put(pictures.a_picture(1))))
        await asyncio.wait({waiting}, timeout=0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await queued).width == 64
        await until(lambda: child.pid not in [each.pid for each in children()])


async def test_processes_end_when_their_parent_is_killed(put: Put) -> None:
    program = (
        "import asyncio, sys, pathlib\n"
        "from bioscope_gql.settings import Limits\n"
        "from bioscope_gql.storage.intake import Intake\n"
        "async def main():\n"
        "    async with Intake(Limits()) as intake:\n"
        "        await intake.examine(pathlib.Path(sys.argv[1]))\n"
        "        print('ready', flush=True)\n"
        "        await intake.examine(pathlib.Path(sys.argv[2]))\n"
        "asyncio.run(main())\n"
    )
    slow = put(pictures.a_picture(size=(9000, 9000), compress_level=0))
    with subprocess.Popen(
        [sys.executable, "-c", program, str(put(pictures.a_picture())), str(slow)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert await asyncio.to_thread(parent.stdout.readline) == b"ready\n"
        [child] = children(parent.pid)
        await until(lambda: reads(child, slow))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


async def test_a_server_without_room_for_a_process_says_so(put: Put) -> None:
    path = put(pictures.a_picture())
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Intake(Limits()) as intake:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            found = await refused(intake, path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert found == (
            RejectionCode.STORAGE_UNAVAILABLE,
            "The server can't read pictures at the moment. Upload the file again in a minute.",
        )
        assert children() == []
        assert (await intake.examine(path)).width == 64


async def test_an_intake_that_is_left_finishes_what_it_reads_and_takes_no_more(put: Put) -> None:
    path = put(pictures.a_picture(size=(3000, 2000)))
    async with Intake(Limits(intake_processes=1)) as intake:
        reading = asyncio.create_task(intake.examine(path))
        await until(lambda: any(reads(child, path) for child in children()))
        waiting = asyncio.create_task(refused(intake, path))
    assert (await reading).width == 3000
    assert (await waiting)[0] is RejectionCode.STORAGE_UNAVAILABLE
    assert (await refused(intake, path))[0] is RejectionCode.STORAGE_UNAVAILABLE
    assert children() == []
