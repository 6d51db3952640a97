"""Watchers who are alike cost one reading and one answer; who is not sees what is for their own eyes."""

import asyncio
import gc
import json
from contextlib import AsyncExitStack
from uuid import UUID

from graphql.execution.collect_fields import FieldDetails
from websockets.asyncio.client import ClientConnection

from tests.lab import PATIENCE_SECONDS, Json, Lab, Person
from tests.statements import heard
from tests.test_results import begun

DETAILS = """
subscription ($id: ID!, $items: Boolean!) { classificationUpdated(id: $id) {
  cursor classification { dataset { id grants { user { id } } } } items @include(if: $items) { id status }
} }
"""
READING = "from classifications t where t.id = $1"


class Watcher:
    """Follows one run over a socket of its own."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @classmethod
    async def of(cls, stack: AsyncExitStack, person: Person, run: str, *, items: bool = True) -> "Watcher":
        """Once it was told how the run is."""
        watcher = cls(await stack.enter_async_context(person.socket()))
        payload = {"query": DETAILS, "variables": {"id": run, "items": items}}
        await watcher._socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        await watcher.hear()
        return watcher

    async def hear(self) -> Json:
        async with asyncio.timeout(PATIENCE_SECONDS):
            heard: Json = json.loads(await self._socket.recv())
        return heard

    async def update(self) -> Json:
        heard = await self.hear()
        assert heard["type"] == "next", heard
        update: Json = heard["payload"]["data"]["classificationUpdated"]
        return update


async def changed(lab: Lab, run: str) -> None:
    """A change that watchers are woken for once."""
    await lab.db.execute("update classifications set version = version + 1 where id = $1", UUID(run))
    lab.services.hub.wake_one(UUID(run))


async def test_watchers_alike_are_told_the_same_for_one_reading(lab: Lab) -> None:
    async with lab.a_worker() as worker, AsyncExitStack() as stack, heard(lab.db) as statements:
        ada, run, _ = await begun(lab, worker)
        watchers = [await Watcher.of(stack, ada, run) for _ in range(12)]
        statements.heard.clear()
        await changed(lab, run)
        updates = await asyncio.gather(*(watcher.update() for watcher in watchers))
    asked = [query for queries in statements.heard.values() for query in queries]
    assert all(update == updates[0] for update in updates)
    # Twice at most: the watchdog may have looked between the change and the signal.
    assert 1 <= sum(READING in query for query in asked) <= 2
    assert 1 <= sum("from dataset_grants" in query and READING not in query for query in asked) <= 4


async def test_nothing_is_kept_of_what_a_watcher_was_told(lab: Lab) -> None:
    async with lab.a_worker() as worker, AsyncExitStack() as stack:
        ada, run, _ = await begun(lab, worker)
        watcher = await Watcher.of(stack, ada, run)
        kept = []
        for _ in range(8):
            await changed(lab, run)
            await watcher.update()
            kept.append(selections())
    assert kept[-1] <= kept[0], kept


def selections() -> int:
    """Selected fields that somebody in this process remembers."""
    gc.collect()
    return sum(isinstance(each, FieldDetails) for each in gc.get_objects())


async def test_who_watches_the_same_with_other_rights_is_told_what_is_for_them(lab: Lab) -> None:
    bob = await lab.an_analyst()
    async with lab.a_worker() as worker, AsyncExitStack() as stack:
        ada, run, [job] = await begun(lab, worker)
        await lab.grant(job["datasetId"], bob, "VIEW")
        carol = await lab.an_analyst()
        await lab.grant(job["datasetId"], carol, "VIEW")
        watchers = [await Watcher.of(stack, person, run) for person in (ada, bob, carol)]
        await changed(lab, run)
        updates = await asyncio.gather(*(watcher.update() for watcher in watchers))
    granted = [
        {grant["user"]["id"] for grant in update["classification"]["dataset"]["grants"]} for update in updates
    ]
    assert granted == [{ada.id, bob.id, carol.id}, {ada.id, bob.id}, {ada.id, carol.id}]


async def test_who_asks_with_other_variables_gets_what_they_ask_for(lab: Lab) -> None:
    async with lab.a_worker() as worker, AsyncExitStack() as stack:
        ada, run, _ = await begun(lab, worker)
        watchers = [await Watcher.of(stack, ada, run, items=items) for items in (True, False)]
        await changed(lab, run)
        updates = await asyncio.gather(*(watcher.update() for watcher in watchers))
    assert ["items" in update for update in updates] == [True, False]
    assert updates[0]["cursor"] == updates[1]["cursor"]


async def test_whose_grant_is_taken_away_is_told_nothing_more_while_others_go_on(lab: Lab) -> None:
    bob = await lab.an_analyst()
    async with lab.a_worker() as worker, AsyncExitStack() as stack:
        ada, run, [job] = await begun(lab, worker)
        await lab.grant(job["datasetId"], bob, "VIEW")
        adas = [await Watcher.of(stack, ada, run) for _ in range(2)]
        bobs = [await Watcher.of(stack, bob, run) for _ in range(2)]
        taken = 'delete from dataset_grants where dataset = $1 and "user" = $2'
        await lab.db.execute(taken, UUID(job["datasetId"]), UUID(bob.id))
        await changed(lab, run)
        ends = await asyncio.gather(*(watcher.hear() for watcher in bobs))
        updates = await asyncio.gather(*(watcher.update() for watcher in adas))
    assert [[error["extensions"]["code"] for error in end["payload"]["errors"]] for end in ends] == [
        ["NOT_FOUND"]
    ] * 2
    assert updates[0] == updates[1]


async def test_watchers_who_leave_at_a_change_take_nothing_from_those_who_stay(lab: Lab) -> None:
    async with lab.a_worker() as worker, AsyncExitStack() as stack:
        ada, run, _ = await begun(lab, worker)
        staying = [await Watcher.of(stack, ada, run) for _ in range(3)]
        async with AsyncExitStack() as short:
            for _ in range(3):
                await Watcher.of(short, ada, run)
            await changed(lab, run)
        updates = await asyncio.gather(*(watcher.update() for watcher in staying))
    assert [update["cursor"] for update in updates] == [updates[0]["cursor"]] * 3
