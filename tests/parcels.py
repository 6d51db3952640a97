"""Uploads by hand: multipart forms as clients send them, and as they should not."""

import asyncio
import hashlib
import json
import time
from typing import Any

import httpx

from tests.door import PATIENCE_SECONDS, TOKEN, Door, Json

UPLOAD = "mutation($file: Upload!) { upload(file: $file) { filename size sha256 tooLarge kept } }"
UPLOADS = "mutation($files: [Upload!]!) { uploads(files: $files) { filename size tooLarge kept } }"
PICTURE = "mutation($picture: Picture!) { picture(picture: $picture) { filename size } }"
HOLD = "mutation($file: Upload!) { hold(file: $file) }"

ONE_FILE: Json = {"query": UPLOAD, "variables": {"file": None}}
TO_FILE: Json = {"0": ["variables.file"]}
HEADERS = {"Authorization": TOKEN, "GraphQL-Require-Preflight": "1"}
BOUNDARY = "frontier"
EMPTY_SHA256 = hashlib.sha256().hexdigest()

Part = tuple[str, tuple[str | None, bytes]]


def field(name: str, value: object) -> Part:
    return name, (None, value if isinstance(value, bytes) else json.dumps(value).encode())


def file(name: str, data: bytes, filename: str = "a.png") -> Part:
    return name, (filename, data)


async def send(door: Door, *parts: Part, headers: dict[str, str] = HEADERS) -> httpx.Response:
    return await door.http.post("/graphql", files=parts, headers=headers)


async def send_file(door: Door, data: bytes, filename: str = "a.png") -> Json:
    answer = await send(door, field("operations", ONE_FILE), field("map", TO_FILE), file("0", data, filename))
    described: Json = answer.json()["data"]["upload"]
    return described


def raw(*parts: tuple[str, str, bytes], end: bytes = b"--frontier--\r\n") -> bytes:
    """A body by hand; each part has its name, more of its head, and its content."""
    lines = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, more, data in parts
    ]
    return b"".join(lines) + end


GOOD = raw(
    ("operations", "", json.dumps(ONE_FILE).encode()),
    ("map", "", json.dumps(TO_FILE).encode()),
    ("0", '; filename="a.png"', b"abc"),
)


async def send_raw(door: Door, body: Any, content_type: str | None = None, **headers: str) -> httpx.Response:
    content_type = content_type or f"multipart/form-data; boundary={BOUNDARY}"
    return await door.http.post(
        "/graphql", content=body, headers={**HEADERS, "Content-Type": content_type, **headers}
    )


def message(answer: httpx.Response) -> str:
    [error] = answer.json()["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "data" not in answer.json()
    return str(error["message"])


OPERATION = field("operations", ONE_FILE)
MAP = field("map", TO_FILE)
FILE = file("0", b"abc")
TWO: Json = {"query": UPLOADS, "variables": {"files": [None, None]}}


async def cut_upload(door: Door, *, then: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An upload of which a first large file has come and the second has begun."""
    operations = {"query": UPLOADS, "variables": {"files": [None, None]}}
    places = {"0": ["variables.files.0"], "1": ["variables.files.1"]}
    body = raw(
        ("operations", "", json.dumps(operations).encode()),
        ("map", "", json.dumps(places).encode()),
        ("0", '; filename="0.png"', b"x" * 2_000_000),
        ("1", '; filename="1.png"', b"y" * 2_000_000),
        end=b"",
    )
    head = [
        "POST /graphql HTTP/1.1",
        "Host: x",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        "Content-Length: 100000000",
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    await writer.drain()
    end = time.monotonic() + PATIENCE_SECONDS
    while sum(path.stat().st_size for path in door.spooled() if path.is_file()) < 3_000_000:
        assert time.monotonic() < end, door.spooled()
        await asyncio.sleep(0.01)
    writer.write(then)
    return reader, writer
