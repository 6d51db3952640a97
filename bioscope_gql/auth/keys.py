"""The keys that sign access tokens, and the public set that anyone may check them with."""

import base64
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from bioscope_gql.errors import ConfigurationError

BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
"""One key of a PEM file; a file may hold several, and text between them."""

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Algorithm = Literal["ES256", "RS256"]


@dataclass(frozen=True)
class Key:
    """One key with the only algorithm it is ever used with. `kid` is its RFC 7638 thumbprint."""

    kid: str
    algorithm: Algorithm
    public: PublicKey
    private: PrivateKey | None = field(repr=False)

    @classmethod
    def of(cls, key: PrivateKey | PublicKey) -> "Key":
        """Describe a key.

        Raises:
            ValueError: it is of another kind or too weak; the message says what is asked for.
        """
        private = key if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else None
        public = private.public_key() if private is not None else key
        if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
            algorithm: Algorithm = "ES256"
        elif isinstance(public, rsa.RSAPublicKey) and public.key_size >= 2048:
            algorithm = "RS256"
        else:
            raise ValueError("must hold an EC key on the curve P-256 or an RSA key of at least 2048 bit")
        return cls(_thumbprint(_numbers(public)), algorithm, public, private)

    def jwk(self) -> dict[str, str]:
        """The public half as RFC 7517 writes it."""
        return {**_numbers(self.public), "kid": self.kid, "alg": self.algorithm, "use": "sig"}


class Keys:
    """All keys whose tokens are accepted; the first of them signs."""

    def __init__(self, keys: Sequence[Key]) -> None:
        if not keys or keys[0].private is None:
            raise ValueError("The first key must be a private one: it signs.")
        self.signing = keys[0]
        self._by_kid = {key.kid: key for key in reversed(keys)}

    def __iter__(self) -> Iterator[Key]:
        return reversed(self._by_kid.values())

    def current(self, *, at_once: bool = False) -> "Keys":  # noqa: ARG002 - one shape with `KeyFiles`
        """Themselves: these never change."""
        return self

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public set for ``/.well-known/jwks.json``."""
        return {"keys": [key.jwk() for key in self]}

    @classmethod
    def load(cls, files: Sequence[Path]) -> "Keys":
        """Read PEM files, each of one or more keys. The first key of the first file must be a private one
        and signs; the others may be public.

        Raises:
            ConfigurationError: one sentence for each file that does not do.
        """
        keys, problems = [], []
        for place, file in enumerate(files):
            try:
                keys += read(file, must_sign=place == 0)
            except ValueError as error:
                problems.append(f"The key file {file} {error}.")
        if not files:
            problems.append("auth.keys is empty: name at least one PEM file with a private key.")
        if problems:
            raise ConfigurationError(problems)
        return cls(keys)


def new_pem(algorithm: Algorithm) -> bytes:
    """A new private key."""
    key: PrivateKey = (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else rsa.generate_private_key(public_exponent=65537, key_size=3072)
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def generate(directory: Path) -> Path:
    """Make sure that `directory` has a signing key and return its file, `signing.pem`.

    An existing one stays as it is, also when two processes start at once. The folder is for its owner
    only (0700), and so is the file (0600).
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    file = directory / "signing.pem"
    if file.exists():
        return file
    pem = new_pem("ES256")
    draft = directory / f".signing-{os.getpid()}-{os.urandom(4).hex()}.pem"
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink(missing_ok=True)
    return file


def read(file: Path, *, must_sign: bool) -> list[Key]:
    """Read the keys of one file; a ValueError holds the end of a sentence about the file."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror or error}; check the path and its rights") from None
    blocks = [found[0] for found in BLOCK.finditer(text)]
    if must_sign and not (blocks and _is_private(blocks[0])):
        raise ValueError("comes first in auth.keys and so must hold a private key in PEM format")
    if not blocks:
        raise ValueError("does not hold a key in PEM format")
    return [parse(block) for block in blocks]


def _is_private(pem: bytes) -> bool:
    return b"PRIVATE KEY-----" in pem


def parse(pem: bytes) -> Key:
    """One key; a ValueError holds the end of a sentence about where it stands."""
    private = _is_private(pem)
    try:
        key = load_pem_private_key(pem, password=None) if private else load_pem_public_key(pem)
    except TypeError:
        raise ValueError("is encrypted; keep it unencrypted where only the server can read it") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("does not hold a key in PEM format") from None
    return Key.of(key)  # type: ignore[arg-type]  # other kinds are refused there


def _numbers(public: PublicKey) -> dict[str, str]:
    """Exactly the members that RFC 7638 hashes, in its order."""
    if isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        return {"crv": "P-256", "kty": "EC", "x": _base64(point.x, 32), "y": _base64(point.y, 32)}
    numbers = public.public_numbers()
    return {
        "e": _base64(numbers.e, (numbers.e.bit_length() + 7) // 8),
        "kty": "RSA",
        "n": _base64(numbers.n, (numbers.n.bit_length() + 7) // 8),
    }


def _thumbprint(members: Mapping[str, str]) -> str:
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _base64(number: int, length: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(length, "big")).rstrip(b"=").decode()
