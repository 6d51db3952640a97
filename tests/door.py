"""A toy schema behind the real door: `GraphQLEndpoint` on a loopback port, with a real server around it."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NewType
from uuid import UUID

import httpx
import strawberry
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from strawberry.schema.config import StrawberryConfig

from bioscope_gql.errors import Refusal, Unauthenticated
from bioscope_gql.policy import Viewer
from bioscope_gql.storage.uploads import UploadedFile, uploaded_file
from bioscope_gql.transport.execution import Call
from bioscope_gql.transport.http import GraphQLEndpoint
from bioscope_gql.transport.limits import Limits
from bioscope_gql.transport.wire import Wire
from tests.clients import a_client

Json = dict[str, Any]

ANNA = Viewer(UUID(int=1), None, "anna", expires_at=datetime(2100, 1, 1, tzinfo=UTC))
TOKEN = "Bearer anna"
PATIENCE_SECONDS = 10.0

Upload = NewType("Upload", UploadedFile)
Info = strawberry.Info["Toy", None]


@dataclass
class Bench:
    """What the toy schema works with, and what it has seen."""

    contexts: list["Toy"] = field(default_factory=list)
    files: list[UploadedFile] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    """Resolvers that were entered."""
    ticks: asyncio.Queue[int | Exception | None] = field(default_factory=asyncio.Queue)
    """What the subscription `ticks` tells; None ends it."""
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody waits, in `ticks` or in `wait`."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Whoever waited is gone, its `finally` run."""
    release: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Toy:
    """The context of one operation or event."""

    viewer: Viewer | None
    call: Call
    bench: Bench


@strawberry.type
class Described:
    filename: str
    size: int
    sha256: str
    too_large: bool
    kept: int


def described(info: Info, file: UploadedFile) -> Described:
    info.context.bench.files.append(file)
    return Described(
        filename=file.filename,
        size=file.size,
        sha256=file.sha256,
        too_large=file.too_large,
        kept=file.path.stat().st_size,
    )


@strawberry.input
class Picture:
    title: str
    file: Upload | None = None


@strawberry.type
class Query:
    @strawberry.field
    def me(self, info: Info) -> str | None:
        viewer = info.context.viewer
        return viewer.name if viewer else None

    @strawberry.field
    def hello(self, info: Info, name: str = "world") -> str:
        info.context.bench.ran.append("hello")
        return f"hello {name}"

    @strawberry.field
    def bug(self) -> str | None:
        raise ZeroDivisionError("secret")

    @strawberry.field
    def refused(self) -> str | None:
        raise Refusal("Not like this.", "FORBIDDEN")

    @strawberry.field
    def database(self) -> str | None:
        raise ConnectionRefusedError("10.0.0.1")

    @strawberry.field
    async def wait(self, info: Info) -> str:
        bench = info.context.bench
        bench.entered.set()
        try:
            await bench.release.wait()
        finally:
            bench.left.set()
        return "waited"

    @strawberry.field
    def text(self, length: int) -> str:
        return "x" * length


@strawberry.type
class Mutation:
    @strawberry.mutation
    def login(self, info: Info) -> str:
        info.context.call.response_headers.append(("Set-Cookie", "a=b"))
        info.context.bench.ran.append("login")
        return "in"

    @strawberry.mutation
    def logout(self, info: Info) -> str:
        return info.context.viewer.name if info.context.viewer else "nobody"

    @strawberry.mutation
    def touch(self, info: Info) -> int:
        info.context.bench.ran.append("touch")
        return len(info.context.bench.ran)

    @strawberry.mutation
    def upload(self, info: Info, file: Upload) -> Described:
        return described(info, file)

    @strawberry.mutation
    def uploads(self, info: Info, files: list[Upload]) -> list[Described]:
        return [described(info, file) for file in files]

    @strawberry.mutation
    def picture(self, info: Info, picture: Picture) -> Described | None:
        return described(info, picture.file) if picture.file else None

    @strawberry.mutation
    async def hold(self, info: Info, file: Upload) -> int:
        """Keeps its file until it is released."""
        info.context.bench.files.append(file)
        info.context.bench.entered.set()
        await info.context.bench.release.wait()
        return file.size


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def ticks(self, info: Info) -> AsyncGenerator[int, None]:
        bench = info.context.bench
        bench.entered.set()
        try:
            while (tick := await bench.ticks.get()) is not None:
                if isinstance(tick, Exception):
                    raise tick
                yield tick
        finally:
            bench.left.set()

    @strawberry.subscription
    async def flood(self, info: Info, length: int) -> AsyncGenerator[str, None]:
        try:
            while True:
                yield "x" * length
        finally:
            info.context.bench.left.set()


SCHEMA = strawberry.Schema(
    Query,
    Mutation,
    Subscription,
    config=StrawberryConfig(
        scalar_map={Upload: strawberry.scalar(name="Upload", parse_value=uploaded_file)},
    ),
)


@dataclass
class Desk:
    """An authenticator whose viewers a test may change."""

    viewers: dict[str, Viewer] = field(default_factory=lambda: {TOKEN: ANNA})
    revoked: bool = False
    failing: Exception | None = None
    asked: list[str | None] = field(default_factory=list)
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    async def authenticate(self, authorization: str | None, *, accept_expired: bool = False) -> Viewer | None:
        self.asked.append(authorization)
        if self.failing is not None:
            self.failed.set()
            raise self.failing
        if authorization is None:
            return None
        viewer = self.viewers.get(authorization)
        if viewer is None:
            raise Unauthenticated("The token is not one of ours. Sign in again.", reason="INVALID")
        if self.revoked:
            raise Unauthenticated("Your session has ended. Sign in again.", reason="REVOKED")
        if viewer.expires_at is not None and viewer.expires_at <= datetime.now(UTC) and not accept_expired:
            raise Unauthenticated("The token has expired. Get a new one.", reason="EXPIRED")
        return viewer

    async def still_valid(self, viewer: Viewer) -> bool:
        return not self.revoked and viewer in self.viewers.values()

    def let_expire(self, seconds: float = 0.0) -> None:
        self.viewers[TOKEN] = replace(ANNA, expires_at=datetime.now(UTC) + timedelta(seconds=seconds))


class QuickServer(uvicorn.Server):
    """Stops when it is told to, not at its next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.told_to_stop = asyncio.Event()

    async def main_loop(self) -> None:
        await self.told_to_stop.wait()


@dataclass
class Door:
    """An endpoint that is being served."""

    port: int
    endpoint: GraphQLEndpoint
    desk: Desk
    bench: Bench
    spool: Path
    http: httpx.AsyncClient
    server: QuickServer
    serving: asyncio.Task[None]

    def stop(self) -> None:
        """Have the server stop as SIGTERM has it."""
        self.server.told_to_stop.set()

    async def stopped(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.wait([self.serving])

    async def post(self, query: str, *, token: str | None = TOKEN, **members: Any) -> httpx.Response:
        headers = {"Authorization": token} if token else {}
        return await self.http.post("/graphql", json={"query": query, **members}, headers=headers)

    def connect(self, **options: Any) -> websockets.connect:
        options = {"subprotocols": ["graphql-transport-ws"], "compression": None, **options}
        return websockets.connect(f"ws://127.0.0.1:{self.port}/graphql", proxy=None, **options)

    def spooled(self) -> list[Path]:
        """Whatever lies where uploads are spooled."""
        return sorted(self.spool.rglob("*"))


@asynccontextmanager
async def a_door(
    spool: Path,
    limits: Limits | None = None,
    *,
    introspection: bool = True,
    allowed_origins: Sequence[str] | None = None,
    ws: Any = Wire,
    graceful_seconds: int = 5,
    **options: Any,
) -> AsyncIterator[Door]:
    """Served on a free port of this machine until the context ends; `options` are uvicorn's."""
    bench, desk = Bench(), Desk()

    def make_context(viewer: Viewer | None, call: Call) -> Toy:
        bench.contexts.append(Toy(viewer, call, bench))
        return bench.contexts[-1]

    endpoint = GraphQLEndpoint(
        SCHEMA,
        authenticator=desk,
        make_context=make_context,
        spool_directory=spool,
        limits=limits,
        introspection=introspection,
        allowed_origins=allowed_origins,
    )
    app = Starlette(routes=[Route("/graphql", endpoint), WebSocketRoute("/graphql", endpoint)])
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        ws=ws,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=graceful_seconds,
        **options,
    )
    server = QuickServer(config)
    # The protocol is named, or asyncio leaves Nagle's algorithm on: 40 ms for every answer.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        serving = asyncio.create_task(server.serve([listening]))
        async with a_client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as http:
            door = Door(port, endpoint, desk, bench, spool, http, server, serving)
            try:
                yield door
            finally:
                bench.release.set()
                await endpoint.close()
                door.stop()
                await door.stopped()


async def spool_empties(door: Door) -> None:
    """Wait until no file of an upload is left."""
    end = time.monotonic() + PATIENCE_SECONDS
    while door.spooled():
        assert time.monotonic() < end, door.spooled()
        await asyncio.sleep(0.01)
