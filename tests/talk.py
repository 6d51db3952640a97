"""A client of graphql-transport-ws, in words of the protocol."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import websockets

from tests.door import PATIENCE_SECONDS, TOKEN, Door, Json


class Talk:
    """One side of a socket, in words of the protocol."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def say(self, type: str, **members: Any) -> None:
        await self.socket.send(json.dumps({"type": type, **members}))

    async def hear(self) -> Json:
        """The next message. What an operation cost is left out: tests of that have their own ears."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            heard: Json = json.loads(await self.socket.recv())
        if heard["type"] == "next":
            heard["payload"].pop("extensions", None)
        return heard

    async def init(self, authorization: str | None = TOKEN) -> None:
        payload = {"authorization": authorization} if authorization else {}
        await self.say("connection_init", payload=payload)
        assert await self.hear() == {"type": "connection_ack"}

    async def subscribe(self, query: str, *, id: str = "1", **members: Any) -> None:
        await self.say("subscribe", id=id, payload={"query": query, **members})

    async def ended(self) -> tuple[int | None, str | None]:
        """How the other side closes; whatever it says before is passed over."""
        with suppress(websockets.ConnectionClosed):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    await self.socket.recv()
        return self.socket.close_code, self.socket.close_reason

    async def is_alive(self) -> bool:
        """Whether this side of the socket is signed in and answered."""
        await self.subscribe("{ me }", id="alive")
        return [await self.hear(), await self.hear()] == [next_({"me": "anna"}, "alive"), complete("alive")]


def next_(data: Json, id: str = "1") -> Json:
    return {"id": id, "type": "next", "payload": {"data": data}}


def complete(id: str = "1") -> Json:
    return {"id": id, "type": "complete"}


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await event.wait()


@asynccontextmanager
async def a_talk(door: Door, *, init: bool = True, **options: Any) -> AsyncIterator[Talk]:
    """A socket that is open and, unless told otherwise, signed in."""
    async with door.connect(**options) as connection:
        talk = Talk(connection)
        if init:
            await talk.init()
        yield talk
