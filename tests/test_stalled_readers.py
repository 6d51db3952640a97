"""Clients that do not read: what is kept for them, what they find later, and when they are cut off."""

import asyncio
import json
import socket
from pathlib import Path

from bioscope_gql.transport.limits import Limits
from bioscope_gql.transport.wire import Wire
from tests.door import PATIENCE_SECONDS, TOKEN, Door, Json, a_door
from tests.talk import soon
from tests.test_shares import counted

QUICK = Limits(socket_send_seconds=0.2, socket_close_seconds=0.2)
FLOOD = "subscription { flood(length: 100000) }"
NOT_READ = (4008).to_bytes(2, "big") + b"You do not read what is sent to you."
PING = bytes([0x89, 0x80 | 125]) + bytes(4) + b"x" * 125


class Deaf:
    """A client that subscribes and then reads nothing, with the smallest buffers that there are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def _connected(cls, door: Door) -> "Deaf":
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", door.port))
        return cls(*await asyncio.open_connection(sock=raw, limit=1024))

    @classmethod
    async def at(cls, door: Door, query: str) -> "Deaf":
        """By WebSocket."""
        deaf = await cls._connected(door)
        head = [
            "GET /graphql HTTP/1.1",
            "Host: x",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: graphql-transport-ws",
        ]
        await deaf.send("\r\n".join([*head, "", ""]).encode())
        await deaf.reader.readuntil(b"\r\n\r\n")
        payload = {"authorization": TOKEN}
        for message in (
            {"type": "connection_init", "payload": payload},
            {"type": "subscribe", "id": "1", "payload": {"query": query}},
        ):
            await deaf.say(message)
        return deaf

    @classmethod
    async def at_a_stream(cls, door: Door, query: str) -> "Deaf":
        deaf = await cls._connected(door)
        body = json.dumps({"query": query})
        head = [
            "POST /graphql HTTP/1.1",
            "Host: x",
            "Accept: text/event-stream",
            f"Authorization: {TOKEN}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        await deaf.send("\r\n".join([*head, "", body]).encode())
        return deaf

    async def say(self, message: Json) -> None:
        text = json.dumps(message).encode()
        await self.send(bytes([0x81, 0x80 | 126]) + len(text).to_bytes(2, "big") + bytes(4) + text)

    async def send(self, frames: bytes) -> None:
        self.writer.write(frames)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.writer.drain()

    async def last_words(self) -> bytes:
        """Read again: what the server sent last before it closed."""
        tail = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not tail.endswith(NOT_READ) and (read := await self.reader.read(65536)):
                tail = (tail + read)[-len(NOT_READ) :]
        return tail

    def leave(self) -> None:
        self.writer.transport.abort()


def wires(door: Door) -> list[Wire]:
    """The sockets that the server itself has open."""
    return [each for each in door.server.server_state.connections if isinstance(each, Wire)]


async def test_a_client_that_does_not_read_is_given_up(tmp_path: Path) -> None:
    async with a_door(tmp_path, QUICK, graceful_seconds=1) as door:
        deaf = await Deaf.at(door, FLOOD)
        await soon(door.bench.left)
        assert len(door.bench.contexts) < 50
        await door.endpoint.close()
        deaf.leave()


async def test_an_event_stream_that_is_not_read_is_cut(tmp_path: Path) -> None:
    async with a_door(tmp_path, QUICK, graceful_seconds=1) as door:
        deaf = await Deaf.at_a_stream(door, FLOOD)
        await soon(door.bench.left)
        await counted(door, "streams", 0)
        assert len(door.bench.contexts) < 100
        deaf.leave()


async def test_a_client_that_reads_again_learns_why_it_was_given_up(tmp_path: Path) -> None:
    async with a_door(tmp_path, QUICK) as door:
        deaf = await Deaf.at(door, FLOOD)
        await soon(door.bench.left)
        await counted(door, "sockets", 0)
        assert await deaf.last_words() == NOT_READ
        deaf.leave()


async def test_a_client_that_never_reads_again_is_cut_off(tmp_path: Path) -> None:
    class Hasty(Wire):
        linger_seconds = 0.2

    async with a_door(tmp_path, QUICK, ws=Hasty) as door:
        deaf = await Deaf.at(door, FLOOD)
        await soon(door.bench.left)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while wires(door):
                await asyncio.sleep(0.01)
        deaf.leave()


async def test_a_client_that_answers_no_ping_is_told_to_come_back(tmp_path: Path) -> None:
    async with a_door(tmp_path, ws_ping_interval=0.1, ws_ping_timeout=0.1) as door:
        deaf = await Deaf.at(door, "subscription { ticks }")
        await soon(door.bench.left)
        assert await deaf.last_words() == NOT_READ
        deaf.leave()


async def test_pongs_are_not_kept_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    async with a_door(tmp_path, Limits(socket_send_seconds=PATIENCE_SECONDS)) as door:
        deaf = await Deaf.at(door, FLOOD)
        [wire] = wires(door)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while wire.writable.is_set():
                await asyncio.sleep(0.01)
        unsent = wire.transport.get_write_buffer_size()
        for _ in range(100):
            await deaf.send(PING * 200)
        await deaf.say({"type": "complete", "id": "1"})
        await soon(door.bench.left)
        assert wire.transport.get_write_buffer_size() == unsent
        deaf.leave()


async def test_empty_parts_of_a_message_are_not_kept(tmp_path: Path) -> None:
    async with a_door(tmp_path) as door:
        deaf = await Deaf.at(door, "subscription { ticks }")
        await soon(door.bench.entered)
        [wire] = wires(door)
        beginning, empty, more = (bytes([opcode, 0x80 | len(part)]) + bytes(4) + part
                                  for opcode, part in ((1, b"{"), (0, b""), (0, b" ")))  # fmt: skip
        await deaf.send(beginning + empty * 10_000 + more)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while wire.frames[-1:] != [b" "]:
                await asyncio.sleep(0.01)
        assert len(wire.frames) == 2
        deaf.leave()
