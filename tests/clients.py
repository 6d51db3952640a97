"""A client over HTTP for tests."""

import ssl
from typing import Any

import httpx

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Those of the system take 25 ms to read, a thousand times, and nothing here speaks TLS."""


def a_client(**options: Any) -> httpx.AsyncClient:
    """A client that goes through no proxy."""
    return httpx.AsyncClient(trust_env=False, verify=NO_CERTIFICATES, **options)
