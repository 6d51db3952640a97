"""The endpoint: GraphQL over HTTP by the working draft, and the door to sockets.

With `application/graphql-response+json` a refused operation has a 4xx status. With
`application/json` whatever is well-formed is answered with 200, as that draft wants it for old
clients. Whatever is not even a GraphQL request, and an upload without a token, has its own 4xx with
both. A database that is away is 503 with both.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import strawberry
from graphql import OperationType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bioscope_gql.errors import Refusal, Unauthenticated
from bioscope_gql.policy import Viewer
from bioscope_gql.transport.bodies import Body
from bioscope_gql.transport.documents import Operation
from bioscope_gql.transport.execution import (
    Alike,
    Answer,
    Authenticator,
    Beginner,
    Call,
    ContextFactory,
    Execution,
    Observer,
    Permit,
    Transport,
    failure,
)
from bioscope_gql.transport.limits import Limits
from bioscope_gql.transport.multipart import Uploads
from bioscope_gql.transport.negotiation import (
    EVENT_STREAM,
    GRAPHQL_JSON,
    HTML,
    JSON,
    MULTIPART,
    negotiate,
    parse_content_type,
    takes_events,
)
from bioscope_gql.transport.requests import (
    GraphQLRequest,
    Malformed,
    from_json,
    from_query_string,
    parse_json,
)
from bioscope_gql.transport.streams import HEADERS, Asked, Streams, whole
from bioscope_gql.transport.websocket import Sockets

METHODS = "GET, POST"
STATUSES = {"UNAUTHENTICATED": 401, "FORBIDDEN": 403, "RATE_LIMITED": 429}
PREFLIGHT_HEADERS = ("graphql-require-preflight", "apollo-require-preflight")
UNAVAILABLE = "SERVICE_UNAVAILABLE"
SUBSCRIBE_OTHERWISE = (
    "A subscription needs a WebSocket with the sub-protocol graphql-transport-ws, or a request whose Accept"
    f" names {EVENT_STREAM}."
)
RETRY_AFTER_SECONDS = 5
NOT_ACCEPTABLE = Malformed(
    f"Only {GRAPHQL_JSON} and {JSON} can be had here. Name one of them in Accept.", status=406
)


OVERLOADED = Malformed(
    "There are too many requests at the moment. Send this one again in a few seconds.",
    UNAVAILABLE,
    status=503,
)


class GraphQLEndpoint:
    """ASGI application for one path, HTTP and WebSocket; mount it as a route of each."""

    def __init__(
        self,
        schema: strawberry.Schema,
        *,
        authenticator: Authenticator,
        make_context: ContextFactory,
        spool_directory: Path,
        limits: Limits | None = None,
        introspection: bool = True,
        allowed_origins: Collection[str] | None = None,
        permit: Permit | None = None,
        begin: Beginner | None = None,
        observe: Observer = lambda _call, _answer: None,
        alike: Alike = lambda _viewer, _call: None,
        explorer: Callable[[], Response] | None = None,
    ) -> None:
        """`allowed_origins` are those of other sites whose pages may open a socket, written as a
        browser does: `https://lab.example`. Pages of our own host always may. `explorer` is what a
        browser gets that comes by itself."""
        self._limits = limits or Limits()
        self._execution = Execution(
            schema,
            authenticator=authenticator,
            make_context=make_context,
            limits=self._limits,
            introspection=introspection,
            permit=permit,
            begin=begin,
            observe=observe,
            alike=alike,
        )
        self._uploads = Uploads(spool_directory, self._limits)
        self._sockets = Sockets(self._execution, allowed_origins=allowed_origins or ())
        self._streams = Streams(self._execution)
        self._explorer = explorer
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._sockets.serve(scope, receive, send)
        else:
            await self._serve_http(scope, receive, send)

    async def close(self) -> None:
        """End sockets with 1012 and cut streams. Complete when it returns; further calls do nothing."""
        await self._sockets.close()
        await self._streams.close()

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        if self._explorer is not None and is_browsing(request):
            await self._explorer()(scope, receive, send)
            return
        transport = transport_of(request)
        uploads = transport == "multipart"
        body = Body(
            request,
            receive,
            self._limits.upload_request_bytes if uploads else self._limits.body_bytes,
            stall_seconds=self._limits.body_stall_seconds,
        )
        call = Call.over(request, transport)
        accept = request.headers.get("accept")
        media = negotiate(accept, (JSON, GRAPHQL_JSON))
        try:
            if not media and not takes_events(accept):
                answer: Answer | Asked = failure(NOT_ACCEPTABLE, call.request_id)
            elif self._running >= self._limits.requests:
                answer = failure(OVERLOADED, call.request_id)
            else:
                answer = await self._in_turn(request, body, call)
        except ClientDisconnect:
            return
        if isinstance(answer, Asked):
            await self._streams.serve(answer, receive, send)
            return
        self._execution.observe(call, answer)
        response = respond(answer, media or EVENT_STREAM, call)
        if body.is_ended:
            await response(scope, receive, send)
        else:
            await answer_early(response, body, send)

    async def _in_turn(self, request: Request, body: Body, call: Call) -> Answer | Asked:
        """The answer, while it counts as one of those that are at work."""
        self._running += 1
        try:
            return await self._answer(request, body, call)
        finally:
            self._running -= 1

    @property
    def crowd(self) -> Mapping[str, int]:
        """How many are here: requests at work, sockets, their operations, event streams."""
        return {
            "requests": self._running,
            "sockets": self._sockets.count,
            "socket_operations": self._sockets.operations,
            "streams": self._streams.count,
        }

    async def _answer(self, request: Request, body: Body, call: Call) -> Answer | Asked:
        """What comes of a request, whatever it is."""
        try:
            if request.method not in ("GET", "POST"):
                raise not_allowed(f"{request.method} is not allowed here. Use GET or POST.", METHODS)
            if call.transport == "multipart":
                return await self._upload(request, body, call)
            sent = (
                self._from_url(request) if call.transport == "get" else await self._from_body(request, body)
            )
            return await self._run(sent, call, None)
        except ClientDisconnect:
            raise
        except Exception as error:
            return failure(error, call.request_id)

    def _from_url(self, request: Request) -> GraphQLRequest:
        return from_query_string(request.query_params.multi_items(), max_depth=self._limits.json_depth)

    async def _from_body(self, request: Request, body: Body) -> GraphQLRequest:
        media, parameters = parse_content_type(request.headers.get("content-type"))
        if media != JSON:
            message = f"The request must be {JSON} or {MULTIPART}. Say which in Content-Type."
            raise Malformed(message, status=415)
        if parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
            raise Malformed("The request must be encoded in UTF-8.", status=415)
        refuse_encoded(request)
        return from_json(parse_json(await body.read(), max_depth=self._limits.json_depth))

    async def _upload(self, request: Request, body: Body, call: Call) -> Answer | Asked:
        """Nothing of the body is read before the token is known to be good."""
        if not any(request.headers.get(name, "").strip() for name in PREFLIGHT_HEADERS):
            message = "An upload needs a header that no form can send: set `GraphQL-Require-Preflight: 1`."
            raise Malformed(message)
        refuse_encoded(request)
        try:
            viewer = await self._execution.signed_in(request.headers.get("authorization"))
        except Unauthenticated as error:
            return replace(failure(error, call.request_id), status=401)
        boundary = parse_content_type(request.headers.get("content-type"))[1].get("boundary", "")

        def check(sent: GraphQLRequest) -> None:
            self._execution.permit(self._find(sent, call), viewer)

        async with self._uploads.receive(body, boundary, check=check) as sent:
            if not await self._execution.authenticator.still_valid(viewer):
                raise Unauthenticated(
                    "Your session ended while the files came in. Sign in again.", reason="REVOKED"
                )
            return await self._run(sent, call, viewer)

    async def _run(self, sent: GraphQLRequest, call: Call, uploader: Viewer | None) -> Answer | Asked:
        """Find, admit and execute one operation; a subscription is only found and admitted."""
        operation = self._find(sent, call)
        authorization = call.connection.headers.get("authorization")
        viewer = uploader or await self._execution.admit(operation, authorization)
        if operation.kind is OperationType.SUBSCRIPTION:
            self._execution.connections.refuse_above(viewer)
            return Asked(operation, sent.variables, viewer, authorization, call)
        answer = await self._execution.answer(operation, sent.variables, viewer, call)
        return withdrawn(answer, operation)

    def _find(self, sent: GraphQLRequest, call: Call) -> Operation:
        """The operation that was sent, if it may come in this way."""
        if not sent.query.strip():
            raise Malformed("The query is empty. Send an operation.")
        operation = self._execution.find(sent, call)
        if operation.kind is OperationType.SUBSCRIPTION and not may_stream(call):
            raise Refusal(SUBSCRIBE_OTHERWISE)
        if operation.kind is OperationType.MUTATION and call.transport == "get":
            raise not_allowed("A mutation must be sent by POST.", "POST")
        return operation


def transport_of(request: Request) -> Transport:
    """By which of the ways over HTTP an operation comes."""
    if request.method != "POST":
        return "get"
    is_multipart = parse_content_type(request.headers.get("content-type"))[0] == MULTIPART
    return "multipart" if is_multipart else "post"


def is_browsing(request: Request) -> bool:
    """Whether a person opens this address in a browser."""
    offers = (JSON, GRAPHQL_JSON, HTML)
    return request.method == "GET" and negotiate(request.headers.get("accept"), offers) == HTML


def may_stream(call: Call) -> bool:
    """Whether a subscription that comes in this way can be told as an event stream."""
    return call.transport != "multipart" and takes_events(call.connection.headers.get("accept"))


def refuse_encoded(request: Request) -> None:
    """Raise `Malformed` for a compressed body: its true size could not be limited."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Malformed("A compressed request is not supported. Send it as it is.", status=415)


def not_allowed(message: str, methods: str) -> Malformed:
    """The refusal of a method, naming the ones that will do."""
    return Malformed(message, status=405, headers={"Allow": methods})


def withdrawn(answer: Answer, operation: Operation) -> Answer:
    """An answer that the database went away from is none, unless a mutation already did something."""
    lost = [error for error in answer.errors if error["extensions"]["code"] == UNAVAILABLE]
    done = operation.kind is OperationType.MUTATION and any(
        v is not None for v in (answer.data or {}).values()
    )
    return Answer(lost[:1], executed=False) if lost and not done else answer


def status_of(answer: Answer, media: str) -> int:
    """The status that goes with an answer, see the top of this module and of `respond`."""
    if answer.status is not None:
        return answer.status
    if answer.executed:
        return 200
    codes = answer.codes
    if UNAVAILABLE in codes:
        return 503
    if media == EVENT_STREAM and "UNAUTHENTICATED" not in codes:
        return 200
    return 200 if media == JSON else max(STATUSES.get(code, 400) for code in codes)


def respond(answer: Answer, media: str, call: Call) -> Response:
    """The response, with the headers that a resolver asked for.

    For a client that takes nothing but events, an operation that GraphQL itself refuses is a stream of that
    one answer; all else that is no subscription is JSON whatever it says.
    """
    status = status_of(answer, media)
    if media == EVENT_STREAM and status == 200 and not answer.executed:
        return Response(whole(answer, call.request_id), status, HEADERS)
    media = JSON if media == EVENT_STREAM else media
    headers = {"Cache-Control": "no-store", "Vary": "Accept", **answer.headers}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    retry_after = next((e["extensions"].get("retryAfterSeconds") for e in answer.errors), None)
    if status in (429, 503):
        headers["Retry-After"] = str(retry_after or RETRY_AFTER_SECONDS)
    response = Response(answer.encode(call.request_id), status, headers, f"{media}; charset=utf-8")
    for name, value in call.response_headers:
        response.headers.append(name, value)
    return response


async def answer_early(response: Response, body: Body, send: Send) -> None:
    """Answer a client that is still sending, and listen on for a while: one that finds its
    connection reset in the middle of sending does not read the answer."""
    headers = [*response.raw_headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
    await body.drain()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
