"""The ASGI application of one replica: every route, and what stands around them."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from graphql import OperationType
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from bioscope_gql.auth.tokens import Tokens
from bioscope_gql.db import Row
from bioscope_gql.measures import Figures, Observer, begin_traced
from bioscope_gql.observability import RequestId
from bioscope_gql.policy import Viewer, Visit
from bioscope_gql.replica import Replica
from bioscope_gql.resolvers import accounts
from bioscope_gql.schema import machines, schema
from bioscope_gql.schema.context import Context
from bioscope_gql.services import Services
from bioscope_gql.settings import Settings
from bioscope_gql.storage.disk import DiskStore
from bioscope_gql.storage.opening import signer_of
from bioscope_gql.tables import Table, User
from bioscope_gql.transport import cookies
from bioscope_gql.transport.addresses import client_address
from bioscope_gql.transport.documents import Operation
from bioscope_gql.transport.execution import Call
from bioscope_gql.transport.files import Files
from bioscope_gql.transport.health import Health
from bioscope_gql.transport.http import GraphQLEndpoint
from bioscope_gql.transport.limits import Limits
from bioscope_gql.transport.metrics import MetricsPage
from bioscope_gql.transport.oauth import TokenEndpoint
from bioscope_gql.transport.originals import Originals
from bioscope_gql.transport.verification import Verification
from bioscope_gql.web.pages import Pages

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Application:
    """What a server serves, as an ASGI application; `close` ends what would hold its stop up."""

    def __init__(self, replica: Replica, *, spool: Path) -> None:
        services = replica.services
        settings = services.settings
        self.replica = replica
        pages, verification = Pages(), Verification()
        self._endpoint = GraphQLEndpoint(
            schema(),
            authenticator=_Authenticator(services),
            make_context=_Contexts(services),
            spool_directory=spool,
            limits=_limits(settings),
            introspection=settings.app.introspection,
            allowed_origins=settings.app.cors_origins,
            permit=_permit,
            begin=begin_traced(services) if settings.app.traces_endpoint else None,
            observe=Observer(services.metrics),
            alike=lambda viewer, call: _alike(settings, viewer, call),
            explorer=pages.explorer,
        )
        token = settings.app.metrics_token
        routes: list[BaseRoute] = [
            Route("/graphql", self._endpoint),
            WebSocketRoute("/graphql", self._endpoint),
            Route("/.well-known/jwks.json", _Jwks(services.tokens)),
            TokenEndpoint(services).route(),
            *Originals(
                services, origin_of=lambda scope: _origin(settings, scope), verification=verification
            ).routes(),
            *_health(replica).routes(),
            *pages.routes(),
            MetricsPage(
                services.metrics,
                Figures(replica, self._endpoint).gather,
                token=token.get_secret_value() if token is not None else None,
                trusted_proxies=settings.app.trusted_proxies,
            ).route(),
        ]
        if isinstance(services.store, DiskStore):
            routes.append(Files(services.store, signer_of(settings.s3), verification=verification).route())
        starlette = Starlette(
            routes=routes, middleware=_middleware(settings), exception_handlers={404: _absent}
        )
        self._asgi = RequestId(starlette, trusted_proxies=settings.app.trusted_proxies)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._asgi(scope, receive, send)

    async def close(self) -> None:
        """Readiness says no from now on, and sockets end; uploads and queries go on to their end."""
        self.replica.stopping = True
        await self._endpoint.close()


class _Authenticator:
    """`transport` asks who is behind a token; `resolvers` know."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def authenticate(self, authorization: str | None, *, accept_expired: bool = False) -> Viewer | None:
        return await accounts.authenticate(self._services, authorization, accept_expired=accept_expired)

    async def still_valid(self, viewer: Viewer) -> bool:
        return await accounts.still_valid(self._services, viewer)


class _Contexts:
    """Makes what resolvers get as `info.context`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def __call__(self, viewer: Viewer | None, call: Call) -> Context:
        connection = call.connection
        app = self._services.settings.app
        visit = Visit(
            call.request_id,
            client_address(connection.scope, trusted_proxies=app.trusted_proxies),
            connection.headers.get("user-agent"),
        )

        def write_cookie(token: str, seconds: int) -> None:
            call.response_headers.append(cookies.written(token, seconds=seconds, public_url=app.public_url))

        return Context(
            services=self._services,
            caller=viewer and replace(viewer, visit=visit),
            visit=visit,
            read_cookie=lambda: cookies.sent_with(call, app.cors_origins),
            write_cookie=write_cookie,
            request_id=call.request_id,
            origin=_origin(self._services.settings, connection.scope),
            response_headers=call.response_headers,
            place=call.place,
            shown=call.shown,
            known=_known(viewer, call),
            tasks=call.tasks,
        )


def _known(viewer: Viewer | None, call: Call) -> Mapping[type[Table], Mapping[UUID, Row]]:
    """The account of who asks, for a query that follows at once; otherwise it is read again."""
    if viewer is None or viewer.account is None or call.transport == "multipart":
        return {}
    is_query = call.operation is not None and call.operation.kind is OperationType.QUERY
    return {User: {viewer.id: viewer.account}} if is_query else {}


def _permit(operation: Operation, viewer: Viewer) -> None:
    """A machine gets no further than its scopes reach."""
    machines.permit(schema()._schema, operation.document, operation.name, viewer)


def _alike(settings: Settings, viewer: Viewer | None, call: Call) -> Hashable:
    """All of a subscriber that an answer may depend on; the age of the token is no part of it."""
    return viewer and (
        viewer.id,
        viewer.role,
        viewer.session,
        frozenset(viewer.scopes),
        _origin(settings, call.connection.scope),
    )


def _origin(settings: Settings, scope: Any) -> str:
    return settings.app.public_url or _own_address(scope)


def _own_address(scope: Any) -> str:
    """The address that a caller on this machine used. Of anybody else's Host header nothing is believed."""
    host, port = scope.get("server") or ("127.0.0.1", None)
    secure = scope["scheme"] in ("https", "wss")
    name = "127.0.0.1" if host not in LOOPBACK else f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{name}" + (f":{port}" if port else "")


class _Jwks:
    """The public keys, by which others can check our tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = JSONResponse(self._tokens.jwks(), headers={"Cache-Control": "public, max-age=300"})
        await response(scope, receive, send)


def _health(replica: Replica) -> Health:
    services = replica.services

    async def database() -> None:
        await services.db.value("select 1")

    async def kafka() -> None:
        if replica.broker.link is None:
            raise ConnectionError("there is no connection to Kafka")

    def duty(name: str) -> Any:
        async def check() -> None:
            if not replica.duties[name]:
                raise RuntimeError("it failed and is about to begin again")

        return check

    return Health(
        {
            "database": database,
            "kafka": kafka,
            "store": services.store.check,
            "dispatch": duty("dispatch"),
            "results": duty("results"),
        },
        vital="database",
        is_ready=lambda: not replica.stopping and all(replica.duties.values()),
    )


def _limits(settings: Settings) -> Limits:
    """The limits of the door, from the settings."""
    limits = settings.limits
    return Limits(
        requests=limits.concurrent_requests,
        body_bytes=limits.json_body_bytes,
        query_bytes=limits.query_bytes,
        tokens=limits.query_tokens,
        depth=limits.query_depth,
        fields=limits.query_fields,
        aliases=limits.query_aliases,
        cost=limits.query_cost,
        operation_seconds=limits.query_seconds,
        upload_request_bytes=limits.upload_request_bytes,
        upload_files=limits.upload_files,
        file_bytes=limits.file_bytes,
        tiff_bytes=limits.tiled_file_bytes,
        account_connections=limits.connections_per_account,
        account_operations=limits.operations_per_account,
        socket_messages=limits.messages_per_socket,
        socket_bytes=limits.bytes_per_socket,
        account_messages=limits.messages_per_account,
        account_bytes=limits.bytes_per_account,
    )


def _middleware(settings: Settings) -> list[Middleware]:
    if not settings.app.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(settings.app.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=[
                "authorization",
                "content-type",
                "graphql-require-preflight",
                "apollo-require-preflight",
            ],
            allow_credentials=True,
            expose_headers=["x-request-id", "retry-after"],
            max_age=600,
        )
    ]


async def _absent(request: Request, _error: Exception) -> Response:
    message = f"There is nothing at {request.url.path[:200]}. The API is at /graphql, its health at /health."
    return JSONResponse({"errors": [{"message": message, "extensions": {"code": "NOT_FOUND"}}]}, 404)
