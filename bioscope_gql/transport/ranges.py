"""What is common to routes that give bytes: refusals as JSON, parts of a file, clients that stop reading."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Send

STALL_SECONDS = 60.0
"""A client that takes nothing for this long is given up, so that it can't keep a file open for ever."""

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


@dataclass(eq=False)
class Refused(Exception):
    """An answer without a picture, as JSON."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, headers: Mapping[str, str]) -> Response:
        content = {"code": self.code, "message": self.message}
        own = {**headers, "Cache-Control": "no-store", **self.headers}
        return JSONResponse({"error": content}, self.status, own)


class Stalled(Exception):
    """The client has stopped reading."""


def patient(send: Send, seconds: float) -> Send:
    """A `send` that raises `Stalled` when a client takes nothing for so long."""

    async def send_in_time(message: Message) -> None:
        try:
            async with asyncio.timeout(seconds):
                await send(message)
        except TimeoutError as error:
            raise Stalled from error

    return send_in_time


def knows(header: str | None, tag: str) -> bool:
    """Whether If-None-Match names our tag; a weak one is as good."""
    if header is None:
        return False
    return any(known.strip().removeprefix("W/") in (tag, "*") for known in header.split(","))


def asked_range(request: Request, tag: str, size: int) -> tuple[int, int] | None:
    """The half-open range that was asked for, None for the whole.

    As RFC 9110 allows, what is malformed or several ranges is answered with the whole; a range that
    starts behind the end is refused.
    """
    header = request.headers.get("Range")
    if header is None or request.method != "GET" or request.headers.get("If-Range", tag) != tag:
        return None
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < start:
        return None
    if start >= size:
        outside = {"Content-Range": f"bytes */{size}"}
        raise Refused(416, "RANGE_NOT_SATISFIABLE", f"This file has {size} bytes.", outside)
    return start, end


@dataclass(frozen=True, slots=True)
class Part:
    """As much of a file as is to be sent, half-open, and what the answer says of it."""

    start: int
    end: int
    status: int
    headers: Mapping[str, str]


def part_of(request: Request, tag: str, size: int) -> Part:
    """The range that was asked for, or the whole.

    Raises:
        Refused: the range starts behind the end.
    """
    asked = asked_range(request, tag, size)
    start, end = asked or (0, size)
    length = {"Content-Length": str(end - start)}
    if asked is None:
        return Part(start, end, 200, length)
    return Part(start, end, 206, {**length, "Content-Range": f"bytes {start}-{end - 1}/{size}"})
