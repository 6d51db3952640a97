"""`GET /images/{id}/original` and `GET /api/images/{id}/download`: pictures for whoever brings a token.

The first gives the bytes, where a worker can't follow links. The second gives a link, to classifiers
written for BioScopeAI Core; there, and only there, a machine may show its secret instead of a token.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bioscope_gql.db import Row
from bioscope_gql.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import accounts, images, serviceaccounts, words
from bioscope_gql.services import Services
from bioscope_gql.storage.blobs import BlobMissing, StoreUnavailable, content_disposition
from bioscope_gql.storage.disk import DiskStore
from bioscope_gql.transport.masking import is_lost_database
from bioscope_gql.transport.ranges import STALL_SECONDS, Refused, Stalled, knows, part_of, patient
from bioscope_gql.transport.verification import Verification

LINK_SECONDS = 600
SAFE = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
NOT_SIGNED_IN = "Send `Authorization: Bearer` and an access token."


class Originals:
    """Both routes. `origin_of` tells our own address from an ASGI scope, for stores that have none."""

    def __init__(
        self,
        services: Services,
        *,
        origin_of: Callable[[Scope], str],
        stall_seconds: float = STALL_SECONDS,
        verification: Verification | None = None,
    ) -> None:
        self._services = services
        self._verification = verification or Verification()
        self._origin_of = origin_of
        self._stall_seconds = stall_seconds

    def routes(self) -> list[Route]:
        """The routes that lead here."""
        return [
            Route("/images/{id}/original", self._answering(self._bytes)),
            Route("/api/images/{id}/download", self._answering(self._link)),
        ]

    def _answering(self, serve: Callable[..., object]) -> "_Answering":
        return _Answering(serve, self._stall_seconds)

    async def _bytes(self, request: Request, send: Send) -> None:
        authorization = request.headers.get("authorization")
        viewer = await accounts.authenticate(self._services, authorization)
        row = await self._row(request, viewer)
        tag, size = f'"{row["sha256"]}"', row["file_size"]
        headers = {
            **SAFE,
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",
            "Content-Disposition": content_disposition(row["filename"]),
            "ETag": tag,
            "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(row['sha256'])).decode()}:",
            "Vary": "Authorization",
        }
        if knows(request.headers.get("If-None-Match"), tag):
            await Response(status_code=304, headers=headers)(request.scope, request.receive, send)
            return
        part, kind = part_of(request, tag, size), row["content_type"]
        headers |= part.headers
        if request.method == "HEAD":
            await Response(None, part.status, headers, kind)(request.scope, request.receive, send)
            return
        await self._refuse_damaged(row)
        async with self._services.store.open(row["storage_path"], start=part.start, end=part.end) as blob:
            response = StreamingResponse(blob.chunks, part.status, headers, kind)
            await response(request.scope, request.receive, send)

    async def _refuse_damaged(self, row: Row) -> None:
        """Compare it with its checksum where the disk is ours; an S3 store minds its own."""
        store = self._services.store
        if isinstance(store, DiskStore):
            async with store.open_file(row["storage_path"]) as file:
                await self._verification.refuse_damaged(file, row["sha256"], key=row["storage_path"])

    async def _link(self, request: Request, send: Send) -> None:
        viewer = await self._viewer_or_client(request.headers.get("authorization"))
        row = await self._row(request, viewer)
        url = self._services.store.presign_get(
            row["storage_path"],
            seconds=LINK_SECONDS,
            content_type=row["content_type"],
            filename=row["filename"],
            origin=self._origin_of(request.scope),
            to="browser" if viewer and viewer.is_person else "worker",
        )
        response = JSONResponse({"url": url}, headers={**SAFE, "Cache-Control": "no-store"})
        await response(request.scope, request.receive, send)

    async def _viewer_or_client(self, authorization: str | None) -> Viewer | None:
        """Whoever a token speaks for, or the machine whose id and secret stand there with a dot between."""
        kind, _, token = (authorization or "").partition(" ")
        client_id, *secret = token.strip().split(".")
        if kind.lower() == "bearer" and len(secret) == 1:
            return await serviceaccounts.by_secret(self._services, client_id, secret[0])
        return await accounts.authenticate(self._services, authorization)

    async def _row(self, request: Request, viewer: Viewer | None) -> Row:
        if viewer is None:
            raise Unauthenticated(NOT_SIGNED_IN)
        return await images.original(self._services, viewer, words.read_id(request.path_params["id"]))


class _Answering:
    """Turns what a route raises into answers, as long as nothing was sent."""

    def __init__(self, serve: Callable[..., object], stall_seconds: float) -> None:
        self._serve, self._stall_seconds = serve, stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = _Sent(patient(send, self._stall_seconds))
        try:
            if scope["method"] not in ("GET", "HEAD"):
                message = "Only GET and HEAD work here."
                raise Refused(405, "METHOD_NOT_ALLOWED", message, {"Allow": "GET, HEAD"})
            await self._serve(Request(scope, receive), sent)  # type: ignore[misc]
        except Stalled:
            return  # before the end of the answer, so the server closes the connection
        except Exception as error:
            refusal = refused(error)
            if refusal is None or sent.begun:
                raise
            await refusal.response(SAFE)(scope, receive, send)


class _Sent:
    """A `send` that knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send, self.begun = send, False

    async def __call__(self, message: Mapping[str, object]) -> None:
        self.begun = True
        await self._send(message)  # type: ignore[arg-type]


def refused(error: Exception) -> Refused | None:
    """What a caller is told of an error; None of a bug."""
    match error:
        case Refused():
            return error
        case Unauthenticated():
            return Refused(401, error.code, error.message, {"WWW-Authenticate": "Bearer"})
        case Forbidden():
            return Refused(403, error.code, error.message)
        case NotFound():
            return Refused(404, error.code, error.message)
        case BlobMissing():
            return Refused(404, "NOT_FOUND", "The bytes of this picture are gone.")
        case StoreUnavailable():
            message = "The pictures can't be read at the moment. Try again in a few seconds."
            return Refused(503, "SERVICE_UNAVAILABLE", message, {"Retry-After": "5"})
    if is_lost_database(error):
        away = Unavailable()
        return Refused(503, away.code, away.message, {"Retry-After": "5"})
    return None
