"""GraphQL over HTTP: media types, statuses, refusals, and what is said of errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from bioscope_gql.errors import Unauthenticated
from bioscope_gql.transport.limits import Limits
from tests.door import ANNA, PATIENCE_SECONDS, TOKEN, Door, Json, a_door

GRAPHQL_JSON = "application/graphql-response+json"
JSON = "application/json"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_door(tmp_path / "spool") as door:
        yield door


def codes(answer: httpx.Response) -> list[str]:
    return [error["extensions"]["code"] for error in answer.json()["errors"]]


def the_error(answer: httpx.Response) -> Json:
    [error] = answer.json()["errors"]
    return dict(error)


async def test_a_query_is_answered(door: Door) -> None:
    answer = await door.post("query($n: String!) { hello(name: $n) }", variables={"n": "you"})

    assert (answer.status_code, answer.json()["data"]) == (200, {"hello": "hello you"})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert [(toy.viewer, toy.call.transport) for toy in door.bench.contexts] == [(ANNA, "post")]


async def test_a_query_may_come_in_the_address_but_a_mutation_may_not(door: Door) -> None:
    headers = {"Authorization": TOKEN}
    query = await door.http.get("/graphql", params={"query": "{ hello }", "variables": "{}"}, headers=headers)
    mutation = await door.http.get("/graphql", params={"query": "mutation { touch }"}, headers=headers)

    assert (query.status_code, query.json()["data"]) == (200, {"hello": "hello world"})
    assert (mutation.status_code, mutation.headers["allow"]) == (405, "POST")
    assert door.bench.ran == ["hello"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused(tmp_path: Path, method: str) -> None:
    async with a_door(tmp_path) as door:
        answer = await door.http.request(method, "/graphql")
    assert answer.status_code == 405


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL_JSON, GRAPHQL_JSON),
        (f"{GRAPHQL_JSON}, {JSON};q=0.9", GRAPHQL_JSON),
        (f"{GRAPHQL_JSON};q=0.5, {JSON};q=0.9", JSON),
        (f"text/html, {GRAPHQL_JSON}", GRAPHQL_JSON),
        ("application/json;charset=utf-8", JSON),
        (f"{JSON};q=0, */*", GRAPHQL_JSON),
    ],
)
async def test_the_client_chooses_the_media_type(door: Door, accept: str | None, media: str) -> None:
    headers = {"Authorization": TOKEN, **({"Accept": accept} if accept else {})}
    answer = await door.http.post("/graphql", json={"query": "{ hello }"}, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{media}; charset=utf-8")


async def test_a_media_type_that_is_not_to_be_had_is_told_before_anything_runs(door: Door) -> None:
    headers = {"Authorization": TOKEN, "Accept": "text/html"}
    answer = await door.http.post("/graphql", json={"query": "{ hello }"}, headers=headers)
    assert (answer.status_code, door.bench.ran) == (406, [])


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("{ hello", 400, "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", 400, "GRAPHQL_VALIDATION_FAILED"),
        ("query A { hello } query B { hello }", 400, "OPERATION_RESOLUTION_FAILURE"),
        ("query($n: Int!) { hello }", 400, "GRAPHQL_VALIDATION_FAILED"),
        ("query($n: String!) { hello(name: $n) }", 400, "BAD_USER_INPUT"),
        ("subscription { count(to: 1) }", 400, "BAD_USER_INPUT"),
        ("fragment F on Query { hello }", 400, "GRAPHQL_VALIDATION_FAILED"),
    ],
)
async def test_an_operation_that_will_not_do_has_no_data(
    door: Door, query: str, status: int, code: str
) -> None:
    headers = {"Authorization": TOKEN, "Accept": GRAPHQL_JSON}
    strict = await door.http.post("/graphql", json={"query": query}, headers=headers)
    old = await door.post(query)

    assert (strict.status_code, codes(strict)[0], "data" in strict.json()) == (status, code, False)
    assert (old.status_code, old.json()) == (200, strict.json())
    assert door.bench.ran == []


BODIES: list[bytes] = [
    b"",
    b"null",
    b"1",
    b'"{ hello }"',
    b"[]",
    b'[{"query": "{ hello }"}]',
    b"{}",
    b'{"query": null}',
    b'{"query": 1}',
    b'{"query": ""}',
    b'{"query": " "}',
    b'{"query": "{ hello }", "variables": []}',
    b'{"query": "{ hello }", "variables": "x"}',
    b'{"query": "{ hello }", "operationName": 1}',
    b'{"query": "{ hello }", "extensions": 1}',
    b'{"query": "{ hello }", "variables": {"x": NaN}}',
    b'{"query": "{ hello }"',
    b'{"query": "\xff"}',
    b'{"query": "\\ud800"}',
    b'{"query": "{ hello }", "variables": {"x": ' + b"[" * 101 + b"]" * 101 + b"}}",
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_a_body_that_is_no_request_is_a_bad_request(door: Door, body: bytes) -> None:
    headers = {"Authorization": TOKEN, "Content-Type": JSON}
    answer = await door.http.post("/graphql", content=body, headers=headers)

    assert (answer.status_code, codes(answer)) == (400, ["BAD_USER_INPUT"])
    assert door.bench.contexts == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin1"},
        {"Content-Type": JSON, "Content-Encoding": "gzip"},
        {},
    ],
)
async def test_a_body_of_another_kind_is_not_read(door: Door, headers: dict[str, str]) -> None:
    answer = await door.http.post(
        "/graphql", content=b'{"query": "{ hello }"}', headers={"Authorization": TOKEN, **headers}
    )
    assert (answer.status_code, door.bench.contexts) == (415, [])


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_is_read_no_further_than_its_limit(tmp_path: Path, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"query": "{ hello }", "variables": {"x": "'
        for _ in range(20):
            yield b"x" * 100
        yield b'"}}'

    content: Any = pieces() if chunked else b"".join([piece async for piece in pieces()])
    async with a_door(tmp_path, Limits(body_bytes=1000)) as door:
        headers = {"Authorization": TOKEN, "Content-Type": JSON}
        answer = await door.http.post("/graphql", content=content, headers=headers)

    assert (answer.status_code, door.bench.contexts) == (413, [])
    assert the_error(answer)["message"] == "The request is larger than 1,000 bytes. Send less at once."


async def test_a_body_that_stops_coming_is_given_up(tmp_path: Path) -> None:
    async with a_door(tmp_path, Limits(body_stall_seconds=0.05)) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        head = ("POST /graphql HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 99")
        writer.write("\r\n".join([*head, "", "{"]).encode())
        async with asyncio.timeout(PATIENCE_SECONDS):
            status = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert status.startswith(b"HTTP/1.1 408 ")


async def test_without_a_token_only_open_fields_are_served(door: Door) -> None:
    headers = {"Accept": GRAPHQL_JSON}
    closed = await door.http.post("/graphql", json={"query": "{ me hello }"}, headers=headers)
    open_ = await door.post("{ me __typename }", token=None)

    assert (closed.status_code, closed.headers["www-authenticate"]) == (401, "Bearer")
    assert the_error(closed)["extensions"] == {"code": "UNAUTHENTICATED", "reason": "MISSING"}
    assert open_.json()["data"] == {"me": None, "__typename": "Query"}
    assert door.bench.ran == []


async def test_a_bad_token_is_refused_whatever_it_asks_but_not_looked_at_for_a_login(door: Door) -> None:
    asked = await door.post("{ me }", token="Bearer nobody")
    login = await door.post("mutation { login }", token="Bearer nobody")

    assert the_error(asked)["extensions"] == {"code": "UNAUTHENTICATED", "reason": "INVALID"}
    assert (login.json()["data"], login.headers["set-cookie"]) == ({"login": "in"}, "a=b")
    assert door.desk.asked == ["Bearer nobody"]


async def test_an_expired_token_is_good_for_logout_only(door: Door) -> None:
    door.desk.let_expire()
    logout = await door.post("mutation { logout }")
    both = await door.post("mutation { logout touch }")

    assert logout.json()["data"] == {"logout": "anna"}
    assert the_error(both)["extensions"]["reason"] == "EXPIRED"
    assert door.bench.ran == []


async def test_a_bug_is_told_as_a_request_id_and_logged_once(door: Door) -> None:
    with capture_logs() as logs:
        answer = await door.post("query Q { me bug }")

    request_id = door.bench.contexts[0].call.request_id
    assert answer.status_code == 200
    assert answer.json()["data"] == {"me": "anna", "bug": None}
    assert the_error(answer)["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id}
    assert "secret" not in answer.text
    [line] = [line for line in logs if line["log_level"] == "error"]
    assert (line["event"], line["request_id"], line["operation"]) == ("operation_failed", request_id, "Q")
    assert isinstance(line["exc_info"], ZeroDivisionError)


async def test_a_refusal_is_told_with_its_code_and_place_and_not_logged(door: Door) -> None:
    with capture_logs() as logs:
        answer = await door.post("{ refused }")

    assert the_error(answer) == {
        "message": "Not like this.",
        "locations": [{"line": 1, "column": 3}],
        "path": ["refused"],
        "extensions": {"code": "FORBIDDEN"},
    }
    assert logs == []


async def test_a_database_that_is_away_is_a_503(door: Door) -> None:
    answer = await door.post("{ me database }")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert codes(answer) == ["SERVICE_UNAVAILABLE"]
    assert "10.0.0.1" not in answer.text


async def test_a_database_that_is_away_when_the_token_is_read_is_a_503_too(door: Door) -> None:
    door.desk.failing = ConnectionRefusedError()
    answer = await door.post("{ hello }")
    assert (answer.status_code, door.bench.ran) == (503, [])


async def test_a_bug_in_the_authenticator_lets_nobody_in(door: Door) -> None:
    door.desk.failing = ZeroDivisionError("secret")
    with capture_logs() as logs:
        answer = await door.post("{ hello }")

    assert (codes(answer), door.bench.ran) == (["INTERNAL_SERVER_ERROR"], [])
    assert "secret" not in answer.text
    assert [line["event"] for line in logs] == ["operation_failed"]


async def test_introspection_can_be_off_and_suggestions_are_then_off_too(tmp_path: Path) -> None:
    async with a_door(tmp_path, introspection=False) as door:
        schema = await door.post("{ __schema { queryType { name } } }")
        typo = await door.post("{ helo }")

    assert set(codes(schema)) == {"GRAPHQL_VALIDATION_FAILED"}
    assert the_error(typo)["message"] == "Cannot query field 'helo' on type 'Query'."


async def test_parameters_of_an_address_come_once(door: Door) -> None:
    answer = await door.http.get(
        "/graphql?query={hello}&query={me}", headers={"Authorization": TOKEN, "Accept": GRAPHQL_JSON}
    )
    assert (answer.status_code, door.bench.ran) == (400, [])


async def test_every_answer_is_json_whatever_is_asked(door: Door) -> None:
    answers = [
        await door.http.get("/graphql"),
        await door.http.get("/graphql", params={"query": "{ hello }", "variables": "{"}),
        await door.http.post("/graphql", content=b"\x00", headers={"Content-Type": JSON}),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert [sorted(json.loads(answer.content)) for answer in answers] == [["errors"]] * 3


async def test_a_refusal_of_the_authenticator_keeps_its_reason(door: Door) -> None:
    door.desk.failing = Unauthenticated("Your session has ended.", reason="REVOKED")
    answer = await door.post("{ hello }")
    assert the_error(answer) == {
        "message": "Your session has ended.",
        "extensions": {"code": "UNAUTHENTICATED", "reason": "REVOKED"},
    }
