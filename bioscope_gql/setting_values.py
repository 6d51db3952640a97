"""The kinds of values that settings have, and how each reads what a person wrote.

A value that does not fit raises ValueError with the end of a sentence: "must be ...".
"""

import json
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

_UNITS = {
    "": 1,
    "B": 1,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


def size_text(count: int) -> str:
    """A number of bytes as a person writes it, e.g. ``256 MiB``; `bytes_of` reads it back."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor and (count * 10) % factor == 0:
            return f"{count / factor:g} {unit}"
    return str(count)


def bytes_of(value: object) -> object:
    """``"256 MiB"`` or ``"1000"`` as a number of bytes; numbers pass as they are."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    factor = _UNITS.get(match[2].upper()) if match else None
    if match is None or factor is None:
        raise ValueError(f"must be a size like 256 MiB or a number of bytes, not {value!r}")
    return round(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor


def _list(value: object) -> object:
    """A list, written as one, as JSON, or with commas between."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a list: JSON, or values with commas between") from None
    return [part.strip() for part in value.split(",") if part.strip()]


def _json_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be a JSON list when it is written as one text") from None


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _address(value: str) -> str:
    """Scheme, host and port, nothing behind them."""
    wrong = "must be an address like https://bioscope.lab.example, without user, path or query"
    try:
        parts = urlsplit(value.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or parts.username is not None:
        raise ValueError(wrong)
    if parts.path not in ("", "/") or parts.query or parts.fragment or re.search(r"[\s\\]", parts.netloc):
        raise ValueError(wrong)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _origin(value: str) -> str:
    if value.strip() == "*":
        raise ValueError("must name each origin, never *: the answers carry credentials")
    return _address(value)


def _server(value: str) -> str:
    match = _SERVER.fullmatch(value)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError(f"must be host:port for every server, not {value!r}")
    return value


def _topic(value: str) -> str:
    if not _TOPIC.fullmatch(value.replace("{model}", "m")) or value in (".", ".."):
        raise ValueError("must be a topic's name: up to 249 letters, digits, dots, dashes or underscores")
    return value


def _plain_topic(value: str) -> str:
    if "{" in value:
        raise ValueError("must be one fixed name: only kafka.topics.jobs may contain {model}")
    return _topic(value)


def _model_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            "must be up to 100 letters, digits, dots, dashes or underscores, a letter or digit first"
        )
    return value


def _dsn(value: SecretStr) -> SecretStr:
    wrong = "must be an address like postgresql://user:password@host:5432/database"
    try:
        parts = urlsplit(value.get_secret_value())
        _ = parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError(wrong)
    return value


def _filled(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().strip():
        raise ValueError("must not be empty")
    return value


Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, BeforeValidator(bytes_of), Field(ge=1)]
Seconds = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Secret = Annotated[SecretStr, AfterValidator(_filled)]
Dsn = Annotated[SecretStr, AfterValidator(_dsn)]
Address = Annotated[str, AfterValidator(_address)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_list)]
Servers = Annotated[tuple[Annotated[str, AfterValidator(_server)], ...], BeforeValidator(_list)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_list)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_list)]
JobsTopic = Annotated[str, AfterValidator(_topic)]
Topic = Annotated[str, AfterValidator(_plain_topic)]
ModelName = Annotated[str, AfterValidator(_model_name)]
Lower = BeforeValidator(_lower)
Upper = BeforeValidator(_upper)
JsonList = BeforeValidator(_json_list)
