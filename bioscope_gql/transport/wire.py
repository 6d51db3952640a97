"""uvicorn's side of a socket, with bounds for clients that do not read, or send what can't be counted.

An application can't tell such a client anything: uvicorn has a close wait behind what was not read, and then
keeps the connection for as long as the client keeps it. Here the close frame follows what is under way, so
that a client that reads again finds it, and one that does not is cut off.
"""

import asyncio
import socket
from typing import Any, cast

from typing_extensions import override
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from bioscope_gql.transport.sockets import NOT_READ

SEND_BUFFER_BYTES = 128 << 10
"""What the system may hold of one socket, which is twice that. By itself it takes megabytes, all of it stale
by the time a slow client reads it: a watch tells the newest state whenever there is room."""


class Wire(WebSocketsSansIOProtocol):
    """One socket, for `uvicorn.Config(ws=Wire)`."""

    linger_seconds = 90.0
    """How long the end of a socket waits for the client to read it."""

    _last_wait: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        own = cast("socket.socket", transport.get_extra_info("socket"))
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._last_wait is not None:
            self._last_wait.cancel()
        super().connection_lost(exc)

    @override
    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self._begin_end()
        await super().send(message)

    @override
    def keepalive_timeout(self) -> None:
        """uvicorn would say 1011, and stock clients do not come back from that."""
        if self.close_sent or self.transport.is_closing():
            return
        self._begin_end()
        self.conn.fail(NOT_READ.code, NOT_READ.reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()

    @override
    def handle_ping(self) -> None:
        """Pongs are not piled up for who does not read them; RFC 6455 lets the last one stand for all."""
        if self.writable.is_set() and not self.close_sent:
            super().handle_ping()
        else:
            self.conn.data_to_send()

    @override
    def handle_cont(self, event: Frame) -> None:
        """Empty parts of a message are dropped: what is limited is its bytes, and they come without end."""
        if event.data or event.fin:
            super().handle_cont(event)

    def _begin_end(self) -> None:
        """Have the last frame written behind whatever is under way, and the connection ended in any case."""
        self.writable.set()
        if self._last_wait is None:
            self._last_wait = self.loop.call_later(self.linger_seconds, self.transport.abort)
