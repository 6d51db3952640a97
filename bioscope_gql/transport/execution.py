"""From an operation to its answers, whatever it came by: HTTP, a socket, an event stream."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from typing import Any, Literal, Protocol, TypeAlias, TypeGuard, TypeVar, cast

import orjson
import strawberry
from graphql import ExecutionResult, GraphQLError, OperationType
from graphql.execution import (
    Executor,
    create_source_event_stream,
    execute_subscription_event,
)
from starlette.requests import HTTPConnection
from strawberry.execution import optimized_is_awaitable

from bioscope_gql.errors import Refusal, Unauthenticated
from bioscope_gql.live.once import Once
from bioscope_gql.live.places import Place
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers.paging import EVERYTHING, Shown
from bioscope_gql.tracing import Span
from bioscope_gql.transport.documents import Documents, InvalidDocument, Operation
from bioscope_gql.transport.executor import ViewExecutor
from bioscope_gql.transport.limits import Limits, refuse_above
from bioscope_gql.transport.masking import FormattedError, describe, refused, rejected
from bioscope_gql.transport.requests import GraphQLRequest, Malformed
from bioscope_gql.transport.shares import Shares, Traffic
from bioscope_gql.transport.waiting import finished, in_time
from bioscope_gql.vocabulary import uuid7

T = TypeVar("T")

TOKENLESS_FIELDS = frozenset(("register", "login", "refreshSession", "setPassword"))
"""An operation of only these never looks at the Authorization header: it may be just what is broken."""

OPEN_FIELDS = TOKENLESS_FIELDS | {"logout", "me", "server", "__typename", "__schema", "__type"}
"""Root fields for anybody, signed in or not."""

NOT_SIGNED_IN = "You are not signed in. Send `Authorization: Bearer` and your access token."

IS_AWAITABLE = cast("Callable[[Any], TypeGuard[Awaitable[Any]]]", optimized_is_awaitable)
"""Strawberry's is faster than graphql-core's, and not declared as narrowing."""


class Authenticator(Protocol):
    """Tells who is behind a token."""

    async def authenticate(self, authorization: str | None, *, accept_expired: bool = False) -> Viewer | None:
        """The viewer of an Authorization header (`Bearer ...`), read afresh; None without a header.

        `accept_expired` is for logout: a token that is good but for its age will do.

        Raises:
            Unauthenticated: the token does not hold, `reason` says why.
        """

    async def still_valid(self, viewer: Viewer) -> bool:
        """Whether session and account are still in force. The token's age is not asked."""


Transport: TypeAlias = Literal["post", "get", "multipart", "websocket"]


@dataclass(slots=True)
class Call:
    """One operation on its way: what a context may want to know of how it came in."""

    request_id: str
    connection: HTTPConnection
    transport: Transport
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    """Sent with the answer over HTTP, `Set-Cookie` for one; nobody reads them on a socket."""
    place: Place = field(default_factory=Place)
    """Of a subscription as an event stream; on a socket nobody asks for it."""
    tasks: "set[asyncio.Task[Any]]" = field(default_factory=set)
    """What is done on the side for the operation. Who ends it early ends these too."""
    operation: Operation | None = None
    """What was asked, once that is known."""
    shown: Shown = field(default_factory=lambda: EVERYTHING)
    """The columns that this shows, with the variables that were sent."""
    cost: Mapping[str, int] | None = None
    """What it may bring at most, and what is allowed."""
    began: float = field(default_factory=time.perf_counter)
    span: Span | None = None
    """Of the operation, where somebody traces it."""

    @classmethod
    def over(cls, connection: HTTPConnection, transport: Transport) -> "Call":
        """A call that bears the request id of its connection; a new one on a socket, which carries
        many calls, and where nobody gave it one."""
        request_id = transport != "websocket" and connection.scope.get("state", {}).get("request_id")
        place = Place(connection.headers.get("last-event-id") or None)
        return cls(request_id or str(uuid7()), connection, transport, place=place)


Permit: TypeAlias = Callable[[Operation, Viewer], None]
"""Raises a `Problem` or `Refusal` where a viewer may not even ask what an operation selects."""


class ContextFactory(Protocol):
    """Makes what resolvers get as `info.context`.

    Called once for every query and mutation. For a subscription once for its source and again for
    every event, so that no loader is older than the event that it serves.
    """

    def __call__(self, viewer: Viewer | None, call: Call) -> object:
        """A new context."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One GraphQL response. Where it was not `executed`, there is no `data` member."""

    errors: Sequence[FormattedError] = ()
    data: dict[str, Any] | None = None
    executed: bool = True
    status: int | None = None
    """Of HTTP, where it does not follow from the rest."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cost: Mapping[str, int] | None = None
    """What the operation may bring at most, and what is allowed."""
    encoded: bytes | None = None
    """It as JSON, where several are told the same."""

    @property
    def codes(self) -> set[str]:
        return {error["extensions"]["code"] for error in self.errors}

    def encode(self, request_id: str) -> bytes:
        """The response as JSON."""
        if self.encoded is not None:
            return self.encoded
        response: dict[str, Any] = {"data": self.data} if self.executed else {}
        if self.errors:
            response = {"errors": self.errors, **response}
        if self.cost is not None:
            response["extensions"] = {"cost": self.cost}
        try:
            return orjson.dumps(response, option=orjson.OPT_NON_STR_KEYS)
        except (TypeError, RecursionError) as error:
            return orjson.dumps({"errors": [describe(error, request_id)], "data": None})


Beginner: TypeAlias = Callable[[Call], None]
"""Takes note of a query or mutation that is about to run, in the task that runs it."""

Alike: TypeAlias = Callable[[Viewer | None, Call], Hashable]
"""Those for whom this is the same get the same answer to the same event; None: like nobody else."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription whose events are about to come."""

    operation: Operation
    executor: Executor[Any]
    source: AsyncGenerator[object, None]


Observer: TypeAlias = Callable[[Call, Answer | None], None]
"""Takes note of a call that has ended, and of the last answer to it; without one the client left before."""


class Execution:
    """A schema, ready to answer."""

    def __init__(
        self,
        schema: strawberry.Schema,
        *,
        authenticator: Authenticator,
        make_context: ContextFactory,
        limits: Limits,
        introspection: bool,
        permit: Permit | None = None,
        begin: Beginner | None = None,
        observe: Observer,
        alike: Alike = lambda _viewer, _call: None,
    ) -> None:
        self.limits = limits
        self.connections = Shares("sockets and event streams", limits.account_connections)
        self.operations = Shares("operations", limits.account_operations)
        self.traffic = Traffic(
            "your account's sockets", messages=limits.account_messages, size=limits.account_bytes
        )
        self._permit = permit
        self.authenticator = authenticator
        self.observe = observe
        self._begin = begin
        self._make_context = make_context
        self._alike = alike
        self._events: Once[Answer] = Once()
        self._schema = schema._schema
        self._documents = Documents(self._schema, limits, introspection=introspection)
        self._hide_suggestions = not introspection

    def find(self, request: GraphQLRequest, call: Call) -> Operation:
        """The operation that `request` means; raises what `Documents.find` raises.

        Raises:
            TooComplex: with these variables it costs more than is allowed.
        """
        operation = self._documents.find(request.query, request.operation_name)
        call.operation, call.shown = operation, operation.reads.of(request.variables)
        if self._begin is not None and operation.kind is not OperationType.SUBSCRIPTION:
            self._begin(call)
        cost = operation.price.of(request.variables)
        refuse_above("cost", self.limits.cost, cost)
        call.cost = {"cost": cost, "limit": self.limits.cost}
        return operation

    async def admit(self, operation: Operation, authorization: str | None) -> Viewer | None:
        """Who asks, if they may ask this at all: nothing of the operation has run yet.

        Raises:
            Unauthenticated: the token does not hold, or one is needed and missing.
        """
        asked = operation.root_fields - {"__typename"}
        if asked and asked <= TOKENLESS_FIELDS:
            return None
        viewer = await self.authenticator.authenticate(authorization, accept_expired=asked == {"logout"})
        if viewer is None and not asked <= OPEN_FIELDS:
            raise Unauthenticated(NOT_SIGNED_IN)
        if viewer is not None:
            self.permit(operation, viewer)
        return viewer

    def permit(self, operation: Operation, viewer: Viewer) -> None:
        """Return if the viewer may ask for all that the operation selects; raises what `Permit` raises."""
        if self._permit is not None:
            self._permit(operation, viewer)

    async def signed_in(self, authorization: str | None) -> Viewer:
        """Who asks, where nobody may without a token; raises `Unauthenticated`."""
        viewer = await self.authenticator.authenticate(authorization)
        if viewer is None:
            raise Unauthenticated(NOT_SIGNED_IN)
        return viewer

    async def answer(
        self, operation: Operation, variables: dict[str, Any], viewer: Viewer | None, call: Call
    ) -> Answer:
        """Run a query or mutation to its end.

        Raises:
            TooComplex: a query took longer than is allowed; nothing of it goes on.
        """
        executor = self._executor(operation, variables, viewer, call)
        if isinstance(executor, list):
            return self._told(ExecutionResult(None, executor), operation, call, call.cost)
        result = executor.execute_operation()
        if isawaitable(result):
            seconds = self.limits.operation_seconds if operation.kind is OperationType.QUERY else None
            result = await in_time(result, seconds, call.tasks)
        return self._told(cast("ExecutionResult", result), operation, call, call.cost)

    async def serve(
        self, sent: GraphQLRequest, authorization: str | None, call: Call
    ) -> AsyncGenerator[Answer, None]:
        """Every answer to what was sent, whatever it is; a refusal is an answer too."""
        last = None
        try:
            operation = self.find(sent, call)
            viewer = await self.admit(operation, authorization)
            async with aclosing(self.answers(operation, sent.variables, viewer, call)) as answers:
                async for answer in answers:
                    last = answer
                    yield answer
        except Exception as error:
            last = failure(error, call.request_id)
            yield last
        finally:
            self.observe(call, last)

    async def answers(
        self, operation: Operation, variables: dict[str, Any], viewer: Viewer | None, call: Call
    ) -> AsyncGenerator[Answer, None]:
        """Every answer of an operation of any kind. One that was not executed is the only one."""
        if operation.kind is not OperationType.SUBSCRIPTION:
            yield await self.answer(operation, variables, viewer, call)
            return
        subscribed = await self._subscribe(operation, variables, viewer, call)
        if isinstance(subscribed, Answer):
            yield subscribed
            return
        begun = False
        async with aclosing(subscribed.source) as source:
            try:
                async for payload in source:
                    told = await self._tell(subscribed, payload, variables, viewer, call)
                    if not begun:
                        told = replace(told, cost=call.cost, encoded=None)
                    yield told
                    begun = True
            except Exception as error:
                yield Answer([describe(error, call.request_id, operation.name)], executed=begun)

    async def _subscribe(
        self, operation: Operation, variables: dict[str, Any], viewer: Viewer | None, call: Call
    ) -> "Subscribed | Answer":
        executor = self._executor(operation, variables, viewer, call)
        if isinstance(executor, list):
            return Answer(rejected(executor, "BAD_USER_INPUT"), executed=False)
        source = create_source_event_stream(executor)
        source = await source if isawaitable(source) else source
        if isinstance(source, ExecutionResult):
            return Answer(
                [describe(e, call.request_id, operation.name) for e in source.errors or ()], executed=False
            )

        return Subscribed(operation, executor, cast("AsyncGenerator[object, None]", source))

    async def _tell(
        self,
        subscribed: "Subscribed",
        payload: object,
        variables: dict[str, Any],
        viewer: Viewer | None,
        call: Call,
    ) -> Answer:
        """The answer of one event: for all who are alike and ask the same of the same event it is one.

        Whether each of them may see the event was asked when it was read; see `live/hub.py`.
        """

        async def work() -> Answer:
            executor = subscribed.executor.build_per_event_executor(payload)
            executor.context_value = self._make_context(viewer, call)
            result = execute_subscription_event(executor)
            told = self._told(
                await finished(result) if isawaitable(result) else result, subscribed.operation, call
            )
            return replace(told, encoded=told.encode(call.request_id))

        alike = self._alike(viewer, call)
        if alike is None or call.place.source is None:
            return await work()
        asked = orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)
        return await self._events.get((call.place.source, subscribed.operation, asked, alike), work)

    def _executor(
        self, operation: Operation, variables: dict[str, Any], viewer: Viewer | None, call: Call
    ) -> Executor[Any] | list[GraphQLError]:
        """What runs an operation once; errors where the variables can't be."""
        return ViewExecutor.build(
            self._schema,
            operation.document,
            None,
            self._make_context(viewer, call),
            variables,
            operation.name,
            is_awaitable=IS_AWAITABLE,
            hide_suggestions=self._hide_suggestions,
            plans=operation.plans,
        )

    def _told(
        self,
        result: ExecutionResult,
        operation: Operation,
        call: Call,
        cost: Mapping[str, int] | None = None,
    ) -> Answer:
        """A result with its errors as the client may see them."""
        errors = result.errors or ()
        described = [describe(error, call.request_id, operation.name) for error in errors]
        executed = result.data is not None or any(error.path is not None for error in errors)
        return Answer(described, result.data, executed, cost=cost)


def failure(error: Exception, request_id: str) -> Answer:
    """The answer to an operation that ended before it was executed, by whatever was raised."""
    if isinstance(error, InvalidDocument):
        return Answer(error.errors, executed=False)
    if isinstance(error, Malformed):
        return Answer([refused(error)], executed=False, status=error.status, headers=error.headers)
    if isinstance(error, Refusal):
        return Answer([refused(error)], executed=False)
    described = describe(error, request_id)
    # A bug of ours is told as a field error would be: the request itself was in order.
    return Answer([described], executed=described["extensions"]["code"] == "INTERNAL_SERVER_ERROR")
