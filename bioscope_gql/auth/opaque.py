"""Tokens that say nothing: 256 random bits, of which only the SHA-256 is kept."""

import hashlib
import secrets

LONGEST = 200
"""Characters of a token that is looked up at all; ours have 43."""


def mint() -> str:
    """A new token, as its owner gets to see it once."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """What is kept of it, and what it is found by."""
    return hashlib.sha256(token[: LONGEST + 1].encode("utf-8", "surrogatepass")).digest()
