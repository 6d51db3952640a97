"""/metrics, for Prometheus: who may read it, and the figures that are taken when it is read."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bioscope_gql.metrics import Metrics

GATHER_SECONDS = 2.0
FORWARDED = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
)

logger = structlog.get_logger()


class MetricsPage:
    """With a token for those who bring it; without for this machine only, where no proxy stands between."""

    def __init__(
        self,
        metrics: Metrics,
        gather: Callable[[], Awaitable[None]],
        *,
        token: str | None,
        trusted_proxies: int,
    ) -> None:
        """`gather` sets the gauges; what it can't find out in two seconds is as it was."""
        self._metrics, self._gather = metrics, gather
        self._token, self._trusted_proxies = token, trusted_proxies

    def route(self) -> Route:
        return Route("/metrics", self.read)

    async def read(self, request: Request) -> Response:
        if self._token is not None:
            if not self._brings_token(request):
                message = "Bring the token of `app.metrics_token`: `Authorization: Bearer ...`."
                return refusal(message, "UNAUTHENTICATED", 401)
        elif self._trusted_proxies or not is_local(request):
            message = "Only this machine may read the metrics. Set `app.metrics_token` for others."
            return refusal(message, "FORBIDDEN", 403)
        try:
            async with asyncio.timeout(GATHER_SECONDS):
                await self._gather()
        except TimeoutError:
            logger.warning("metrics_incomplete", reason=f"no answer within {GATHER_SECONDS:g} seconds")
        return Response(
            self._metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
        )

    def _brings_token(self, request: Request) -> bool:
        scheme, _, brought = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and secrets.compare_digest(
            brought.strip().encode(), (self._token or "").encode()
        )


def is_local(request: Request) -> bool:
    """Whether a request comes from this machine, and nobody passed it on."""
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def refusal(message: str, code: str, status: int) -> Response:
    headers = {"Cache-Control": "no-store"} | ({"WWW-Authenticate": "Bearer"} if status == 401 else {})
    return JSONResponse({"errors": [{"message": message, "extensions": {"code": code}}]}, status, headers)
