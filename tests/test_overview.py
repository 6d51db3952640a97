"""Watching all runs: what is open or new, then every change, without a gap, for those who may see it."""

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID

import pytest

from bioscope_gql.events.messages import Ok
from bioscope_gql.live.hub import Hub
from bioscope_gql.resolvers import results
from tests.lab import PATIENCE_SECONDS, Json, Lab, Person, Refused
from tests.lab_worker import TestWorker
from tests.statements import heard
from tests.test_live import following
from tests.test_results import begun
from tests.test_runs import a_dataset_with
from tests.watching import overview, streamed, until_told


async def taking(updates: AsyncGenerator[Json, None], count: int) -> list[Json]:
    return [await following(updates) for _ in range(count)]


async def finished_over(ada: Person, worker: TestWorker, dataset: str, count: int = 1) -> str:
    run = await ada.run_over(dataset)
    for _ in range(count):
        await worker.answer(await worker.job())
    await ada.finished(run)
    return run


async def test_an_open_run_is_told_at_once_without_items_and_then_every_change_with_them(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        updates = overview(ada)
        first = await following(updates)
        await worker.answer(job)
        rest = await until_told(updates, run, "COMPLETED")

    assert (first["classification"]["id"], first["items"]) == (run, [])
    assert rest[-1]["items"] == [{"id": job["itemId"], "status": "SUCCEEDED"}]


async def test_a_run_that_is_made_later_is_told_and_never_twice_the_same(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada = await lab.an_analyst()
        dataset, _ = await a_dataset_with(ada, 1)
        updates = overview(ada)
        waiting = asyncio.ensure_future(following(updates))
        run = await finished_over(ada, worker, dataset)
        told = [await waiting]
        if told[-1]["classification"]["status"] != "COMPLETED":
            told += await until_told(updates, run, "COMPLETED")
    states = [(update["classification"]["status"], str(update["items"])) for update in told]
    assert len(set(states)) == len(states)


async def test_at_first_only_runs_of_the_last_hour_count_and_after_a_cursor_all(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada = await lab.an_analyst()
        dataset, _ = await a_dataset_with(ada, 1)
        old = await finished_over(ada, worker, dataset)
        new = await finished_over(ada, worker, dataset)
        await lab.db.execute(
            "update classifications set finished_at = finished_at - interval '61 minutes' where id = $1",
            UUID(old),
        )
        begun_with = await following(overview(ada))
        resumed = await taking(overview(ada, "s0"), 2)

    assert begun_with["classification"]["id"] == new
    assert {update["classification"]["id"] for update in resumed} == {old, new}


async def test_whoever_comes_back_with_a_cursor_misses_nothing_not_even_a_late_committer(lab: Lab) -> None:
    """A transaction that began before the cursor was told and commits after it."""
    async with lab.a_worker() as worker:
        ada = await lab.an_analyst()
        dataset, _ = await a_dataset_with(ada, 1)
        late = await finished_over(ada, worker, dataset)
        async with lab.db.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "update classifications set version = version + 1, changed_xid = pg_current_xact_id()"
                " where id = $1", UUID(late)
            )  # fmt: skip
            other = await finished_over(ada, worker, dataset)
            told = await until_told(overview(ada), other, "COMPLETED")
        resumed = await until_told(overview(ada, told[-1]["cursor"]), late, "COMPLETED")
    assert resumed[-1]["classification"]["id"] == late


async def test_more_runs_than_are_read_at_once_are_all_told_in_the_order_of_their_changes(lab: Lab) -> None:
    async with lab.a_worker():
        ada = await lab.an_analyst()
        dataset, _ = await a_dataset_with(ada, 1)
        runs = [await ada.run_over(dataset) for _ in range(45)]
        told = await taking(overview(ada), 45)
        middle = await taking(overview(ada, told[30]["cursor"]), 14)

    assert [update["classification"]["id"] for update in told] == runs
    assert {update["classification"]["id"] for update in middle} >= set(runs[31:44])


async def test_a_run_that_leaves_the_filter_is_told_once_more(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        updates = overview(ada, status=["PENDING", "RUNNING"])
        first = await following(updates)
        await worker.answer(job)
        left = await until_told(updates, run, "COMPLETED")
        for _ in range(3):
            lab.services.hub.wake(UUID(run))
            await lab.until("select true")
        other = await ada.run_over(job["datasetId"])
        after = await following(updates)

    assert first["classification"]["id"] == run
    assert left[-1]["classification"]["status"] == "COMPLETED"
    assert after["classification"]["id"] == other


async def test_a_run_that_left_the_filter_during_a_cut_is_told_on_the_way_back(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        updates = overview(ada, status=["PENDING", "RUNNING"])
        cursor = (await following(updates))["cursor"]
        await updates.aclose()
        await worker.answer(job)
        await ada.finished(run)
        back = await following(overview(ada, cursor, status=["PENDING", "RUNNING"]))
    assert (back["classification"]["id"], back["classification"]["status"]) == (run, "COMPLETED")


async def test_what_the_filter_does_not_admit_is_not_told(lab: Lab) -> None:
    async with lab.a_worker():
        ada = await lab.an_analyst()
        dataset, _ = await a_dataset_with(ada, 1)
        await ada.run_over(dataset)
        other, _ = await a_dataset_with(ada, 1)
        wanted = await ada.run_over(other)
        told = await following(overview(ada, datasetId=other))
    assert told["classification"]["id"] == wanted


async def test_others_see_nothing_until_they_may_and_nothing_once_they_may_not(lab: Lab) -> None:
    bob = await lab.an_analyst()
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        updates = overview(bob)
        waiting = asyncio.ensure_future(following(updates))
        own, _ = await a_dataset_with(bob, 1)
        mine = await bob.run_over(own)
        assert (await waiting)["classification"]["id"] == mine
        await lab.grant(job["datasetId"], bob, "VIEW")
        await worker.answer(job)
        await until_told(updates, run, "COMPLETED")
        taken = 'delete from dataset_grants where dataset = $1 and "user" = $2'
        await lab.db.execute(taken, UUID(job["datasetId"]), UUID(bob.id))
        hidden = await ada.run_over(job["datasetId"])
        last = await bob.run_over(own)
        after = await until_told(updates, last, "PENDING")
    assert hidden not in {update["classification"]["id"] for update in after}


async def test_a_bulk_change_is_told_in_parts_of_at_most_100_items(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 250)
    async with lab.a_worker():
        run = await ada.run_over(dataset)
        updates = overview(ada)
        await following(updates)
        await ada.ask("mutation ($id: ID!) { cancelClassification(id: $id) { __typename } }", id=run)
        told: list[Json] = []
        while sum(len(update["items"]) for update in told) < 250:
            told.append(await following(updates))
    assert max(len(update["items"]) for update in told) == 100
    assert len({item["id"] for update in told for item in update["items"]}) == 250


async def test_a_change_in_one_replica_is_told_in_another(lab: Lab) -> None:
    async with lab.another_replica() as other, lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        updates = overview(ada.at(other))
        await following(updates)
        await worker.answer(job)
        await until_told(updates, run, "COMPLETED")


async def test_a_change_that_nobody_signalled_is_found_by_the_watchdog(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        updates = overview(ada)
        await following(updates)
        mute = lab.with_services(hub=Hub())
        await results.record(mute, [Ok.model_validate_json(worker.encoded(worker.ok(job)))])
        await until_told(updates, run, "COMPLETED")


async def test_an_event_stream_goes_on_where_the_last_event_id_says(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada = await lab.an_analyst()
        dataset, _ = await a_dataset_with(ada, 1)
        first = await finished_over(ada, worker, dataset)
        stream = streamed(ada)
        async with asyncio.timeout(PATIENCE_SECONDS):
            id, update = await anext(stream)
        await stream.aclose()
        second = await finished_over(ada, worker, dataset)
        back = streamed(ada, id)
        seen = set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while second not in seen:
                seen.add((await anext(back))[1]["classification"]["id"])
        await back.aclose()
    assert (update["cursor"], update["classification"]["id"]) == (id, first)


@pytest.mark.parametrize("cursor", ["", "x", "1", "s", "s-1", "sx", "s\u0661"])
async def test_a_cursor_that_is_none_of_ours_is_refused(lab: Lab, cursor: str) -> None:
    ada = await lab.an_analyst()
    with pytest.raises(Refused) as refused:
        await following(overview(ada, cursor))
    assert refused.value.codes == ["BAD_USER_INPUT"]


async def test_nobody_watches_nothing(lab: Lab) -> None:
    with pytest.raises(Refused) as refused:
        await following(overview(lab.nobody))
    assert refused.value.codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("count", [1, 15])
async def test_a_watcher_costs_the_same_statements_however_many_runs_changed(lab: Lab, count: int) -> None:
    ada = await lab.an_analyst()
    async with lab.a_worker():
        dataset, _ = await a_dataset_with(ada, 1)
        for _ in range(count):
            await ada.run_over(dataset)
    async with heard(lab.db) as statements:
        updates = overview(ada)
        for _ in range(count):
            await following(updates)
    said = [statement for request in statements.heard.values() for statement in request]
    assert len([each for each in said if "unnest($1::uuid[], $2::bigint[], $3::uuid[])" in each]) == 1
