"""The messages of graphql-transport-ws: what a client may say, and how we say it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from bioscope_gql.transport.requests import GraphQLRequest, Malformed, from_json, member, parse_json

PROTOCOL: Final = "graphql-transport-ws"

MAX_ID_CHARACTERS = 256
"""Every event repeats the id."""

MAX_REASON_BYTES = 123
"""RFC 6455 has no room for more in a close frame."""


@dataclass(frozen=True, slots=True)
class Init:
    """`connection_init`, with what it says of its sender."""

    authorization: str | None


@dataclass(frozen=True, slots=True)
class Ping:
    payload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Pong:
    pass


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Starts an operation of any kind."""

    id: str
    request: GraphQLRequest


@dataclass(frozen=True, slots=True)
class Complete:
    """The client wants no more of an operation."""

    id: str


Said: TypeAlias = Init | Ping | Pong | Subscribe | Complete


@dataclass(frozen=True, slots=True)
class Close:
    """The end of a socket, with a code that tells clients whether to come back."""

    code: int
    reason: str

    @classmethod
    def invalid(cls, reason: str) -> "Close":
        """For a message that the protocol does not know; no client comes back from it."""
        return cls(4400, reason)

    @property
    def message(self) -> dict[str, object]:
        """For ASGI, the reason cut to what a frame can hold."""
        reason = self.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        return {"type": "websocket.close", "code": self.code, "reason": reason}


def read(text: str, *, max_depth: int) -> Said:
    """What a client says.

    Raises:
        Malformed: nothing that the protocol knows, or not in the shape that it wants.
    """
    said = parse_json(text, max_depth=max_depth)
    if not isinstance(said, dict):
        raise Malformed("A message must be a JSON object.")
    match said.get("type"):
        case "connection_init":
            return Init(authorization_of(member(said, "payload", dict) or {}))
        case "ping":
            return Ping(member(said, "payload", dict))
        case "pong":
            member(said, "payload", dict)
            return Pong()
        case "subscribe":
            return Subscribe(id_of(said), from_json(said.get("payload")))
        case "complete":
            return Complete(id_of(said))
    raise Malformed("The type of the message is not one that a client may send.")


def id_of(said: dict[str, Any]) -> str:
    """The id of the operation that a message is about."""
    id = said.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= MAX_ID_CHARACTERS:
        raise Malformed(f"The message must have an `id` of 1 to {MAX_ID_CHARACTERS} characters.")
    return id


def authorization_of(payload: Mapping[str, Any]) -> str | None:
    """What `connection_init` has of an Authorization header, whose name knows no case."""
    found = [
        value for name, value in payload.items() if name.lower() == "authorization" and value is not None
    ]
    if len(found) > 1 or not all(isinstance(value, str) for value in found):
        raise Malformed("`authorization` must be a string: `Bearer` and your access token.")
    return found[0] if found else None


def write(type: str, *, id: str | None = None, payload: object = None) -> str:
    """A message as text; a `payload` of bytes is JSON already."""
    message: dict[str, object] = {"type": type} if id is None else {"id": id, "type": type}
    if payload is not None:
        message["payload"] = orjson.Fragment(payload) if isinstance(payload, bytes) else payload
    return orjson.dumps(message, option=orjson.OPT_NON_STR_KEYS).decode()
