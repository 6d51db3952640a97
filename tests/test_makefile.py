"""The Makefile finds a Python that works, installs once, and hands on what it is told."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("make", "sh", "rm", "touch", "sed", "expand", "tr", "od", "mkdir", "mv", "cp", "echo")

FITS = """#!/bin/sh
case "$1 $2" in
"-c import sys; print"*) echo "{name}" ;;
"-m venv") for where; do :; done; mkdir -p "$where/bin"; cp "$0" "$where/bin/python" ;;
*) [ "$1" = -c ] || printf '%s' "$*;" >> calls ;;
esac
"""
FAILS = "#!/bin/sh\necho 'pyenv: no such version' >&2\nexit 127\n"


class Folder:
    """A copy of the Makefile, in a folder with a blank in its name, and all programs that it will find."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.programs = path.parent / "bin"
        self.path.mkdir()
        self.programs.mkdir()
        for name in (
            "Makefile",
            "pyproject.toml",
            "requirements.lock",
            "requirements-dev.lock",
            "requirements-moto.lock",
            ".env.example",
        ):
            shutil.copy(ROOT / name, path)
        (path / "web").mkdir()
        shutil.copy(ROOT / "web/package-lock.json", path / "web")
        for tool in TOOLS:
            found = shutil.which(tool)
            if found is None:
                pytest.skip(f"{tool} is not installed.")
            (self.programs / tool).symlink_to(found)

    def has(self, name: str, text: str) -> Path:
        program = self.programs / name
        program.write_text(text.replace("{name}", name))
        program.chmod(0o755)
        return program

    def make(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments],
            cwd=self.path,
            env={"PATH": str(self.programs), "HOME": str(self.path), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        """What the Pythons were asked to do since the last time."""
        calls = self.path / "calls"
        found = calls.read_text() if calls.exists() else ""
        calls.unlink(missing_ok=True)
        return found.split(";")[:-1]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "a folder")


def test_the_first_python_that_really_runs_is_taken(folder: Folder) -> None:
    folder.has("python3", FAILS)
    folder.has("python3.13", FAILS)
    folder.has("python3.12", FITS)
    folder.has("python3.11", FITS)

    assert folder.make(".venv/.runtime").returncode == 0
    assert (folder.path / ".venv/bin/python").read_text() == (folder.programs / "python3.12").read_text()


def test_without_a_python_one_sentence_says_what_to_install(folder: Folder) -> None:
    folder.has("python3", FAILS)

    ran = folder.make("test")

    assert ran.returncode == 2
    assert ran.stdout == ""
    sentence, end = ran.stderr.splitlines()
    assert sentence.startswith("BioScope needs Python 3.11 or newer with the venv module: install it")
    assert end.startswith("make: ***")
    assert not (folder.path / ".venv").exists()


def test_the_python_that_is_named_wins(folder: Folder) -> None:
    folder.has("python3", FITS)
    named = folder.has("mine", FITS)
    assert folder.make(".venv/.runtime").returncode == 0
    folder.calls()

    assert folder.make(".venv/.runtime", f"PYTHON={named}").returncode == 0

    assert (folder.path / ".venv/bin/python").read_text() == named.read_text()
    assert len(folder.calls()) == 2


def test_a_named_python_that_does_not_do_changes_nothing(folder: Folder) -> None:
    folder.has("python3", FITS)
    assert folder.make(".venv/.dev").returncode == 0
    folder.calls()

    ran = folder.make("test", PYTHON="/no/such/python")

    assert (ran.returncode, folder.calls()) == (2, [])
    assert ran.stderr.startswith("/no/such/python is no Python 3.11 or newer")
    assert (folder.path / ".venv/.dev").exists()


def test_everything_is_installed_from_hashed_locks_and_only_once(folder: Folder) -> None:
    folder.has("python3", FITS)
    options = "-m pip --quiet --disable-pip-version-check --no-input"
    pip, apart = f"{options} install", f"{options} --python .venv/moto/bin/python install"

    first = folder.make("test", "ARGS=-k runs")

    assert folder.calls() == [
        f"{pip} --require-hashes --requirement requirements.lock",
        f"{pip} --no-deps --no-build-isolation --editable .",
        f"{pip} --require-hashes --requirement requirements-dev.lock",
        f"{apart} --require-hashes --requirement requirements-moto.lock",
        "-m pytest --numprocesses auto --dist load -k runs",
    ]
    assert "Installing what BioScope needs" in first.stdout

    again = folder.make("test")

    assert (folder.calls(), again.stdout) == (["-m pytest --numprocesses auto --dist load"], "")


def test_an_environment_whose_python_went_away_is_made_anew(folder: Folder) -> None:
    folder.has("python3", FITS)
    assert folder.make(".venv/.dev").returncode == 0
    folder.calls()
    python = folder.path / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/no/such/python")

    assert folder.make("test").returncode == 0

    assert folder.calls()[-1] == "-m pytest --numprocesses auto --dist load"
    assert python.read_text() == (folder.programs / "python3").read_text()


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ((), ""),
        (("ONCE=1",), " --once"),
        (("ONCE=0", "PORT=8001"), " --port 8001"),
        (("IMAGES=my pictures", "DATA_DIR=/tmp/x"), " --images my pictures --data-dir /tmp/x"),
    ],
)
def test_the_demo_gets_what_it_is_told(folder: Folder, given: tuple[str, ...], arguments: str) -> None:
    folder.has("python3", FITS)
    assert folder.make("demo", *given).returncode == 0
    assert folder.calls()[-1] == f"-m bioscope_gql demo{arguments}"


def test_a_printed_file_is_not_replaced_by_half_of_it(folder: Folder) -> None:
    folder.has("python3", FITS)
    assert folder.make(".venv/.runtime").returncode == 0
    (folder.path / ".venv/bin/python").write_text("#!/bin/sh\necho half\nexit 1\n")
    (folder.path / "schema.graphql").write_text("whole")

    assert folder.make("schema").returncode == 2

    assert (folder.path / "schema.graphql").read_text() == "whole"
    assert not (folder.path / "schema.graphql.new").exists()


def test_the_passwords_of_the_containers_are_made_here_and_only_once(folder: Folder) -> None:
    assert folder.make(".env").returncode == 0

    written = dict(
        line.split("=", 1) for line in (folder.path / ".env").read_text().splitlines() if "=" in line
    )
    assert len(written["POSTGRES_PASSWORD"]) == 48
    assert written["POSTGRES_PASSWORD"] != written["S3_SECRET"]
    assert (folder.path / ".env").stat().st_mode & 0o777 == 0o600

    os.utime(folder.path / ".env", (0, 0))
    assert folder.make(".env").returncode == 2
    assert written["POSTGRES_PASSWORD"] in (folder.path / ".env").read_text()


def test_make_alone_lists_every_target(folder: Folder) -> None:
    listed = " ".join(line.split()[1] for line in folder.make().stdout.splitlines())
    assert listed == (
        "help demo dev web test services services-down test-services check format schema docs bench"
        " bench-reads up down lock"
    )
