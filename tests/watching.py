"""Following `classificationsUpdated` in tests, over a socket or an event stream."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from tests.lab import PATIENCE_SECONDS, Json, Person, Refused

OVERVIEW = """
subscription ($filter: ClassificationFilter, $after: String) {
  classificationsUpdated(filter: $filter, after: $after) {
    cursor classification { id status progress { total succeeded } } items { id status }
  }
}
"""


async def overview(person: Person, after: str | None = None, **filter: Any) -> AsyncGenerator[Json, None]:
    """The updates of all runs, over a socket of their own, until somebody closes it."""
    async with person.socket() as socket:
        payload = {"query": OVERVIEW, "variables": {"filter": filter or None, "after": after}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "error":
                raise Refused(0, message["payload"])
            if message["type"] == "next" and message["payload"].get("errors"):
                raise Refused(0, message["payload"]["errors"])
            if message["type"] == "next":
                yield message["payload"]["data"]["classificationsUpdated"]


async def streamed(
    person: Person, last_event_id: str | None = None
) -> AsyncGenerator[tuple[str, Json], None]:
    """The same as server-sent events: the id of each, and what it says."""
    headers = {**person.headers, "accept": "text/event-stream"}
    if last_event_id is not None:
        headers["last-event-id"] = last_event_id
    async with person.lab.http.stream(
        "POST", "/graphql", json={"query": OVERVIEW}, headers=headers, timeout=PATIENCE_SECONDS
    ) as response:
        id = ""
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                id = value
            elif name == "data" and value:
                yield id, json.loads(value)["data"]["classificationsUpdated"]


async def until_told(updates: AsyncGenerator[Json, None], run: str, status: str) -> list[Json]:
    """All updates up to the one that tells that a run is in a status."""
    told = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for update in updates:
            told.append(update)
            if (update["classification"]["id"], update["classification"]["status"]) == (run, status):
                break
    return told
