"""Whatever is said on a socket: answers of the protocol or a close code of it, and the server lives on."""

import asyncio
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from structlog.testing import capture_logs

from tests.door import PATIENCE_SECONDS, TOKEN, Json, a_door
from tests.talk import Talk, a_talk

FUZZED = int(os.environ.get("BIOSCOPE_FUZZED_MESSAGES", "300"))
SEED = int(os.environ.get("BIOSCOPE_FUZZ_SEED", "1"))
CODES = {1000, 1003, 1007, 1009, 4400, 4401, 4403, 4409, 4429}
TYPES = {"connection_ack", "next", "error", "complete", "ping", "pong"}
INIT = {"type": "connection_init", "payload": {"authorization": TOKEN}}
SAID = [
    INIT,
    {"type": "ping", "payload": {"a": 1}},
    {"type": "pong"},
    {"type": "subscribe", "id": "1", "payload": {"query": "{ hello }"}},
    {"type": "subscribe", "id": "2", "payload": {"query": "query A($n: String!) { hello(name: $n) }"}},
    {"type": "subscribe", "id": "3", "payload": {"query": "mutation { touch }", "operationName": None}},
    {"type": "subscribe", "id": "4", "payload": {"query": "subscription { count(to: 3) }"}},
    {"type": "subscribe", "id": "5", "payload": {"query": "subscription { ticks }", "variables": {}}},
    {"type": "subscribe", "id": "6", "payload": {"query": "{ bug }"[:5], "extensions": {}}},
    {"type": "complete", "id": "5"},
]
ODD: list[object] = [
    None,
    True,
    0,
    -1,
    1e308,
    "",
    "x" * 300,
    [],
    {},
    [[]],
    {"type": "ping"},
    "\u0000",
    "{ hello }",
]


def changed(message: object, chance: random.Random) -> object:
    """The same with one member, somewhere, missing or of another kind."""
    if not isinstance(message, dict) or not message or chance.random() < 0.1:
        return chance.choice(ODD)
    copy = dict(message)
    name = chance.choice(list(copy))
    match chance.randrange(3):
        case 0:
            del copy[name]
        case 1:
            copy[name] = changed(copy[name], chance)
        case _:
            copy[chance.choice(("id", "type", "payload", "more"))] = chance.choice(ODD)
    return copy


def fuzzed(chance: random.Random) -> Iterator[str | bytes]:
    """Messages: some as they should be, most with members or characters changed, some not even text."""
    while True:
        message: object = chance.choice(SAID)
        if chance.random() < 0.6:
            message = changed(message, chance)
        text = json.dumps(message)
        if chance.random() < 0.2:
            place = chance.randrange(len(text) + 1)
            text = (
                text[:place]
                + chance.choice(('"', "{", "}", "[", "\\", "\x00", "\u2028", ""))
                + text[place + 1 :]
            )
        yield text.encode() if chance.random() < 0.02 else text


def check(message: Json) -> None:
    """What was heard is of the protocol, and no bug of ours."""
    assert message["type"] in TYPES, message
    payload: Any = message.get("payload")
    errors = payload if message["type"] == "error" else []
    if message["type"] == "next":
        errors = payload.get("errors", [])
    assert "INTERNAL_SERVER_ERROR" not in {error["extensions"]["code"] for error in errors}, message


async def say(talk: Talk, messages: list[str | bytes]) -> None:
    """Say them and hear all that is answered, to the last or until the other side closes."""
    last = {"type": "pong", "payload": {"last": True}}
    try:
        for message in messages:
            await talk.socket.send(message)
        await talk.socket.send(json.dumps({**last, "type": "ping"}))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (heard := json.loads(await talk.socket.recv())) != last:
                check(heard)
    except websockets.ConnectionClosed:
        assert talk.socket.close_code in CODES, (messages, talk.socket.close_code)


@pytest.mark.timeout(600)
async def test_no_fuzzed_message_does_more_than_end_its_socket(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    messages, sent = fuzzed(chance), 0
    async with a_door(tmp_path / "spool") as door:
        with capture_logs() as logs:
            while sent < FUZZED:
                async with a_talk(door, init=chance.random() < 0.9) as talk:
                    some = [next(messages) for _ in range(chance.randint(1, 6))]
                    await say(talk, some)
                    sent += len(some)
        async with a_talk(door) as talk:
            assert await talk.is_alive()
        assert door.endpoint.crowd["socket_operations"] == 0
    assert [log for log in logs if log["log_level"] in ("error", "critical")] == []
