"""From which address a request came."""

import ipaddress
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import Scope


def client_address(scope: Scope, *, trusted_proxies: int) -> str | None:
    """The address of whoever asks; behind proxies of ours the one that the outermost of them saw.

    Each proxy adds to X-Forwarded-For whom it was asked by, on the right. So with N of them the Nth from
    the right is the client; what stands left of it the client has written itself. Without proxies the
    header counts for nothing. None where there is no address, as on a Unix socket.
    """
    peer = (scope.get("client") or (None,))[0]
    if not trusted_proxies:
        return _plain(peer)
    said = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")
    seen = [each for each in said if each.strip()][-trusted_proxies:]
    return _plain(seen[0] if seen else None) or _plain(peer)


@lru_cache(maxsize=1024)
def _plain(said: str | None) -> str | None:
    """An address without port, brackets, zone and IPv4's IPv6 dress; None where it is none."""
    text = (said or "").strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
