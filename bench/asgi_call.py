"""Requests straight into an ASGI application: no client's sockets are measured."""

import time
from collections.abc import Mapping
from typing import Any

import orjson


class Called:
    """One GraphQL request, to be sent again and again.

    Raises:
        RuntimeError: on sending; it was refused, or the answer has errors.
    """

    def __init__(self, application: Any, token: str, query: str, variables: Mapping[str, Any] = {}) -> None:
        self._application = application
        self._body = orjson.dumps({"query": query, "variables": dict(variables)})
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "host": "127.0.0.1",
        }
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._headers = [*raw, (b"content-length", str(len(self._body)).encode())]

    async def __call__(self) -> Any:
        status, parts = 0, []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self._body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
            "scheme": "http", "path": "/graphql", "raw_path": b"/graphql", "query_string": b"",
            "root_path": "", "headers": list(self._headers), "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1), "state": {},
        }  # fmt: skip
        await self._application(scope, receive, send)
        answer = b"".join(parts)
        if status != 200 or b'"errors"' in answer[:30] or b'"errors":[' in answer[-2000:]:
            raise RuntimeError(f"It answered {status}: {answer[:500].decode()}")
        return answer

    async def seconds(self, times: int) -> list[float]:
        """How long each of so many took, the quickest first."""
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            await self()
            taken.append(time.perf_counter() - began)
        return sorted(taken)
