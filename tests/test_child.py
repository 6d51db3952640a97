"""Processes that do not outlive their parent, and what they leave to read."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from bioscope_gql.embedded.child import Child
from tests.children import LIMIT_SECONDS, Children, gone


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def children() -> Children:
    return Children()


async def test_a_child_ends_in_good_order_and_its_words_are_in_its_log(data_dir: Path) -> None:
    program = (
        "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); "
        "print('ready', flush=True); signal.pause()"
    )
    child = await Child.start(
        [sys.executable, "-c", program], name="worker", log_dir=data_dir, announces=True
    )
    assert await child.announcement(LIMIT_SECONDS) == b"ready\n"
    assert child.running

    await child.stop()
    await child.stop()

    assert await child.wait() == 7
    assert not child.running


async def test_a_child_that_will_not_end_is_killed(data_dir: Path, children: Children) -> None:
    program = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
    child = await Child.start(
        [sys.executable, "-c", program], name="worker", log_dir=data_dir, announces=True
    )
    assert await child.announcement(LIMIT_SECONDS) == b"ready\n"
    processes = children.now()

    await child.stop(timeout_seconds=0.1)

    assert await child.wait() == 128 + signal.SIGKILL
    assert gone(processes)


async def test_a_child_gets_the_environment_it_is_given_and_its_output_is_kept(data_dir: Path) -> None:
    child = await Child.start(
        ["/bin/sh", "-c", 'echo "$CELL"'], {"CELL": "eosinophil"}, name="w", log_dir=data_dir
    )

    async with asyncio.timeout(LIMIT_SECONDS):
        assert await child.wait() == 0
    await child.stop()

    assert (data_dir / "w.log").read_text() == "eosinophil\n"
    assert child.last_words() == "eosinophil"
