"""How sockets end: with which code, when, and that nothing is left running."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import websockets
from structlog.testing import capture_logs

from bioscope_gql.transport.limits import Limits
from tests.door import ANNA, TOKEN, Door, Json, a_door
from tests.talk import a_talk, soon

TICKS = "subscription { ticks }"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_door(tmp_path) as door:
        yield door


NOT_A_MESSAGE: list[Any] = [
    "",
    "{",
    "null",
    "1",
    "[]",
    '"ping"',
    "{}",
    '{"type": null}',
    '{"type": 1}',
    '{"type": {}}',
    '{"type": "nothing"}',
    '{"type": "start", "id": "1", "payload": {"query": "{ me }"}}',
    '{"type": "next", "id": "1", "payload": {}}',
    '{"type": "connection_ack"}',
    '{"type": "connection_init", "payload": 1}',
    '{"type": "connection_init", "payload": []}',
    '{"type": "ping", "payload": 1}',
    '{"type": "pong", "payload": "x"}',
    '{"type": "subscribe"}',
    '{"type": "subscribe", "id": "1"}',
    '{"type": "subscribe", "id": "1", "payload": null}',
    '{"type": "subscribe", "id": "1", "payload": []}',
    '{"type": "subscribe", "id": "1", "payload": {}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": 1}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "{ me }", "variables": []}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "{ me }", "operationName": 1}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "{ me }", "extensions": 1}}',
    '{"type": "subscribe", "payload": {"query": "{ me }"}}',
    '{"type": "subscribe", "id": "", "payload": {"query": "{ me }"}}',
    '{"type": "subscribe", "id": 1, "payload": {"query": "{ me }"}}',
    json.dumps({"type": "subscribe", "id": "x" * 257, "payload": {"query": "{ me }"}}),
    '{"type": "complete"}',
    '{"type": "complete", "id": 1}',
    '{"type": "ping", "x": "\\ud800"}',
    '{"type": "ping", "x": NaN}',
    "[" * 100_000,
    '{"type": "ping", "payload": {"x": ' + "[" * 100 + "]" * 100 + "}}",
    b'{"type": "ping"}',
    b"\x00",
]


@pytest.mark.parametrize("message", NOT_A_MESSAGE, ids=range(len(NOT_A_MESSAGE)))
async def test_what_is_no_message_closes_with_4400_and_a_sentence(door: Door, message: Any) -> None:
    with capture_logs() as logs:
        async with a_talk(door) as talk:
            await talk.socket.send(message)
            code, reason = await talk.ended()

    assert (code, str(reason)[-1:], logs) == (4400, ".", [])
    assert door.bench.contexts == []


@pytest.mark.parametrize("payload", [{"authorization": 1}, {"authorization": "a", "Authorization": "b"}])
async def test_an_authorization_is_one_string(door: Door, payload: Json) -> None:
    async with a_talk(door, init=False) as talk:
        await talk.say("connection_init", payload=payload)
        assert (await talk.ended())[0] == 4400


async def test_a_message_has_a_limit(tmp_path: Path) -> None:
    async with a_door(tmp_path, Limits(socket_message_bytes=1000)) as door, a_talk(door) as talk:
        await talk.say("ping", payload={"x": "ä" * 500})
        assert await talk.ended() == (1009, "The message is too large.")


async def test_nothing_is_subscribed_before_the_init(door: Door) -> None:
    async with a_talk(door, init=False) as talk:
        await talk.subscribe("{ me }")
        assert await talk.ended() == (4401, "Send connection_init before you subscribe.")
    assert door.bench.contexts == []


async def test_an_init_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async with a_door(tmp_path, Limits(socket_init_seconds=0.05)) as door, a_talk(door, init=False) as talk:
        assert await talk.ended() == (4408, "No connection_init came in time.")


async def test_a_socket_that_is_initialised_in_time_stays(tmp_path: Path) -> None:
    limits = Limits(socket_init_seconds=0.2, socket_ping_seconds=0.4)
    async with a_door(tmp_path, limits) as door, a_talk(door) as talk:
        assert await talk.hear() == {"type": "ping"}
        assert await talk.is_alive()


async def test_a_second_init_is_one_too_many(door: Door) -> None:
    async with a_talk(door) as talk:
        await talk.say("connection_init")
        assert await talk.ended() == (4429, "connection_init may be sent once only.")


async def test_an_id_that_is_in_use_closes_the_socket(door: Door) -> None:
    async with a_talk(door) as talk:
        await talk.subscribe(TICKS)
        await soon(door.bench.entered)
        await talk.subscribe(TICKS)
        assert await talk.ended() == (4409, "Subscriber for 1 already exists")
    await soon(door.bench.left)


async def test_a_long_id_that_is_in_use_fits_into_the_reason(door: Door) -> None:
    async with a_talk(door) as talk:
        for _ in range(2):
            await talk.subscribe(TICKS, id="ä" * 256)
        code, reason = await talk.ended()
    assert (code, len(str(reason).encode())) == (4409, 123)


@pytest.mark.parametrize("protocols", [None, ["graphql-ws"], ["x", "y"]])
async def test_no_other_protocol_is_spoken(door: Door, protocols: list[Any] | None) -> None:
    async with a_talk(door, init=False, subprotocols=protocols) as talk:
        assert talk.socket.subprotocol is None
        assert await talk.ended() == (4406, "Speak the sub-protocol graphql-transport-ws.")


async def test_our_protocol_is_chosen_among_others(door: Door) -> None:
    async with a_talk(door, subprotocols=["graphql-ws", "graphql-transport-ws"]) as talk:
        assert talk.socket.subprotocol == "graphql-transport-ws"


@pytest.mark.parametrize(
    ("origin", "is_welcome"),
    [
        ("http://127.0.0.1:{port}", True),
        ("https://127.0.0.1:{port}", True),
        ("https://lab.example", True),
        ("https://LAB.example", True),
        ("https://evil.example", False),
        ("https://lab.example.evil.example", False),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:1", False),
        ("null", False),
        ("http://[", False),
        ("", False),
    ],
)
async def test_pages_of_foreign_sites_get_no_socket(tmp_path: Path, origin: str, is_welcome: bool) -> None:
    async with a_door(tmp_path, allowed_origins=["https://lab.example"]) as door:
        origin = origin.format(port=door.port)
        if is_welcome:
            async with a_talk(door, additional_headers={"Origin": origin}) as talk:
                assert await talk.is_alive()
        else:
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with a_talk(door, additional_headers={"Origin": origin}):
                    pass
            assert refused.value.response.status_code == 403
            assert door.desk.asked == []


async def test_a_token_that_is_none_of_ours_closes_with_4403(door: Door) -> None:
    async with a_talk(door, init=False) as talk:
        await talk.say("connection_init", payload={"authorization": "Bearer nobody"})
        assert await talk.ended() == (4403, "The token is not one of ours. Sign in again.")


async def test_a_token_that_has_expired_closes_with_4403(door: Door) -> None:
    door.desk.let_expire()
    async with a_talk(door, init=False) as talk:
        await talk.say("connection_init", payload={"authorization": TOKEN})
        assert await talk.ended() == (4403, "The token has expired. Get a new one.")


async def test_a_session_that_was_revoked_closes_with_4401(door: Door) -> None:
    door.desk.revoked = True
    async with a_talk(door, init=False) as talk:
        await talk.say("connection_init", payload={"authorization": TOKEN})
        assert (await talk.ended())[0] == 4401


async def test_a_database_that_is_away_at_the_init_has_the_client_come_back(door: Door) -> None:
    door.desk.failing = ConnectionRefusedError()
    async with a_talk(door, init=False) as talk:
        await talk.say("connection_init", payload={"authorization": TOKEN})
        assert (await talk.ended())[0] == 1013


async def test_a_bug_at_the_init_is_logged_and_lets_nobody_in(door: Door) -> None:
    door.desk.failing = ZeroDivisionError("secret")
    with capture_logs() as logs:
        async with a_talk(door, init=False) as talk:
            await talk.say("connection_init", payload={"authorization": TOKEN})
            assert await talk.ended() == (4500, "Something went wrong on our side.")
    assert [line["event"] for line in logs] == ["socket_failed"]


async def test_a_socket_ends_with_its_token(door: Door) -> None:
    door.desk.let_expire(seconds=0.3)
    expires_at = door.desk.viewers[TOKEN].expires_at
    assert expires_at is not None
    async with a_talk(door) as talk:
        await talk.subscribe(TICKS)
        assert (await talk.ended())[0] == 4403
        late = (datetime.now(UTC) - expires_at).total_seconds()

    assert 0.0 <= late < 1.0
    await soon(door.bench.left)


async def test_a_socket_ends_soon_after_its_session(tmp_path: Path) -> None:
    async with a_door(tmp_path, Limits(socket_check_seconds=0.05)) as door, a_talk(door) as talk:
        await talk.subscribe(TICKS)
        await soon(door.bench.entered)
        door.desk.revoked = True
        assert await talk.ended() == (4401, "Your session has ended. Sign in again.")
        await soon(door.bench.left)


async def test_a_socket_ends_soon_after_the_rights_of_its_viewer_changed(tmp_path: Path) -> None:
    async with a_door(tmp_path, Limits(socket_check_seconds=0.05)) as door, a_talk(door) as talk:
        door.desk.viewers[TOKEN] = replace(ANNA, name="hanna")
        assert await talk.ended() == (4403, "Your rights have changed. Connect again.")


async def test_a_socket_outlives_a_database_that_is_away(tmp_path: Path) -> None:
    async with a_door(tmp_path, Limits(socket_check_seconds=0.02)) as door, a_talk(door) as talk:
        door.desk.failing = ConnectionRefusedError()
        await soon(door.desk.failed)
        door.desk.failing = None
        assert await talk.is_alive()


async def test_a_check_that_fails_by_a_bug_ends_the_socket(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with a_door(tmp_path, Limits(socket_check_seconds=0.05)) as door, a_talk(door) as talk:
            door.desk.failing = ZeroDivisionError()
            assert (await talk.ended())[0] == 4500
    assert [line["event"] for line in logs] == ["socket_failed"]


async def test_closing_ends_all_sockets_with_1012_and_waits_for_their_operations(door: Door) -> None:
    async with a_talk(door) as one, a_talk(door) as other, a_talk(door, init=False) as silent:
        await one.subscribe(TICKS)
        await soon(door.bench.entered)

        await door.endpoint.close()
        assert door.bench.left.is_set()
        await door.endpoint.close()

        codes = [(await talk.ended())[0] for talk in (one, other, silent)]
        async with a_talk(door, init=False) as late:
            codes.append((await late.ended())[0])
    assert codes == [1012] * 4


@pytest.mark.filterwarnings("ignore")  # one of the two is on its way out
@pytest.mark.parametrize("ws", ["websockets", "websockets-sansio"])
async def test_it_does_not_depend_on_the_server_how_sockets_are_served(tmp_path: Path, ws: str) -> None:
    limits = Limits(socket_init_seconds=0.2)
    async with a_door(tmp_path, limits, ws=ws) as door:
        async with a_talk(door) as talk:
            assert await talk.is_alive()
            await talk.subscribe(TICKS)
            await soon(door.bench.entered)
            await talk.socket.send("junk")
            assert (await talk.ended())[0] == 4400
            await soon(door.bench.left)
        async with a_talk(door, init=False) as talk:
            assert (await talk.ended())[0] == 4408
        async with a_talk(door, init=False, subprotocols=None) as talk:
            assert (await talk.ended())[0] == 4406
        with pytest.raises(websockets.InvalidStatus):
            async with a_talk(door, additional_headers={"Origin": "https://evil.example"}):
                pass
        async with a_talk(door) as talk:
            await door.endpoint.close()
            assert (await talk.ended())[0] == 1012
