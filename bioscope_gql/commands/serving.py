"""A server process: listens, answers, and stops in good order when it is told to."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn

from bioscope_gql.app import Application
from bioscope_gql.errors import ConfigurationError
from bioscope_gql.replica import Replica
from bioscope_gql.services import Services
from bioscope_gql.settings import Settings
from bioscope_gql.transport.wire import Wire

FINISH_SECONDS = 20
"""How long requests may take to end once the server is told to stop."""

BACKLOG = 2048
SOCKET_BYTES = 1 << 20
SOCKET_PONG_SECONDS = 60.0
"""Longer than a send may take, which tells sooner that a client does not read."""


class _Server(uvicorn.Server):
    """Leaves signals alone: the command that runs it knows what they mean. `listening` is its bell."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(settings: Settings) -> socket.socket:
    """The socket that the settings name; with port 0 a free one.

    Raises:
        ConfigurationError: it is taken, or not ours to take.
    """
    host, port = settings.app.host, settings.app.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY; without, each answer waits up to 40 ms.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise ConfigurationError(
            [
                f"The address {host}, port {port} can't be listened on ({error.strerror}): "
                "choose another --port."
            ]
        ) from error
    made.listen(BACKLOG)
    return made


def url_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - what somebody else chose to listen on
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@asynccontextmanager
async def served(
    services: Services, listening: socket.socket, *, spool: Path, development: bool = False
) -> AsyncIterator[Replica]:
    """A replica that answers on a socket for as long as the block lasts, and then ends what it has begun."""
    replica = Replica(services, development=development)
    async with replica.at_work():
        application = Application(replica, spool=spool)
        server = _Server(_configuration(application))
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="http")
        try:
            await _begun(server, serving)
            yield replica
        finally:
            await application.close()
            server.should_exit = True
            await serving


async def _begun(server: _Server, serving: "asyncio.Task[None]") -> None:
    """Return once it answers; raise what kept it from that."""
    bell = asyncio.create_task(server.listening.wait())
    await asyncio.wait([bell, serving], return_when=asyncio.FIRST_COMPLETED)
    bell.cancel()
    if serving.done():
        serving.result()


def _configuration(application: Application) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws=Wire,
        ws_max_size=SOCKET_BYTES,
        ws_ping_timeout=SOCKET_PONG_SECONDS,
        ws_per_message_deflate=False,
        server_header=False,
        timeout_graceful_shutdown=FINISH_SECONDS,
        proxy_headers=False,
    )


@asynccontextmanager
async def stop_signals() -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, for as long as the block lasts."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
