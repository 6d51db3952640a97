"""`bioscope demo` as a person and a script meet it: real processes over a data directory of their own."""

import asyncio
import io
import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from bioscope_gql.commands.demo_client import Client
from bioscope_gql.commands.demo_screen import Screen
from bioscope_gql.commands.demo_smears import KINDS, draw
from bioscope_gql.commands.demo_work import Work
from bioscope_gql.errors import InvalidCredentials
from tests.folders import a_folder
from tests.test_cli import environment

pytestmark = pytest.mark.timeout(180)

RUN_SECONDS = 120
DRAWN = 25


def demo(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BIOSCOPE, "--port", "0", "--data-dir", str(data_dir), "--once", *arguments],
        cwd=data_dir.parent,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )


BIOSCOPE = (sys.executable, "-m", "bioscope_gql", "demo")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with a_folder(closed=True) as folder:
        yield folder


@pytest.fixture(scope="module")
def first(home: Path) -> subprocess.CompletedProcess[str]:
    """The first demo on a data directory, which later ones go on with."""
    return demo(home / "data")


def table_in(output: str) -> dict[str, list[str]]:
    """What each picture's line says."""
    body = output.partition("Picture ")[2].partition("\n\n")[0].splitlines()[1:]
    rows = (re.split(r"  +", line.strip()) for line in body)
    return {name: found for name, *found in rows}


def test_the_first_demo_draws_uploads_classifies_and_shows_a_table(
    first: subprocess.CompletedProcess[str], home: Path
) -> None:
    assert (first.returncode, first.stderr) == (0, "")
    table = table_in(first.stdout)
    assert [found[0] for found in table.values()] == list(KINDS) * (DRAWN // len(KINDS))
    assert all(len(found) == 6 and 0 <= float(found[1]) <= 1 for found in table.values())
    for said in (
        "These pictures are drawn, not photographed",
        f"\nDrawing: {DRAWN} of {DRAWN} in ",
        f"\nUploading: {DRAWN} of {DRAWN} in ",
        f"\nClassifying: {DRAWN} of {DRAWN} in ",
        f"\n{DRAWN} pictures ",
        "5 neutrophil, 5 lymphocyte, 5 eosinophil, 5 monocyte, 5 no_leukocyte\n",
        " s: COMPLETED\n",
        f" dev --data-dir {home / 'data'}\n",
        "development",
    ):
        assert said in first.stdout
    assert "\x1b" not in first.stdout


def test_the_account_is_made_once_and_its_password_lies_where_only_its_owner_reads_it(
    first: subprocess.CompletedProcess[str], home: Path
) -> None:
    file = home / "data" / "demo-account.json"
    kept = json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert re.search(r"Sign in as  demo\nPassword    (\S+)\n", first.stdout)[1] == kept["password"]  # type: ignore[index]


@pytest.mark.usefixtures("first")
def test_a_second_demo_names_the_duplicates_and_shows_the_results_that_are_kept(home: Path) -> None:
    kept = (home / "data" / "demo-account.json").read_bytes()
    again = demo(home / "data")

    assert (again.returncode, again.stderr) == (0, "")
    assert f"{DRAWN} pictures already here: smear-01.jpg, smear-02.jpg, " in again.stdout
    assert "All of them have results, so nothing was run." in again.stdout
    assert len(table_in(again.stdout)) == DRAWN
    assert (home / "data" / "demo-account.json").read_bytes() == kept


@pytest.mark.usefixtures("first")
def test_a_folder_with_bad_files_shows_each_with_its_reason_and_goes_on(home: Path) -> None:
    folder = home / "Ward 7 [ß]"
    (folder / "deep").mkdir(parents=True)
    draw("monocyte", 3).image.save(folder / "deep" / "good.png")
    draw("monocyte", 4).image.save(folder / "zweiter.jpg")
    (folder / "empty.jpg").touch()
    (folder / "deep" / "text.jpg").write_text("no picture")
    (folder / "half.jpg").write_bytes((folder / "zweiter.jpg").read_bytes()[:9000])

    done = demo(home / "data", "--images", str(folder))

    assert (done.returncode, done.stderr) == (0, "")
    refused = done.stdout.partition("3 files not stored; the others went on:\n")[2].partition("\n\n")[0]
    assert [re.split(r"  +", line)[:2] for line in refused.splitlines()] == [
        ["deep/text.jpg", "UNSUPPORTED_FORMAT"],
        ["empty.jpg", "EMPTY"],
        ["half.jpg", "CORRUPT"],
    ]
    assert all(len(line.split("  ")[-1]) > 20 for line in refused.splitlines())
    assert [(name, found[0]) for name, found in table_in(done.stdout).items()] == [
        ("good.png", "monocyte"),
        ("zweiter.jpg", "monocyte"),
    ]
    assert "drawn" not in done.stdout


@pytest.mark.usefixtures("first")
def test_a_folder_in_which_nothing_is_a_picture_fails(home: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    done = demo(home / "data", "--images", str(tmp_path))
    assert done.returncode == 1
    assert "1 file not stored:\nnotes.txt  UNSUPPORTED_FORMAT  " in done.stdout
    assert "Nothing was stored, so there is nothing to classify." in done.stdout


def test_an_empty_folder_fails_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    done = demo(tmp_path / "data", "--images", str(tmp_path / "pictures"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'pictures'} holds no files: ")
    assert (done.stdout, (tmp_path / "data").exists()) == ("", False)


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(("more", "code"), [((), 0), (("--once",), 1)], ids=["serving", "once"])
async def test_ctrl_c_before_the_table_ends_it_in_good_order(
    home: Path, tmp_path: Path, more: tuple[str, ...], code: int
) -> None:
    for number in range(30):
        draw("monocyte", number, size=(160, 120)).image.save(tmp_path / f"{number}.png")
    process = await asyncio.create_subprocess_exec(
        *BIOSCOPE, "--port", "0", "--data-dir", str(home / "data"), "--images", str(tmp_path), *more,
        env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readuntil(b"Uploading: 30 to do\n"), RUN_SECONDS)

    process.send_signal(signal.SIGINT)

    out, err = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    assert (process.returncode, err) == (code, b"")
    assert out.endswith(b"Stopping.\n")
    assert b"Picture" not in out


@pytest.mark.usefixtures("first")
def test_on_a_terminal_bars_are_drawn_and_the_table_fits_into_80_columns(home: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [*BIOSCOPE, "--port", "0", "--data-dir", str(home / "data"), "--once"]
    shown = bytearray()
    with subprocess.Popen(command, env=environment(TERM="xterm"), stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        with suppress(OSError):  # Linux says so when nobody holds the other end any more
            while part := os.read(ours, 65536):
                shown += part
        os.close(ours)
        assert process.wait(RUN_SECONDS) == 0

    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "")
    assert re.search(rf"Uploading +✓ ━+ +{DRAWN} of {DRAWN} ", text)
    table = text[text.index("  Picture ") :].partition("\n\n")[0].splitlines()
    assert len(table) >= 1 + DRAWN
    assert max(map(len, table)) <= 80
    assert table[1].startswith("  smear-01.jpg  neutrophil ")


@pytest.fixture
async def serving(first: subprocess.CompletedProcess[str], home: Path) -> AsyncIterator[tuple[Any, str]]:
    """A demo that goes on serving, and all that it has said till then."""
    assert first.returncode == 0
    process = await asyncio.create_subprocess_exec(
        *BIOSCOPE, "--port", "0", "--data-dir", str(home / "data"),
        env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = await asyncio.wait_for(
            process.stdout.readuntil(b"Serving until you press Ctrl-C.\n"), RUN_SECONDS
        )
        yield process, said.decode()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def url_in(said: str) -> str:
    found = re.search(r"^Open +(http\S+)/graphql$", said, re.MULTILINE)
    assert found
    return found[1]


async def test_the_ready_query_works_as_it_is_printed_and_ctrl_c_ends_it_with_0(
    serving: tuple[Any, str],
) -> None:
    process, said = serving
    commands = said[said.index("TOKEN=") :].partition("\n\n")[0]
    shell = await asyncio.create_subprocess_exec("sh", "-c", commands, stdout=asyncio.subprocess.PIPE)
    answer = json.loads((await shell.communicate())[0])
    found = answer["data"]["classificationResults"]
    assert found["totalCount"] == sum(float(row[1]) <= 0.85 for row in table_in(said).values())
    assert len(found["nodes"]) == min(found["totalCount"], 10)

    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    assert (process.returncode, out, err) == (0, b"Stopping.\n", b"")


class Cutting:
    """A way to the server that is cut off once, after the first live update has come through."""

    def __init__(self, url: str, then: Callable[[], None]) -> None:
        self._to, self._then = url.removeprefix("http://").split(":"), then
        self.sockets = self.cuts = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._to[0], int(self._to[1]))
        ways = [self._pass(reader, there[1], b""), self._pass(there[0], writer, b'"cursor"')]
        tasks = [asyncio.create_task(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        there[1].close()
        writer.close()

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, cut_at: bytes) -> None:
        while part := await source.read(65536):
            self.sockets += b"upgrade: websocket" in part.lower() and not cut_at
            target.write(part)
            await target.drain()
            if cut_at and cut_at in part and not self.cuts:
                self.cuts += 1
                self._then()
                return


def worker_of(pid: int) -> psutil.Process:
    children = psutil.Process(pid).children(recursive=True)
    return next(child for child in children if "bioscope_gql.worker.reference" in child.cmdline())


async def test_a_subscription_that_is_cut_off_is_taken_up_again(serving: tuple[Any, str], home: Path) -> None:
    process, said = serving
    kept = json.loads((home / "data" / "demo-account.json").read_text())
    files = [home / "cut" / f"{number}.png" for number in range(6)]
    (home / "cut").mkdir()
    for number, file in enumerate(files):
        draw("lymphocyte", 100 + number, size=(320, 240)).image.save(file)

    worker = worker_of(process.pid)
    worker.suspend()
    way = Cutting(url_in(said), then=worker.resume)
    async with way.open() as url, Client(url) as client:
        await client.sign_in(kept["username"], kept["password"])
        work = Work(client, Screen(io.StringIO()))
        dataset = await work.dataset("Cut off", "")
        uploaded = await work.upload(dataset, home / "cut", files)
        classified = await work.classify(dataset)

        assert uploaded.stored == [file.name for file in files]
        assert (classified.statuses, classified.failed) == (["COMPLETED"], [])
        assert (way.cuts, way.sockets) == (1, 2)
        assert [row.picture for row in await work.results(dataset)] == [file.name for file in files]
        assert await work.dataset("cut OFF", "") == dataset
        with pytest.raises(InvalidCredentials):
            await client.sign_in("demo", "not the password")
