"""Where uploads wait: gone with its process, however that ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from bioscope_gql.commands.spool import spool_directory

HOLD = """
import sys, time
from pathlib import Path
from bioscope_gql.commands.spool import spool_directory
with spool_directory(Path(sys.argv[1])) as spool:
    (spool / "upload").write_bytes(b"half")
    print(spool, flush=True)
    time.sleep(60)
"""


def test_a_directory_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with spool_directory(tmp_path) as spool:
        assert (spool.stat().st_mode & 0o777, os.listdir(tmp_path)) == (0o700, [spool.name])

    assert os.listdir(tmp_path) == []


def test_the_next_process_removes_what_a_killed_one_left_and_spares_those_that_live(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as living,
    ):
        try:
            assert killed.stdout is not None
            assert living.stdout is not None
            left, held = (Path(each.stdout.readline().strip()) for each in (killed, living) if each.stdout)
            killed.send_signal(signal.SIGKILL)
            killed.wait()
            (tmp_path / "bioscope-serve-strange").mkdir()

            with spool_directory(tmp_path) as spool:
                there = sorted(os.listdir(tmp_path))

            assert there == sorted([held.name, spool.name, "bioscope-serve-strange"])
            assert not left.exists()
            assert (held / "upload").read_bytes() == b"half"
        finally:
            living.kill()
            killed.kill()
