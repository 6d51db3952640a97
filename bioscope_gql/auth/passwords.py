"""Passwords are kept as Argon2id hashes, and hashing never blocks the event loop."""

import asyncio
import base64
import os
import sys
import threading
import unicodedata
from concurrent.futures import ThreadPoolExecutor

from argon2 import Parameters, PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY


class Passwords:
    """Hashes and checks passwords, `at_once` of them at the same time, the others wait their turn.

    Where it can be had, that is work of low priority: whoever asks for something else comes first.

    `parameters` default to RFC 9106's second choice: 64 MiB, three passes. Every check takes as long as
    a real one, whether there is an account or not.
    """

    def __init__(self, parameters: Parameters = RFC_9106_LOW_MEMORY, *, at_once: int = 2) -> None:
        if parameters.type is not Type.ID:
            raise ValueError("Passwords are hashed with Argon2id only.")
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._nobody = _hash_of_nobody(parameters)
        self._threads = ThreadPoolExecutor(at_once, "passwords", initializer=_give_way)

    async def hash(self, password: str) -> str:
        """The hash to keep, with its own salt and parameters in it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, _bytes(password))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether `password` is the one behind `hashed`; None (no such account) is as slow, and False."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._verify, hashed, _bytes(password))

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


def _give_way() -> None:
    """On Linux each thread has a priority of its own, and those that Argon2 starts inherit it."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)


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
