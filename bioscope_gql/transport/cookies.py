"""The one cookie that there is: the refresh token, for pages of our own site."""

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from bioscope_gql.transport.execution import Call
from bioscope_gql.transport.origins import may_connect

NAME = "bioscope_refresh"


def sent_with(call: Call, allowed_origins: Collection[str]) -> str | None:
    """The refresh token of the cookie, where it may be honoured: on a POST of JSON that no page of a
    foreign site has sent."""
    if call.transport != "post" or not may_connect(call.connection.headers, allowed_origins):
        return None
    return call.connection.cookies.get(NAME)


def written(token: str, *, seconds: int, public_url: str | None) -> tuple[str, str]:
    """The header that has a browser keep `token`, or with 0 seconds forget it."""
    secure = "" if _is_plain_loopback(public_url) else "; Secure"
    value = f"{NAME}={token}; Max-Age={seconds}; Path=/graphql; HttpOnly; SameSite=Strict{secure}"
    return "set-cookie", value


def _is_plain_loopback(url: str | None) -> bool:
    parts = urlsplit(url or "")
    if parts.scheme != "http" or not parts.hostname:
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname).is_loopback
    except ValueError:
        return False
