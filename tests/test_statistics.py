"""Figures over what somebody may see: exact values, empty buckets, and nothing of others."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from tests.lab import Lab, Person, Refused
from tests.verdicts import a_run, a_verdict

QUERY = """
query (
  $since: DateTime, $until: DateTime, $bucket: TimeBucket!, $dataset: ID, $name: String, $version: String
) {
  statistics(
    since: $since, until: $until, bucket: $bucket
    datasetId: $dataset, modelName: $name, modelVersion: $version
  ) {
    imageCount resultCount averageConfidence
    labels { label count averageConfidence } timeline { at count averageConfidence } statuses { status count }
  }
}
"""
DAY = datetime(2026, 3, 4, tzinfo=UTC)
NOTHING: dict[str, Any] = {"resultCount": 0, "averageConfidence": None, "labels": [], "statuses": []}


async def figures(person: Person, bucket: str = "HOUR", **variables: Any) -> Any:
    return await person.ask(QUERY, bucket=bucket, **variables)


def at(hours: float) -> str:
    return (DAY + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


async def a_day(lab: Lab, ada: Person) -> str:
    """Four results on 4 March 2026, at 1:10 and 1:50 and 3:00 and, of another model, at 3:30."""
    dataset = await ada.a_dataset()
    images = await ada.images(dataset, 4)
    teller = await a_run(lab, dataset, at=DAY + timedelta(hours=1))
    cells = await a_run(lab, dataset, "cells", "2.0.0", at=DAY + timedelta(hours=3))
    for run, image, label, confidence, hours in (
        (teller, images[0], "dark", 0.5, 1 + 1 / 6),
        (teller, images[1], "dark", 1.0, 1 + 5 / 6),
        (teller, images[2], "bright", 0.75, 3.0),
        (cells, images[3], "bright", 0.25, 3.5),
    ):
        await a_verdict(lab, run, image, label, confidence, DAY + timedelta(hours=hours))
    return dataset


async def test_figures_of_a_window_are_exact_and_its_empty_buckets_are_there(lab: Lab) -> None:
    ada = await lab.an_analyst()
    await a_day(lab, ada)

    assert await figures(ada, since=at(1), until=at(4)) == {
        "imageCount": 4,
        "resultCount": 4,
        "averageConfidence": 0.625,
        "labels": [
            {"label": "bright", "count": 2, "averageConfidence": 0.5},
            {"label": "dark", "count": 2, "averageConfidence": 0.75},
        ],
        "timeline": [
            {"at": at(1), "count": 2, "averageConfidence": 0.75},
            {"at": at(2), "count": 0, "averageConfidence": None},
            {"at": at(3), "count": 2, "averageConfidence": 0.5},
        ],
        "statuses": [{"status": "COMPLETED", "count": 2}],
    }


async def test_a_window_begins_inclusive_and_ends_exclusive_within_its_buckets(lab: Lab) -> None:
    ada = await lab.an_analyst()
    await a_day(lab, ada)
    found = await figures(ada, since=at(1.5), until=at(3))
    exact = await figures(ada, since=at(3), until=at(3.5))

    assert [(each["at"], each["count"]) for each in found["timeline"]] == [(at(1), 1), (at(2), 0)]
    assert (found["resultCount"], found["statuses"]) == (1, [])
    assert [(each["at"], each["count"]) for each in exact["timeline"]] == [(at(3), 1)]
    assert exact["statuses"] == [{"status": "COMPLETED", "count": 1}]


async def test_days_and_weeks_are_those_of_utc_and_weeks_begin_on_monday(lab: Lab) -> None:
    ada = await lab.an_analyst()
    await a_day(lab, ada)
    days = await figures(ada, "DAY", since="2026-03-03T20:00:00-05:00", until="2026-03-06T00:00:00Z")
    weeks = await figures(ada, "WEEK", since="2026-03-01T00:00:00Z", until="2026-03-09T00:00:00Z")

    assert [(each["at"], each["count"]) for each in days["timeline"]] == [
        ("2026-03-04T00:00:00Z", 4), ("2026-03-05T00:00:00Z", 0),
    ]  # fmt: skip
    assert [(each["at"], each["count"]) for each in weeks["timeline"]] == [
        ("2026-02-23T00:00:00Z", 0), ("2026-03-02T00:00:00Z", 4),
    ]  # fmt: skip


async def test_a_dataset_or_a_model_narrows_results_and_runs_and_a_model_not_the_images(lab: Lab) -> None:
    ada = await lab.an_analyst()
    first, second = await a_day(lab, ada), await a_day(lab, ada)
    window = {"since": at(0), "until": at(24)}

    async def short(**of: str) -> Any:
        found = await figures(ada, "DAY", **window, **of)
        return found["imageCount"], found["resultCount"], sum(each["count"] for each in found["statuses"])

    assert await short() == (8, 8, 4)
    assert await short(dataset=first) == (4, 4, 2)
    assert await short(dataset=second, name="cells") == (4, 1, 1)
    assert await short(name="teller") == (8, 6, 2)
    assert await short(name="teller", version="9.9.9") == (8, 0, 0)
    assert await short(version="2.0.0") == (8, 2, 2)
    assert await short(dataset="nonsense") == (0, 0, 0)


async def test_nobody_counts_what_they_may_not_see(lab: Lab) -> None:
    ada, bob, admin = await lab.an_analyst(), await lab.a_user(), await lab.an_admin()
    dataset = await a_day(lab, ada)
    window = {"since": at(1), "until": at(2)}
    before = await figures(bob, **window)
    named = await figures(bob, **window, dataset=dataset)
    await lab.grant(dataset, bob, "VIEW")

    empty = {"imageCount": 0, "timeline": [{"at": at(1), "count": 0, "averageConfidence": None}], **NOTHING}
    assert before == named == empty
    assert await figures(bob, **window) == await figures(ada, **window) == await figures(admin, **window)


async def test_by_default_it_is_the_last_24_hours_by_the_hour(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    images = await ada.images(dataset, 2)
    run = await a_run(lab, dataset)
    now = datetime.now(UTC)
    await a_verdict(lab, run, images[0], "dark", 0.5, now - timedelta(hours=23, minutes=50))
    await a_verdict(lab, run, images[1], "dark", 0.5, now - timedelta(hours=24, minutes=10))
    found = await ada.ask("{ statistics { resultCount timeline { at count } } }")

    times = [datetime.fromisoformat(each["at"]) for each in found["timeline"]]
    assert found["resultCount"] == 1
    assert len(times) == 25
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(hours=1)}
    assert times[-1] <= datetime.now(UTC) < times[-1] + timedelta(hours=2)


@pytest.mark.parametrize(
    ("bucket", "since", "until"),
    [
        ("HOUR", "2026-03-04T00:00:00Z", "2026-03-04T00:00:00Z"),
        ("HOUR", "2026-03-05T00:00:00Z", "2026-03-04T00:00:00Z"),
        ("HOUR", "2026-03-04T00:00:00Z", "2026-04-14T16:00:01Z"),
        ("WEEK", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
        ("WEEK", None, "0001-01-01T12:00:00Z"),
    ],
)
async def test_windows_that_make_no_sense_or_have_too_many_buckets_are_refused(
    lab: Lab, bucket: str, since: str | None, until: str
) -> None:
    ada = await lab.an_analyst()
    with pytest.raises(Refused) as refused:
        await figures(ada, bucket, since=since, until=until)

    assert refused.value.codes == ["BAD_USER_INPUT"]
    widest = await figures(ada, since="2026-03-04T00:00:00Z", until="2026-04-14T16:00:00Z")
    assert len(widest["timeline"]) == 1000


async def test_the_statuses_of_runs_are_those_that_they_have_now(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    await ada.images(dataset, 1)
    run = await a_run(lab, dataset)
    async with lab.a_worker():
        await ada.run_over(dataset)
    await lab.db.execute("update classifications set total = 1, failed = 1 where id = $1", UUID(run))
    found = await ada.ask("{ statistics { statuses { status count } } }")

    statuses = {each["status"]: each["count"] for each in found["statuses"]}
    assert statuses.pop("FAILED") == 1
    assert sum(statuses.values()) == 1
    assert set(statuses) <= {"PENDING", "RUNNING"}
