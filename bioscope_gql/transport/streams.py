"""Subscriptions as server-sent events: the distinct connections mode of graphql-sse.

A stream that has told everything ends with the event `complete`. One that ends without it was cut by
the network, a restart or a token's expiry, and is to be opened again: with `Last-Event-ID`, which wins over
the `after` of the operation, or with a new `after`.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.types import Receive, Send

from bioscope_gql.errors import Unauthenticated
from bioscope_gql.policy import Viewer
from bioscope_gql.transport.documents import Operation
from bioscope_gql.transport.execution import Answer, Call, Execution, failure
from bioscope_gql.transport.negotiation import EVENT_STREAM
from bioscope_gql.transport.rights import lapsed

COMPLETE = b"event: complete\ndata: \n\n"
"""With an empty `data`: browsers pass over an event that has none."""

HEARTBEAT = b":\n\n"
CUT = b""
REVOKED = Unauthenticated("Your session has ended. Sign in again.", reason="REVOKED")

HEADERS = {
    "content-type": f"{EVENT_STREAM}; charset=utf-8",
    "cache-control": "no-store",
    "vary": "Accept",
    "x-accel-buffering": "no",
}

logger = structlog.get_logger()


def event(payload: bytes, id: str | None = None) -> bytes:
    """One `next` event. JSON of ours has no line breaks, and neither has a cursor."""
    place = b"id: " + id.encode() + b"\n" if id is not None else b""
    return b"%sevent: next\ndata: %s\n\n" % (place, payload)


def whole(answer: Answer, request_id: str) -> bytes:
    """A stream of one answer: that of an operation that was refused."""
    return event(answer.encode(request_id)) + COMPLETE


@dataclass(frozen=True, slots=True)
class Asked:
    """A subscription that was found good and admitted."""

    operation: Operation
    variables: dict[str, Any]
    viewer: Viewer | None
    authorization: str | None
    call: Call


class Stream:
    """Tells one client until the subscription completes, somebody ends it, or the client is gone."""

    def __init__(self, execution: Execution, asked: Asked, receive: Receive, send: Send) -> None:
        self._execution, self._limits, self._asked = execution, execution.limits, asked
        self._receive, self._send = receive, send
        self._sending = asyncio.Lock()
        self._end: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()

    def end(self, last: bytes | None) -> None:
        """Have it ended with these last words; None: nobody is there to hear any. The first end counts."""
        if not self._end.done():
            self._end.set_result(last)

    async def wait_ended(self) -> None:
        """Return when the stream and all of its tasks are over."""
        await self._ended.wait()

    async def run(self) -> None:
        works = [self._tell(), self._beat(), self._hear()]
        if self._asked.viewer is not None:
            works.append(self._guard(self._asked.viewer))
        tasks: list[asyncio.Task[None]] = []
        try:
            headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            tasks = [asyncio.create_task(self._watched(work)) for work in works]
            last = await self._end
        except asyncio.CancelledError:
            last = None
            raise
        finally:
            await over(tasks)
            self._ended.set()
        await self._finish(last)

    async def _finish(self, last: bytes | None) -> None:
        if last is None:
            return
        try:
            async with asyncio.timeout(self._limits.socket_close_seconds):
                await self._send({"type": "http.response.body", "body": last, "more_body": False})
        except (OSError, TimeoutError):
            logger.debug("stream_lost_before_its_end")

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            logger.exception("stream_failed", request_id=self._asked.call.request_id)
            self.end(CUT)

    async def _tell(self) -> None:
        asked, call = self._asked, self._asked.call
        await self._put(HEARTBEAT)
        last = None
        try:
            answers = self._execution.answers(asked.operation, asked.variables, asked.viewer, call)
            async with aclosing(answers):
                async for answer in answers:
                    last = answer
                    await self._put(event(answer.encode(call.request_id), call.place.reached))
                    if self._end.done():
                        return
        except Exception as error:
            last = failure(error, call.request_id)
            await self._put(event(last.encode(call.request_id)))
        finally:
            self._execution.observe(call, last)
        self.end(COMPLETE)

    async def _beat(self) -> None:
        """Keep proxies from taking silence for the end, and learn of a client that reads nothing."""
        while True:
            await asyncio.sleep(self._limits.stream_heartbeat_seconds)
            await self._put(HEARTBEAT)

    async def _hear(self) -> None:
        """A client has nothing more to say but that it leaves."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.end(None)

    async def _guard(self, viewer: Viewer) -> None:
        """A client that comes back with a new token goes on; one whose session was ended should not try."""
        authenticator, authorization = self._execution.authenticator, self._asked.authorization
        lapse = await lapsed(authenticator, authorization, viewer, self._limits.socket_check_seconds)
        request_id = self._asked.call.request_id
        self.end(whole(failure(REVOKED, request_id), request_id) if lapse == "REVOKED" else CUT)

    async def _put(self, frame: bytes) -> None:
        """Send in turn and within bounds; a client that does not take it in time is given up."""
        try:
            async with asyncio.timeout(self._limits.socket_send_seconds), self._sending:
                if not self._end.done():
                    await self._send({"type": "http.response.body", "body": frame, "more_body": True})
        except (OSError, TimeoutError):
            self.end(None)


class Streams:
    """All event streams of one endpoint."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._open: set[Stream] = set()
        self._is_closed = False

    @property
    def count(self) -> int:
        return len(self._open)

    async def serve(self, asked: Asked, receive: Receive, send: Send) -> None:
        """Serve one stream to its end."""
        stream = Stream(self._execution, asked, receive, send)
        if self._is_closed:
            stream.end(CUT)
        self._open.add(stream)
        try:
            with self._execution.connections.one(asked.viewer):
                await stream.run()
        finally:
            self._open.discard(stream)

    async def close(self) -> None:
        """Cut all streams, so that clients come back. Complete when it returns."""
        self._is_closed = True
        streams = list(self._open)
        for stream in streams:
            stream.end(CUT)
        await asyncio.gather(*(stream.wait_ended() for stream in streams))


async def over(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel tasks and return when they have ended."""
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    if waiting:
        await asyncio.wait(waiting)
