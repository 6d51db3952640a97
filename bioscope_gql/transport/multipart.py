"""Uploads by the graphql-multipart-request-spec, streamed to disk within bounds.

`operations` comes first, then `map`, then the files; so the operation is known to be good before
the first file is taken, and no file is taken that nobody asked for.
"""

import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import structlog

from bioscope_gql.errors import Unavailable
from bioscope_gql.transport.bodies import Body
from bioscope_gql.transport.forms import Form, Spool, in_thread
from bioscope_gql.transport.limits import Limits
from bioscope_gql.transport.places import Places
from bioscope_gql.transport.requests import GraphQLRequest, Malformed, from_json, parse_json
from bioscope_gql.vocabulary import uuid7

PREFIX = "upload-"
LEFT_BEHIND_SECONDS = 24 * 3600.0
"""A spooled request that is older belongs to a process that was killed."""

NO_ROOM = "The server can't store uploads at the moment. Try again later, and tell whoever runs it."

logger = structlog.get_logger()


class Uploads:
    """Takes multipart requests. Each has a directory of its own in `spool_directory` while it lasts."""

    def __init__(self, spool_directory: Path, limits: Limits) -> None:
        self._spool_directory = spool_directory
        self._limits = limits
        self._is_swept = False

    @asynccontextmanager
    async def receive(
        self, body: Body, boundary: str, *, check: Callable[[GraphQLRequest], object]
    ) -> AsyncIterator[GraphQLRequest]:
        """The operation with its files in their places; they are gone when the context ends.

        `check` gets the operation before the first file is taken and raises if it won't do.

        Raises:
            Malformed: the request breaks the specification or a limit.
            Unavailable: the files can't be written.
            ClientDisconnect: the client went away.
        """
        directory = self._spool_directory / f"{PREFIX}{uuid7()}"
        try:
            async with aclosing(body.chunks()) as chunks:
                sent = await self._read(Form(chunks, boundary), directory, check)
            yield sent
        finally:
            await in_thread(remove, directory)

    async def _read(
        self, form: Form, directory: Path, check: Callable[[GraphQLRequest], object]
    ) -> GraphQLRequest:
        sent = from_json(await self._read_json(form, "operations", "It comes first."))
        mapping = await self._read_json(form, "map", "It comes after `operations` and before the files.")
        places = Places(mapping, sent.variables, max_files=self._limits.upload_files)
        check(sent)
        try:
            await self._take_files(form, places, directory)
        except OSError as error:
            logger.exception("upload_not_stored", directory=str(self._spool_directory))
            raise Unavailable(NO_ROOM) from error
        return sent

    async def _read_json(self, form: Form, name: str, order: str) -> object:
        part = await form.next_part()
        if part is None or part.name != name:
            raise Malformed(f"The upload needs a part named `{name}`. {order}")
        return parse_json(
            await form.read(self._limits.upload_field_bytes, name), max_depth=self._limits.json_depth
        )

    async def _take_files(self, form: Form, places: Places, directory: Path) -> None:
        if places.missing:
            await in_thread(self._make, directory)
        while (part := await form.next_part()) is not None:
            places.expect(part.name)
            spool = Spool(
                directory / str(len(places.missing)),
                max_bytes=self._limits.file_bytes,
                max_tiff_bytes=self._limits.tiff_bytes,
            )
            places.put(part.name, await spool.receive(part.filename, form.data()))
        if places.missing:
            names = ", ".join(f"`{name[:20]}`" for name in list(places.missing)[:5])
            raise Malformed(
                f"Of the files named in `map` these did not come: {names}. Send every one of them."
            )

    def _make(self, directory: Path) -> None:
        self._spool_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)
        if not self._is_swept:
            self._is_swept = True
            sweep(self._spool_directory)


def sweep(spool_directory: Path) -> None:
    """Remove what processes that were killed have left behind."""
    before = time.time() - LEFT_BEHIND_SECONDS
    for directory in spool_directory.glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):  # another process sweeps too
            if directory.stat().st_mtime < before:
                remove(directory)


def remove(directory: Path) -> None:
    """Remove a directory if it is there."""
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        logger.warning("upload_not_removed", directory=str(directory))
