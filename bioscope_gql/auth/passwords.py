"""Passwords are kept as Argon2id hashes, and hashing never blocks the event loop."""

import base64
import os
import unicodedata

import anyio.to_thread
from anyio import CapacityLimiter
from argon2 import Parameters, PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY


class Passwords:
    """Hashes and checks passwords, `at_once` of them at the same time, the others wait their turn.

    `parameters` default to RFC 9106's second choice: 64 MiB, three passes. Every check takes as long as
    a real one, whether there is an account or not.
    """

    def __init__(self, parameters: Parameters = RFC_9106_LOW_MEMORY, *, at_once: int = 2) -> None:
        if parameters.type is not Type.ID:
            raise ValueError("Passwords are hashed with Argon2id only.")
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._nobody = _hash_of_nobody(parameters)
        self._limiter = CapacityLimiter(at_once)

    async def hash(self, password: str) -> str:
        """The hash to keep, with its own salt and parameters in it."""
        return await anyio.to_thread.run_sync(self._hasher.hash, _bytes(password), limiter=self._limiter)

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether `password` is the one behind `hashed`; None (no such account) is as slow, and False."""
        return await anyio.to_thread.run_sync(self._verify, hashed, _bytes(password), limiter=self._limiter)

    def needs_rehash(self, hashed: str) -> bool:
        """Whether `hashed` was made with other parameters than today's."""
        try:
            return self._hasher.check_needs_rehash(hashed)
        except InvalidHashError:
            return True

    def _verify(self, hashed: str | None, password: bytes) -> bool:
        try:
            self._hasher.verify(hashed or self._nobody, password)
        except VerificationError:
            return False
        except InvalidHashError:
            return self._verify(None, password)
        return bool(hashed)


def _bytes(password: str) -> bytes:
    """The same bytes for the same characters, however the keyboard composed them."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _hash_of_nobody(parameters: Parameters) -> str:
    """A well-formed hash that no password has, so that checking it costs what checking costs."""
    costs = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    salt, digest = (
        base64.b64encode(os.urandom(length)).rstrip(b"=").decode()
        for length in (parameters.salt_len, parameters.hash_len)
    )
    return f"$argon2id$v={parameters.version}${costs}${salt}${digest}"
