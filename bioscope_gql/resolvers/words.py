"""How text that people typed is compared, searched and cleaned."""

import unicodedata
from uuid import UUID

from bioscope_gql.errors import FieldProblem


def key(text: str) -> str:
    """What makes two names the same: Unicode compatibility form and case don't count."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def searchable(*texts: str | None) -> str:
    """Without case and accents, for substring search."""
    joined = unicodedata.normalize("NFKD", " ".join(filter(None, texts)))
    return "".join(c for c in joined if not unicodedata.combining(c)).casefold()


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
        return [FieldProblem("FORBIDDEN_CHARACTERS", (path,), f"`{path}` has control characters; remove them.")]
    return []


def check_text(text: str, path: str, *, most: int) -> list[FieldProblem]:
    """What is wrong with a text of several lines."""
    if len(text) > most:
        return [FieldProblem("TOO_LONG", (path,), f"`{path}` has {len(text)} characters; {most} fit.")]
    if has_control(text.replace("\n", "").replace("\r", "").replace("\t", "")):
        return [FieldProblem("FORBIDDEN_CHARACTERS", (path,), f"`{path}` has control characters; remove them.")]
    return []


def clean_filename(name: str) -> str:
    """A file's name as it is kept: no path, no control characters, 255 characters at most; never refused."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(c for c in name if unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"}).strip()
    if len(name) > 255:
        stem, dot, suffix = name.rpartition(".")
        name = stem[: 254 - len(suffix)] + dot + suffix if dot and len(suffix) <= 10 else name[:255]
    return name if name.strip(". ") else "unnamed"
