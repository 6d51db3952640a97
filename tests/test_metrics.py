"""/metrics: who may read it, and that it tells what happened."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from bioscope_gql.transport.limits import Limits
from tests.door import PATIENCE_SECONDS, a_door
from tests.lab import Lab, Place, a_lab, a_picture
from tests.test_results import begun

Figures = Mapping[tuple[str, ...], float]


async def figures(lab: Lab) -> Figures:
    """Every sample by its name and the values of its labels, in the order of their names."""
    answer = await lab.http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_operations_are_counted_by_root_field_and_code(lab: Lab) -> None:
    ada = await lab.an_analyst()
    await ada.send("query Mine { me { id } }")
    await ada.send("query Others { me { id } }")
    await ada.send("{ datasets(first: 1000) { nodes { id } } }")
    await ada.send("{ nothing }")
    await lab.nobody.send("{ me { id } server { version } }")
    found = await figures(lab)

    assert found["bioscope_operations_total", "OK", "me", "query"] == 2
    assert found["bioscope_operations_total", "BAD_USER_INPUT", "datasets", "query"] == 1
    assert found["bioscope_operations_total", "GRAPHQL_VALIDATION_FAILED", "", "unknown"] == 1
    assert found["bioscope_operations_total", "OK", "several", "query"] == 1
    assert found["bioscope_operation_seconds_count", "me", "query"] == 2
    assert "Mine" not in str(found)


async def test_work_is_counted_from_the_upload_to_the_result(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [first, second] = await begun(lab, worker, 2)
        await ada.upload(first["datasetId"], [("a.png", a_picture(1)), ("b.png", b"no picture")])
        waiting = await figures(lab)
        for job in (first, second):
            await worker.answer(job)
        await ada.finished(run)
        await worker.send(b"nonsense")
        await lab.until("select count(*) = 1 from dead_letters")
        found = await figures(lab)

    model = "teller@1.0.0"
    assert (waiting["bioscope_in_flight", model], waiting["bioscope_queued", model]) == (2, 0)
    assert (waiting["bioscope_workers", model], waiting["bioscope_open_runs",]) == (1, 1)
    assert (found["bioscope_in_flight", model], found["bioscope_open_runs",]) == (0, 0)
    assert found["bioscope_jobs_dispatched_total", model] == 2
    assert found["bioscope_answers_total", "recorded"] >= 2
    assert found["bioscope_answers_total", "unreadable"] == 1
    assert found["bioscope_dead_letters",] == 1
    assert found["bioscope_uploads_total", "stored"] == 1
    assert found["bioscope_uploads_total", "UNSUPPORTED_FORMAT"] == 1
    assert found["bioscope_intake_seconds_count",] == 2
    assert found["bioscope_results_behind",] == 0
    assert found["bioscope_kafka_connected",] == 1
    assert found["bioscope_duty_is_well", "dispatch"] == 1


async def test_sockets_and_their_operations_are_told_while_they_are_there(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, _ = await begun(lab, worker)
        updates = ada.watch(run)
        await anext(updates)
        found = await figures(lab)
        await updates.aclose()
    assert (found["bioscope_here", "sockets"], found["bioscope_here", "socket_operations"]) == (1, 1)
    assert found["bioscope_here", "streams"] == 0


async def test_only_this_machine_may_read_and_only_where_nobody_stands_between(lab: Lab) -> None:
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        answer = await lab.http.get("/metrics", headers={name: "127.0.0.1"})
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")


async def test_behind_a_proxy_nobody_reads_without_a_token(place: Place) -> None:
    async with a_lab(place, place.settings(trusted_proxies=1)) as lab:
        assert (await lab.http.get("/metrics")).status_code == 403


async def test_with_a_token_set_nobody_reads_without_it(place: Place) -> None:
    async with a_lab(place, place.settings(metrics_token=SecretStr("s3cret-of-metrics"))) as lab:
        answers = [
            await lab.http.get("/metrics", headers={"authorization": authorization})
            for authorization in ("", "Bearer wrong", "Bearer s3cret-of-metrics")
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 200]
    assert "bioscope_" not in answers[0].text


async def test_while_the_database_is_away_the_rest_is_told(lab: Lab) -> None:
    await lab.db.pool.close()
    found = await figures(lab)
    assert found["bioscope_kafka_connected",] == 1
    assert ("bioscope_open_runs",) not in found


@pytest.mark.parametrize("most", [1, 2])
async def test_more_requests_than_there_is_room_for_are_refused_at_once(tmp_path: Path, most: int) -> None:
    async with a_door(tmp_path, Limits(requests=most)) as door:
        waiting = [asyncio.create_task(door.post("{ wait }")) for _ in range(most)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(door.bench.contexts) < most:
                await asyncio.sleep(0.01)
        refused = await door.post("{ hello }")
        door.bench.release.set()
        answers = await asyncio.gather(*waiting)
        after = await door.post("{ hello }")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert refused.json()["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert [answer.status_code for answer in (*answers, after)] == [200] * (most + 1)
    assert door.bench.ran == ["hello"]
