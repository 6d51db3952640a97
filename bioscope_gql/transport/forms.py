"""The parts of a multipart body as they arrive, and files on their way to disk."""

import asyncio
import hashlib
import os
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ParamSpec, TypeVar
from urllib.parse import unquote

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool

from bioscope_gql.storage.uploads import UploadedFile
from bioscope_gql.transport.requests import Malformed

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

P = ParamSpec("P")
T = TypeVar("T")

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
WRITE_BYTES = 512 << 10
"""So much is collected before a thread hashes and writes it."""

END_OF_PART = b""
ENCODINGS = (b"", b"binary", b"8bit", b"7bit")

_FORM_ESCAPES = re.compile("%22|%0D|%0A")
"""What HTML forms write for a quote and line ends in a file's name, and for nothing else."""

HEADER_BYTES = 64 * 1024
"""The headers of one part; a file's name is among them, and a long one is cut, not refused."""


@dataclass(frozen=True, slots=True)
class Part:
    """The head of a part: the name of its field, and the client's name of the file."""

    name: str
    filename: str


class Form:
    """Reads a body part by part, never further ahead than the piece that came last."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], boundary: str) -> None:
        """
        Raises:
            Malformed: it is no boundary.
        """
        if not boundary:
            raise Malformed("Content-Type must name the `boundary` of the multipart body.")
        self._chunks = chunks
        self._events: deque[Part | bytes] = deque()
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._is_complete = False
        try:
            self._parser = MultipartParser(
                boundary.encode("latin-1"), self._callbacks(), max_header_size=HEADER_BYTES
            )
        except (FormParserError, ValueError):
            raise Malformed("The `boundary` of the multipart body is too long.") from None

    async def next_part(self) -> Part | None:
        """The next part, None after the last one. What was not read of the one before is passed over.

        Raises:
            Malformed: the body is no multipart body, or ends before its end.
        """
        while (event := await self._next_event()) is not None:
            if isinstance(event, Part):
                return event
        return None

    async def data(self) -> AsyncGenerator[bytes, None]:
        """The pieces of the part that `next_part` gave; raises what that raises."""
        while isinstance(piece := await self._next_event(), bytes) and piece != END_OF_PART:
            yield piece

    async def read(self, max_bytes: int, what: str) -> bytes:
        """All of the part.

        Raises:
            Malformed: 413, it is longer than `max_bytes`; or what `next_part` raises.
        """
        read = bytearray()
        async for piece in self.data():
            read += piece
            if len(read) > max_bytes:
                raise Malformed(
                    f"The part `{what}` is larger than {max_bytes:,} bytes. Ask for less at once.", status=413
                )
        return bytes(read)

    async def _next_event(self) -> Part | bytes | None:
        """The head of a part, a piece of it, its end; None at the end of all."""
        while not self._events:
            chunk = await anext(self._chunks, None)
            if chunk is not None:
                self._feed(chunk)
            elif self._is_complete:
                return None
            else:
                raise Malformed("The multipart body ends before its closing boundary. Send it again, whole.")
        return self._events.popleft()

    def _feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise Malformed(
                "The body is not a well-formed multipart body. Send multipart/form-data."
            ) from None

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": lambda: self._events.append(END_OF_PART),
            "on_end": self._on_end,
        }

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end].lower()

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._name in self._headers:
            raise Malformed("A part of the multipart body has the same header twice.")
        self._headers[self._name] = self._value.strip()
        self._name = self._value = b""

    def _on_headers_finished(self) -> None:
        self._events.append(part_of(self._headers))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _on_end(self) -> None:
        self._is_complete = True


def part_of(headers: dict[bytes, bytes]) -> Part:
    """What the headers of a part say of it.

    Raises:
        Malformed: it has no name, or is encoded.
    """
    kind, options = parse_options_header(headers.get(b"content-disposition"))
    if kind != b"form-data" or b"name" not in options:
        raise Malformed("Every part of an upload needs a Content-Disposition of `form-data` with a `name`.")
    if headers.get(b"content-transfer-encoding", b"").lower() not in ENCODINGS:
        raise Malformed(
            "A part with a Content-Transfer-Encoding is not supported. Send the bytes as they are."
        )
    name, filename = (options.get(key, b"").decode(errors="replace") for key in (b"name", b"filename"))
    return Part(name, _FORM_ESCAPES.sub(lambda found: unquote(found[0]), filename))


class Spool:
    """One file on its way to disk: counted, hashed and bounded. Its directory belongs to the caller."""

    def __init__(self, path: Path, *, max_bytes: int, max_tiff_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_tiff_bytes = max_tiff_bytes
        self._waiting = bytearray()
        self._size = 0
        self._hash = hashlib.sha256()
        self._is_too_large = False

    async def receive(self, filename: str, pieces: AsyncGenerator[bytes, None]) -> UploadedFile:
        """Take all of it. Nothing more is asked for while a thread is writing.

        Raises:
            OSError: it can't be written.
        """
        file = await in_thread(self._open)
        try:
            async for piece in pieces:
                self._size += len(piece)
                if not self._is_too_large:
                    self._waiting += piece
                if len(self._waiting) >= WRITE_BYTES:
                    await in_thread(self._write, file)
            await in_thread(self._write, file)
        finally:
            file.close()
        return UploadedFile(filename, self._path, self._size, self._hash.hexdigest(), self._is_too_large)

    def _open(self) -> BinaryIO:
        """Unbuffered, so that nothing is left to write when it is closed."""
        return open(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)

    def _write(self, file: BinaryIO) -> None:
        """Put away what is waiting, or everything that was kept if it has become too much."""
        data, self._waiting = self._waiting, bytearray()
        if file.tell() == 0:
            self._max_bytes = self._max_tiff_bytes if data.startswith(TIFF_MAGIC) else self._max_bytes
        if self._size > self._max_bytes:
            self._is_too_large = True
            self._hash = hashlib.sha256()
            file.truncate(0)
            return
        self._hash.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `function` in a thread. Who is cancelled meanwhile learns of it when the thread is through,
    so that nobody clears away what it still works on."""
    job = asyncio.create_task(run_in_threadpool(function, *args, **kwargs))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        raise
