"""Whatever is sent: an answer below 500, always JSON of the GraphQL shape, nothing in the log, and soon."""

import gzip
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from starlette.types import Message
from structlog.testing import capture_logs

from bioscope_gql.transport.limits import MIB, Limits
from tests.door import TOKEN, Door, a_door, spool_empties
from tests.malformed import Sent, everything

FUZZED = int(os.environ.get("BIOSCOPE_FUZZED_REQUESTS", "300"))
SEED = int(os.environ.get("BIOSCOPE_FUZZ_SEED", "1"))
SPICES = (b'"', b"{", b"}", b"[", b"\\", b"\x00", b"\r\n", b"$")
QUICK = Limits(body_stall_seconds=0.3)


async def answered(door: Door, sent: Sent) -> httpx.Response:
    headers = {"authorization": TOKEN, **sent.headers}
    return await door.http.request(sent.method, sent.path, content=sent.body, headers=headers)


def complaint(answer: httpx.Response) -> str | None:
    """What is wrong with an answer."""
    if answer.status_code >= 500:
        return f"status {answer.status_code}"
    if answer.headers["content-type"].partition(";")[0] not in (
        "application/json",
        "application/graphql-response+json",
    ):
        return f"type {answer.headers['content-type']}"
    body = answer.json()
    if not isinstance(body, dict) or not ("errors" in body or "data" in body):
        return f"body {answer.text[:80]}"
    errors = body.get("errors", [])
    codes = [error["extensions"]["code"] for error in errors]
    return "masked" if "INTERNAL_SERVER_ERROR" in codes else None


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_door(tmp_path / "spool", QUICK) as door:
        yield door


async def test_no_malformed_request_gets_more_than_a_refusal(door: Door) -> None:
    corpus = list(everything())
    assert len(corpus) >= 300
    with capture_logs() as logs:
        complaints = [(sent, said) for sent in corpus if (said := complaint(await answered(door, sent)))]
        after = await door.post("{ hello }")
    assert complaints == []
    assert [log for log in logs if log["log_level"] in ("error", "critical")] == []
    assert after.json()["data"] == {"hello": "hello world"}
    assert door.spooled() == []


def fuzzed(count: int, chance: random.Random) -> Iterator[Sent]:
    """Requests of the corpus with bytes changed, cut, doubled or mixed up."""
    corpus = [sent for sent in everything() if len(sent.body) < 4_000]
    for _ in range(count):
        sent = chance.choice(corpus)
        body = bytearray(sent.body or b'{"query": "{ hello }"}')
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(body) + 1)
            match chance.randrange(4):
                case 0:
                    body[place:place] = bytes([chance.randrange(256)])
                case 1:
                    del body[place : place + chance.randint(1, 9)]
                case 2:
                    body[place:place] = body[: chance.randint(1, 40)]
                case _:
                    body[place : place + 1] = chance.choice(
                        (b'"', b"{", b"}", b"[", b"\\", b"\x00", b"\r\n", b"$")
                    )
        yield Sent(bytes(body), sent.headers, sent.method, sent.path)


async def test_no_fuzzed_request_gets_more_than_a_refusal(door: Door) -> None:
    with capture_logs() as logs:
        for number, sent in enumerate(fuzzed(FUZZED, random.Random(SEED))):
            assert complaint(await answered(door, sent)) is None, (SEED, number, sent)
    assert [log for log in logs if log["log_level"] in ("error", "critical")] == []


BOMBS = {
    "fragments": "{ ...F0 } "
    + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(50))
    + " fragment F50 on Query { hello }",
    "aliases": "{ " + " ".join(f"a{n}: hello" for n in range(600)) + " }",
    "directives": "{ hello" + " @skip(if: false)" * 300 + " }",
    "comments": "{ hello }" + "#x\n" * 20_000,
    "tokens": "{ " + "hello " * 10_000 + "}",
    "circle": "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "depth": "{ hello " * 900,
    "overlaps": "{ " + 'hello(name: "a") hello(name: "b") ' * 160 + "}",
    "introspection": "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
}


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_bomb_is_refused(door: Door, bomb: str) -> None:
    answers = [await door.post(BOMBS[bomb] + f"#{n}") for n in range(5)]
    assert all("errors" in answer.json() for answer in answers)


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "' + b"#" * 2_000_000 + b'"}',
        b"[" * 1_000_000,
        b'{"query": "{ hello }", "variables": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        json.dumps({"query": "{ hello }", "variables": {str(n): n for n in range(60_000)}}).encode(),
        json.dumps({"query": "{ hello }", "variables": {"a": list(range(140_000))}}).encode(),
    ],
    ids=["2 MB of comment", "brackets", "deep variables", "many variables", "a long list"],
)
async def test_a_huge_body_is_no_fault_of_the_server(door: Door, body: bytes) -> None:
    answer = await answered(door, Sent(body))
    assert answer.status_code < 500


async def test_a_compressed_bomb_is_not_unpacked(door: Door) -> None:
    body = gzip.compress(b" " * 100_000_000)
    answer = await answered(
        door, Sent(body, {"content-type": "application/json", "content-encoding": "gzip"})
    )
    assert answer.status_code == 415


async def test_nobodys_upload_of_100_megabytes_is_refused_before_it_is_kept(door: Door) -> None:
    async def bytes_sent() -> AsyncIterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="operations"\r\n\r\n'
        for _ in range(1_600):
            yield b"x" * 65_536

    headers = {"content-type": "multipart/form-data; boundary=x", "graphql-require-preflight": "1"}
    answer = await door.http.post("/graphql", content=bytes_sent(), headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")
    assert door.spooled() == []


async def test_an_upload_without_a_token_is_refused_before_anything_of_it_is_read(door: Door) -> None:
    """Read beneath the server: sockets have buffers that nobody reads."""
    read, read_at_answer = 0, None

    async def receive() -> Message:
        nonlocal read
        read += 65_536
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": read < 100 * MIB}

    async def send(message: Message) -> None:
        nonlocal read_at_answer
        if message["type"] == "http.response.start":
            assert message["status"] == 401
            read_at_answer = read

    headers = {
        b"content-type": b"multipart/form-data; boundary=x",
        b"content-length": b"104857600",
        b"graphql-require-preflight": b"1",
    }
    scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b""}
    await door.endpoint({**scope, "headers": list(headers.items())}, receive, send)
    assert read_at_answer == 0


async def test_a_file_of_100_megabytes_passes_through_without_being_held_in_memory(door: Door) -> None:
    process = psutil.Process()
    highest = before = process.memory_info().rss
    fields = (
        b'--x\r\ncontent-disposition: form-data; name="operations"\r\n\r\n{"query": "mutation ($f: Upload!)'
        b' { upload(file: $f) { size } }", "variables": {"f": null}}\r\n--x\r\n'
        b'content-disposition: form-data; name="map"\r\n\r\n{"0": ["variables.f"]}\r\n--x\r\n'
        b'content-disposition: form-data; name="0"; filename="a.png"\r\n\r\n'
    )

    async def body() -> AsyncIterator[bytes]:
        nonlocal highest
        yield fields
        for _ in range(1_600):
            yield b"x" * 65_536
            highest = max(highest, process.memory_info().rss)
        yield b"\r\n--x--\r\n"

    headers = {
        "authorization": TOKEN,
        "content-type": "multipart/form-data; boundary=x",
        "graphql-require-preflight": "1",
    }
    answer = await door.http.post("/graphql", content=body(), headers=headers)
    assert answer.json()["data"] == {"upload": {"size": 1_600 * 65_536}}
    assert highest - before < 32 * MIB
    await spool_empties(door)
