"""What a client is told of an error, and what only the log is told."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg
import structlog
from graphql import FieldNode, GraphQLError

from bioscope_gql.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    Problem,
    RateLimited,
    Refusal,
    Unavailable,
)

FormattedError = dict[str, Any]

PROBLEM_CODES: dict[type[Problem], str] = {
    NotFound: "NOT_FOUND",
    Forbidden: "FORBIDDEN",
    InvalidInput: "BAD_USER_INPUT",
    RateLimited: "RATE_LIMITED",
}
LOST_DATABASE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    ConnectionError,
)
CLOSED = re.compile(r"\bclos(ed|ing)\b|not initialized")

logger = structlog.get_logger()


def describe(error: Exception, request_id: str, operation: str | None = None) -> FormattedError:
    """One entry of `errors`. A bug is logged once, here, and told as a request id only."""
    cause = cause_of(error)
    told = tell(cause)
    if told is None and isinstance(error, GraphQLError) and is_the_clients(error, cause):
        told = (error.message, {"code": "BAD_USER_INPUT"})
    if told is None:
        logger.error(
            "operation_failed",
            request_id=request_id,
            operation=operation,
            path=error.path if isinstance(error, GraphQLError) else None,
            exc_info=cause,
        )
        told = masked(request_id)
    return entry(*told, error if isinstance(error, GraphQLError) else None)


def entry(message: str, extensions: dict[str, object], source: GraphQLError | None = None) -> FormattedError:
    """An error as the specification wants it; `source` knows where it happened."""
    formatted: FormattedError = {"message": message}
    if source is not None and source.locations:
        formatted["locations"] = [location.formatted for location in source.locations]
    if source is not None and source.path is not None:
        formatted["path"] = source.path
    formatted["extensions"] = extensions
    return formatted


def refused(refusal: Refusal) -> FormattedError:
    """The entry of an operation that is refused as a whole."""
    return entry(refusal.message, refusal.extensions)


def rejected(errors: Sequence[GraphQLError], code: str) -> list[FormattedError]:
    """The entries of a document or of variables that graphql-core does not accept."""
    return [entry(error.message, {"code": code}, error) for error in errors]


def masked(request_id: str) -> tuple[str, dict[str, object]]:
    """What may be said of a bug."""
    message = f"Something went wrong on our side. Quote the request id {request_id} when you report it."
    return message, {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id}


def cause_of(error: Exception) -> Exception:
    """What was raised at first, before graphql-core wrapped it."""
    while isinstance(error, GraphQLError) and error.original_error is not None:
        error = error.original_error
    return error


def tell(cause: Exception) -> tuple[str, dict[str, object]] | None:
    """Message and extensions of what a caller may know; None for a bug."""
    if isinstance(cause, Refusal):
        return cause.message, cause.extensions
    if isinstance(cause, Problem):
        return cause.message, problem_extensions(cause)
    if is_lost_database(cause):
        unavailable = Unavailable()
        return unavailable.message, unavailable.extensions
    return None


def problem_extensions(problem: Problem) -> dict[str, object]:
    """A problem where there is no union to put it into: its kind is the code, a finer code the reason."""
    code = PROBLEM_CODES.get(type(problem), problem.code)
    extensions: dict[str, object] = {"code": code}
    if problem.code and problem.code != code:
        extensions["reason"] = problem.code
    if isinstance(problem, RateLimited):
        extensions["retryAfterSeconds"] = problem.retry_after_seconds
    return extensions


def is_the_clients(error: GraphQLError, cause: Exception) -> bool:
    """Whether graphql-core itself complains about a value that the client sent.

    Such an error points into the document at a value or variable; one about a value that *we*
    returned points at a field. Without a path it comes from coercing variables.
    """
    if error.path is None:
        return True
    return isinstance(cause, GraphQLError) and not any(isinstance(n, FieldNode) for n in error.nodes or ())


def is_lost_database(cause: BaseException) -> bool:
    """Whether this is what asyncpg raises while PostgreSQL is away, starts, stops or is full."""
    if isinstance(cause, LOST_DATABASE):
        return True
    if isinstance(cause, asyncpg.InterfaceError):
        return CLOSED.search(str(cause)) is not None
    return isinstance(cause, OSError | TimeoutError) and "asyncpg" in modules(cause)


def modules(error: BaseException) -> Iterator[str]:
    """The packages that an exception passed through."""
    trace = error.__traceback__
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        trace = trace.tb_next
