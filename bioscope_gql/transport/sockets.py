"""One socket: its messages, its operations, its end."""

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack, aclosing
from typing import Any

import structlog
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from bioscope_gql.errors import Refusal, Unauthenticated
from bioscope_gql.policy import Viewer
from bioscope_gql.transport import frames
from bioscope_gql.transport.execution import Call, Execution
from bioscope_gql.transport.frames import PROTOCOL, Close, Complete, Init, Ping, Pong, Said, Subscribe
from bioscope_gql.transport.masking import is_lost_database, refused
from bioscope_gql.transport.requests import GraphQLRequest, Malformed
from bioscope_gql.transport.rights import lapsed
from bioscope_gql.transport.shares import Traffic

NO_INIT = Close(4408, "No connection_init came in time.")
TOO_MANY = 4429
SECOND_INIT = Close(TOO_MANY, "connection_init may be sent once only.")
NOT_INITIALISED = Close(4401, "Send connection_init before you subscribe.")
EXPIRED = Close(4403, "The access token has expired. Connect again with a new one.")
CHANGED = Close(4403, "Your rights have changed. Connect again.")
REVOKED = Close(4401, "Your session has ended. Sign in again.")
LAPSES = {"EXPIRED": EXPIRED, "CHANGED": CHANGED, "REVOKED": REVOKED}
NOT_READ = Close(4008, "You do not read what is sent to you.")
TOO_BIG = Close(1009, "The message is too large.")
TRY_LATER = Close(1013, "The database does not answer at the moment. Try again in a few seconds.")
BROKEN = Close(4500, "Something went wrong on our side.")
GONE = Close(1006, "")
"""The client is no longer there: nothing is sent."""

logger = structlog.get_logger()


class Socket:
    """Speaks with one client until somebody ends it.

    Everything that it does is a task of its own that ends with it. The first end that is told counts.
    """

    def __init__(self, execution: Execution, scope: Scope, receive: Receive, send: Send) -> None:
        self._execution = execution
        self._limits = execution.limits
        self._connection = HTTPConnection(scope)
        self._authorization = self._connection.headers.get("authorization")
        self._receive = receive
        self._send = send
        self._sending = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[Close] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self._traffic = Traffic(
            "this socket", messages=self._limits.socket_messages, size=self._limits.socket_bytes
        )
        self._is_initialised = False
        self._viewer: Viewer | None = None
        self._held = ExitStack()

    @property
    def operations(self) -> int:
        """How many are running."""
        return len(self._operations)

    def end(self, close: Close) -> None:
        """Have the socket ended as soon as may be; what it was told before stands."""
        if not self._end.done():
            self._end.set_result(close)

    async def wait_ended(self) -> None:
        """Return when the socket is closed and all of its tasks are over."""
        await self._ended.wait()

    async def run(self) -> None:
        """Accept the client, serve it and return when everything that belongs to it is over."""
        is_ours = PROTOCOL in self._connection.scope.get("subprotocols", ())
        try:
            await self._put({"type": "websocket.accept", "subprotocol": PROTOCOL if is_ours else None})
            if not self._end.done():
                self._timers.append(
                    self._loop.call_later(self._limits.socket_init_seconds, self.end, NO_INIT)
                )
                self._start(self._read())
            await asyncio.wait([self._end])
        finally:
            with self._held:
                await self._shut_down()

    async def _shut_down(self) -> None:
        self.end(GONE)
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        try:
            close = self._end.result()
            if close is not GONE:
                await self._tell_end(close)
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            self._ended.set()

    def _start(self, work: Coroutine[Any, Any, None], *, id: str | None = None) -> None:
        """Work on the side; with an `id` it is an operation, which can be cancelled by it."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        if id is not None:
            self._operations[id] = task

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("socket_failed", exc_info=error)
            self.end(BROKEN)

    # What comes in

    async def _read(self) -> None:
        while not self._end.done():
            message = await self._receive()
            if message["type"] != "websocket.receive":
                self.end(GONE)
                return
            try:
                await self._hear(self._understood(message.get("text")))
            except Malformed as error:
                self.end(Close.invalid(error.message))

    def _understood(self, text: str | None) -> Said | Close:
        if text is None:
            raise Malformed("A message must be text.")
        size = len(text.encode())
        try:
            self._traffic.count(self, size)
            if self._viewer is not None:
                self._execution.traffic.count(self._viewer.id, size)
        except Refusal as error:
            return Close(TOO_MANY, error.message)
        if size > self._limits.socket_message_bytes:
            return TOO_BIG
        return frames.read(text, max_depth=self._limits.json_depth)

    async def _hear(self, said: Said | Close) -> None:
        match said:
            case Close():
                self.end(said)
            case Init(authorization):
                await self._initialise(authorization)
            case Ping(payload):
                await self._say(frames.write("pong", payload=payload))
            case Pong():
                pass
            case Subscribe(id, request):
                await self._subscribe(id, request)
            case Complete(id):
                await self._cancel(id)

    async def _initialise(self, authorization: str | None) -> None:
        if self._is_initialised:
            self.end(SECOND_INIT)
            return
        self._is_initialised = True
        self._timers.pop().cancel()
        self._authorization = authorization or self._authorization
        try:
            viewer = await self._execution.authenticator.authenticate(self._authorization)
        except Unauthenticated as error:
            self.end(REVOKED if error.reason == "REVOKED" else Close(4403, error.message))
            return
        except Exception as error:
            if not is_lost_database(error):
                raise
            self.end(TRY_LATER)
            return
        try:
            self._execution.connections.refuse_above(viewer)
        except Refusal as error:
            self.end(Close(TOO_MANY, error.message))
            return
        self._held.enter_context(self._execution.connections.one(viewer))
        self._viewer = viewer
        if viewer is not None:
            self._start(self._guard(viewer))
        await self._say(frames.write("connection_ack"))
        self._start(self._ping())

    async def _subscribe(self, id: str, request: GraphQLRequest) -> None:
        if not self._is_initialised:
            self.end(NOT_INITIALISED)
        elif id in self._operations:
            self.end(Close(4409, f"Subscriber for {id} already exists"))
        else:
            try:
                self._refuse_above()
            except Refusal as error:
                await self._say(frames.write("error", id=id, payload=[refused(error)]))
            else:
                self._start(self._operate(id, request), id=id)

    def _refuse_above(self) -> None:
        """
        Raises:
            Refusal: RATE_LIMITED, this socket or its account has all the operations that it may have.
        """
        most = self._limits.socket_operations
        if len(self._operations) >= most:
            message = f"A socket may have {most} operations at once. Complete one before you start another."
            raise Refusal(message, "RATE_LIMITED")
        self._execution.operations.refuse_above(self._viewer)

    async def _cancel(self, id: str) -> None:
        """Nothing more is read before the operation is over, so nobody piles up what takes long to end."""
        task = self._operations.pop(id, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    # What goes out

    async def _operate(self, id: str, request: GraphQLRequest) -> None:
        """Run one operation; the protocol ends it with one `error` or one `complete`."""
        call = Call.over(self._connection, "websocket")
        last = frames.write("complete", id=id)
        serving = self._execution.serve(request, self._authorization, call)
        with self._execution.operations.one(self._viewer):
            async with aclosing(serving) as answers:
                async for answer in answers:
                    if not answer.executed:
                        last = frames.write("error", id=id, payload=answer.errors)
                        break
                    await self._say(frames.write("next", id=id, payload=answer.encode(call.request_id)))
                    if self._end.done():
                        return
        # Before it is told, or the client might use the id again too soon for us.
        self._operations.pop(id, None)
        await self._say(last)

    async def _say(self, text: str) -> None:
        await self._put({"type": "websocket.send", "text": text})

    async def _put(self, message: dict[str, object]) -> None:
        """Send in turn and within bounds; a client that does not take it in time is given up."""
        try:
            async with asyncio.timeout(self._limits.socket_send_seconds), self._sending:
                if not self._end.done() or message["type"] == "websocket.accept":
                    await self._send(message)
        except TimeoutError:
            self.end(NOT_READ)
        except (OSError, RuntimeError):
            # By ASGI an OSError; uvicorn has a RuntimeError for the time between close and loss.
            self.end(GONE)

    async def _tell_end(self, close: Close) -> None:
        try:
            async with asyncio.timeout(self._limits.socket_close_seconds), self._sending:
                await self._send(close.message)
        except (OSError, RuntimeError):
            logger.debug("socket_lost_before_close", code=close.code)

    # What ends it

    async def _guard(self, viewer: Viewer) -> None:
        """End the socket with its token, and soon after the rights behind it are gone."""
        authenticator, seconds = self._execution.authenticator, self._limits.socket_check_seconds
        self.end(LAPSES[await lapsed(authenticator, self._authorization, viewer, seconds)])

    async def _ping(self) -> None:
        """Keep proxies from taking silence for the end, and learn of a client that reads nothing."""
        while True:
            await asyncio.sleep(self._limits.socket_ping_seconds)
            await self._say(frames.write("ping"))
