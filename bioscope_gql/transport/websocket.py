"""Sockets that speak graphql-transport-ws: who may open one, and how all of them end."""

import asyncio
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bioscope_gql.transport.execution import Execution
from bioscope_gql.transport.frames import PROTOCOL, Close
from bioscope_gql.transport.origins import may_connect
from bioscope_gql.transport.sockets import Socket

RESTART = Close(1012, "The server restarts. Connect again.")
OTHER_PROTOCOL = Close(4406, f"Speak the sub-protocol {PROTOCOL}.")


class Sockets:
    """All sockets of one endpoint."""

    def __init__(self, execution: Execution, *, allowed_origins: Collection[str] = ()) -> None:
        self._execution = execution
        self._allowed_origins = allowed_origins
        self._open: set[Socket] = set()
        self._is_closed = False

    @property
    def count(self) -> int:
        return len(self._open)

    @property
    def operations(self) -> int:
        """Operations that run on all of them."""
        return sum(socket.operations for socket in self._open)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket to its end. A page of a foreign site gets a 403 instead of a socket."""
        if (await receive())["type"] != "websocket.connect":
            return
        if not may_connect(Headers(scope=scope), self._allowed_origins):
            await send({"type": "websocket.close", "code": 1008})
            return
        socket = Socket(self._execution, scope, receive, send)
        if PROTOCOL not in scope.get("subprotocols", ()):
            socket.end(OTHER_PROTOCOL)
        if self._is_closed:
            socket.end(RESTART)
        self._open.add(socket)
        try:
            await socket.run()
        finally:
            self._open.discard(socket)

    async def close(self) -> None:
        """End all sockets with 1012, so that clients come back. Complete when it returns."""
        self._is_closed = True
        sockets = list(self._open)
        for socket in sockets:
            socket.end(RESTART)
        await asyncio.gather(*(socket.wait_ended() for socket in sockets))
