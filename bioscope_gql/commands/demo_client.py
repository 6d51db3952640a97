"""A client of our own API, over HTTP and WebSocket: it knows no more than the contract says."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from bioscope_gql.commands import demo_documents as documents
from bioscope_gql.errors import InvalidCredentials, NothingToDo, Problem

Json = dict[str, Any]

PROTOCOL = Subprotocol("graphql-transport-ws")
MESSAGE_BYTES = 4 << 20
ANSWER_SECONDS = 30.0
UPLOAD_SECONDS = 600.0
"""How long the server may take over the pictures of one request."""
STILL_SECONDS = 180.0
"""A run in which nothing has changed for so long is given up: it is as long as three leases."""
RECONNECTS = 8
"""Tries to come back to a subscription before any of them has told something."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
FINAL = ("COMPLETED", "PARTIAL", "FAILED", "CANCELLED")

PROBLEMS: dict[str, type[Problem]] = {"InvalidCredentials": InvalidCredentials, "NothingToDo": NothingToDo}


class Unreachable(Problem):
    """The server did not answer; it may later."""


@dataclass
class _Seen:
    """How far a subscription has come, over all its sockets."""

    cursor: str | None = None
    status: str = ""
    failures: int = 0

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    async def fail(self, cause: str) -> None:
        """Wait before the next try.

        Raises:
            Unreachable: there were enough of them.
        """
        self.failures += 1
        if self.failures > RECONNECTS:
            raise Unreachable(f"The live results of the run stay away ({cause}). Start the demo again.")
        await asyncio.sleep(min(FIRST_PAUSE_SECONDS * 2**self.failures, LONGEST_PAUSE_SECONDS))


class Client:
    """One person's connection to the server at `url`."""

    def __init__(self, url: str) -> None:
        self._endpoint = f"{url}/graphql"
        self._http = httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False)
        self._credentials = {"login": "", "password": ""}
        self._authorization = ""
        self.user_id = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def sign_in(self, username: str, password: str) -> None:
        """Speak for this person from now on; where the token runs out, a new one is asked for.

        Raises:
            InvalidCredentials: no active account matches.
        """
        self._credentials = {"login": username, "password": password}
        await self._renew()

    async def ask(self, document: str, **variables: Any) -> Any:
        """The value of the one root field of `document`.

        Raises:
            Unreachable: the server does not answer.
            Problem: it refuses, or the mutation's answer is a problem.
        """
        return await self._asked(lambda: self._post(json={"query": document, "variables": variables}))

    async def upload(self, dataset: str, files: Sequence[Path]) -> list[Json]:
        """Send files in one request, streamed; what became of each, in their order."""
        report = await self._asked(lambda: self._post_files(dataset, files))
        outcomes: list[Json] = report["files"]
        return outcomes

    async def follow(self, run: str, told: Callable[[Json], None]) -> str:
        """Watch a run to its end, and return its final status. A lost connection is taken up where it broke.

        Raises:
            Problem: nothing changed for a long time, or the connection can't be made again.
        """
        seen = _Seen()
        while not seen.is_final:
            try:
                if seen.failures:
                    await self._renew()
                await self._watch(run, seen, told)
                cause = "the subscription ended before the run did"
            except (Unreachable, OSError, WebSocketException) as error:
                cause = str(error) or type(error).__name__
            if not seen.is_final:
                await seen.fail(cause)
        return seen.status

    async def _watch(self, run: str, seen: _Seen, told: Callable[[Json], None]) -> None:
        """As long as one socket holds, and things change."""
        patience = asyncio.timeout(STILL_SECONDS)
        try:
            async with patience, aclosing(self._updates(run, seen.cursor)) as updates:
                async for update in updates:
                    patience.reschedule(asyncio.get_running_loop().time() + STILL_SECONDS)
                    seen.cursor, seen.failures = update["cursor"], 0
                    seen.status = update["classification"]["status"]
                    told(update)
                    if seen.is_final:
                        return
        except TimeoutError as error:
            if not patience.expired():
                raise
            raise Problem(
                f"Nothing has changed in the run for {STILL_SECONDS:.0f} seconds, so the demo gives it up. "
                "The worker's log, beside the data, says what it does."
            ) from error

    async def _updates(self, run: str, after: str | None) -> AsyncGenerator[Json, None]:
        """What one socket tells of a run, from a cursor on."""
        address = self._endpoint.replace("http", "ws", 1)
        async with connect(
            address, subprotocols=[PROTOCOL], proxy=None, compression=None, max_size=MESSAGE_BYTES
        ) as socket:
            await _send(socket, "connection_init", payload={"authorization": self._authorization})
            async for text in socket:
                message = json.loads(text)
                match message["type"]:
                    case "connection_ack":
                        variables = {"run": run, "after": after}
                        operation = {"query": documents.FOLLOW, "variables": variables}
                        await _send(socket, "subscribe", id="1", payload=operation)
                    case "ping":
                        await _send(socket, "pong")
                    case "next":
                        yield _root(message["payload"])
                    case "error":
                        raise _refused(message["payload"])
                    case "complete":
                        return

    async def _asked(self, post: Callable[[], Awaitable[Json]]) -> Any:
        """The answer of a request; it is made again, with a new token, where the old one has run out."""
        try:
            return _root(await post())
        except Problem as problem:
            if problem.code != "UNAUTHENTICATED" or not self._credentials["login"]:
                raise
        await self._renew()
        return _root(await post())

    async def _renew(self) -> None:
        body = {"query": documents.LOGIN, "variables": self._credentials}
        tokens = _root(await self._post(json=body))
        self._authorization = f"Bearer {tokens['accessToken']}"
        self.user_id = str(tokens["user"]["id"])

    async def _post_files(self, dataset: str, files: Sequence[Path]) -> Json:
        """By the GraphQL multipart request specification; httpx reads the files as it sends them."""
        variables = {"dataset": dataset, "files": [None] * len(files)}
        fields = {
            "operations": json.dumps({"query": documents.UPLOAD, "variables": variables}),
            "map": json.dumps({str(number): [f"variables.files.{number}"] for number in range(len(files))}),
        }
        with ExitStack() as opened:
            parts = {
                str(number): (_sendable(file.name), opened.enter_context(file.open("rb")))
                for number, file in enumerate(files)
            }
            return await self._post(
                data=fields,
                files=parts,
                headers={"GraphQL-Require-Preflight": "demo"},
                timeout=httpx.Timeout(ANSWER_SECONDS, read=UPLOAD_SECONDS),
            )

    async def _post(self, *, headers: dict[str, str] | None = None, **request: Any) -> Json:
        sent = {"Accept": "application/graphql-response+json, application/json", **(headers or {})}
        if self._authorization:
            sent["Authorization"] = self._authorization
        try:
            response = await self._http.post(self._endpoint, headers=sent, **request)
        except httpx.HTTPError as error:
            cause = str(error) or type(error).__name__
            raise Unreachable(f"{self._endpoint} does not answer ({cause}).") from error
        try:
            answer = response.json()
        except ValueError as error:
            raise Unreachable(
                f"{self._endpoint} answered with status {response.status_code} and no JSON."
            ) from error
        if not isinstance(answer, dict):
            raise Unreachable(f"{self._endpoint} answered with something that is no GraphQL.")
        return answer


async def _send(socket: ClientConnection, kind: str, **more: Any) -> None:
    await socket.send(json.dumps({"type": kind, **more}))


def _root(answer: Json) -> Any:
    """The value of the one root field.

    Raises:
        Problem: there are errors, or the value is itself a problem.
    """
    if answer.get("errors"):
        raise _refused(answer["errors"])
    (value,) = answer["data"].values()
    if isinstance(value, dict) and {"code", "message", "__typename"} <= value.keys():
        kind = PROBLEMS.get(value["__typename"], Problem)
        raise kind(value["message"], value["code"])
    return value


def _refused(errors: Sequence[Json]) -> Problem:
    first = errors[0]
    return Problem(str(first.get("message")), str(first.get("extensions", {}).get("code", "")))


def _sendable(name: str) -> str:
    """A file's name as UTF-8, whatever bytes it is made of."""
    return name.encode("utf-8", "replace").decode()
