"""How text that people typed is compared, searched and cleaned."""

import unicodedata
from typing import Any
from uuid import UUID

import orjson

from bioscope_gql.errors import FieldProblem, InvalidInput

METADATA_BYTES = 16 * 1024
METADATA_DEPTH = 8


def key(text: str) -> str:
    """What makes two names the same: Unicode compatibility form and case don't count."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def searchable(*texts: str | None) -> str:
    """Without case and accents, for substring search."""
    joined = unicodedata.normalize("NFKD", " ".join(filter(None, texts)))
    return "".join(c for c in joined if not unicodedata.combining(c)).casefold()


def search_pattern(text: str) -> str:
    """For LIKE over `searchable` text: under three letters a prefix, otherwise a substring."""
    wanted = searchable(text).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{wanted}%" if len(wanted) < 3 else f"%{wanted}%"


def has_control(text: str) -> bool:
    """Control, format and unassigned characters, lone surrogates included."""
    return any(unicodedata.category(c) in {"Cc", "Cs", "Cf", "Zl", "Zp"} for c in text)


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


def check_line(text: str, path: str, *, most: int) -> list[FieldProblem]:
    """What is wrong with a one-line text of 1 to `most` characters."""
    if not text.strip():
        return [FieldProblem("TOO_SHORT", (path,), f"`{path}` may not be empty.")]
    if len(text) > most:
        return [FieldProblem("TOO_LONG", (path,), f"`{path}` has {len(text)} characters; {most} fit.")]
    if has_control(text):
        return [
            FieldProblem("FORBIDDEN_CHARACTERS", (path,), f"`{path}` has control characters; remove them.")
        ]
    return []


def check_text(text: str, path: str, *, most: int) -> list[FieldProblem]:
    """What is wrong with a text of several lines."""
    if len(text) > most:
        return [FieldProblem("TOO_LONG", (path,), f"`{path}` has {len(text)} characters; {most} fit.")]
    if has_control(text.replace("\n", "").replace("\r", "").replace("\t", "")):
        return [
            FieldProblem("FORBIDDEN_CHARACTERS", (path,), f"`{path}` has control characters; remove them.")
        ]
    return []


def clean_filename(name: str) -> str:
    """A file's name as it is kept: no path, no control characters, 255 characters at most; never refused."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(c for c in name if unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"}).strip()
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
        text = orjson.dumps(value).decode()
    except (TypeError, ValueError):
        message = (
            f"`{path}` has something that JSON can't hold: a lone surrogate or a number that is too large."
        )
        raise InvalidInput.at("FORBIDDEN_CHARACTERS", (path,), message) from None
    if len(text) > METADATA_BYTES:
        message = f"`{path}` has {len(text):,} bytes; {METADATA_BYTES:,} fit."
        raise InvalidInput.at("TOO_LONG", (path,), message)
    if "\\u0000" in text:
        message = f"`{path}` has the character NUL; remove it."
        raise InvalidInput.at("FORBIDDEN_CHARACTERS", (path,), message)
    if _depth(value) > METADATA_DEPTH:
        message = f"`{path}` is nested deeper than {METADATA_DEPTH} levels."
        raise InvalidInput.at("OUT_OF_RANGE", (path,), message)
    return text


def _depth(value: Any) -> int:
    """Levels of objects and arrays, counted without recursion."""
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth
