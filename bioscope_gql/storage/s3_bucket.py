"""One bucket of an S3 server: how long we wait for it, and what its refusals mean.

miniopy-async and aiohttp are imported when a bucket is entered, not with this module: who uses the disk
store does not pay for them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import structlog

from bioscope_gql.storage.blobs import DAMAGED, StoreUnavailable
from bioscope_gql.storage.s3_options import S3Options

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from miniopy_async.api import Minio
    from miniopy_async.datatypes import MultipartUploader

CONNECTIONS = 64
CALL_SECONDS = 15.0
SLOWEST_BYTES_PER_SECOND = 512 * 1024
"""A call may take `CALL_SECONDS`, and as much longer as this speed asks for what it carries."""

ABORT_PAUSES = (0.0, 0.1, 0.5)
"""How many seconds to wait before each try to remove the parts of an upload that came to nothing."""

PROBE = "images/check"
"""The key of an upload that is begun and given up, to see whether we may write."""

T = TypeVar("T")

logger = structlog.get_logger()

_MEANINGS = {
    "AccessDenied": (
        "The S3 store {endpoint} does not let the access key do this. "
        "Allow it to read, write, list and delete in the bucket {bucket}, or check s3.secret_key."
    ),
    "AuthorizationHeaderMalformed": "The S3 store {endpoint} is of another region. Check s3.region.",
    "BadDigest": DAMAGED,
    "BucketAlreadyExists": "The bucket {bucket} at {endpoint} is somebody else's. Choose another s3.bucket.",
    "InvalidAccessKeyId": "The S3 store {endpoint} does not know the access key. Check s3.access_key.",
    "NoSuchBucket": "There is no bucket {bucket} at {endpoint}. Make it, or switch s3.create_bucket on.",
    "RequestTimeTooSkewed": "The clocks of {endpoint} and of this machine differ. Set them right.",
    "SignatureDoesNotMatch": "The S3 store {endpoint} does not accept the secret key. Check s3.secret_key.",
    "XAmzContentChecksumMismatch": DAMAGED,
    "XAmzContentSHA256Mismatch": DAMAGED,
    "XMinioStorageFull": "The disks of the S3 store {endpoint} are full. Make room there and try again.",
}


class Refused(StoreUnavailable):
    """The server answered, and its answer is no; `code` is S3's."""

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message)
        self.code = code


class Bucket:
    """Our connections to one bucket. Every request has an end, every failure a sentence."""

    def __init__(self, options: S3Options, *, call_seconds: float = CALL_SECONDS) -> None:
        self._options = options
        self._call_seconds = call_seconds
        self._session: ClientSession | None = None
        self._client: Minio | None = None
        self._farewells: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        from miniopy_async.api import Minio

        options = self._options
        self._session = _session()
        self._client = Minio(
            urlsplit(options.endpoint).netloc,
            access_key=options.access_key,
            secret_key=options.secret_key,
            secure=options.secure,
            region=options.region,
            session=self._session,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._farewells:
            await asyncio.wait(self._farewells)
        session, self._session, self._client = self._session, None, None
        if session is not None:
            await session.close()

    @property
    def client(self) -> "Minio":
        if self._client is None:
            raise RuntimeError("An S3 store is used inside its `async with` only.")
        return self._client

    async def ask(self, request: Callable[[], Awaitable[T]], *, carries: int = 0) -> T:
        """The answer to a request that carries so many bytes, there or back.

        Where the bucket is absent and may be made, it is made, and `request` is called once more.

        Raises:
            Refused: the server says no.
            StoreUnavailable: it can't be reached, or not in time.
        """
        try:
            return await self._once(request, carries)
        except Refused as refused:
            if refused.code != "NoSuchBucket" or not self._options.create_bucket:
                raise
        await self._once(self._make, 0)
        return await self._once(request, carries)

    @asynccontextmanager
    async def upload(self, key: str, content_type: str) -> AsyncIterator["MultipartUploader"]:
        """An object that is sent in parts. It appears as a whole when this is left.

        After an error or a cancellation its parts are removed; if the server can't even be told that,
        it removes them itself after a while.
        """
        # Not `async with uploader`: that completes the upload after an error too, and a picture cut
        # short would stand under the key.
        uploader = self.client.multipart_uploader(self._options.bucket, key, content_type)
        begun = asyncio.create_task(self.ask(uploader.__aenter__))
        try:
            await asyncio.shield(begun)  # an upload whose number we never learnt could not be removed
            yield uploader
            await self.ask(uploader.complete)
        except BaseException:
            await self._to_its_end(self._abandon(begun, uploader))
            raise

    async def check(self) -> None:
        """Return if the bucket is there, or was made, and we may write into it. Nothing stays behind."""
        uploader = self.client.multipart_uploader(self._options.bucket, PROBE)
        await self.ask(uploader.__aenter__)
        await self.ask(uploader.abort)

    async def _once(self, request: Callable[[], Awaitable[T]], carries: int) -> T:
        with self._trouble():
            async with asyncio.timeout(self._call_seconds + carries / SLOWEST_BYTES_PER_SECOND):
                return await request()

    async def _make(self) -> None:
        from miniopy_async.error import S3Error

        try:
            await self.client.make_bucket(self._options.bucket)
        except S3Error as error:
            if error.code != "BucketAlreadyOwnedByYou":  # another process was first
                raise

    async def _abandon(self, begun: "asyncio.Task[MultipartUploader]", uploader: "MultipartUploader") -> None:
        """A part that is still on its way may keep a server from it at first: S3's advice is to ask again."""
        try:
            await begun
        except StoreUnavailable:
            return
        reason = ""
        for pause in ABORT_PAUSES:
            await asyncio.sleep(pause)
            try:
                await self.ask(uploader.abort)
            except StoreUnavailable as error:
                reason = str(error)
                if isinstance(error.__cause__, TimeoutError):
                    break
            else:
                return
        logger.warning("upload_left_unfinished", reason=reason)

    async def _to_its_end(self, farewell: Coroutine[Any, Any, None]) -> None:
        """Run it even if we are cancelled meanwhile; leaving the bucket waits for it then."""
        task = asyncio.create_task(farewell)
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)
        await asyncio.shield(task)

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Say in a sentence for operators what went wrong."""
        from aiohttp import ClientError
        from miniopy_async.error import InvalidResponseError, MinioException, S3Error

        endpoint, bucket = self._options.endpoint, self._options.bucket
        try:
            yield
        except S3Error as error:
            known = _MEANINGS.get(error.code or "")
            message = known or "The S3 store {endpoint} refuses: {error.code}, {error.message}"
            raise Refused(
                message.format(endpoint=endpoint, bucket=bucket, error=error), error.code
            ) from error
        except (InvalidResponseError, ParseError, UnicodeDecodeError) as error:
            message = (
                f"What answers at {endpoint} does not speak S3. Check s3.endpoint and what stands before it."
            )
            raise StoreUnavailable(message) from error
        except TimeoutError as error:
            message = (
                f"The S3 store {endpoint} does not answer in time. See whether it runs and is not overloaded."
            )
            raise StoreUnavailable(message) from error
        except (MinioException, ClientError, OSError) as error:
            message = (
                f"The S3 store {endpoint} can't be reached ({error}). Check s3.endpoint, and that it runs."
            )
            raise StoreUnavailable(message) from error


def _session() -> "ClientSession":
    from aiohttp import ClientSession, ClientTimeout, TCPConnector

    return ClientSession(
        connector=TCPConnector(limit=CONNECTIONS),
        timeout=ClientTimeout(total=None, connect=5, sock_connect=2, sock_read=10),
        headers={"Accept-Encoding": "identity"},  # sizes are those of the object, whoever stands between
    )
