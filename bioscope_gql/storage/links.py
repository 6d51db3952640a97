"""Signed links to the disk store: whoever holds one may read one blob for a while."""

import hashlib
import hmac
import os
import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote

from bioscope_gql.errors import ConfigurationError
from bioscope_gql.storage.blobs import checked_key

PATH = "/files/"
"""What the path of every signed link begins with; the key follows."""

SECRET_BYTES = 32

_CONTENT_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_EXPIRY = re.compile(r"[1-9][0-9]{0,11}")


class LinkRefused(Exception):
    """The link gives no right. The sentence is for whoever followed it."""


class LinkExpired(LinkRefused):
    def __init__(self) -> None:
        super().__init__("This link has expired. Ask for a new one.")


class LinkAltered(LinkRefused):
    def __init__(self) -> None:
        super().__init__("This link is not one that this server made. Ask for a new one.")


@dataclass(frozen=True)
class Grant:
    """What a valid link allows; `expires` in whole seconds of Unix time, `sha256` (hex) where it is known."""

    key: str
    content_type: str
    filename: str | None
    expires: int
    sha256: str | None = None


class LinkSigner:
    """Makes and judges links by HMAC-SHA256. Path, expiry, type, checksum and name are all signed."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"A link secret has at least {SECRET_BYTES} bytes.")
        self._secret = secret

    def sign(
        self, key: str, *, expires: int, content_type: str, filename: str | None, sha256: str | None = None
    ) -> str:
        """Path and query of a link to `key` that holds until `expires`."""
        if not _CONTENT_TYPE.fullmatch(content_type):
            raise ValueError(f"{content_type!r} is not a content type.")
        name = None if filename is None else filename.encode("utf-8", "replace").decode()
        if sha256 is not None and not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is not a SHA-256 in hex.")
        link = _canonical(Grant(checked_key(key), content_type, name, expires, sha256))
        return f"{link}&sig={self._signature(link)}"

    def verify(self, path: str, query: str, now: float) -> Grant:
        """What the link allows. `path` is decoded and begins with `/files/`, `query` is as it came.

        Raises:
            LinkAltered: it was not made with this secret, or any part of it was changed.
            LinkExpired: it was ours, and its time is over.
        """
        grant, signature = _parsed(path, query)
        if not hmac.compare_digest(self._signature(_canonical(grant)), signature):
            raise LinkAltered
        if now >= grant.expires:
            raise LinkExpired
        return grant

    def _signature(self, link: str) -> str:
        digest = hmac.digest(self._secret, link.encode(), hashlib.sha256)
        return urlsafe_b64encode(digest).decode().rstrip("=")


def load_or_create_secret(path: Path) -> bytes:
    """The secret in this file, made on first use, readable by its owner only.

    Processes that start at the same time get the same one. All replicas that serve one directory
    must share it.
    """
    try:
        if not path.exists():
            _create_secret(path)
        secret = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            [f"The link secret {path} can't be read or made: {error.strerror}."]
        ) from error
    if len(secret) < SECRET_BYTES:
        raise ConfigurationError(
            [f"The link secret {path} is too short. Delete the file: a new one is made, and old links end."]
        )
    return secret


def _create_secret(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was first, and its secret is the one
    finally:
        draft.unlink()


def _canonical(grant: Grant) -> str:
    """The one spelling of a link without its signature: what is signed, and what is sent."""
    kind = quote(grant.content_type, safe="/")
    link = f"{PATH}{grant.key}?exp={grant.expires}&type={kind}"
    if grant.sha256 is not None:
        link += f"&sha={grant.sha256}"
    return link if grant.filename is None else f"{link}&name={quote(grant.filename, safe='')}"


def _parsed(path: str, query: str) -> tuple[Grant, str]:
    """What a link claims, and the signature that should prove it."""
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=5
        )
        parts = dict(pairs)
        key, expiry = checked_key(path.removeprefix(PATH)), parts.pop("exp")
        signature, kind = parts.pop("sig"), parts.pop("type")
        name, sha256 = parts.pop("name", None), parts.pop("sha", None)
    except (KeyError, ValueError) as error:
        raise LinkAltered from error
    known = 3 + (name is not None) + (sha256 is not None)
    strange = parts or len(pairs) != known or not path.startswith(PATH)
    if strange or not signature.isascii() or not _EXPIRY.fullmatch(expiry):
        raise LinkAltered
    return Grant(key, kind, name, int(expiry), sha256), signature
