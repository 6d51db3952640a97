"""`GET /files/...`: the bytes behind a signed link of the disk store."""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from bioscope_gql.storage.blobs import BlobMissing, StoreUnavailable, content_disposition
from bioscope_gql.storage.disk import DiskStore, OpenFile
from bioscope_gql.storage.links import PATH, Grant, LinkExpired, LinkRefused, LinkSigner
from bioscope_gql.transport.verification import Verification

logger = structlog.get_logger()

STALL_SECONDS = 60.0
"""A client that takes nothing for this long is given up, so that it can't keep a file open for ever."""

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


@dataclass(eq=False)
class _Refusal(Exception):
    """An answer without a picture, as JSON."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


class _Stalled(Exception):
    """The client has stopped reading."""


class Files:
    """Serves GET and HEAD of signed links, whole or one range. The link is all that a caller needs.

    Because the link alone opens the picture, pages of other sites may not embed it: who got hold of
    a link should not be able to show it to others as theirs. A frontend on another port is of the same
    site; for one on another site set `cross_site`.
    """

    def __init__(
        self,
        store: DiskStore,
        signer: LinkSigner,
        *,
        cross_site: bool = False,
        stall_seconds: float = STALL_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._signer = signer
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._verification = Verification()
        self._headers = {
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Cross-Origin-Resource-Policy": "cross-origin" if cross_site else "same-site",
            "X-Content-Type-Options": "nosniff",
        }

    def route(self) -> Route:
        """The route that leads here."""
        return Route(f"{PATH}{{key:path}}", self, name="files")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await self._serve(request, self._patient(send))
        except _Refusal as refusal:
            await self._refused(refusal)(scope, receive, send)
        except _Stalled:
            return  # before the end of the answer, so the server closes the connection

    async def _serve(self, request: Request, send: Send) -> None:
        grant = self._granted(request)
        started = False
        try:
            async with self._store.open_file(grant.key) as file:
                response = self._response(request, grant, file)
                if isinstance(response, StreamingResponse):
                    await self._refuse_damaged(grant, file)
                started = True
                await response(request.scope, request.receive, send)
        except BlobMissing as error:
            raise _Refusal(404, "NOT_FOUND", "This picture has been deleted.") from error
        except StoreUnavailable as error:
            if started:
                raise
            message = "The pictures can't be read at the moment. Try again in a few seconds."
            raise _Refusal(503, "SERVICE_UNAVAILABLE", message, {"Retry-After": "5"}) from error

    def _granted(self, request: Request) -> Grant:
        if request.method not in ("GET", "HEAD"):
            raise _Refusal(405, "METHOD_NOT_ALLOWED", "Only GET and HEAD work here.", {"Allow": "GET, HEAD"})
        path, query = PATH + request.path_params["key"], request.scope["query_string"].decode("latin-1")
        try:
            return self._signer.verify(path, query, self._clock())
        except LinkRefused as error:
            code = "LINK_EXPIRED" if isinstance(error, LinkExpired) else "LINK_ALTERED"
            raise _Refusal(403, code, str(error)) from error

    def _response(self, request: Request, grant: Grant, file: OpenFile) -> Response:
        tag = f'"{file.tag}"'
        headers = self._headers | {
            "Accept-Ranges": "bytes",
            "Cache-Control": self._caching(grant),
            "Content-Disposition": content_disposition(grant.filename),
            "ETag": tag,
        }
        if _knows(request.headers.get("If-None-Match"), tag):
            return Response(status_code=304, headers=headers)
        asked = _asked_range(request, tag, file.size)
        start, end = asked or (0, file.size)
        headers["Content-Length"] = str(end - start)
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        status = 206 if asked else 200
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers, media_type=grant.content_type)
        return StreamingResponse(file.chunks(start, end), status, headers, grant.content_type)

    async def _refuse_damaged(self, grant: Grant, file: OpenFile) -> None:
        """Of a picture whose bytes are not those that were uploaded none is served, and it is told."""
        if grant.sha256 is None or await self._verification.is_whole(file, grant.sha256):
            return
        logger.error("picture_damaged", key=grant.key)
        message = (
            "This picture is damaged: its bytes are not those that were uploaded. "
            "Tell whoever runs the server, who can restore it from a backup."
        )
        raise _Refusal(500, "DAMAGED", message)

    def _caching(self, grant: Grant) -> str:
        if grant.filename is not None:
            return "private, no-store"
        return f"private, max-age={max(0, int(grant.expires - self._clock()))}, immutable"

    def _refused(self, refusal: _Refusal) -> Response:
        headers = {**self._headers, "Cache-Control": "no-store", **refusal.headers}
        content = {"code": refusal.code, "message": refusal.message}
        return JSONResponse({"error": content}, refusal.status, headers)

    def _patient(self, send: Send) -> Send:
        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    await send(message)
            except TimeoutError as error:
                raise _Stalled from error

        return send_in_time


def _knows(header: str | None, tag: str) -> bool:
    """Whether If-None-Match names our tag; a weak one is as good."""
    if header is None:
        return False
    return any(known.strip().removeprefix("W/") in (tag, "*") for known in header.split(","))


def _asked_range(request: Request, tag: str, size: int) -> tuple[int, int] | None:
    """The half-open range that was asked for, None for the whole.

    As RFC 9110 allows, what is malformed or several ranges is answered with the whole; a range that
    starts behind the end is refused.
    """
    header = request.headers.get("Range")
    if header is None or request.method != "GET" or request.headers.get("If-Range", tag) != tag:
        return None
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < start:
        return None
    if start >= size:
        outside = {"Content-Range": f"bytes */{size}"}
        raise _Refusal(416, "RANGE_NOT_SATISFIABLE", f"This file has {size} bytes.", outside)
    return start, end
