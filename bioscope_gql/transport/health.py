"""Whether this replica is well: for people, for whoever restarts it, and for whoever sends it requests."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bioscope_gql import __version__

CHECK_SECONDS = 2.0

Check = Callable[[], Awaitable[Any]]

logger = structlog.get_logger()


class Health:
    """Answers /health, /health/live and /health/ready. Names and statuses only: nothing of the inside.

    `parts` are asked one by one, each within two seconds; what raises is down. `vital` names those
    without which nothing works. `is_ready` is this replica's own word.
    """

    def __init__(self, parts: Mapping[str, Check], *, vital: str, is_ready: Callable[[], bool]) -> None:
        self._parts, self._vital, self._is_ready = parts, vital, is_ready

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health),
            Route("/health/live", self.live),
            Route("/health/ready", self.ready),
        ]

    async def health(self, _request: Request) -> Response:
        names = list(self._parts)
        well = dict(zip(names, await asyncio.gather(*map(self._is_well, names)), strict=True))
        status = "ok" if all(well.values()) else "degraded" if well[self._vital] else "down"
        parts = {name: {"status": "ok" if is_well else "down"} for name, is_well in well.items()}
        answer = {"status": status, "version": __version__, "parts": parts}
        return _uncached(answer, 503 if status == "down" else 200)

    async def live(self, _request: Request) -> Response:
        return _uncached({"status": "ok"}, 200)

    async def ready(self, _request: Request) -> Response:
        is_ready = self._is_ready() and await self._is_well(self._vital)
        return _uncached({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)

    async def _is_well(self, name: str) -> bool:
        (error,) = await asyncio.gather(self._ask(name), return_exceptions=True)
        if error is None:
            return True
        logger.info("part_is_down", part=name, reason=str(error) or type(error).__name__)
        return False

    async def _ask(self, name: str) -> None:
        async with asyncio.timeout(CHECK_SECONDS):
            await self._parts[name]()


def _uncached(answer: Mapping[str, Any], status: int) -> Response:
    return JSONResponse(answer, status, headers={"Cache-Control": "no-store"})
