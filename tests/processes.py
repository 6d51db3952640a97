"""Commands as processes: started as a person starts them, told what to do by signals, and gone at the end."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.clients import a_client
from tests.lab import PASSWORD, unwrapped
from tests.lab_documents import UPLOAD
from tests.test_cli import environment

LIMIT_SECONDS = 40
SIGN_IN = """
mutation ($login: String!, $password: String!) {
  login(input: {login: $login, password: $password}) {
    ... on AuthTokens { accessToken } ... on Problem { code }
  }
}
"""
REGISTER = """
mutation ($email: String!, $username: String!, $password: String!) {
  register(input: {email: $email, username: $username, password: $password}) {
    ... on AuthTokens { accessToken } ... on Problem { code }
  }
}
"""


@dataclass(frozen=True)
class Done:
    """What a command that ended said, and with which code."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """Its errors, without what it logged."""
        return [line for line in self.err.splitlines() if not line.startswith("{")]


async def bioscope(folder: Path, *arguments: str, stdin: str = "", **variables: str) -> Done:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bioscope_gql", *arguments, cwd=folder, env=environment(**variables),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            out, err = await process.communicate(stdin.encode())
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return Done(process.returncode or 0, out.decode(), err.decode())


class Server:
    """A command that serves. `url` is known once it says where."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log
        self.url = ""

    @property
    def family(self) -> list[psutil.Process]:
        """The process and all of its descendants."""
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]

    def member(self, word: str) -> psutil.Process:
        """The descendant with this word in its command line."""
        return next(each for each in self.family[1:] if word in " ".join(each.cmdline()))

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def says(self, beginning: str) -> str:
        """The next line of its output that begins so."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT_SECONDS):
            while line := (await self._process.stdout.readline()).decode():
                if line.startswith(beginning):
                    return line
        raise AssertionError(f"It ended without saying {beginning!r}: {self.log.read_text()}")

    async def ended(self) -> int:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await self._process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code once it ended by a signal; by then all of its descendants have ended too."""
        family = self.family
        self.send_signal(number)
        code = await self.ended()
        assert [each for each in family if each.is_running() and not is_zombie(each)] == []
        return code

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with a_client(base_url=self.url, timeout=LIMIT_SECONDS) as http:
            return await http.get(path, headers=headers)

    async def ask(self, query: str, token: str | None = None, **variables: Any) -> Any:
        """The data of an operation; with one root field, what that holds."""
        return unwrapped(await self.post(query, token, **variables))

    async def post(self, query: str, token: str | None = None, **variables: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        body = {"query": query, "variables": variables}
        async with a_client(base_url=self.url, timeout=LIMIT_SECONDS) as http:
            return await http.post("/graphql", json=body, headers=headers)

    async def until(self, query: str, expected: Any, token: str | None = None) -> None:
        """Ask until this is the answer. Nothing rings when it changes."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while await self.ask(query, token) != expected:
                await asyncio.sleep(0.05)

    async def upload(self, dataset: str, file: bytes, token: str) -> Any:
        """What becomes of one file."""
        variables = {"dataset": dataset, "files": [None]}
        async with a_client(base_url=self.url, timeout=LIMIT_SECONDS) as http:
            answer = await http.post(
                "/graphql",
                data={
                    "operations": json.dumps({"query": UPLOAD, "variables": variables}),
                    "map": json.dumps({"0": ["variables.files.0"]}),
                },
                files={"0": ("smear.png", file)},
                headers={"authorization": f"Bearer {token}", "graphql-require-preflight": "1"},
            )
        return unwrapped(answer)["files"][0]

    async def until_health(self, status: str) -> dict[str, str]:
        """The parts once /health has this status. Nothing rings when it changes."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while (answer := (await self.get("/health")).json())["status"] != status:
                await asyncio.sleep(0.05)
        return {name: part["status"] for name, part in answer["parts"].items()}

    async def register(self, username: str = "clara", password: str = PASSWORD) -> str:
        """An access token of a new account."""
        made = await self.ask(REGISTER, email=f"{username}@lab.example", username=username, password=password)
        token: str = made["accessToken"]
        return token

    async def sign_in(self, login: str, password: str) -> str:
        token: str = (await self.ask(SIGN_IN, login=login, password=password))["accessToken"]
        return token


def is_zombie(process: psutil.Process) -> bool:
    """It has ended, and whoever adopted it may not care."""
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


async def all_gone(processes: list[psutil.Process]) -> bool:
    """Whether all end within the limit."""
    _, left = await asyncio.to_thread(psutil.wait_procs, processes, LIMIT_SECONDS)
    return all(map(is_zombie, left))


def heed_interrupts() -> None:
    """As from a terminal: the processes of pytest-xdist ignore SIGINT, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@asynccontextmanager
async def started(folder: Path, *arguments: str, **variables: str) -> AsyncIterator[Server]:
    """A command that is to serve on a free port; ended with all of its descendants if it still runs."""
    log = folder / "server.log"
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bioscope_gql", *arguments, "--port", "0", cwd=folder,
            env=environment(**variables), stdout=asyncio.subprocess.PIPE, stderr=errors,
            preexec_fn=heed_interrupts,
        )  # fmt: skip
    server = Server(process, log)
    try:
        yield server
    finally:
        if process.returncode is None:
            family = server.family
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    await process.wait()
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
            assert await all_gone(family)


@asynccontextmanager
async def serving(folder: Path, *arguments: str, **variables: str) -> AsyncIterator[Server]:
    """The same, once it serves."""
    async with started(folder, *arguments, **variables) as server:
        line = await server.says("Serving on ")
        server.url = line.removeprefix("Serving on ").partition("/graphql")[0]
        yield server


def dev(folder: Path) -> AbstractAsyncContextManager[Server]:
    """`bioscope dev` over the data directory `folder/data`."""
    return serving(folder, "dev", "--data-dir", str(folder / "data"))
