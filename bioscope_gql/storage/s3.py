"""The S3 store: blobs as objects of one bucket of MinIO or any server that speaks S3."""

import asyncio
import base64
import hashlib
import io
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from bioscope_gql.errors import ConfigurationError
from bioscope_gql.storage.blobs import (
    CHUNK_BYTES,
    DAMAGED,
    Blob,
    BlobInfo,
    BlobMissing,
    Reader,
    StoreUnavailable,
    checked_key,
    checked_range,
    content_disposition,
    is_key,
    lifetime,
)
from bioscope_gql.storage.s3_bucket import CALL_SECONDS, Bucket, Refused
from bioscope_gql.storage.s3_options import S3Options

if TYPE_CHECKING:
    from aiohttp import ClientResponse

__all__ = ["PART_BYTES", "S3Options", "S3Store"]

PART_BYTES = 8 * 1024 * 1024
"""What is larger is sent in parts of this size; one part at a time is in memory."""

DELETED_AT_ONCE = 1000

Parameters = dict[str, str | list[str] | tuple[str]]
"""Headers or a query, as miniopy-async wants them."""


class S3Store:
    """Objects of one bucket. Every call has a time limit that grows with what it carries.

    A call that ran out of time may still be carried out. MinIO lets a `put` or `delete` wait while
    somebody reads that object slowly: it may have to be repeated.
    """

    def __init__(
        self,
        options: S3Options,
        *,
        call_seconds: float = CALL_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        from miniopy_async.credentials.credentials import Credentials
        from miniopy_async.helpers import BaseURL

        self._options = options
        self._clock = clock
        self._bucket = Bucket(options, call_seconds=call_seconds)
        self._credentials = Credentials(options.access_key, options.secret_key)
        readers: tuple[Reader, ...] = ("browser", "worker")
        try:
            self._addresses = {each: BaseURL(options.address_for(each), options.region) for each in readers}
        except ValueError as error:
            raise ConfigurationError([f"The addresses of s3 can't be used: {error}."]) from error

    async def __aenter__(self) -> Self:
        await self._bucket.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._bucket.__aexit__(kind, error, trace)

    async def put(self, key: str, source: Path | bytes, *, content_type: str, sha256: str | None) -> None:
        checked_key(key)
        file = await asyncio.to_thread(_opened, source)
        try:
            first = await asyncio.to_thread(file.read, PART_BYTES + 1)
            if len(first) <= PART_BYTES:
                await self._put_whole(key, first, content_type, sha256)
            else:
                file.seek(0)
                await self._put_parts(key, file, content_type, sha256)
        finally:
            file.close()

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[Blob]:
        checked_key(key)
        checked_range(start, end)
        if end is not None and end <= start:
            yield await self._nothing_of(key)
            return
        response = await self._get(key, start, 0 if end is None else end - start)
        if response is None:
            yield await self._nothing_of(key)
            return
        async with response:
            _, _, whole = response.headers.get("Content-Range", "").partition("/")
            size = int(whole or response.headers["Content-Length"])
            yield Blob(size, response.headers.get("Content-Type"), self._chunks(response))

    def presign_get(
        self,
        key: str,
        *,
        seconds: int,
        content_type: str,
        filename: str | None,
        origin: str,
        to: Reader = "browser",
        sha256: str | None = None,
    ) -> str:
        from miniopy_async.signer import presign_v4

        del origin, sha256  # the bucket has its own
        steady = filename is None and to == "browser"
        start, expires = lifetime(self._clock(), seconds, steady=steady)
        kept = "no-store" if filename is not None else f"max-age={seconds}, immutable"
        answer: Parameters = {
            "response-cache-control": f"private, {kept}",
            "response-content-disposition": content_disposition(filename),
            "response-content-type": content_type,
        }
        region, bucket = self._options.region, self._options.bucket
        url = self._addresses[to].build("GET", region, bucket, checked_key(key), answer)
        moment = datetime.fromtimestamp(start, UTC)
        return presign_v4("GET", url, region, self._credentials, moment, expires - start).geturl()

    async def delete(self, keys: Sequence[str]) -> None:
        doomed = [checked_key(key) for key in keys]
        for first in range(0, len(doomed), DELETED_AT_ONCE):
            await self._delete_some(doomed[first : first + DELETED_AT_ONCE])

    async def list(self, prefix: str, *, after: str | None = None) -> AsyncIterator[BlobInfo]:
        found = self._bucket.client.list_objects(
            self._options.bucket, prefix=prefix, recursive=True, start_after=after
        )
        while (one := await self._bucket.ask(lambda: anext(found, None))) is not None:
            key, modified = one.object_name, one.last_modified
            if key is not None and modified is not None and is_key(key):
                yield BlobInfo(key, one.size or 0, modified)

    async def check(self) -> None:
        await self._bucket.check()

    async def _put_whole(self, key: str, data: bytes, content_type: str, sha256: str | None) -> None:
        """One request, whose bytes the server compares with the checksum before it keeps them."""
        checksum: Parameters = {}
        if sha256 is not None:
            digest = await asyncio.to_thread(hashlib.sha256, data)
            _compare(digest.hexdigest(), sha256)
            checksum["x-amz-checksum-sha256"] = base64.b64encode(digest.digest()).decode()
        size = len(data)
        client, bucket = self._bucket.client, self._options.bucket
        await self._bucket.ask(
            # A part as large as the whole is how one asks for a single request.
            lambda: client.put_object(
                bucket, key, io.BytesIO(data), size, content_type, metadata=checksum, part_size=size
            ),
            carries=size,
        )

    async def _put_parts(self, key: str, file: BinaryIO, content_type: str, sha256: str | None) -> None:
        digest, number = hashlib.sha256(), 0
        async with self._bucket.upload(key, content_type) as upload:
            while part := await asyncio.to_thread(file.read, PART_BYTES):
                number += 1
                await asyncio.to_thread(digest.update, part)
                send = partial(upload.upload_part, io.BytesIO(part), number)
                await self._bucket.ask(send, carries=len(part))
            if sha256 is not None:
                _compare(digest.hexdigest(), sha256)

    async def _get(self, key: str, start: int, length: int) -> "ClientResponse | None":
        """The answer that carries these bytes (0: all that follow); None where there are none."""
        client, bucket = self._bucket.client, self._options.bucket
        try:
            return await self._bucket.ask(lambda: client.get_object(bucket, key, start, length))
        except Refused as refused:
            if refused.code == "InvalidRange":
                return None
            if refused.code == "NoSuchKey":
                raise BlobMissing(key) from refused
            raise

    async def _nothing_of(self, key: str) -> Blob:
        client, bucket = self._bucket.client, self._options.bucket
        try:
            facts = await self._bucket.ask(lambda: client.stat_object(bucket, key))
        except Refused as refused:
            if refused.code == "NoSuchKey":
                raise BlobMissing(key) from refused
            raise
        return Blob(facts.size or 0, facts.content_type, _none())

    async def _chunks(self, response: "ClientResponse") -> AsyncIterator[bytes]:
        while chunk := await self._bucket.ask(
            lambda: response.content.read(CHUNK_BYTES), carries=CHUNK_BYTES
        ):
            yield chunk

    async def _delete_some(self, keys: Sequence[str]) -> None:
        from miniopy_async.deleteobjects import DeleteObject

        client, bucket = self._bucket.client, self._options.bucket
        doomed = [DeleteObject(key) for key in keys]
        errors = await self._bucket.ask(lambda: client.remove_objects(bucket, doomed))
        left = [error for error in errors if error.code != "NoSuchKey"]
        if left:
            raise StoreUnavailable(
                f"{len(left)} objects of the bucket {bucket} could not be deleted "
                f"({left[0].code}). Check what the access key may do there."
            )


def _opened(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _compare(digest: str, announced: str) -> None:
    if digest != announced.lower():
        raise StoreUnavailable(DAMAGED)


async def _none() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk
