"""`GET /files/...`: the bytes behind a signed link of the disk store."""

import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bioscope_gql.storage.blobs import BlobMissing, StoreUnavailable, content_disposition
from bioscope_gql.storage.disk import DiskStore, OpenFile
from bioscope_gql.storage.links import PATH, Grant, LinkExpired, LinkRefused, LinkSigner
from bioscope_gql.transport.ranges import STALL_SECONDS, Refused, Stalled, knows, part_of, patient
from bioscope_gql.transport.verification import Verification


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
        verification: Verification | None = None,
    ) -> None:
        self._store = store
        self._signer = signer
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._verification = verification or Verification()
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
            await self._serve(request, patient(send, self._stall_seconds))
        except Refused as refusal:
            await refusal.response(self._headers)(scope, receive, send)
        except Stalled:
            return  # before the end of the answer, so the server closes the connection

    async def _serve(self, request: Request, send: Send) -> None:
        grant = self._granted(request)
        started = False
        try:
            async with self._store.open_file(grant.key) as file:
                response = self._response(request, grant, file)
                if isinstance(response, StreamingResponse) and grant.sha256 is not None:
                    await self._verification.refuse_damaged(file, grant.sha256, key=grant.key)
                started = True
                await response(request.scope, request.receive, send)
        except BlobMissing as error:
            raise Refused(404, "NOT_FOUND", "This picture has been deleted.") from error
        except StoreUnavailable as error:
            if started:
                raise
            message = "The pictures can't be read at the moment. Try again in a few seconds."
            raise Refused(503, "SERVICE_UNAVAILABLE", message, {"Retry-After": "5"}) from error

    def _granted(self, request: Request) -> Grant:
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, "METHOD_NOT_ALLOWED", "Only GET and HEAD work here.", {"Allow": "GET, HEAD"})
        path, query = PATH + request.path_params["key"], request.scope["query_string"].decode("latin-1")
        try:
            return self._signer.verify(path, query, self._clock())
        except LinkRefused as error:
            code = "LINK_EXPIRED" if isinstance(error, LinkExpired) else "LINK_ALTERED"
            raise Refused(403, code, str(error)) from error

    def _response(self, request: Request, grant: Grant, file: OpenFile) -> Response:
        tag = f'"{file.tag}"'
        headers = self._headers | {
            "Accept-Ranges": "bytes",
            "Cache-Control": self._caching(grant),
            "Content-Disposition": content_disposition(grant.filename),
            "ETag": tag,
        }
        if knows(request.headers.get("If-None-Match"), tag):
            return Response(status_code=304, headers=headers)
        part = part_of(request, tag, file.size)
        headers |= part.headers
        if request.method == "HEAD":
            return Response(status_code=part.status, headers=headers, media_type=grant.content_type)
        chunks = file.chunks(part.start, part.end)
        return StreamingResponse(chunks, part.status, headers, grant.content_type)

    def _caching(self, grant: Grant) -> str:
        if grant.filename is not None:
            return "private, no-store"
        return f"private, max-age={max(0, int(grant.expires - self._clock()))}, immutable"
