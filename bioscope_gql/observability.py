"""What the process says about itself: structured log lines with request ids and without secrets."""

import logging
import re
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bioscope_gql.vocabulary import uuid7

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
LogFormat = Literal["console", "json"]

HIDDEN = "***"
_SECRET_NAME = re.compile(
    r"passw|passphrase|secret|token|authorization|cookie|credential|private_key|dsn", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)[^/\s@'\"]*:[^/\s'\"]*(?=@)")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
_QUERY = re.compile(
    r"(?<=[?&])([^=&\s'\"]*(?:sign|token|secret|passw|credential|policy|expires)[^=&\s'\"]*)=[^&\s'\"]+",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    r"\b(password|client_secret|secret_key|refresh_?token|access_?token)(['\"]?\s*[=:]\s*)(['\"]?)[^\s'\",}&]+",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MANY_LINES = ("exception", "stack")
_SUSPECT = re.compile(rf"[=:]|eyJ|bearer|basic|{_CONTROL.pattern}", re.IGNORECASE)
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")


def configure(level: str = "info", log_format: LogFormat | None = None, stream: TextIO | None = None) -> None:
    """Send every log line, ours and the libraries', to `stream` (default: standard error).

    Without a format: console on a terminal, JSON elsewhere. May be called again; the last call counts.
    """
    out = stream or sys.stderr
    on_terminal = out.isatty()
    console = (log_format or ("console" if on_terminal else "json")) == "console"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=on_terminal, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
        if console
        else structlog.processors.JSONRenderer(default=repr)
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                redact,
                _drop_color,
                renderer,
            ],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _route_libraries(handler, level)


def _route_libraries(handler: logging.Handler, level: str) -> None:
    """One handler at the root; uvicorn's own lines about requests give way to `RequestId`'s."""
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    logging.getLogger("uvicorn.access").disabled = True
    # aiokafka repeats 40 times a second that its broker is away; `events/broker.py` says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # It warns of every body that is malformed; whoever sent it is told.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    for name in ("faststream", "asyncio", "httpx", "httpcore", "multipart"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _drop_color(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """uvicorn says some things twice, once in colour."""
    event.pop("color_message", None)
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide what must never be read in a log, by the name it goes by or by what it looks like."""
    return {name: _clean(name, value, depth=0) for name, value in event.items()}


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _clean(name: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _is_secret(name):
        return HIDDEN
    if isinstance(value, str):
        text = _clean_text(value)
        return text if name in _MANY_LINES else text.replace("\n", "\\n")
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if depth > 6:
        return "..."
    if isinstance(value, dict):
        return {str(key): _clean(str(key), inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", inner, depth + 1) for inner in value]
    return _clean_text(repr(value) if isinstance(value, BaseException) else str(value))


def _clean_text(text: str) -> str:
    if not _SUSPECT.search(text):
        return text
    if "://" in text:
        text = _USERINFO.sub(HIDDEN, text)
    if "=" in text or ":" in text:
        text = _QUERY.sub(rf"\1={HIDDEN}", text)
        text = _ASSIGNED.sub(rf"\1\2\3{HIDDEN}", text)
    text = _JWT.sub(HIDDEN, _BEARER.sub(rf"\1 {HIDDEN}", text))
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class RequestId:
    """The outermost ASGI layer: every request has an id, and leaves one line in the log.

    The id stands in ``scope["state"]["request_id"]``, in every log line of the request and in the header
    X-Request-Id of every answer. A caller's own is taken over only from behind proxies of ours. What
    escapes the application is logged, and answered with 500 and JSON as long as nothing was sent.
    """

    def __init__(self, app: App, *, trusted_proxies: int = 0) -> None:
        self._app, self._believe = app, trusted_proxies > 0
        self._log = structlog.get_logger("bioscope.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, answer.send)
            except Exception:
                self._log.exception("The application failed at a request.")
                await answer.fail(scope["type"])
            finally:
                self._log.info(
                    "request",
                    method=scope.get("method", "WEBSOCKET"),
                    path=scope["path"],
                    status=answer.status,
                    ms=round((time.perf_counter() - began) * 1000, 1),
                )

    def _request_id(self, scope: Scope) -> str:
        if self._believe:
            brought = [value for name, value in scope["headers"] if name == b"x-request-id"]
            text = brought[0].decode("latin-1") if len(brought) == 1 else ""
            if _SANE_ID.fullmatch(text):
                return text
        return str(uuid7())


class _Answer:
    """What was sent of an answer, and the header that each one gets."""

    _OPENINGS = ("http.response.start", "websocket.accept", "websocket.http.response.start")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in self._OPENINGS:
            self.status = message.get("status", 101)
            headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"x-request-id"]
            message = {**message, "headers": [*headers, (b"x-request-id", self._request_id.encode("ascii"))]}
        elif kind == "websocket.close":
            self.status = 403 if self.status is None else message.get("code", 1000)
        await self._send(message)

    async def fail(self, kind: str) -> None:
        """Answer for an application that could not, unless it had begun to."""
        if self.status is not None:
            return
        if kind == "websocket":
            await self.send({"type": "websocket.close", "code": 1011})
            return
        body = (
            b'{"errors":[{"message":"Something went wrong on our side. Quote the request id for help.",'
            b'"extensions":{"code":"INTERNAL_SERVER_ERROR","requestId":"'
            + self._request_id.encode("ascii")
            + b'"}}]}'
        )
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})
