"""`bioscope check` as a process: what it says of a part that works, and of one that doesn't."""

import socket
from pathlib import Path

import pytest

from tests.grounds import variables
from tests.lab import Place
from tests.processes import Done, bioscope

CREATED = {"BIOSCOPE_KAFKA__CREATE_TOPICS": "true"}
"""The shared broker makes a topic when it is asked for: so none is there, and none need be."""


async def check(place: Place, **broken: str) -> Done:
    return await bioscope(place.folder, "check", **{**variables(place), **CREATED, **broken})


def parts(done: Done) -> dict[str, str]:
    """What is said of each part."""
    return {line.split()[0]: " ".join(line.split()[1:]) for line in done.out.splitlines()}


@pytest.fixture
def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"127.0.0.1:{closed.getsockname()[1]}"


async def test_each_part_that_works_is_named_with_what_it_is(place: Place) -> None:
    (place.folder / "files").mkdir()

    done = await check(place)

    said = parts(done)
    assert (done.code, done.said, list(said)) == (0, [], ["database", "kafka", "store", "keys"])
    assert said["database"].startswith("ok PostgreSQL 18")
    assert said["kafka"].startswith(f"ok {place.bootstrap_servers}")
    assert said["store"] == f"ok {place.folder / 'files'}"
    assert said["keys"].endswith("signs with ES256; 1 in all")


@pytest.mark.parametrize(
    ("part", "setting", "reason"),
    [
        (
            "database",
            {"BIOSCOPE_DATABASE__DSN": "postgresql://bioscope:s3cret-word@{nowhere}/bioscope"},
            ("The database of database.dsn can't be used (", "check its address, account and password."),
        ),
        (
            "kafka",
            {"BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS": "{nowhere}"},
            ("Kafka does not answer (", "check kafka.bootstrap_servers and kafka.security."),
        ),
        (
            "kafka",
            {"BIOSCOPE_KAFKA__CREATE_TOPICS": "false"},
            ("Kafka answers, and lacks the topics ", ": make them."),
        ),
        ("store", {"BIOSCOPE_S3__DIRECTORY": "{file}"}, ("", ".")),
        ("keys", {"BIOSCOPE_AUTH__KEYS": "{absent}"}, ("", ".")),
    ],
    ids=["database", "kafka", "topics", "store", "keys"],
)
async def test_a_part_that_does_not_work_is_told_with_its_reason_and_the_others_all_the_same(
    place: Place, nowhere: str, part: str, setting: dict[str, str], reason: tuple[str, str]
) -> None:
    file = place.folder / "file"
    file.touch()
    words = {"nowhere": nowhere, "file": str(file), "absent": str(place.folder / "absent.pem")}

    done = await check(place, **{name: value.format(**words) for name, value in setting.items()})

    said = parts(done)
    assert done.code == 1
    assert {name: text.split()[0] for name, text in said.items()} == {
        **dict.fromkeys(("database", "kafka", "store", "keys"), "ok"),
        part: "FAILED",
    }
    assert said[part].startswith(f"FAILED {reason[0]}")
    assert said[part].endswith(reason[1])
    assert "s3cret-word" not in done.out + done.err
    assert "Traceback" not in done.err


async def test_what_nobody_has_set_is_told_part_by_part(tmp_path: Path) -> None:
    done = await bioscope(tmp_path, "check")

    assert done.code == 1
    assert {name: text.split()[:4] for name, text in parts(done).items()} == {
        "database": ["FAILED", "database.dsn", "is", "missing:"],
        "kafka": ["FAILED", "kafka.bootstrap_servers", "is", "missing:"],
        "store": ["FAILED", "s3.endpoint", "is", "missing:"],
        "keys": ["FAILED", "auth.keys", "is", "missing:"],
    }
