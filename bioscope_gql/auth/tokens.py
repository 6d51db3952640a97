"""Access tokens: short-lived signed statements of who is asking. Rights are never in them."""

import base64
import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from uuid import UUID, uuid4

from jose import jwk, jws
from jose.exceptions import JOSEError

from bioscope_gql.auth.keys import Keys
from bioscope_gql.errors import Unauthenticated

Kind = Literal["user", "service"]

MAX_BYTES = 4096
TYPE = "at+jwt"
LEEWAY_SECONDS = 5
_LARGEST_TIME = 1 << 40
_FORM = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
"""Python's decoder skips whatever is not base64; here it is refused."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Whose a token is, of which session, until when. Whether that still holds, the database knows."""

    sub: UUID
    session: UUID
    expires_at: datetime
    kind: Kind


class KeySource(Protocol):
    """Where keys come from, be they fixed or read again when their files change."""

    def current(self, *, at_once: bool = False) -> Keys:
        """The keys as they are; `at_once` because one is missed."""


class Tokens:
    """Issues and reads access tokens, by the keys that `keys` has at the moment.

    `clock` gives seconds since 1970. The last `remembered` tokens that held are not verified again before
    they expire, so that a busy client's requests cost microseconds.
    """

    def __init__(
        self,
        keys: KeySource,
        issuer: str,
        audience: str,
        access_seconds: int,
        *,
        clock: Callable[[], float] = time.time,
        remembered: int = 4096,
    ) -> None:
        self._issuer, self._audience, self._access_seconds = issuer, audience, access_seconds
        self._clock, self._most_remembered = clock, remembered
        self._source = keys
        self._held: OrderedDict[bytes, Claims] = OrderedDict()
        self._use(keys.current())

    def _use(self, keys: Keys) -> None:
        """Sign and verify by these from now on; what other keys let pass is verified again."""
        self._keys, self._signing = keys, keys.signing
        self._signer = jwk.construct(keys.signing.private, keys.signing.algorithm)  # type: ignore[arg-type]
        self._verifiers = {
            key.kid: (key.algorithm, jwk.construct(key.public, key.algorithm))  # type: ignore[arg-type]
            for key in keys
        }
        self._held.clear()

    def _look(self, *, at_once: bool = False) -> Keys:
        """The keys as they are now."""
        if (keys := self._source.current(at_once=at_once)) is not self._keys:
            self._use(keys)
        return keys

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public set by which others can check our tokens."""
        return self._look().jwks()

    @property
    def remembered(self) -> int:
        """How many tokens are known to hold at the moment."""
        return len(self._held)

    def issue(self, sub: UUID, session: UUID, kind: Kind = "user") -> tuple[str, datetime]:
        """A new token for one session of a user or service account, and when it ends."""
        self._look()
        now = int(self._clock())
        expires = now + self._access_seconds
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(sub),
            "sid": str(session),
            "kind": kind,
            "iat": now,
            "exp": expires,
            "jti": str(uuid4()),
        }
        headers = {"typ": TYPE, "kid": self._signing.kid}
        token = jws.sign(claims, self._signer, headers, self._signing.algorithm)
        return token, datetime.fromtimestamp(expires, UTC)

    def read(self, token: str, *, accept_expired: bool = False) -> Claims:
        """What the token says, if we signed it and it still holds (or, for a logout, once held).

        Raises:
            Unauthenticated: with the reason EXPIRED or INVALID.
        """
        if len(token) > MAX_BYTES or not _FORM.fullmatch(token):
            raise _invalid()
        self._look()
        digest = hashlib.sha256(token.encode("ascii")).digest()
        claims = self._held.get(digest)
        if claims is None:
            claims = self._verify(token)
            self._remember(digest, claims)
        else:
            self._held.move_to_end(digest)
        if claims.expires_at.timestamp() <= self._clock() and not accept_expired:
            self._held.pop(digest, None)
            raise Unauthenticated(
                "The access token has expired. Refresh the session and try again.", reason="EXPIRED"
            )
        return claims

    def _remember(self, digest: bytes, claims: Claims) -> None:
        self._held[digest] = claims
        while len(self._held) > self._most_remembered:
            self._held.popitem(last=False)

    def _verify(self, token: str) -> Claims:
        """Header first, by ourselves: python-jose lets a token choose more than it should."""
        try:
            header_part, _, _ = token.split(".")
            header = _json(base64.urlsafe_b64decode(header_part + "=" * (-len(header_part) % 4)))
            if (kid := _text(header["kid"])) not in self._verifiers:
                self._look(at_once=True)
            algorithm, verifier = self._verifiers[kid]
            if header["alg"] != algorithm or header["typ"] != TYPE or header.keys() != {"alg", "kid", "typ"}:
                raise ValueError("a header that we never write")
            payload = jws.verify(token, verifier, [algorithm])
            return self._claims(_json(payload))
        except (JOSEError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            raise _invalid() from error

    def _claims(self, said: dict[str, Any]) -> Claims:
        issued, expires, kind = _seconds(said["iat"]), _seconds(said["exp"]), said["kind"]
        if said["iss"] != self._issuer or said["aud"] != self._audience or not _text(said["jti"]):
            raise ValueError("not from us, or not for us")
        if issued > self._clock() + LEEWAY_SECONDS:
            raise ValueError("issued in the future")
        if not 0 <= expires - issued <= self._access_seconds + LEEWAY_SECONDS:
            raise ValueError("lives longer than our tokens do")
        if kind not in ("user", "service"):
            raise ValueError("of no kind that we know")
        ends = datetime.fromtimestamp(expires, UTC)
        return Claims(UUID(_text(said["sub"])), UUID(_text(said["sid"])), ends, kind)


def _invalid() -> Unauthenticated:
    return Unauthenticated("The access token is not valid. Sign in again to get a new one.", reason="INVALID")


def _json(text: bytes | str) -> dict[str, Any]:
    """One JSON object in which no name stands twice."""
    value = json.loads(text, object_pairs_hook=_once)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(names := dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return names


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _seconds(value: object) -> int:
    """A whole number of seconds that a clock can show; never true, 1.5, NaN or 1e400."""
    if type(value) is not int or not 0 <= value < _LARGEST_TIME:
        raise ValueError("not a time")
    return value
