"""Uploads: files arrive whole, within bounds and where they belong, and nothing of them stays."""

import asyncio
import hashlib
import json
import os
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bioscope_gql.transport.limits import Limits
from tests.door import PATIENCE_SECONDS, TOKEN, Door, a_door, spool_empties
from tests.parcels import (
    BOUNDARY,
    EMPTY_SHA256,
    FILE,
    GOOD,
    HOLD,
    MAP,
    ONE_FILE,
    OPERATION,
    PICTURE,
    TO_FILE,
    UPLOADS,
    cut_upload,
    field,
    file,
    message,
    raw,
    send,
    send_file,
    send_raw,
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_door(tmp_path / "spool") as door:
        yield door


async def test_a_file_arrives_whole_with_its_hash_and_is_gone_afterwards(door: Door) -> None:
    data = os.urandom(3_000_001)

    described = await send_file(door, data, "zelle ä.png")

    sha256 = hashlib.sha256(data).hexdigest()
    size = len(data)
    assert described == {
        "filename": "zelle ä.png",
        "size": size,
        "sha256": sha256,
        "tooLarge": False,
        "kept": size,
    }
    assert door.spooled() == []


async def test_a_file_that_looks_like_a_boundary_arrives_as_it_is(door: Door) -> None:
    data = b"\r\n--frontie\r\n--frontierX\r\n--frontier-x\r\n\r\n--" * 40_000
    body = raw(
        ("operations", "", json.dumps(ONE_FILE).encode()),
        ("map", "", json.dumps(TO_FILE).encode()),
        ("0", "", data),
    )

    answer = await send_raw(door, body)

    described = answer.json()["data"]["upload"]
    assert (described["size"], described["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("step", [1, 7])
async def test_it_does_not_matter_how_the_body_is_cut(door: Door, step: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(GOOD), step):
            yield GOOD[start : start + step]

    answer = await send_raw(door, pieces())

    assert answer.json()["data"]["upload"]["sha256"] == hashlib.sha256(b"abc").hexdigest()


async def test_many_files_find_their_places_in_whatever_order_they_come(door: Door) -> None:
    operations = {"query": UPLOADS, "variables": {"files": [None, None, None]}}
    places = {name: [f"variables.files.{index}"] for index, name in enumerate("abc")}

    answer = await send(
        door,
        field("operations", operations),
        field("map", places),
        *(file(name, name.encode() * 3, f"{name}.png") for name in "cab"),
    )

    assert [each["filename"] for each in answer.json()["data"]["uploads"]] == ["a.png", "b.png", "c.png"]
    assert door.spooled() == []


async def test_a_file_may_belong_into_an_input_object(door: Door) -> None:
    operations = {"query": PICTURE, "variables": {"picture": {"title": "x", "file": None}}}

    answer = await send(
        door,
        field("operations", operations),
        field("map", {"f": ["variables.picture.file"]}),
        file("f", b"12"),
    )

    assert answer.json()["data"] == {"picture": {"filename": "a.png", "size": 2}}


async def test_an_empty_file_is_a_file(door: Door) -> None:
    described = await send_file(door, b"")
    assert (described["size"], described["sha256"], described["kept"]) == (0, EMPTY_SHA256, 0)


async def test_a_file_over_its_limit_is_dropped_and_its_neighbours_stay(tmp_path: Path) -> None:
    operations = {"query": UPLOADS, "variables": {"files": [None] * 5}}
    contents = [b"x" * 100, b"x" * 101, b"II*\0" + b"x" * 1000, b"MM\0*" + b"x" * 1_100_000, b"x" * 9]
    async with a_door(tmp_path, Limits(file_bytes=100, tiff_bytes=1_100_003)) as door:
        answer = await send(
            door,
            field("operations", operations),
            field("map", {str(i): [f"variables.files.{i}"] for i in range(5)}),
            *(file(str(i), data) for i, data in enumerate(contents)),
        )

    outcomes = [(each["size"], each["tooLarge"], each["kept"]) for each in answer.json()["data"]["uploads"]]
    assert outcomes == [
        (100, False, 100),
        (101, True, 0),
        (1004, False, 1004),
        (1_100_004, True, 0),
        (9, False, 9),
    ]
    assert [each.sha256 for each in door.bench.files if each.too_large] == [EMPTY_SHA256] * 2


async def test_spooled_files_are_for_the_server_alone_while_they_last(door: Door) -> None:
    parts = [field("operations", {**ONE_FILE, "query": HOLD}), field("map", TO_FILE), file("0", b"abc")]
    sending = asyncio.create_task(send(door, *parts))
    await door.bench.entered.wait()

    [held] = door.bench.files
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (door.spool, held.path.parent, held.path)]
    door.bench.release.set()
    answer = await sending

    assert modes == [0o700, 0o700, 0o600]
    assert answer.json()["data"] == {"hold": 3}
    assert door.spooled() == []


async def test_no_name_of_a_client_becomes_a_path(door: Door) -> None:
    parts = [field("operations", ONE_FILE), field("map", {"../../x": ["variables.file"]})]
    answer = await send(door, *parts, file("../../x", b"abc", "/etc/../passwd"))

    assert answer.json()["data"]["upload"]["filename"] == "/etc/../passwd"
    [seen] = door.bench.files
    assert seen.path.relative_to(door.spool).parts[1:] == ("1",)


async def test_an_upload_needs_a_header_that_forms_cannot_send(door: Door) -> None:
    plain = await send(door, field("operations", ONE_FILE), headers={"Authorization": TOKEN})
    other = await send_raw(door, GOOD, **{"GraphQL-Require-Preflight": "", "Apollo-Require-Preflight": "1"})

    assert (plain.status_code, "GraphQL-Require-Preflight" in message(plain)) == (400, True)
    assert other.status_code == 200


async def test_without_a_token_nothing_of_the_body_is_read(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    head = [
        "POST /graphql HTTP/1.1",
        "Host: x",
        "GraphQL-Require-Preflight: 1",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        "Content-Length: 100000000",
    ]
    writer.write("\r\n".join([*head, "", ""]).encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await reader.readuntil(b"}]}")
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"reason":"MISSING"' in answer
    assert door.spooled() == []


async def test_a_session_that_ends_while_files_come_in_does_nothing(door: Door) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield GOOD[:-20]
        door.desk.revoked = True
        yield GOOD[-20:]

    answer = await send_raw(door, pieces(), Accept="application/graphql-response+json")

    assert (answer.status_code, door.bench.files) == (401, [])
    assert answer.json()["errors"][0]["extensions"]["reason"] == "REVOKED"
    assert door.spooled() == []


async def test_a_cut_connection_leaves_no_file(door: Door) -> None:
    _, writer = await cut_upload(door)
    assert len(door.spooled()) == 3

    writer.transport.abort()

    await spool_empties(door)
    assert (door.bench.files, door.bench.contexts) == ([], [])


async def test_a_broken_end_leaves_no_file(door: Door) -> None:
    reader, writer = await cut_upload(door, then=b"\r\n--frontier\r\nb\x00d: x\r\n\r\n")

    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()
    await writer.wait_closed()

    assert (door.spooled(), door.bench.files) == ([], [])


async def test_an_upload_that_stops_coming_is_given_up_and_leaves_no_file(tmp_path: Path) -> None:
    async with a_door(tmp_path / "spool", Limits(body_stall_seconds=0.5)) as door:
        reader, writer = await cut_upload(door)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        await writer.wait_closed()

        assert (door.spooled(), door.bench.files) == ([], [])


async def test_a_server_that_is_stopped_hard_leaves_no_file(tmp_path: Path) -> None:
    async with a_door(tmp_path / "spool", graceful_seconds=0) as door:
        _, writer = await cut_upload(door)
        door.stop()
        await door.stopped()
        await spool_empties(door)
        writer.transport.abort()

        assert door.bench.files == []


async def test_a_full_disk_is_told_as_unavailable_and_logged(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("no directory")
    async with a_door(tmp_path / "spool") as door:
        with capture_logs() as logs:
            answer = await send(door, OPERATION, MAP, FILE)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["errors"][0]["extensions"] == {"code": "SERVICE_UNAVAILABLE"}
    assert [line["event"] for line in logs] == ["upload_not_stored"]
    assert door.bench.files == []


async def test_what_a_killed_process_left_behind_is_swept_and_the_rest_left_alone(door: Door) -> None:
    for name in ("upload-old", "upload-new", "other-old"):
        (door.spool / name).mkdir(parents=True)
        (door.spool / name / "1").write_bytes(b"x")
    two_days_ago = time.time() - 2 * 24 * 3600
    for name in ("upload-old", "other-old"):
        os.utime(door.spool / name, (two_days_ago, two_days_ago))

    await send_file(door, b"abc")

    assert [path.name for path in door.spooled()] == ["other-old", "1", "upload-new", "1"]
