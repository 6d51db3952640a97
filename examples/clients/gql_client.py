"""gql: the journey from Python. Needs gql[httpx,websockets], LOGIN and PASSWORD; URL if not this machine."""

import asyncio
import io
import os
import struct
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from gql import Client, FileVar, gql
from gql.transport.exceptions import TransportConnectionFailed
from gql.transport.httpx import HTTPXAsyncTransport
from gql.transport.websockets import WebsocketsTransport

URL = os.environ.get("URL", "http://127.0.0.1:8000/graphql")
EARLY = timedelta(seconds=30)
PICTURES = 24
PAGE = 10
FINAL = ("COMPLETED", "PARTIAL", "FAILED", "CANCELLED")
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")

TOKENS = "... on AuthTokens { accessToken refreshToken expiresAt } ... on Problem { message }"
LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { " + TOKENS + " } }"
REFRESH = "mutation ($input: RefreshInput) { refreshSession(input: $input) { " + TOKENS + " } }"
CREATE = """mutation ($name: String!) {
  createDataset(input: { name: $name }) { ... on Dataset { id } ... on Problem { message } }
}"""
UPLOAD = """mutation ($dataset: ID!, $files: [Upload!]!) {
  uploadImages(input: { datasetId: $dataset, files: $files }) {
    ... on UploadReport { files { __typename ... on RejectedFile { message } } } ... on Problem { message }
  }
}"""
RUN = """mutation ($dataset: ID!) {
  runClassification(input: { target: { datasetId: $dataset } }) {
    ... on Classification { id } ... on Problem { message }
  }
}"""
IMAGES = """query ($dataset: ID!, $first: Int!, $after: String) {
  images(filter: { datasetId: $dataset }, first: $first, after: $after) {
    nodes { filename latestResult { label confidence } } pageInfo { hasNextPage endCursor }
  }
}"""
WATCH = """subscription ($id: ID!, $after: String) {
  classificationUpdated(id: $id, after: $after) { cursor classification { status } items { id status } }
}"""


# snippet
class Session(httpx.Auth):
    """Signs every request of httpx; one whose token was refused for its age is sent again with a new one."""

    requires_response_body = True

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}
        self._one_at_a_time = asyncio.Lock()

    async def sign_in(self, login: str, password: str) -> None:
        self._tokens = await self._ask(LOGIN, {"login": login, "password": password})

    async def renew(self) -> None:
        """A new access token. A refresh token works once, so all who ask meanwhile share the answer."""
        before = self._tokens
        async with self._one_at_a_time:
            if self._tokens is before:
                self._tokens = await self._ask(REFRESH, {"refreshToken": before["refreshToken"]})

    async def authorization(self) -> str:
        """The header's value, with a token that lives on for a while."""
        if datetime.fromisoformat(self._tokens["expiresAt"]) - datetime.now(UTC) < EARLY:
            await self.renew()
        return f"Bearer {self._tokens['accessToken']}"

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        request.headers["authorization"] = await self.authorization()
        answer = yield request
        errors = answer.json()["errors"] if answer.status_code == 401 else []
        if any(error["extensions"].get("reason") == "EXPIRED" for error in errors):
            await self.renew()
            request.headers["authorization"] = await self.authorization()
            yield request

    async def _ask(self, query: str, given: dict[str, str]) -> dict[str, str]:
        async with httpx.AsyncClient() as http:
            answer = await http.post(URL, json={"query": query, "variables": {"input": given}})
        [tokens] = right(answer.json()["data"], "accessToken")
        return tokens


def requests(session: Session) -> Client:
    """For queries, mutations and, with the header that uploads need, files."""
    headers = {"graphql-require-preflight": "1"}
    return Client(transport=HTTPXAsyncTransport(URL, auth=session, headers=headers, timeout=60))


async def watched(session: Session, id: str) -> AsyncIterator[tuple[dict[str, Any], WebsocketsTransport]]:
    """Every update of a run until its end, with the connection that brought it: after a cut a new one."""
    after = None
    for _ in range(5):
        token = await session.authorization()  # asked for at every connection, so also after 4403
        transport = WebsocketsTransport(URL.replace("http", "ws", 1), init_payload={"authorization": token})
        watch = gql(WATCH)
        watch.variable_values = {"id": id, "after": after}
        try:
            async with Client(transport=transport) as client:
                async for data in client.subscribe(watch):
                    update = data["classificationUpdated"]
                    after = update["cursor"]
                    yield update, transport
                    if update["classification"]["status"] in FINAL:
                        return
        except TransportConnectionFailed:
            continue
    raise ConnectionError("The connection broke five times.")


# end


async def journey() -> None:
    session = Session()
    await session.sign_in(os.environ["LOGIN"], os.environ["PASSWORD"])
    await session.renew()
    say("signed in, and renewed the session")

    async with requests(session) as client:

        async def ask(document: str, *, upload: bool = False, **variables: Any) -> dict[str, Any]:
            request = gql(document)
            request.variable_values = variables
            answer: dict[str, Any] = await client.execute(request, upload_files=upload)
            return answer

        [dataset] = right(await ask(CREATE, name=f"gql {datetime.now(UTC)}"), "id")
        files = [FileVar(io.BytesIO(bitmap(64)), filename=f"smear-{n}.bmp") for n in range(PICTURES)]
        [report] = right(await ask(UPLOAD, upload=True, dataset=dataset["id"], files=files), "files")
        expect(
            {file["__typename"] for file in report["files"]} == {"UploadedImage"}, "every picture is taken"
        )
        say(f"uploaded {len(report['files'])} pictures")

        [run] = right(await ask(RUN, dataset=dataset["id"]), "id")
        told: list[str] = []
        connections: list[WebsocketsTransport] = []
        async for update, connection in watched(session, run["id"]):
            told += [item["id"] for item in update["items"] if item["status"] in ENDED]
            if connection not in connections:
                connections.append(connection)
                if len(connections) == 1:
                    cut(connection)
        say(
            f"watched {len(set(told))} of {PICTURES} pictures to the end, over {len(connections)} connections"
        )
        expect(len(set(told)) == PICTURES, "a cut loses nothing")
        expect(len(told) == PICTURES, "what was told before a cut is not told again")
        expect(len(connections) == 2, "there was a cut, and the second connection lasted")

        names: list[str] = []
        after = None
        while True:
            page = (await ask(IMAGES, dataset=dataset["id"], first=PAGE, after=after))["images"]
            names += [node["filename"] for node in page["nodes"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        say(f"read {len(names)} pictures in pages of {PAGE}")
        expect(len(set(names)) == PICTURES, "every picture is on one page")
    say("done")


def right(data: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """The answers, if they have the field that was asked for; every one may be a Problem instead."""
    for answer in data.values():
        if field not in answer:
            sys.exit(f"gql: {answer['message']}")
    return list(data.values())


def cut(connection: WebsocketsTransport) -> None:
    """As a network does it: without a word."""
    if connection.adapter.websocket is not None:
        connection.adapter.websocket.transport.abort()


def bitmap(side: int) -> bytes:
    """A small BMP of noise. Each is another one: a dataset takes the same bytes once."""
    size = side * side * 3
    head = struct.pack("<2sIIIIIIHH", b"BM", 54 + size, 0, 54, 40, side, side, 1, 24)
    return head + bytes(24) + os.urandom(size)


def expect(held: bool, sentence: str) -> None:
    if not held:
        sys.exit(f"gql: It should be so, and was not: {sentence}.")


def say(line: str) -> None:
    print(f"gql: {line}", flush=True)


if __name__ == "__main__":
    asyncio.run(journey())
