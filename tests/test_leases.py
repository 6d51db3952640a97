"""Leases: what no worker answers in time goes out again, and ends as STALLED when its tries are used."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from bioscope_gql.events import sweeper
from bioscope_gql.resolvers import items
from tests.lab import Json, Lab, Place, a_lab
from tests.test_results import RUN, begun, progress, settled
from tests.test_runs import a_dataset_with


async def let_lease_expire(lab: Lab, job: Json) -> None:
    """As if the lease of a job had ended just now; the sweeper does the rest."""
    await lab.db.execute(
        "update classification_items set lease_until = clock_timestamp() where id = $1", UUID(job["itemId"])
    )


async def test_a_started_item_that_nobody_answers_gets_its_next_attempt(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [first] = await begun(lab, worker)
        await worker.started(first)
        await settled(lab, worker)
        await let_lease_expire(lab, first)
        second = await worker.job()
        assert (second["itemId"], second["attempt"]) == (first["itemId"], 2)

        await worker.answer(second, "neutrophil")
        await worker.answer(first, "basophil")
        await ada.finished(run)
        await settled(lab, worker)
        seen = await ada.ask(RUN, id=run)
    assert seen["progress"] == progress(1, succeeded=1)
    assert [item["result"]["label"] for item in seen["items"]["nodes"]] == ["neutrophil"]


async def test_an_item_that_was_never_started_goes_out_again_as_the_same_attempt_without_a_try(
    lab: Lab,
) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job] = await begun(lab, worker)
        for _ in range(5):
            await let_lease_expire(lab, job)
            again = await worker.job()
            assert (again["itemId"], again["attempt"]) == (job["itemId"], 1)
        await worker.answer(job)
        assert (await ada.finished(run))["classification"]["status"] == "COMPLETED"
    assert await lab.db.value("select tries from classification_items") == 0


async def test_a_picture_that_kills_its_worker_at_once_ends_stalled_and_the_others_succeed(lab: Lab) -> None:
    """Nobody ever says `started` for it, but answers of the model came in after its dispatch."""
    async with lab.a_worker() as worker:
        ada = await lab.an_analyst()
        dataset, _ = await a_dataset_with(ada, 4)
        run = await ada.run_over(dataset)
        deadly, *others = await worker.jobs(4)
        for other in others:
            await worker.answer(other)
            await settled(lab, worker)
            await let_lease_expire(lab, deadly)
            if other is not others[-1]:
                assert (await worker.job())["itemId"] == deadly["itemId"]
        await ada.finished(run)
        seen = await ada.ask(RUN, id=run)
    assert (seen["status"], seen["progress"]) == ("PARTIAL", progress(4, succeeded=3, failed=1))
    [stalled] = [item for item in seen["items"]["nodes"] if item["status"] == "FAILED"]
    assert (stalled["errorCode"], stalled["errorMessage"]) == (
        "STALLED", "No worker answered in time, after 3 tries.",
    )  # fmt: skip


async def test_started_again_renews_the_lease(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        _, _, [job] = await begun(lab, worker)
        await worker.started(job)
        await settled(lab, worker)
        first = await lab.db.value("select lease_until from classification_items")
        version = await lab.db.value("select version from classifications")
        await worker.started(job)
        await settled(lab, worker)
    assert await lab.db.value("select lease_until from classification_items") > first
    assert await lab.db.value("select version from classifications") == version


async def test_several_sweepers_at_once_take_an_item_back_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "EVERY_SECONDS", 3600.0)
    async with a_lab(place) as lab:
        async with lab.a_worker() as worker:
            _, _, [job] = await begun(lab, worker)
            await worker.started(job)
            await settled(lab, worker)
            await let_lease_expire(lab, job)
            taken = await asyncio.gather(*(items.sweep(lab.services) for _ in range(5)))
        assert sorted(taken) == [0, 0, 0, 0, 1]
        assert await lab.db.value("select attempt from classification_items") == 2


async def test_a_model_whose_only_worker_is_gone_fails_nothing_and_goes_on_when_it_is_back(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, jobs = await begun(lab, worker, 3)
        await worker.announce("down")
        for _ in range(4):
            for job in jobs:
                await let_lease_expire(lab, job)
            await lab.until("select count(*) = 3 from classification_items where lease_until is null")
        seen = await ada.ask(RUN, id=run)
        assert (seen["status"], seen["progress"]) == ("PENDING", progress(3, queued=3))
        await worker.announce("up")
        for job in await worker.jobs(3):
            await worker.answer(job)
        assert (await ada.finished(run))["classification"]["status"] == "COMPLETED"


async def test_after_a_gap_in_sweeping_open_leases_are_pushed_out_by_it(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        await begun(lab, worker)
        before = await lab.db.value("select lease_until from classification_items")
        await items.rest(lab.services, 100)
        after = await lab.db.value("select lease_until from classification_items")
    assert (after - before).total_seconds() == 100


async def test_what_waits_behind_a_model_that_takes_a_minute_waits_long_enough(lab: Lab) -> None:
    """It answers nothing for most of the time: that must cost nobody a try."""
    async with lab.a_worker() as worker:
        await worker.announce("up")
        _, _, [job] = await begun(lab, worker)
        await worker.started(job)
        await settled(lab, worker)
        await worker.answer(job)
        await settled(lab, worker)
        await lab.db.execute(
            "update classification_items set dispatched_at = dispatched_at - interval '2 minutes',"
            " started_at = finished_at - interval '90 seconds',"
            " finished_at = finished_at - interval '30 seconds'"
        )
        ada = await lab.an_analyst()
        dataset, _ = await a_dataset_with(ada, 20)
        await ada.run_over(dataset)
        waiting = await lab.dispatched(8)
    assert len(waiting) == 8, "twice what four hands do at a time"
    seconds = {round((row["lease_until"] - row["dispatched_at"]).total_seconds()) for row in waiting}
    assert seconds == {3 * 8 * 60 // 4}


async def test_one_slow_answer_of_a_quick_model_makes_nobody_wait(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        _, _, [slow, quick] = await begun(lab, worker, 2)
        await worker.started(slow)
        for job in (slow, quick):
            await worker.answer(job)
            await settled(lab, worker)
        await lab.db.execute(
            "update classification_items set finished_at = finished_at - interval '1 hour',"
            " started_at = started_at - interval '2 hours',"
            " dispatched_at = dispatched_at - interval '2 hours'"
        )
        [demand] = await demands_with_an_open_run(lab)
    assert (demand.seconds, demand.pace, demand.window) == (None, None, 32)


async def demands_with_an_open_run(lab: Lab) -> list[items.Demand]:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 1)
    await ada.run_over(dataset)
    return await items.demands(lab.services)


async def test_what_is_in_flight_is_bounded_over_all_dispatchers(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 100)
    async with lab.a_worker() as worker:
        await ada.run_over(dataset)
        await worker.jobs(32)
        demands = await items.demands(lab.services)
        taken = await asyncio.gather(*(items.take(lab.services, demands[0]) for _ in range(4)))
    assert [len(each) for each in taken] == [0, 0, 0, 0]
    assert await lab.db.value("select count(*) from classification_items where lease_until is not null") == 32


async def test_answers_that_lie_unread_with_a_killed_replica_do_not_hold_dispatch_up_but_within_bounds(
    lab: Lab,
) -> None:
    ada = await lab.an_analyst()
    dataset, _ = await a_dataset_with(ada, 100)
    async with lab.a_worker() as worker:
        await ada.run_over(dataset)
        await worker.jobs(32)
        (seen,) = await items.demands(lab.services)
        brisk, slow = replace(seen, rate=16.0), replace(seen, rate=1 / 60)
        assert (brisk.window, brisk.overdue_seconds) == (32, 4)
        await lab.db.execute("update classification_items set dispatched_at = dispatched_at - interval '5 s'")
        assert await items.take(lab.services, slow) == []
        assert len(await items.take(lab.services, brisk)) == 32
        await lab.db.execute("update classification_items set dispatched_at = dispatched_at - interval '5 s'")
        assert await items.take(lab.services, brisk) == []


async def test_a_single_picture_is_not_kept_waiting_by_a_large_run_and_a_high_one_overtakes(lab: Lab) -> None:
    ada = await lab.an_analyst()
    large, _ = await a_dataset_with(ada, 100)
    _, [single] = await a_dataset_with(ada, 1)
    _, [urgent] = await a_dataset_with(ada, 1)
    async with lab.a_worker() as worker:
        await worker.announce("down")
        await ada.run_over(large)
        await ada.run(target={"imageId": single})
        await ada.run(target={"imageId": urgent}, priority="HIGH")
        await worker.announce("up")
        order = [row["image"] for row in await lab.dispatched(32)]
    assert UUID(single) in order
    assert UUID(urgent) in order
