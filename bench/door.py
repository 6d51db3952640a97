"""What the door itself costs a request, and whether anything sent to it holds the event loop up.

CPU time per request where the resolver does nothing, straight into ASGI applications, all in this run: ours
with every limit on, Strawberry's own application as it comes and with its caches, and a Starlette handler
that reads JSON and writes JSON. Then the bombs: how long a canary that sings twenty times a second had to
wait at worst while each was refused, by the clock on the wall (other programs of the machine count too).

    python bench/door.py [REQUESTS]
"""

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import orjson
import strawberry
from asgi_call import Called
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache

from bioscope_gql.cli import COLLECT_AFTER
from bioscope_gql.policy import Viewer
from bioscope_gql.transport.execution import Call
from bioscope_gql.transport.http import GraphQLEndpoint

ROUNDS = 15
SING_SECONDS = 0.05
QUERY = "query Greeting($name: String!) { hello(name: $name) }"
VARIABLES = {"name": "world"}
SOMEBODY = Viewer(UUID(int=1), None, "somebody", expires_at=datetime(2100, 1, 1, tzinfo=UTC))


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"hello {name}"


class Trusting:
    """Knows everybody: what authentication costs is measured in queries.py."""

    async def authenticate(
        self,
        authorization: str | None,  # noqa: ARG002 -- the endpoint passes it by name
        *,
        accept_expired: bool = False,  # noqa: ARG002
    ) -> Viewer | None:
        return SOMEBODY

    async def still_valid(self, viewer: Viewer) -> bool:  # noqa: ARG002
        return True


def context(viewer: Viewer | None, call: Call) -> object:  # noqa: ARG001
    return None


async def greet(request: Request) -> JSONResponse:
    sent = await request.json()
    return JSONResponse({"data": {"hello": f"hello {sent['variables']['name']}"}})


def ours(spool: Path) -> ASGIApp:
    schema = strawberry.Schema(Query)
    endpoint = GraphQLEndpoint(schema, authenticator=Trusting(), make_context=context, spool_directory=spool)
    return Starlette(routes=[Route("/graphql", endpoint)])


def applications(spool: Path) -> Mapping[str, ASGIApp]:
    class Greeting(GraphQL[Any, Any]):
        """As it comes; an ASGI application that Starlette takes as a route."""

    cached = strawberry.Schema(Query, extensions=[lambda: ParserCache(100), lambda: ValidationCache(100)])
    return {
        "ours, all limits on": ours(spool),
        "bare Strawberry": Starlette(routes=[Route("/graphql", Greeting(strawberry.Schema(Query)))]),
        "Strawberry with its caches": Starlette(routes=[Route("/graphql", Greeting(cached))]),
        "Starlette, JSON to JSON": Starlette(routes=[Route("/graphql", greet, methods=["POST"])]),
    }


async def microseconds(called: Called, times: int) -> float:
    began = time.thread_time()
    for _ in range(times):
        await called()
    return (time.thread_time() - began) / times * 1e6


async def costs(spool: Path, requests: int) -> None:
    """Every application in turn, round by round, so that a slow moment of the machine meets all."""
    called = {name: Called(app, "x", QUERY, VARIABLES) for name, app in applications(spool).items()}
    found: dict[str, list[float]] = {name: [] for name in called}
    for each in called.values():
        await microseconds(each, 50)
    gc.collect()
    for _ in range(ROUNDS):
        for name, each in called.items():
            found[name].append(await microseconds(each, max(1, requests // ROUNDS)))
    for name, taken in found.items():
        print(f"{name:28} {median(taken):7.1f} us of CPU per request")


NESTED = 50
BOMBS: Mapping[str, str] = {
    "fragments that double": "{ ...F0 } "
    + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(NESTED))
    + f" fragment F{NESTED} on Query {{ hello }}",
    "60 flat fragments": "{ " + "...F0 " * 400 + "} fragment F0 on Query { hello }",
    "600 aliases": "{ " + " ".join(f"a{n}: hello" for n in range(600)) + " }",
    "300 directives": "{ hello" + " @skip(if: false)" * 300 + " }",
    "20,000 comments": "{ hello }" + "#x\n" * 20_000,
    "2 MB of comment": "{ hello }#" + "x" * 2_000_000,
    "100,000 tokens": "{ " + "hello " * 100_000 + "}",
    "fragments in a circle": "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "900 deep": "{ hello " * 900,
    "320 overlapping fields": "{ " + 'hello(name: "a") hello(name: "b") ' * 160 + "}",
    "320 equal fields": "{ " + 'hello(name: "a") ' * 320 + "}",
    "60 overlapping fragments": "{ "
    + " ".join(f"...F{n}" for n in range(60))
    + " } "
    + " ".join(f'fragment F{n} on Query {{ hello(name: "a") hello(name: "b") }}' for n in range(60)),
    "deep introspection": "{ __schema { types " + "{ fields { type " * 3 + "{ name }" + " } }" * 3 + " } }",
}


def bodies() -> Mapping[str, bytes]:
    """Bombs by name, each anew: what was refused is not remembered, but nobody should have to believe it."""
    mark = f"#{time.perf_counter_ns()}"
    asked = {name: orjson.dumps({"query": bomb + mark}) for name, bomb in BOMBS.items()}
    many = {str(n): n for n in range(60_000)}
    return asked | {
        "1 MB of brackets": b"[" * 1_000_000,
        "variables 100,000 deep": b'{"query":"{hello}","variables":'
        + b'{"a":' * 99_999
        + b"1"
        + b"}" * 100_000,
        "60,000 variables": orjson.dumps({"query": "{ hello }", "variables": many}),
        "a list of 140,000": orjson.dumps({"query": "{ hello }", "variables": {"a": list(range(140_000))}}),
    }


async def bombs(spool: Path) -> None:
    """With Python's collector of garbage as `bioscope serve` has it: its walks are not the bombs' doing."""
    application = ours(spool)
    gc.set_threshold(*COLLECT_AFTER)
    gc.collect()
    gc.freeze()
    for name in bodies():
        work, wait = 0.0, 0.0
        for _ in range(5):
            body = bodies()[name]
            spent, waited = await beside_a_canary(partial(post, application, body))
            work, wait = max(work, spent), max(wait, waited)
        print(f"{name:28} {work * 1e3:7.1f} ms of CPU, canary late by {wait * 1e3:5.1f} ms at worst")


async def beside_a_canary(work: Callable[[], Awaitable[int]]) -> tuple[float, float]:
    """CPU seconds of the work, and how much later than it wanted a canary sang at worst meanwhile."""
    late: list[float] = []

    async def sing() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(SING_SECONDS)
            late.append(time.perf_counter() - began - SING_SECONDS)

    singing = asyncio.create_task(sing())
    await asyncio.sleep(SING_SECONDS / 2)
    began = time.thread_time()
    status = await work()
    spent = time.thread_time() - began
    await asyncio.sleep(2 * SING_SECONDS)
    singing.cancel()
    if status >= 500:
        raise RuntimeError(f"It answered {status}.")
    return spent, max(late)


async def post(application: ASGIApp, body: bytes) -> int:
    """The status that a body is answered with."""
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/graphql", "raw_path": b"/graphql", "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "state": {},
    }  # fmt: skip
    await application(scope, receive, send)
    return status


async def measure(requests: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bioscope-bench-") as folder:
        await costs(Path(folder), requests)
        await bombs(Path(folder))


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 6_000))
