"""The body of an HTTP request, read no further than is allowed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from bioscope_gql.transport.requests import Malformed

LINGER_SECONDS = 5.0


class Body:
    """What a client sends, counted while it comes in."""

    def __init__(self, request: Request, receive: Receive, max_bytes: int, *, stall_seconds: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._stall_seconds = stall_seconds
        self._announced = request.headers.get("content-length")
        self._chunked = "transfer-encoding" in request.headers
        self._ended = not self._chunked and self._announced in (None, "0")

    @property
    def is_ended(self) -> bool:
        """Whether the client has nothing more to send."""
        return self._ended

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The pieces as they arrive.

        Raises:
            Malformed: 413, it is longer than allowed; told before reading where the client announced it.
                Or 408, the client stopped sending.
            ClientDisconnect: the client went away.
        """
        if (
            self._announced is not None
            and self._announced.isdigit()
            and int(self._announced) > self._max_bytes
        ):
            raise self._too_large()
        size = 0
        while not self._ended:
            chunk = await self._next_in_time()
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            if chunk:
                yield chunk

    async def read(self) -> bytes:
        """All of it; raises what `chunks` raises."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def drain(self) -> None:
        """Read on without looking for a few seconds, so that the client gets to read our answer."""
        with suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._ended:
                    await self._next()

    async def _next_in_time(self) -> bytes:
        try:
            async with asyncio.timeout(self._stall_seconds):
                return await self._next()
        except TimeoutError:
            message = f"Nothing of the request came for {self._stall_seconds:g} seconds. Send it again."
            raise Malformed(message, status=408) from None

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._ended = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    def _too_large(self) -> Malformed:
        return Malformed(
            f"The request is larger than {self._max_bytes:,} bytes. Send less at once.", status=413
        )
