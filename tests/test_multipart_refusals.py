"""Uploads that are refused: each with a sentence, before its files are taken, and without a trace."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bioscope_gql.transport.limits import Limits
from tests.door import PATIENCE_SECONDS, Door, a_door
from tests.parcels import (
    BOUNDARY,
    FILE,
    GOOD,
    HEADERS,
    MAP,
    ONE_FILE,
    OPERATION,
    TO_FILE,
    TWO,
    UPLOAD,
    UPLOADS,
    Part,
    field,
    file,
    message,
    raw,
    send,
    send_raw,
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_door(tmp_path / "spool") as door:
        yield door


REFUSED: list[tuple[str, list[Part]]] = [
    ("The upload needs a part named `operations`. It comes first.", [MAP, OPERATION, FILE]),
    ("The upload needs a part named `operations`. It comes first.", [FILE]),
    (
        "The upload needs a part named `map`. It comes after `operations` and before the files.",
        [OPERATION, FILE, MAP],
    ),
    ("The upload needs a part named `map`. It comes after `operations` and before the files.", [OPERATION]),
    (
        "Batches are not supported. Send one operation for each request.",
        [field("operations", [ONE_FILE]), MAP, FILE],
    ),
    ("The request must be a JSON object with a member `query`.", [field("operations", 1), MAP, FILE]),
    (
        "The request must have a member `query` that is a string.",
        [field("operations", {"variables": {}}), MAP, FILE],
    ),
    (
        "The JSON of the request is nested deeper than 100 levels.",
        [field("operations", b'{"query": ' + b"[" * 100 + b"]" * 100 + b"}"), MAP, FILE],
    ),
    (
        'The part `map` must be a JSON object such as {"0": ["variables.file"]}.',
        [OPERATION, field("map", None), FILE],
    ),
    (
        'The part `map` must be a JSON object such as {"0": ["variables.file"]}.',
        [OPERATION, field("map", []), FILE],
    ),
    (
        'In `map`, `0` must have a list of paths such as ["variables.file"].',
        [OPERATION, field("map", {"0": "variables.file"}), FILE],
    ),
    (
        'In `map`, `0` must have a list of paths such as ["variables.file"].',
        [OPERATION, field("map", {"0": [1]}), FILE],
    ),
    (
        "The file `0` is mapped to 0 places. Send it once for each place.",
        [OPERATION, field("map", {"0": []}), FILE],
    ),
    (
        "The file `0` is mapped to 2 places. Send it once for each place.",
        [field("operations", TWO), field("map", {"0": ["variables.files.0", "variables.files.1"]}), FILE],
    ),
    (
        "Two files are mapped to `variables.file`. Give each a place of its own.",
        [OPERATION, field("map", {"0": ["variables.file"], "1": ["variables.file"]}), FILE],
    ),
    ("Of the files named in `map` these did not come: `0`. Send every one of them.", [OPERATION, MAP]),
    ("The file `0` comes twice. Send each part once.", [OPERATION, MAP, FILE, FILE]),
    (
        "The part `1` is not in `map`. Send only files that are mapped.",
        [OPERATION, MAP, FILE, file("1", b"abc")],
    ),
]


@pytest.mark.parametrize(("sentence", "parts"), REFUSED, ids=range(len(REFUSED)))
async def test_a_form_that_breaks_the_rules_is_refused_with_a_sentence(
    door: Door, sentence: str, parts: list[Part]
) -> None:
    answer = await send(door, *parts)

    assert (answer.status_code, message(answer)) == (400, sentence)
    assert (door.bench.files, door.spooled()) == ([], [])


PATHS = [
    "",
    "file",
    "variables",
    "variables.",
    "variables.nothing",
    "variables.file.0",
    "variables.files",
    "variables.files.2",
    "variables.files.-1",
    "variables.files.00",
    "variables.files.\u0660",
    "variables.files.x",
    "variables.files." + "9" * 10_000,
    "variables.set",
    "variables.set.0",
    "query",
    "variables.__class__",
    "." * 10_000,
]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
async def test_a_path_must_lead_to_a_null_in_the_variables(door: Door, path: str) -> None:
    operations = {"query": UPLOADS, "variables": {"files": [None, None], "set": "x", "file": 1}}
    answer = await send(door, field("operations", operations), field("map", {"0": [path]}), FILE)

    assert answer.status_code == 400
    assert message(answer).endswith("Put a null where the file belongs.")
    assert (door.bench.files, door.spooled()) == ([], [])


BAD_BODIES: list[bytes] = [
    b"",
    b"\r\n",
    b"junk",
    b"--frontier",
    b"--frontier--",
    b"--frontier--\r\n",
    b"--other\r\n",
    b"--frontier\r\n\r\n\r\n--frontier--\r\n",
    b"--frontier\r\nContent-Type: text/plain\r\n\r\nx\r\n--frontier--\r\n",
    b"--frontier\r\nContent-Disposition: form-data\r\n\r\nx\r\n--frontier--\r\n",
    b'--frontier\r\nContent-Disposition: attachment; name="operations"\r\n\r\n{}\r\n--frontier--\r\n',
    b"--frontier\r\nContent-Disposition: form-data; name=\xff\xfe\r\n\r\n{}\r\n--frontier--\r\n",
    b"--frontier\r\nb\x00d: x\r\n\r\nx\r\n--frontier--\r\n",
    b"--frontier\r\n" + b"a: b\r\n" * 20 + b"\r\nx\r\n--frontier--\r\n",
    b"--frontier\r\na: " + b"x" * 10_000 + b"\r\n\r\nx\r\n--frontier--\r\n",
    raw(("operations", "", b"\xff"), ("map", "", b"{}")),
    raw(("operations", "", json.dumps(ONE_FILE).encode()), ("map", "", b"{")),
    GOOD[:-4],
    GOOD[: GOOD.index(b"abc") + 2],
    GOOD[: GOOD.index(b"filename")],
    GOOD.replace(b"\r\n\r\nabc", b"\r\nContent-Transfer-Encoding: base64\r\n\r\nabc"),
    GOOD.replace(b"\r\n\r\nabc", b'\r\nContent-Disposition: form-data; name="1"\r\n\r\nabc'),
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
async def test_a_body_that_is_no_form_is_a_bad_request(door: Door, body: bytes) -> None:
    answer = await send_raw(door, body)

    assert answer.status_code == 400
    assert message(answer).endswith(".")
    assert (door.bench.files, door.spooled()) == ([], [])


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 257,
        "multipart/form-data; boundary=other",
    ],
)
async def test_a_boundary_must_be_named_and_used(door: Door, content_type: str) -> None:
    answer = await send_raw(door, GOOD, content_type)
    assert (answer.status_code, message(answer)[-1]) == (400, ".")


async def test_what_follows_the_end_of_the_form_is_passed_over(door: Door) -> None:
    answer = await send_raw(door, GOOD + b"epilogue" * 100_000)
    assert answer.json()["data"]["upload"]["size"] == 3


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("mutation { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("mutation {", "GRAPHQL_PARSE_FAILED"),
        (" ", "BAD_USER_INPUT"),
        ("subscription { count(to: 1) }", "BAD_USER_INPUT"),
        ("mutation {" + " ".join(f"a{i}: touch" for i in range(31)) + "}", "QUERY_TOO_COMPLEX"),
    ],
)
async def test_an_operation_that_will_not_do_is_refused_before_the_first_file(
    door: Door, query: str, code: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    head = [
        "POST /graphql HTTP/1.1",
        "Host: x",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        "Accept: application/graphql-response+json",
        "Content-Length: 100000000",
    ]
    operations = json.dumps({"query": query, "variables": {"file": None}}).encode()
    body = raw(
        ("operations", "", operations), ("map", "", json.dumps(TO_FILE).encode()), ("0", "", b""), end=b""
    )
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await reader.readuntil(b"}]}")
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert f'"code":"{code}"'.encode() in answer
    assert door.spooled() == []


async def test_a_file_is_no_text_and_a_text_is_no_file(door: Door) -> None:
    query = "query($name: String!) { hello(name: $name) }"
    as_text = await send(
        door,
        field("operations", {"query": query, "variables": {"name": None}}),
        field("map", {"0": ["variables.name"]}),
        FILE,
    )
    as_file = await door.post(UPLOAD, variables={"file": "a.png"})

    assert (as_text.status_code, str(door.spool) in as_text.text) == (200, False)
    assert "String cannot represent a non string value" in message(as_text)
    assert "An Upload is a file of a multipart request" in message(as_file)
    assert (door.bench.ran, door.bench.files) == ([], [])


async def test_no_more_files_than_allowed_come_at_once(tmp_path: Path) -> None:
    operations = {"query": UPLOADS, "variables": {"files": [None] * 3}}
    parts = [file(str(i), b"x") for i in range(3)]
    places = {str(i): [f"variables.files.{i}"] for i in range(3)}
    async with a_door(tmp_path, Limits(upload_files=2)) as door:
        answer = await send(door, field("operations", operations), field("map", places), *parts)

    assert message(answer) == "The upload has 3 files; at most 2 may come at once."
    assert door.bench.files == []


@pytest.mark.parametrize("name", ["operations", "map"])
async def test_the_fields_of_a_form_are_bounded(tmp_path: Path, name: str) -> None:
    values = {"operations": json.dumps(ONE_FILE).encode(), "map": json.dumps(TO_FILE).encode()}
    values[name] += b" " * 1000
    async with a_door(tmp_path, Limits(upload_field_bytes=500)) as door:
        answer = await send(door, *(field(*item) for item in values.items()), FILE)

    assert answer.status_code == 413
    assert message(answer) == f"The part `{name}` is larger than 500 bytes. Ask for less at once."
    assert door.bench.files == []


@pytest.mark.parametrize("announced", [True, False])
async def test_an_upload_is_read_no_further_than_its_limit(tmp_path: Path, announced: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield body

    body = GOOD.replace(b"abc", b"x" * 2_000_000)
    async with a_door(tmp_path, Limits(upload_request_bytes=1_000_000)) as door:
        answer = await send_raw(door, body if announced else pieces())

    assert (answer.status_code, door.bench.files, door.spooled()) == (413, [], [])
    assert message(answer) == "The request is larger than 1,000,000 bytes. Send less at once."


async def test_however_a_form_is_broken_the_answer_is_no_server_error(door: Door) -> None:
    """Bytes are changed, left out, doubled and moved in a good form, the same ones each time."""
    dice = random.Random(20261124)
    for _ in range(200):
        body = bytearray(GOOD)
        for _ in range(dice.randint(1, 4)):
            start, length = dice.randrange(len(body)), dice.randint(1, 30)
            piece = body[start : start + length]
            body[start : start + length] = dice.choice(
                [b"", piece * 2, piece[::-1], dice.randbytes(1), b"\r\n", b"--frontier", b"\0"]
            )

        answer = await send_raw(door, bytes(body))

        assert answer.status_code in (200, 400), bytes(body)
        assert answer.headers["content-type"].startswith("application/json")
    assert door.spooled() == []
