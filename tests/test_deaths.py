"""Workers that die, are slow or go away: every picture that can be classified is classified."""

import signal
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.crews import ROOT, a_crew, a_member, announced, ended, surroundings
from tests.lab import Lab, Place, a_lab
from tests.load import LONG
from tests.pictures import a_picture
from tests.test_results import begun, settled

pytestmark = pytest.mark.timeout(300)

MORTAL = """
import os
from bioscope_gql.worker.sdk import Picture, Worker

worker = Worker("mortal", "1.0.0")

@worker.classify
def classify(picture: Picture) -> dict[str, float]:
    if str(picture.image_id) == os.environ["DEADLY"]:
        os._exit(9)
    return {"alive": 1.0}

worker.main()
"""


async def outcomes(lab: Lab) -> Counter[tuple[str, str | None]]:
    rows = await lab.db.rows("select status, error_code from classification_items")
    return Counter((row["status"], row["error_code"]) for row in rows)


@pytest.mark.parametrize("deadly", [0, 20])
async def test_a_picture_that_kills_its_worker_ends_stalled_and_twenty_good_ones_succeed(
    place: Place, tmp_path: Path, deadly: int
) -> None:
    program = tmp_path / "mortal.py"
    program.write_text(MORTAL)
    # a real Kafka takes six seconds to believe that a worker is dead: until then its successor gets nothing
    lease_seconds = 3 if place.embedded else 10
    async with a_lab(place, place.settings(limits={"lease_seconds": lease_seconds})) as lab:
        ada = await lab.an_analyst()
        dataset = await ada.a_dataset()
        images = await ada.images(dataset, 21)
        async with a_crew(lab, program, "--concurrency", "1", DEADLY=images[deadly]) as crew:
            await announced(lab, "mortal")
            run = await ada.run_over(dataset)
            status = await ended(lab, run, 100)
        found = await outcomes(lab)
        assert found == {("SUCCEEDED", None): 20, ("FAILED", "STALLED"): 1}
        assert status == "PARTIAL"
        assert 3 <= len(crew.deaths) <= 9, "at its third start a worker has set it aside"


SLOWLY = 50 if LONG else 8
"""So many pictures take that model several leases to get through."""

SLOW = """
import asyncio
from bioscope_gql.worker.sdk import Picture, Worker

worker = Worker("slow", "1.0.0")

@worker.classify
async def classify(picture: Picture) -> dict[str, float]:
    await asyncio.sleep(3.5)
    return {"seen": 1.0}

worker.main()
"""


async def test_a_model_that_takes_longer_than_its_leases_is_never_taken_for_dead(
    place: Place, tmp_path: Path
) -> None:
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    async with a_lab(place, place.settings(limits={"lease_seconds": 3})) as lab:
        ada = await lab.an_analyst()
        dataset = await ada.a_dataset()
        await ada.images(dataset, SLOWLY)
        # longer than a lease, and far longer than one until it is the turn of the last
        async with a_crew(lab, program, "--concurrency", "2") as crew:
            await announced(lab, "slow")
            run = await ada.run_over(dataset)
            assert await ended(lab, run, 200) == "COMPLETED"
        attempts = await lab.db.rows("select attempt, count(*) from classification_items group by attempt")
        tries = await lab.db.value("select max(tries) from classification_items")
    assert crew.deaths == []
    assert [tuple(row) for row in attempts] == [(1, SLOWLY)]
    assert tries <= 1


async def test_the_reference_worker_killed_in_the_middle_of_29_pictures_finishes_them_when_it_is_back(
    place: Place,
) -> None:
    async with a_lab(place) as lab:
        ada = await lab.an_analyst()
        dataset = await ada.a_dataset()
        files = [(f"{number}.png", a_picture(number, size=(320, 240))) for number in range(29)]
        await ada.upload(dataset, files)
        reference = ROOT / "bioscope_gql" / "worker" / "reference.py"
        async with a_crew(lab, reference, "--concurrency", "2") as crew:
            await announced(lab, "blood-smear")
            run = await ada.run_over(dataset)
            await lab.until("select count(*) >= 10 from classification_results")
            crew.kill()
            answered_by_then = await lab.count("classification_results")
            assert await ended(lab, run, 60) == "COMPLETED"
        workers = await lab.db.value("select count(distinct worker_name) from classification_items")
        assert await outcomes(lab) == {("SUCCEEDED", None): 29}
        assert await lab.count("classification_results") == 29
        assert await lab.db.value("select max(tries) from classification_items") == 0
    assert answered_by_then < 29
    assert crew.deaths == [-signal.SIGKILL]
    assert workers == 2


async def test_a_lease_of_three_seconds_ends_after_three_seconds_and_the_late_answer_changes_nothing(
    place: Place,
) -> None:
    async with (
        a_lab(place, place.settings(limits={"lease_seconds": 3})) as lab,
        lab.a_worker() as worker,
    ):
        ada, run, [first] = await begun(lab, worker)
        await worker.started(first)
        second = await worker.job()
        waited = await lab.db.value(
            "select extract(epoch from queued_at - $1::timestamptz)::float8 from classification_items",
            datetime.fromisoformat(first["deadline"]) - timedelta(seconds=3),
        )
        await worker.answer(first, "late")
        await settled(lab, worker)
        assert await lab.count("classification_results") == 0
        await worker.answer(second, "right")
        await ada.finished(run)
        labels = [row["label"] for row in await lab.db.rows("select label from classification_results")]
    assert (second["itemId"], second["attempt"]) == (first["itemId"], 2)
    assert 3 <= waited < 6
    assert labels == ["right"]


async def test_a_model_that_is_switched_off_for_longer_than_every_lease_goes_on_when_it_is_back(
    place: Place, tmp_path: Path
) -> None:
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    command = (sys.executable, str(program), "--concurrency", "1")
    query = "query ($id: ID!) { classification(id: $id) { status progress { failed waitingForWorker } } }"
    async with a_lab(place, place.settings(limits={"lease_seconds": 3})) as lab:
        ada = await lab.an_analyst()
        dataset = await ada.a_dataset()
        await ada.images(dataset, 4)
        async with a_member(command, surroundings(lab)) as first:
            await announced(lab, "slow")
            run = await ada.run_over(dataset)
            await lab.until("select count(*) > 0 from classification_results")
            first.send_signal(signal.SIGTERM)
            assert await first.wait() == 0
        await lab.db.execute(
            "update classification_items set lease_until = clock_timestamp() where lease_until is not null"
        )
        await lab.until("select count(*) = 0 from classification_items where lease_until is not null")
        off = await ada.ask(query, id=run)
        left = await lab.db.value("select count(*) from classification_items where status = 'QUEUED'")
        async with a_member(command, surroundings(lab)):
            assert await ended(lab, run, 60) == "COMPLETED"
        attempts = await lab.db.value("select max(attempt) from classification_items")
    # nothing was in hand, and nobody was there to be blamed
    assert off == {"status": "RUNNING", "progress": {"failed": 0, "waitingForWorker": True}}
    assert 0 < left < 4
    assert attempts == 1
