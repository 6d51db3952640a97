"""Watching a run: the state as it is, then every change, without a gap, for those who may see it."""

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID

import pytest

from bioscope_gql.events.messages import Ok
from bioscope_gql.live.hub import Hub
from bioscope_gql.resolvers import results
from tests.lab import PATIENCE_SECONDS, Json, Lab, Refused
from tests.test_results import begun
from tests.test_runs import START, a_dataset_with


async def following(updates: AsyncGenerator[Json, None]) -> Json:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await anext(updates)


async def rest_of(updates: AsyncGenerator[Json, None]) -> list[Json]:
    """All updates until the subscription completes by itself."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [update async for update in updates]


async def test_a_watcher_sees_the_state_as_it_is_and_then_the_result_arrive(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        updates = ada.watch(run)
        first = await following(updates)
        await worker.answer(job, "bright", 0.75)
        rest = await rest_of(updates)

    assert first["classification"]["progress"] == {**START, "total": 1, "queued": 1, "fraction": 0.0}
    assert [item["status"] for item in first["items"]] == ["QUEUED"]
    assert rest[-1]["classification"]["status"] == "COMPLETED"
    [item] = rest[-1]["items"]
    assert item["image"] == {"id": job["imageId"]}
    assert item["result"] == {"label": "bright", "confidence": 0.75}


async def test_a_finished_run_is_told_whole_in_parts_of_at_most_100_and_completes(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada = await lab.an_analyst()
        dataset, _ = await a_dataset_with(ada, 250)
        run = await ada.run_over(dataset)
        for _ in range(250):
            await worker.answer(await worker.job())
        await ada.finished(run)

    told = await rest_of(ada.watch(run))
    assert sum(len(update["items"]) for update in told) == 250
    assert max(len(update["items"]) for update in told) == 100
    assert len({item["id"] for update in told for item in update["items"]}) == 250


async def test_a_cursor_between_two_parts_goes_on_exactly_there(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 250)
    async with lab.a_worker():
        run = await ada.run_over(dataset)
    first = await following(ada.watch(run))
    second = await following(ada.watch(run, first["cursor"]))
    third = await following(ada.watch(run, second["cursor"]))

    parts = [[item["id"] for item in update["items"]] for update in (first, second, third)]
    assert [len(part) for part in parts] == [100, 100, 50]
    assert len(set().union(*parts)) == 250


async def test_whoever_reconnects_misses_nothing_that_happened_meanwhile(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, jobs = await begun(lab, worker, 5)
        updates = ada.watch(run)
        cursor = (await following(updates))["cursor"]
        await updates.aclose()
        for job in jobs:
            await worker.answer(job)
        await lab.until("select finished_at is not null from classifications")
        told = await rest_of(ada.watch(run, cursor))

    assert {item["id"] for update in told for item in update["items"]} == {job["itemId"] for job in jobs}
    assert told[-1]["classification"]["status"] == "COMPLETED"


async def test_on_a_final_run_a_cursor_of_its_end_gets_one_update_and_the_end(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        await worker.answer(job)
        last = await ada.finished(run)
    told = await rest_of(ada.watch(run, last["cursor"]))
    assert [(update["cursor"], update["items"]) for update in told] == [(last["cursor"], [])]


async def test_a_change_that_nobody_signalled_is_found_by_the_watchdog(lab: Lab) -> None:
    """As if another replica had died between its commit and its signal."""
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        updates = ada.watch(run)
        await following(updates)
        mute = lab.with_services(hub=Hub())
        await results.record(mute, [Ok.model_validate_json(worker.encoded(worker.ok(job)))])
        rest = await rest_of(updates)
    assert rest[-1]["classification"]["status"] == "COMPLETED"


async def test_a_change_in_one_replica_is_seen_in_another(lab: Lab) -> None:
    async with lab.another_replica() as other, lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        updates = ada.at(other).watch(run)
        await following(updates)
        await worker.answer(job)
        rest = await rest_of(updates)
    assert rest[-1]["classification"]["status"] == "COMPLETED"


@pytest.mark.parametrize("id", ["01a00000-0000-7000-8000-000000000000", "no id"])
async def test_a_run_that_is_not_there_is_one_error(lab: Lab, id: str) -> None:
    ada = await lab.an_analyst()
    with pytest.raises(Refused) as refused:
        await rest_of(ada.watch(id))
    assert refused.value.codes == ["NOT_FOUND"]


async def test_somebody_elses_run_is_as_if_absent(lab: Lab) -> None:
    eve = await lab.an_analyst()
    async with lab.a_worker() as worker:
        _, run, _ = await begun(lab, worker)
    with pytest.raises(Refused) as refused:
        await rest_of(eve.watch(run))
    assert refused.value.codes == ["NOT_FOUND"]


async def test_a_grant_that_is_taken_away_ends_the_watching(lab: Lab) -> None:
    bob = await lab.an_analyst()
    async with lab.a_worker() as worker:
        _, run, [job] = await begun(lab, worker)
        dataset = job["datasetId"]
        await lab.grant(dataset, bob, "VIEW")
        updates = bob.watch(run)
        await following(updates)
        taken = 'delete from dataset_grants where dataset = $1 and "user" = $2'
        await lab.db.execute(taken, UUID(dataset), UUID(bob.id))
        await worker.answer(job)
        with pytest.raises(Refused) as refused:
            await rest_of(updates)
    assert refused.value.codes == ["NOT_FOUND"]


async def test_nobody_watches_nothing(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        _, run, _ = await begun(lab, worker)
    with pytest.raises(Refused) as refused:
        await rest_of(lab.nobody.watch(run))
    assert refused.value.codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.x", "1.2.3", "9" * 30 + ".y", "\u0661"])
async def test_a_cursor_that_is_none_of_ours_is_refused(lab: Lab, cursor: str) -> None:
    async with lab.a_worker() as worker:
        ada, run, _ = await begun(lab, worker)
    with pytest.raises(Refused) as refused:
        await rest_of(ada.watch(run, cursor))
    assert refused.value.codes == ["BAD_USER_INPUT"]


async def test_nothing_is_told_twice_when_a_watcher_is_woken_for_nothing(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        updates = ada.watch(run)
        first = await following(updates)
        for _ in range(5):
            lab.services.hub.wake(UUID(run))
            await lab.until("select true")
        await worker.answer(job)
        rest = await rest_of(updates)
    cursors = [update["cursor"] for update in [first, *rest]]
    assert len(set(cursors)) == len(cursors)
