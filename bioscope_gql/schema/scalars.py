"""How values are written: times with a Z, whole numbers beyond 32 bits, JSON as it is stored."""

from datetime import UTC, datetime
from typing import Any, NewType

import orjson
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition, scalar

from bioscope_gql.resolvers import words
from bioscope_gql.storage.uploads import UploadedFile

BigInt = NewType("BigInt", int)
JSON = NewType("JSON", object)
Upload = NewType("Upload", UploadedFile)

MOST = 2**53 - 1


def _write_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_time(value: Any) -> datetime:
    if not isinstance(value, str):
        raise GraphQLError("A time is a text such as 2026-11-22T10:00:00Z.")
    try:
        return words.read_time(value)
    except ValueError:
        raise GraphQLError(f"{value[:40]!r} is no time; write it as 2026-11-22T10:00:00Z.") from None


def _read_whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MOST:
        raise GraphQLError("A BigInt is a whole number of at most 2^53 - 1.")
    return value


def _write_json(value: Any) -> Any:
    """Stored JSON arrives as text and goes out as it is, without being parsed."""
    return orjson.Fragment(value) if isinstance(value, str) else value


def _read_upload(value: Any) -> UploadedFile:
    if not isinstance(value, UploadedFile):
        raise GraphQLError("A file is null in `variables` and comes as a part of a multipart request.")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    datetime: scalar(name="DateTime", serialize=_write_time, parse_value=_read_time),
    BigInt: scalar(
        name="BigInt",
        description="A whole number up to 2^53 - 1, as a JSON number.",
        serialize=int,
        parse_value=_read_whole,
    ),
    JSON: scalar(name="JSON", serialize=_write_json, parse_value=lambda value: value),
    Upload: scalar(name="Upload", parse_value=_read_upload),
}
