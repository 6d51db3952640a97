"""Log lines are structured, carry the request's id, and hold no secret."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from bioscope_gql import observability
from bioscope_gql.observability import Message, Receive, RequestId, Scope, Send

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = False
    structlog.reset_defaults()


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    observability.configure("info", "json", stream)
    return stream


def lines(out: io.StringIO) -> list[Json]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_our_lines_and_the_libraries_lines_look_alike(out: io.StringIO) -> None:
    structlog.get_logger("bioscope.events").info("A run has ended.", run="r1", items=3)
    logging.getLogger("some.library").warning("slow by %d ms", 12, extra={"query": "q"})
    logging.getLogger("uvicorn.access").info("GET / 200")
    structlog.get_logger("bioscope.events").debug("not wanted at this level")

    ours, theirs = lines(out)
    assert (ours["event"], ours["level"], ours["logger"]) == ("A run has ended.", "info", "bioscope.events")
    assert (ours["run"], ours["items"]) == ("r1", 3)
    assert (theirs["event"], theirs["level"], theirs["query"]) == ("slow by 12 ms", "warning", "q")
    assert ours["timestamp"].endswith("Z")


def test_configuring_again_replaces_and_never_doubles(out: io.StringIO) -> None:
    other = io.StringIO()
    observability.configure("warning", "json", other)
    structlog.get_logger("bioscope").info("too quiet")
    structlog.get_logger("bioscope").warning("once")
    assert out.getvalue() == ""
    assert [line["event"] for line in lines(other)] == ["once"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("password", "swordfish"),
        ("new_password", "swordfish"),
        ("refreshToken", "swordfish"),
        ("client_secret", b"swordfish"),
        ("authorization", "Bearer swordfish"),
        ("Cookie", "bioscope_refresh=swordfish"),
        ("dsn", "swordfish"),
        ("variables", {"input": {"login": "a", "password": "swordfish"}}),
        ("headers", [{"Authorization": "Basic swordfish"}]),
        ("error", "can't connect to postgresql://lab:swordfish@db:5432/x"),
        ("error", ValueError("amqp://lab:swordfish@q refused")),
        ("url", "http://minio:9000/b/k?X-Amz-Credential=x&X-Amz-Signature=swordfish"),
        ("url", "/files/images/1?expires=1&signature=swordfish"),
        ("note", "sent Authorization: Bearer swordfish.a.b to it"),
        ("note", "eyJhbGciOiJFUzI1NiJ9.swordfish.swordfish"),
        ("note", "client_id=a&client_secret=swordfish"),
        ("note", '{"password": "swordfish"}'),
        ("settings", SecretStr("swordfish")),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_never_reach_the_log(key: str, value: object, form: observability.LogFormat) -> None:
    stream = io.StringIO()
    observability.configure("info", form, stream)
    structlog.get_logger("bioscope").info("something", **{key: value})
    logging.getLogger("library").info("something %s", "postgresql://u:swordfish@db", extra={key: value})
    assert stream.getvalue().count("something") == 2
    assert "swordfish" not in stream.getvalue()


def test_secrets_in_an_exception_are_hidden_and_the_rest_is_told(out: io.StringIO) -> None:
    try:
        raise ConnectionError("postgresql://lab:swordfish@db.example/x refused")
    except ConnectionError:
        structlog.get_logger("bioscope").exception("The database is away.")
    (line,) = lines(out)
    assert "swordfish" not in line["exception"]
    assert "ConnectionError: postgresql://***@db.example/x refused" in line["exception"]


def test_what_is_no_secret_is_left_alone(out: io.StringIO) -> None:
    said = {
        "path": "/graphql",
        "ms": 1.5,
        "ok": True,
        "query_tokens": 12,
        "none": None,
        "at": "12:30=half past",
    }
    structlog.get_logger("bioscope").info("plain", **said)
    (line,) = lines(out)
    assert {name: line[name] for name in said} == said


def test_nobody_can_write_a_line_of_their_own() -> None:
    stream = io.StringIO()
    observability.configure("info", "console", stream)
    structlog.get_logger("bioscope").info("request", path="/x\n2030-01-01 [info] forged\r\x1b[31m")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


async def call(app: Any, scope: Scope) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def http(path: str = "/graphql", headers: tuple[tuple[bytes, bytes], ...] = ()) -> Scope:
    return {"type": "http", "method": "POST", "path": path, "query_string": b"secret=1", "headers": headers}


def header(message: Message, name: bytes) -> list[bytes]:
    return [value for key, value in message["headers"] if key == name]


async def fine(scope: Scope, _receive: Receive, send: Send) -> None:
    structlog.get_logger("bioscope").info("inside")
    await send({"type": "http.response.start", "status": 204, "headers": [(b"x-request-id", b"inner")]})
    await send({"type": "http.response.body", "body": scope["state"]["request_id"].encode()})


async def test_a_request_has_one_id_everywhere_and_one_line(out: io.StringIO) -> None:
    start, body = await call(RequestId(fine), http())
    inside, request = lines(out)

    (request_id,) = header(start, b"x-request-id")
    assert body["body"] == request_id
    assert inside["request_id"] == request["request_id"] == request_id.decode()
    assert (request["method"], request["path"], request["status"]) == ("POST", "/graphql", 204)
    assert request["ms"] >= 0
    assert "secret=1" not in out.getvalue()


@pytest.mark.parametrize(
    ("brought", "proxies", "kept"),
    [
        (b"abcdef-123456", 1, True),
        (b"abcdef-123456", 0, False),
        (b"short", 1, False),
        (b"x" * 65, 1, False),
        (b"abc def ghi jkl", 1, False),
        (b'abcdef"\r\nX-Evil: 1', 1, False),
        (b"\xff" * 12, 1, False),
    ],
)
async def test_a_callers_id_counts_only_if_it_is_sane_and_a_proxy_brought_it(
    out: io.StringIO, brought: bytes, proxies: int, kept: bool
) -> None:
    scope = http(headers=((b"x-request-id", brought),))
    start, _ = await call(RequestId(fine, trusted_proxies=proxies), scope)
    assert (header(start, b"x-request-id") == [brought]) is kept
    assert len(header(start, b"x-request-id")) == 1
    assert len(lines(out)) == 2


async def test_what_escapes_the_application_is_masked_and_logged(out: io.StringIO) -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("the secret detail")

    start, body = await call(RequestId(broken), http())
    (request_id,) = header(start, b"x-request-id")
    assert start["status"] == 500
    assert header(start, b"content-length") == [str(len(body["body"])).encode()]
    (error,) = json.loads(body["body"])["errors"]
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id.decode()}
    assert "detail" not in error["message"]
    failure, request = lines(out)
    assert "RuntimeError: the secret detail" in failure["exception"]
    assert request["status"] == 500


async def test_an_answer_that_had_begun_is_not_answered_twice(out: io.StringIO) -> None:
    async def broken(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    sent = await call(RequestId(broken), http())
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert [line["level"] for line in lines(out)] == ["error", "info"]


async def test_a_socket_has_an_id_too(out: io.StringIO) -> None:
    async def socket(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept", "subprotocol": "graphql-transport-ws"})
        await send({"type": "websocket.close", "code": 4403})

    accept, close = await call(RequestId(socket), {"type": "websocket", "path": "/graphql", "headers": []})
    (line,) = lines(out)
    assert header(accept, b"x-request-id") == [line["request_id"].encode()]
    assert (line["method"], line["status"], close["code"]) == ("WEBSOCKET", 4403, 4403)


async def test_the_lifespan_passes_through_untouched(out: io.StringIO) -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    await call(RequestId(app), {"type": "lifespan"})
    assert seen == ["lifespan"]
    assert out.getvalue() == ""
