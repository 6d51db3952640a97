"""graphql-transport-ws over real sockets: the protocol to the letter, and how sockets end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gql import Client, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from structlog.testing import capture_logs

from bioscope_gql.errors import Refusal
from bioscope_gql.transport.limits import Limits
from tests.door import ANNA, TOKEN, Door, Json, a_door
from tests.talk import Talk, a_talk, complete, next_, soon

TICKS = "subscription { ticks }"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_door(tmp_path) as door:
        yield door


async def the_error(talk: Talk) -> Json:
    heard = await talk.hear()
    assert (heard["type"], heard["id"], len(heard["payload"])) == ("error", "1", 1)
    return dict(heard["payload"][0])


async def test_a_subscription_tells_every_event_and_completes(door: Door) -> None:
    async with a_talk(door) as talk:
        assert talk.socket.subprotocol == "graphql-transport-ws"
        await talk.subscribe("subscription($to: Int!) { count(to: $to) }", variables={"to": 2})
        heard = [await talk.hear() for _ in range(3)]

    assert heard == [next_({"count": 0}), next_({"count": 1}), complete()]


async def test_queries_and_mutations_are_answered_too(door: Door) -> None:
    async with a_talk(door) as talk:
        await talk.subscribe("query Q { hello } mutation M { touch }", operationName="Q")
        query = [await talk.hear(), await talk.hear()]
        await talk.subscribe("query Q { hello } mutation M { touch }", operationName="M")
        mutation = [await talk.hear(), await talk.hear()]

    assert query == [next_({"hello": "hello world"}), complete()]
    assert mutation == [next_({"touch": 2}), complete()]


async def test_every_operation_and_every_event_has_a_context_of_its_own(door: Door) -> None:
    async with a_talk(door) as talk:
        for id in ("1", "2"):
            await talk.subscribe("subscription { count(to: 2) }", id=id)
            for _ in range(3):
                await talk.hear()

    contexts = door.bench.contexts
    assert len(contexts) == 6
    assert [each.viewer for each in contexts] == [ANNA] * 6
    assert {each.call.transport for each in contexts} == {"websocket"}
    assert [contexts[0].call.request_id == each.call.request_id for each in contexts] == [True] * 3 + [
        False
    ] * 3


async def test_several_operations_run_at_once(door: Door) -> None:
    async with a_talk(door) as talk:
        await talk.subscribe("{ wait }", id="slow")
        await soon(door.bench.entered)
        await talk.subscribe("{ hello }", id="fast")
        fast = [await talk.hear(), await talk.hear()]
        door.bench.release.set()
        slow = [await talk.hear(), await talk.hear()]

    assert fast == [next_({"hello": "hello world"}, "fast"), complete("fast")]
    assert slow == [next_({"wait": "waited"}, "slow"), complete("slow")]


async def test_the_token_may_come_in_the_handshake(door: Door) -> None:
    async with a_talk(door, init=False, additional_headers={"Authorization": TOKEN}) as talk:
        await talk.init(authorization=None)
        assert await talk.is_alive()


async def test_the_token_of_the_init_goes_before_that_of_the_handshake_whatever_its_case(door: Door) -> None:
    async with a_talk(door, init=False, additional_headers={"Authorization": "Bearer x"}) as talk:
        await talk.say("connection_init", payload={"Authorization": TOKEN})
        assert await talk.hear() == {"type": "connection_ack"}
        assert await talk.is_alive()


@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": {}}, {"payload": {"x": 1}}])
async def test_without_a_token_only_open_fields_are_served(door: Door, payload: Json) -> None:
    async with a_talk(door, init=False) as talk:
        await talk.say("connection_init", **payload)
        assert await talk.hear() == {"type": "connection_ack"}
        await talk.subscribe("{ me }")
        assert [await talk.hear(), await talk.hear()] == [next_({"me": None}), complete()]
        await talk.subscribe(TICKS)
        refused = await the_error(talk)

    assert refused["extensions"] == {"code": "UNAUTHENTICATED", "reason": "MISSING"}
    assert not door.bench.entered.is_set()


async def test_a_ping_is_answered_with_what_it_brought(door: Door) -> None:
    async with a_talk(door, init=False) as talk:
        await talk.say("ping")
        await talk.say("ping", payload={"x": 1})
        assert [await talk.hear(), await talk.hear()] == [
            {"type": "pong"},
            {"type": "pong", "payload": {"x": 1}},
        ]
        await talk.say("pong", payload={"x": 1})
        await talk.init()


async def test_a_silent_socket_is_pinged(tmp_path: Path) -> None:
    async with a_door(tmp_path, Limits(socket_ping_seconds=0.05)) as door, a_talk(door) as talk:
        assert [await talk.hear(), await talk.hear()] == [{"type": "ping"}, {"type": "ping"}]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { ticks count(to: 1) }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription($to: Int!) { count(to: $to) }", "BAD_USER_INPUT"),
        ("query A { me } query B { me }", "OPERATION_RESOLUTION_FAILURE"),
        ("{" + "me " * 501 + "}", "QUERY_TOO_COMPLEX"),
    ],
)
async def test_an_operation_that_will_not_do_ends_itself_and_not_the_socket(
    door: Door, query: str, code: str
) -> None:
    async with a_talk(door) as talk:
        await talk.subscribe(query)
        refused = await the_error(talk)
        assert await talk.is_alive()

    assert refused["extensions"]["code"] == code


async def test_a_source_that_refuses_at_once_is_one_error(door: Door) -> None:
    door.bench.ticks.put_nowait(Refusal("There is no run of this id that you may see.", "NOT_FOUND"))
    with capture_logs() as logs:
        async with a_talk(door) as talk:
            await talk.subscribe(TICKS)
            refused = await the_error(talk)
            assert await talk.is_alive()

    assert refused == {
        "message": "There is no run of this id that you may see.",
        "extensions": {"code": "NOT_FOUND"},
    }
    assert (door.bench.left.is_set(), logs) == (True, [])


async def test_a_source_that_refuses_later_tells_one_error_and_completes(door: Door) -> None:
    async with a_talk(door) as talk:
        await talk.subscribe(TICKS)
        door.bench.ticks.put_nowait(7)
        door.bench.ticks.put_nowait(Refusal("It is gone.", "NOT_FOUND"))
        heard = [await talk.hear() for _ in range(3)]

    errors = [{"message": "It is gone.", "extensions": {"code": "NOT_FOUND"}}]
    assert heard == [
        next_({"ticks": 7}),
        {"id": "1", "type": "next", "payload": {"errors": errors, "data": None}},
        complete(),
    ]


async def test_a_bug_in_a_source_is_masked_and_logged(door: Door) -> None:
    door.bench.ticks.put_nowait(ZeroDivisionError("secret"))
    with capture_logs() as logs:
        async with a_talk(door) as talk:
            await talk.subscribe(TICKS)
            told = await the_error(talk)

    request_id = door.bench.contexts[0].call.request_id
    assert told["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id}
    assert "secret" not in str(told)
    assert [(line["event"], line["request_id"]) for line in logs] == [("operation_failed", request_id)]


async def test_an_operation_that_is_completed_ends_and_its_id_is_free_again(door: Door) -> None:
    async with a_talk(door) as talk:
        await talk.subscribe(TICKS)
        await soon(door.bench.entered)
        await talk.say("complete", id="1")
        await talk.say("complete", id="unknown")
        await soon(door.bench.left)
        door.bench.ticks.put_nowait(1)
        await talk.subscribe("{ hello }")
        assert [await talk.hear(), await talk.hear()] == [next_({"hello": "hello world"}), complete()]


async def test_a_client_that_leaves_takes_its_operations_along(door: Door) -> None:
    async with a_talk(door) as talk:
        await talk.subscribe(TICKS)
        await soon(door.bench.entered)
        talk.socket.transport.abort()
        await soon(door.bench.left)


async def test_no_more_operations_than_allowed_run_at_once(tmp_path: Path) -> None:
    async with a_door(tmp_path, Limits(socket_operations=2)) as door, a_talk(door) as talk:
        for id in ("a", "b"):
            await talk.subscribe("{ wait }", id=id)
        await talk.subscribe("{ hello }")
        refused = await the_error(talk)
        await talk.say("complete", id="a")
        await talk.subscribe("{ hello }", id="c")
        heard = [await talk.hear(), await talk.hear()]

    assert refused["extensions"] == {"code": "RATE_LIMITED"}
    assert heard == [next_({"hello": "hello world"}, "c"), complete("c")]
    assert door.bench.ran == ["hello"]


async def test_a_stock_client_is_understood(door: Door) -> None:
    transport = WebsocketsTransport(
        f"ws://127.0.0.1:{door.port}/graphql",
        init_payload={"authorization": TOKEN},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
        connect_args={"proxy": None},
    )
    async with Client(transport=transport) as session:
        told = [data async for data in session.subscribe(gql("subscription { count(to: 3) }"))]
        with pytest.raises(TransportQueryError) as refused:
            await session.execute(gql("{ refused }"))

    assert told == [{"count": 0}, {"count": 1}, {"count": 2}]
    assert refused.value.errors is not None
    assert refused.value.errors[0]["extensions"] == {"code": "FORBIDDEN"}
