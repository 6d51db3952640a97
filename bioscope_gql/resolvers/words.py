"""How text that people typed is compared, searched and cleaned."""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from bioscope_gql.db import Args
from bioscope_gql.errors import FieldProblem, InvalidInput

METADATA_BYTES = 16 * 1024
METADATA_DEPTH = 8
JOINERS = ("\u200c", "\u200d")
"""Format characters without which Persian, Hindi and many an emoji can't be written."""

TURNERS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows: with them `gnp.exe` can look like `exe.png`."""


def comparable(text: str) -> str:
    """For comparing with what is stored: PostgreSQL takes in no NUL, and nothing stored has the stand-in."""
    return text.replace("\0", "\ufffd")


def key(text: str) -> str:
    """What makes two names the same: Unicode compatibility form and case don't count."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", comparable(text)).casefold())
    return folded.strip()


def searchable(*texts: str | None) -> str:
    """Without case and accents, for substring search."""
    joined = unicodedata.normalize("NFKD", " ".join(filter(None, texts)))
    return "".join(c for c in joined if not unicodedata.combining(c)).casefold()


def search_pattern(text: str) -> str:
    """For LIKE over `searchable` text: under three letters a prefix, otherwise a substring."""
    wanted = searchable(text).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{wanted}%" if len(wanted) < 3 else f"%{wanted}%"


def one_of(expression: str, values: Sequence[Any], args: Args) -> str:
    """A condition: equal to one of these. A single one is compared, so that an index also gives the order."""
    if len(values) == 1:
        return f"{expression} = {args(values[0])}"
    return f"{expression} = any({args(values)})"


def has_control(text: str, *but: str) -> bool:
    """Whether there are control or format characters, line separators or lone surrogates, `but` those."""
    return any(unicodedata.category(c) in {"Cc", "Cs", "Cf", "Zl", "Zp"} and c not in but for c in text)


INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that count as letters or marks and show nothing."""


def has_odd_blank(text: str) -> bool:
    """Whether there are blanks but the ordinary one, two of those in a row, or what shows nothing: names
    that differ only in such look the same."""
    odd = ((unicodedata.category(c) == "Zs" and c != " ") or c in INVISIBLE or _is_selector(c) for c in text)
    return "  " in text or any(odd)


def _is_selector(c: str) -> bool:
    return "\u180b" <= c <= "\u180f" or "\ufe00" <= c <= "\ufe0f" or "\U000e0100" <= c <= "\U000e01ef"


def read_id(text: str | UUID | None) -> UUID | None:
    """A malformed id behaves like an unknown one: None."""
    if isinstance(text, UUID):
        return text
    if text is None or len(text) != 36:
        return None
    try:
        return UUID(text)
    except ValueError:
        return None


def read_time(text: str) -> datetime:
    """A time in UTC; one without a zone is meant so.

    Raises:
        ValueError: it is none, or in UTC it would be outside the years that there are.
    """
    found = datetime.fromisoformat(text)
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(text) from None


def read_size(value: Any) -> int:
    """A whole number as PostgreSQL's bigint holds it.

    Raises:
        ValueError, TypeError: it is none.
    """
    found = int(value)
    if not -(2**63) <= found < 2**63:
        raise ValueError(value)
    return found


def check_line(text: str, path: str, *, most: int) -> list[FieldProblem]:
    """What is wrong with a one-line text of 1 to `most` characters."""
    if not text.strip():
        return [FieldProblem("TOO_SHORT", (path,), f"`{path}` may not be empty.")]
    if len(text) > most:
        return [FieldProblem("TOO_LONG", (path,), f"`{path}` has {len(text)} characters; {most} fit.")]
    if has_control(text, *JOINERS):
        return [
            FieldProblem("FORBIDDEN_CHARACTERS", (path,), f"`{path}` has control characters; remove them.")
        ]
    return []


def check_text(text: str, path: str, *, most: int) -> list[FieldProblem]:
    """What is wrong with a text of several lines."""
    if len(text) > most:
        return [FieldProblem("TOO_LONG", (path,), f"`{path}` has {len(text)} characters; {most} fit.")]
    if has_control(text, "\n", "\r", "\t", *JOINERS):
        return [
            FieldProblem("FORBIDDEN_CHARACTERS", (path,), f"`{path}` has control characters; remove them.")
        ]
    return []


def clean_filename(name: str) -> str:
    """A file's name as it is kept: no path, no control characters, 255 characters at most; never refused."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    kept = (c for c in name if unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"} and c not in TURNERS)
    name = "".join(kept).strip()
    if len(name) > 255:
        stem, dot, suffix = name.rpartition(".")
        name = stem[: 254 - len(suffix)] + dot + suffix if dot and len(suffix) <= 10 else name[:255]
    return name if name.strip(". ") else "unnamed"


def metadata_text(value: Any, path: str = "metadata") -> str:
    """What people add to a picture or device, as it is stored: a JSON object of bounded size and depth.

    Raises:
        InvalidInput: it is none.
    """
    if not isinstance(value, dict):
        raise InvalidInput.at("OUT_OF_RANGE", (path,), f"`{path}` must be a JSON object.")
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError):
        message = (
            f"`{path}` has something that JSON can't hold: a lone surrogate or a number that is too large."
        )
        raise InvalidInput.at("FORBIDDEN_CHARACTERS", (path,), message) from None
    if (size := len(text)) > METADATA_BYTES:
        message = f"`{path}` has {size:,} bytes; {METADATA_BYTES:,} fit."
        raise InvalidInput.at("TOO_LONG", (path,), message)
    levels = list(_levels(value))
    if len(levels) > METADATA_DEPTH:
        message = f"`{path}` is nested deeper than {METADATA_DEPTH} levels."
        raise InvalidInput.at("OUT_OF_RANGE", (path,), message)
    if any(isinstance(each, str) and "\0" in each for level in levels for each in level):
        message = f"`{path}` has the character NUL; remove it."
        raise InvalidInput.at("FORBIDDEN_CHARACTERS", (path,), message)
    if any(isinstance(each, float) and not math.isfinite(each) for level in levels for each in level):
        message = f"`{path}` has a number that is too large."
        raise InvalidInput.at("OUT_OF_RANGE", (path,), message)
    return text.decode()


def _levels(value: Any) -> Iterator[list[Any]]:
    """Level by level of nesting, the names and values that are on it; without recursion."""
    level = [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        inner = [part for each in level for part in (each.values() if isinstance(each, dict) else each)]
        yield [*inner, *(name for each in level if isinstance(each, dict) for name in each)]
        level = inner
