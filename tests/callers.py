"""Asking the real schema as anybody, without a token: the header names who asks."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from bioscope_gql.policy import Viewer
from bioscope_gql.schema import schema
from bioscope_gql.schema.context import Context
from bioscope_gql.services import Services
from bioscope_gql.transport.execution import Call
from bioscope_gql.transport.http import GraphQLEndpoint
from bioscope_gql.transport.limits import Limits
from tests.clients import a_client

HUGE = 10**9
SILENCE_SECONDS = 0.3
"""A subscription that has told all that there is says nothing more; nothing tells that it has."""


@dataclass
class Names:
    """An authenticator that believes a name."""

    viewers: Mapping[str, Viewer | None]

    async def authenticate(self, authorization: str | None, *, accept_expired: bool = False) -> Viewer | None:  # noqa: ARG002 - as transport asks
        return self.viewers[authorization] if authorization else None

    async def still_valid(self, viewer: Viewer) -> bool:
        return viewer in self.viewers.values()


@dataclass
class Front:
    """The schema behind its own transport, in this process."""

    app: Starlette
    http: httpx.AsyncClient

    async def ask(self, name: str, query: str) -> str:
        """The whole answer, as it was sent."""
        headers = {"authorization": name}
        response = await self.http.post("/graphql", json={"query": query}, headers=headers)
        return response.text

    async def watch(self, name: str, query: str) -> str:
        """All that a subscription tells until it ends or falls silent."""
        said: asyncio.Queue[Any] = asyncio.Queue()
        told: asyncio.Queue[Any] = asyncio.Queue()
        scope = {
            "type": "websocket", "path": "/graphql", "raw_path": b"/graphql", "query_string": b"",
            "root_path": "", "headers": [], "subprotocols": ["graphql-transport-ws"], "scheme": "ws",
            "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"}, "state": {},
        }  # fmt: skip
        await said.put({"type": "websocket.connect"})
        for message in (
            {"type": "connection_init", "payload": {"authorization": name}},
            {"type": "subscribe", "id": "1", "payload": {"query": query}},
        ):
            await said.put({"type": "websocket.receive", "text": json.dumps(message)})
        serving = asyncio.create_task(self.app(scope, said.get, told.put))
        heard: list[str] = []
        with suppress(TimeoutError):
            while not heard or '"complete"' not in heard[-1]:
                async with asyncio.timeout(SILENCE_SECONDS):
                    heard.append((await told.get()).get("text", ""))
        await said.put({"type": "websocket.disconnect", "code": 1000})
        await serving
        return "\n".join(heard)


@asynccontextmanager
async def a_front(
    services: Services, viewers: Mapping[str, Viewer | None], spool: Path
) -> AsyncIterator[Front]:
    def make_context(viewer: Viewer | None, call: Call) -> Context:
        return Context(services=services, caller=viewer, request_id=call.request_id, origin="http://lab")

    sizes = (
        "query_bytes", "tokens", "depth", "fields", "aliases", "fragments", "cost", "body_bytes",
        "cached_document_bytes",
    )  # fmt: skip
    endpoint = GraphQLEndpoint(
        schema(),
        authenticator=Names(viewers),
        make_context=make_context,
        spool_directory=spool,
        limits=Limits(**dict.fromkeys(sizes, HUGE)),
    )
    app = Starlette(routes=[Route("/graphql", endpoint), WebSocketRoute("/graphql", endpoint)])
    transport = httpx.ASGITransport(app)
    async with a_client(transport=transport, base_url="http://lab", timeout=60) as http:
        try:
            yield Front(app, http)
        finally:
            await endpoint.close()
