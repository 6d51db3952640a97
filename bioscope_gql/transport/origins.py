"""Whose pages may open a socket. A browser tells the page's origin and asks nobody else's consent."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers


def may_connect(headers: Headers, allowed: Collection[str]) -> bool:
    """Whether the page behind a handshake is of our own host, or of an origin in `allowed`.

    Without an Origin it is no page. The scheme is not compared: a proxy may have taken off the TLS.
    """
    origin = headers.get("origin")
    if origin is None or origin.lower() in {each.lower().rstrip("/") for each in allowed}:
        return True
    try:
        host = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(host) and host.lower() == headers.get("host", "").lower()
