"""The command line as people and scripts use it: real processes, their exit codes and what they say."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMMANDS = ("demo", "dev", "serve", "worker", "migrate", "create-admin", "check", "schema", "asyncapi")
ASK = """
import argparse, sys
from bioscope_gql.commands.password_prompt import ask_password
from bioscope_gql.errors import InvalidInput
try:
    print("got", ascii(ask_password(argparse.Namespace(password_stdin=sys.argv[1] == "stdin"))))
except InvalidInput as error:
    sys.exit(f"{error.fields[0].code} {error}")
"""


def environment(**more: str) -> dict[str, str]:
    """Nothing of the caller's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BIOSCOPE_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def bioscope(where: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bioscope_gql", *arguments],
        cwd=where,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_command_and_is_quick_to_come(tmp_path: Path) -> None:
    done = bioscope(tmp_path, "--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)

    heavy = (
        "import sys, bioscope_gql.cli; print({'pydantic', 'structlog', 'jose', 'asyncio'} & set(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", heavy], env=environment(), capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "set()\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_takes_config_and_debug(tmp_path: Path, command: str) -> None:
    done = bioscope(tmp_path, command, "--help")
    assert done.returncode == 0
    assert "--config FILE" in done.stdout
    assert "--debug" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "bioscope: say what to do"),
        (["serv"], "invalid choice: 'serv'"),
        (["serve", "--port", "http"], "argument --port: must be a whole number from 0 to 65535, not 'http'."),
        (
            ["serve", "--port", "65536"],
            "argument --port: must be a whole number from 0 to 65535, not '65536'.",
        ),
        (
            ["worker", "--concurrency", "0"],
            "argument --concurrency: must be a whole number from 1 to 1024, not '0'.",
        ),
        (["demo", "--images", "nowhere"], "argument --images: nowhere is no folder."),
        (["create-admin"], "the following arguments are required: --email, --username."),
        (["schema", "--port", "1"], "unrecognized arguments: --port 1."),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = bioscope(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_serve_without_settings_ends_with_78_and_one_sentence_for_each(tmp_path: Path) -> None:
    done = bioscope(tmp_path, "serve", "--port", "0")
    assert done.returncode == 78
    assert done.stdout == ""
    told = done.stderr.splitlines()
    assert [line.split(" is missing: ")[0] for line in told] == [
        "database.dsn",
        "kafka.bootstrap_servers",
        "s3.endpoint",
        "s3.access_key",
        "s3.secret_key",
        "s3.bucket",
        "auth.keys",
    ]


@pytest.mark.parametrize("command", ["asyncapi", "dev", "migrate"])
def test_bad_settings_end_every_command_with_78(tmp_path: Path, command: str) -> None:
    (tmp_path / "bioscope.yaml").write_text("app: {port: http}\n")
    done = bioscope(tmp_path, command, BIOSCOPE_LIMITS__TRIES="never")
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        "app.port (in bioscope.yaml) must be a whole number, not 'http'.",
        "limits.tries (from BIOSCOPE_LIMITS__TRIES) must be a whole number, not 'never'.",
    ]


def test_the_config_option_wins_over_the_variable_and_the_file_beside(tmp_path: Path) -> None:
    (tmp_path / "bioscope.yaml").write_text("app: {port: beside}\n")
    (tmp_path / "other.yaml").write_text("app: {port: variable}\n")
    (tmp_path / "mine.yaml").write_text("app: {port: option}\n")
    named = {"BIOSCOPE_CONFIG": "other.yaml"}
    assert "'beside'" in bioscope(tmp_path, "asyncapi").stderr
    assert "'variable'" in bioscope(tmp_path, "asyncapi", **named).stderr
    assert "'option'" in bioscope(tmp_path, "asyncapi", "--config", "mine.yaml", **named).stderr


def test_asyncapi_prints_a_document_that_check_accepts(tmp_path: Path) -> None:
    printed = bioscope(tmp_path, "asyncapi")
    assert printed.returncode == 0
    assert yaml.safe_load(printed.stdout)["asyncapi"].startswith("3.")

    (tmp_path / "kept.yaml").write_text(printed.stdout)
    checked = bioscope(tmp_path, "asyncapi", "--check", "kept.yaml")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_check_ends_with_1_and_shows_where_they_differ(tmp_path: Path) -> None:
    printed = bioscope(tmp_path, "asyncapi").stdout
    (tmp_path / "kept.yaml").write_text(printed.replace("asyncapi: ", "asyncapi: old", 1))
    checked = bioscope(tmp_path, "asyncapi", "--check", "kept.yaml")
    assert checked.returncode == 1
    assert checked.stderr.splitlines()[:3] == [
        "kept.yaml is not what the code says. Write it anew with: bioscope asyncapi > kept.yaml",
        "--- kept.yaml",
        "+++ bioscope asyncapi",
    ]
    assert len(checked.stderr.splitlines()) < 10


def test_a_failure_is_one_sentence_and_a_traceback_only_with_debug(tmp_path: Path) -> None:
    quiet = bioscope(tmp_path, "asyncapi", "--check", "none.yaml")
    assert quiet.returncode == 1
    (sentence,) = quiet.stderr.splitlines()
    assert sentence.startswith("none.yaml can't be compared: ")

    loud = bioscope(tmp_path, "asyncapi", "--check", "none.yaml", "--debug")
    assert loud.returncode == 1
    assert "Traceback" in loud.stderr
    assert loud.stderr.splitlines()[-1] == sentence


def test_a_reader_that_goes_away_is_a_failure_without_a_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "bioscope_gql", "asyncapi"],
        cwd=tmp_path,
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == "Whoever read the output went away before it was written.\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a long password\n", "got 'a long password'\n"),
        ("12345678", "got '12345678'\n"),
        ("pässwörd\r\nsecond line\n", "got 'p\\xe4ssw\\xf6rd'\n"),
        ("  spaces count  \n", "got '  spaces count  '\n"),
        ("x" * 1024 + "\n", f"got '{'x' * 1024}'\n"),
        ("1234567\n", "TOO_SHORT The password must have at least 8 characters. Choose a longer one.\n"),
        ("\n", "TOO_SHORT The password must have at least 8 characters. Choose a longer one.\n"),
        ("", "TOO_SHORT No password came on standard input. Write it there as one line.\n"),
        ("x" * 1025, "TOO_LONG The password must have at most 1024 characters. Choose a shorter one.\n"),
        ("x" * 100_000, "TOO_LONG The password must have at most 1024 characters. Choose a shorter one.\n"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_password_comes_as_one_line_of_standard_input(line: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK, "stdin"],
        input=line.encode(),
        env=environment(PYTHONUTF8="1"),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout + done.stderr).decode() == said
    assert done.returncode == (0 if said.startswith("got") else 1)


def test_without_a_terminal_the_password_is_not_waited_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK, "terminal"],
        stdin=subprocess.DEVNULL,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Use --password-stdin" in done.stderr


@pytest.mark.parametrize(
    ("again", "said"),
    [("a long password", b"got 'a long password'"), ("another one", b"MISMATCH The two passwords differ.")],
)
def test_on_a_terminal_the_password_is_asked_twice_and_never_shown(again: str, said: bytes) -> None:
    terminal, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", ASK, "terminal"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
        start_new_session=True,
    )
    os.close(theirs)
    try:
        shown = until(terminal, b"Password: ")
        os.write(terminal, b"a long password\n")
        shown += until(terminal, b"The same again: ")
        os.write(terminal, again.encode() + b"\n")
        assert b"long" not in shown
        assert said in until(terminal, said)
    finally:
        child.kill()
        child.wait()
        os.close(terminal)


def until(terminal: int, prompt: bytes) -> bytes:
    """Everything that the terminal shows up to `prompt`, within half a minute."""
    shown, end = b"", time.monotonic() + 30
    while prompt not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        assert ready, f"waited for {prompt!r}, saw {shown!r}"
        shown += os.read(terminal, 4096)
    return shown
