"""The bytes of pictures, from where their jobs say they are.

By aiohttp: httpx takes ten times as long for a small picture, longer than all the rest of a job together.
"""

import asyncio
import hashlib
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from uuid import UUID

import aiohttp
from yarl import URL

from bioscope_gql.events.messages import Job
from bioscope_gql.worker.account import Account, NoAccount
from bioscope_gql.worker.answers import WorkerError
from bioscope_gql.worker.options import Options

FETCH_FAILED = "FETCH_FAILED"
CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"

_PAUSES_SECONDS = (0.1, 0.4, 1.6)
_TIMES = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=20)
_PASSING = (408, 429)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to classify. `data` has been checked against the SHA-256 of what was uploaded."""

    data: bytes = field(repr=False)
    content_type: str
    width: int | None
    height: int | None
    image_id: UUID
    dataset_id: UUID
    classification_id: UUID
    item_id: UUID
    attempt: int

    @classmethod
    def of(cls, job: Job, data: bytes) -> Self:
        return cls(
            data,
            job.image.content_type,
            job.image.width,
            job.image.height,
            job.image_id,
            job.dataset_id,
            job.classification_id,
            job.item_id,
            job.attempt,
        )


class _WorthAnotherTry(Exception):
    pass


class Pictures:
    """Fetches pictures over HTTP while its block lasts."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._account = Account(options)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=_TIMES,
            headers={"accept-encoding": "identity"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def fetch(self, job: Job) -> bytes:
        """The bytes of a job's picture, all of them and no others.

        What may pass is tried four times within two seconds. The whole may last until the job's deadline, and
        for a lease at least: after a quarter of a second the job counts as started.

        Raises:
            WorkerError: FETCH_FAILED or CHECKSUM_MISMATCH; both may be different for the next who tries.
        """
        left = (job.deadline - datetime.now(UTC)).total_seconds()
        try:
            async with asyncio.timeout(max(left, job.lease_seconds)):
                return await self._patiently(job)
        except (_WorthAnotherTry, NoAccount) as error:
            raise _failed(str(error)) from error
        except (aiohttp.InvalidURL, ValueError) as error:
            raise _failed("The job's link to its picture is no web address.") from error
        except aiohttp.ClientError as error:
            raise _failed(f"{_source(job)} did not give the picture: {_words(error)}.") from error
        except TimeoutError as error:
            raise _failed(f"The picture did not arrive from {_source(job)} in time.") from error

    async def _patiently(self, job: Job) -> bytes:
        for pause in _PAUSES_SECONDS:
            try:
                return await self._once(job)
            except aiohttp.InvalidURL:
                raise
            except (_WorthAnotherTry, aiohttp.ClientError):
                await asyncio.sleep(pause)
        return await self._once(job)

    async def _once(self, job: Job) -> bytes:
        digest, parts, size = hashlib.sha256(), [], 0
        async with self._opened(job) as answer:
            if answer.status != 200:
                raise self._refused(answer, job)
            async for part in answer.content.iter_any():
                parts.append(part)
                digest.update(part)
                size += len(part)
                if size > job.image.file_size:
                    break
        if size != job.image.file_size or digest.hexdigest() != job.image.sha256:
            raise WorkerError(
                CHECKSUM_MISMATCH,
                f"{_source(job)} sent something else than was uploaded: its size or SHA-256 differs.",
                retryable=True,
            )
        return b"".join(parts)

    @asynccontextmanager
    async def _opened(self, job: Job) -> AsyncIterator[aiohttp.ClientResponse]:
        if job.image.url is not None:
            link = URL(job.image.url, encoded=True)  # as it is: it is signed
            async with self._session.get(link, proxy=_proxy(link), max_redirects=3) as answer:
                yield answer
            return
        address = self._account.address(f"/images/{job.image_id}/original")
        token = await self._account.token(self._session)
        headers = {"authorization": f"Bearer {token}"}
        async with self._session.get(address, headers=headers, max_redirects=3) as answer:
            if answer.status == 401:
                self._account.forget(token)
            yield answer

    def _refused(self, answer: aiohttp.ClientResponse, job: Job) -> Exception:
        status = answer.status
        message = f"{_source(job)} answered {status} {answer.reason} instead of the picture."
        # an own token may have been revoked with the account still good
        if status >= 500 or status in _PASSING or (status == 401 and job.image.url is None):
            return _WorthAnotherTry(message)
        return _failed(message)


def _failed(message: str) -> WorkerError:
    return WorkerError(FETCH_FAILED, message, retryable=True)


def _source(job: Job) -> str:
    """The host only: a link's query is a key."""
    return "The API" if job.image.url is None else URL(job.image.url, encoded=True).host or "Nobody"


def _words(error: Exception) -> str:
    """What went wrong, without the link."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"HTTP {error.status} {error.message}"
    return f"{type(error).__name__} {error}".strip()


def _proxy(link: URL) -> str | None:
    """The proxy that the environment names for a link; this machine is always reached directly."""
    host = link.host or ""
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(link.scheme)
