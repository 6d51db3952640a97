"""What a client may send as one operation, and the answer when it does not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from bioscope_gql.errors import Refusal

T = TypeVar("T")


@dataclass(eq=False)
class Malformed(Refusal):
    """Not a well-formed request; over HTTP answered with `status` whatever media type is spoken."""

    status: int = 400
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """One operation as it was sent. Nothing in it is trusted but its shape."""

    query: str
    operation_name: str | None = None
    variables: dict[str, Any] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)


def parse_json(text: bytes | str, *, max_depth: int) -> object:
    """Strict JSON: UTF-8, no lone surrogates, no NaN, no deeper than `max_depth`.

    Raises:
        Malformed: it is anything else.
    """
    try:
        value: object = orjson.loads(text)
    except ValueError as error:
        message = f"The request is not valid JSON ({str(error).partition(':')[0]}). Send UTF-8 encoded JSON."
        raise Malformed(message) from None
    if is_deeper(text, value, max_depth):
        message = f"The JSON of the request is nested deeper than {max_depth} levels."
        raise Malformed(message)
    return value


def is_deeper(text: bytes | str, value: object, max_depth: int) -> bool:
    """Whether `value`, written as `text`, has more than `max_depth` levels of objects and arrays."""
    brackets = (
        text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    )
    if brackets <= max_depth:
        return False
    level: list[object] = [value]
    for _ in range(max_depth):
        level = [child for parent in level for child in children(parent) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def children(value: object) -> Iterable[object]:
    """What an object or array holds."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def from_json(body: object) -> GraphQLRequest:
    """The operation that a JSON body or the payload of a `subscribe` message tells.

    Raises:
        Malformed: a member has the wrong type, or there is no query.
    """
    if isinstance(body, list):
        raise Malformed("Batches are not supported. Send one operation for each request.")
    if not isinstance(body, dict):
        raise Malformed("The request must be a JSON object with a member `query`.")
    query = member(body, "query", str)
    if query is None:
        raise Malformed("The request must have a member `query` that is a string.")
    return GraphQLRequest(
        query,
        member(body, "operationName", str),
        member(body, "variables", dict) or {},
        member(body, "extensions", dict) or {},
    )


def member(body: dict[str, Any], name: str, kind: type[T]) -> T | None:
    """A member of `body`, None where it is null or left out."""
    value = body.get(name)
    if value is None or isinstance(value, kind):
        return value
    wanted = "a string" if kind is str else "an object"
    raise Malformed(f"The member `{name}` of the request must be {wanted}.")


def from_query_string(parameters: Iterable[tuple[str, str]], *, max_depth: int) -> GraphQLRequest:
    """The operation that the parameters of a GET tell; an empty one counts as left out.

    Raises:
        Malformed: a parameter comes twice, or is not what it should be.
    """
    body: dict[str, object] = {}
    for name, value in parameters:
        if name in body:
            raise Malformed(f"The parameter `{name}` must not come twice.")
        if name in ("variables", "extensions") and value:
            body[name] = parse_json(value, max_depth=max_depth)
        elif name in ("query", "operationName") and value:
            body[name] = value
    return from_json(body)
