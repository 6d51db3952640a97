"""Clients of sockets, in a process of their own: what they cost is not the server's.

Each line of standard input is an order (JSON), each line of standard output its answer. Times are those of
`time.monotonic`, which all processes of a machine share.

    python bench/watchers.py ADDRESS TOKEN
"""

import asyncio
import json
import socket
import sys
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

SMALL_BYTES = 4096


class Crowd:
    def __init__(self, address: str, token: str) -> None:
        self._address, self._token = address, token
        self._open: list[ClientConnection] = []
        self._reading: list[asyncio.Task[None]] = []
        self.heard: dict[str, list[float]] = {}
        """When each cursor came to each of those who read."""

    async def _connect(self, **options: Any) -> ClientConnection:
        opened = await connect(
            self._address, subprotocols=[Subprotocol("graphql-transport-ws")], compression=None,
            ping_interval=None, proxy=None, **options,
        )  # fmt: skip
        self._open.append(opened)
        init = {"type": "connection_init", "payload": {"authorization": f"Bearer {self._token}"}}
        await opened.send(json.dumps(init))
        await opened.recv()
        return opened

    async def idle(self, count: int) -> int:
        for _ in range(count):
            await self._connect()
        return len(self._open)

    async def watch(self, count: int, query: str, id: str, apart: bool = False) -> int:
        """Watchers who read on. `apart`: each with a document of its own, which nobody shares."""
        for number in range(count):
            opened = await self._connect()
            document = query + (f"#{number}" if apart else "")
            await self._subscribe(opened, document, id)
            await opened.recv()
            self._reading.append(asyncio.create_task(self._read(opened)))
        return count

    async def stall(self, count: int, query: str, id: str) -> int:
        """Watchers who never read."""
        for _ in range(count):
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
            made.setblocking(False)
            where = urlsplit(self._address)
            await asyncio.get_running_loop().sock_connect(made, (where.hostname, where.port))
            opened = await self._connect(sock=made, max_queue=1)
            await self._subscribe(opened, query, id)
            opened.transport.pause_reading()
        return count

    async def read_to_the_end(self) -> list[int | None]:
        """With which code those who stalled find themselves closed, once they read again."""
        stalled = [each for each in self._open if not each.transport.is_reading()]
        for each in stalled:
            each.transport.resume_reading()
        reading = [asyncio.create_task(self._read(each)) for each in stalled]
        await asyncio.wait(reading, timeout=60)
        return [each.close_code for each in stalled]

    async def _subscribe(self, opened: ClientConnection, query: str, id: str) -> None:
        payload = {"query": query, "variables": {"id": id}}
        await opened.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))

    async def _read(self, opened: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for text in opened:
                came = time.monotonic()
                message = json.loads(text)
                if message["type"] == "next":
                    update = next(iter(message["payload"]["data"].values()))
                    self.heard.setdefault(update["cursor"], []).append(came)

    async def take(self) -> dict[str, list[float]]:
        """What was heard since this was asked last."""
        heard, self.heard = self.heard, {}
        return heard

    async def leave(self) -> int:
        for each in self._open:
            await each.close()
        await asyncio.gather(*self._reading, return_exceptions=True)
        self._open, self._reading = [], []
        return 0


async def main(address: str, token: str) -> None:
    crowd = Crowd(address, token)
    reader = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        name, arguments = json.loads(line)
        print(json.dumps(await getattr(crowd, name)(**arguments)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
