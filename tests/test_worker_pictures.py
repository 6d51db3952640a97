"""How a worker gets the bytes of a picture, and what it says when it can't."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bioscope_gql.worker.sdk import Picture, Worker
from tests.worker_lab import Lab, a_lab, at_work

pytestmark = pytest.mark.timeout(60)

ACCOUNT = {"client_id": "worker", "client_secret": "s3cret"}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with a_lab(tmp_path) as lab:
        yield lab


def a_worker() -> tuple[Worker, list[Picture]]:
    """A worker that knows one answer, and the pictures that it was given."""
    worker, seen = Worker("m", "1"), list[Picture]()

    @worker.classify
    async def classify(picture: Picture) -> dict[str, float]:
        seen.append(picture)
        return {"a": 1.0}

    return worker, seen


@pytest.mark.parametrize("served", [b"other bytes", b"a pictur", b"a picture and more"])
async def test_a_picture_that_is_not_what_was_uploaded_is_not_classified(lab: Lab, served: bytes) -> None:
    worker, seen = a_worker()
    job = lab.a_job(b"a picture")
    lab.files.bodies[f"/files/{job.image_id}"] = served
    async with at_work(worker, lab.options()):
        await lab.send(job)
        answer = await lab.answer(job)

    assert answer["error"] == {
        "code": "CHECKSUM_MISMATCH",
        "message": "127.0.0.1 sent something else than was uploaded: its size or SHA-256 differs.",
        "retryable": True,
    }
    assert seen == []


@pytest.mark.parametrize(("status", "asked"), [(403, 1), (404, 1), (503, 4)])
async def test_a_picture_that_is_not_to_be_had_is_answered_as_retryable(
    lab: Lab, status: int, asked: int
) -> None:
    worker, seen = a_worker()
    job = lab.a_job()
    lab.files.statuses[f"/files/{job.image_id}"] = [status] * 9
    async with at_work(worker, lab.options()):
        await lab.send(job)
        error = (await lab.answer(job))["error"]

    assert (error["code"], error["retryable"]) == ("FETCH_FAILED", True)
    assert error["message"].startswith(f"127.0.0.1 answered {status} ")
    assert len(lab.files.asked) == asked
    assert seen == []


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("http://127.0.0.1:9/x?sig=SECRET", "127.0.0.1 did not give the picture: ClientConnectorError"),
        ("nonsense", "The job's link to its picture is no web address."),
        ("http://[", "The job's link to its picture is no web address."),
    ],
)
async def test_a_link_that_leads_nowhere_is_told_without_its_key(lab: Lab, link: str, told: str) -> None:
    worker, _ = a_worker()
    job = lab.a_job()
    job = job.model_copy(update={"image": job.image.model_copy(update={"url": link})})
    async with at_work(worker, lab.options()):
        await lab.send(job)
        error = (await lab.answer(job))["error"]

    assert (error["code"], error["retryable"]) == ("FETCH_FAILED", True)
    assert error["message"].startswith(told)
    assert "SECRET" not in error["message"]


async def test_a_store_that_stumbles_is_asked_again(lab: Lab) -> None:
    worker, seen = a_worker()
    job = lab.a_job(b"at last")
    lab.files.statuses[f"/files/{job.image_id}"] = [503, 429]
    async with at_work(worker, lab.options()):
        await lab.send(job)
        assert (await lab.answer(job))["status"] == "ok"

    assert [picture.data for picture in seen] == [b"at last"]


async def test_a_picture_that_comes_after_the_jobs_deadline_is_classified_all_the_same(lab: Lab) -> None:
    """The deadline is for taking a job. Once it is taken, `started` keeps its lease alive."""
    worker, seen = a_worker()
    first, slow = lab.a_job(), lab.a_job()
    async with at_work(worker, lab.options()):
        await lab.send(first)
        await lab.answer(first)
        deadline = datetime.now(UTC) + timedelta(seconds=0.5)
        slow = slow.model_copy(update={"deadline": deadline})
        lab.files.statuses[f"/files/{slow.image_id}"] = [500, 503, 500]
        await lab.send(slow)
        said = await lab.said_of(slow)

    assert datetime.now(UTC) > deadline
    assert [message["status"] for message in said][-1] == "ok"
    assert len(seen) == 2


async def test_without_a_link_the_api_is_asked_with_one_token_for_many_pictures(lab: Lab) -> None:
    worker, seen = a_worker()
    lab.files.bodies["/oauth/token"] = b'{"access_token": "T1", "token_type": "Bearer", "expires_in": 600}'
    jobs = [lab.a_job(link=False) for _ in range(3)]
    async with at_work(worker, lab.options(api_url=lab.files.url, **ACCOUNT)):
        await lab.send(*jobs)
        assert [(await lab.answer(job))["status"] for job in jobs] == ["ok"] * 3

    assert len(seen) == 3
    assert lab.files.posted == [("/oauth/token", b"grant_type=client_credentials")]
    assert lab.files.asked[0] == ("/oauth/token", "Basic d29ya2VyOnMzY3JldA==")
    pictures = {(f"/images/{job.image_id}/original", "Bearer T1") for job in jobs}
    assert set(lab.files.asked[1:]) == pictures


async def test_a_token_that_was_revoked_is_replaced(lab: Lab) -> None:
    worker, _ = a_worker()
    lab.files.bodies["/oauth/token"] = b'{"access_token": "T1", "token_type": "Bearer", "expires_in": 600}'
    job = lab.a_job(link=False)
    lab.files.statuses[f"/images/{job.image_id}/original"] = [401]
    async with at_work(worker, lab.options(api_url=lab.files.url, **ACCOUNT)):
        await lab.send(job)
        assert (await lab.answer(job))["status"] == "ok"

    assert len(lab.files.posted) == 2


async def test_without_a_link_and_without_a_good_account_the_answer_says_what_to_set(lab: Lab) -> None:
    worker, seen = a_worker()
    job, refused = lab.a_job(link=False), lab.a_job(link=False)
    async with at_work(worker, lab.options()):
        await lab.send(job)
        without_account = (await lab.answer(job))["error"]
    lab.files.statuses["/oauth/token"] = [401]
    async with at_work(worker, lab.options(api_url=lab.files.url, **ACCOUNT)):
        await lab.send(refused)
        with_a_bad_one = (await lab.answer(refused))["error"]

    assert without_account["code"] == with_a_bad_one["code"] == "FETCH_FAILED"
    assert "set BIOSCOPE_WORKER__API_URL, BIOSCOPE_WORKER__CLIENT_ID" in without_account["message"]
    assert "check BIOSCOPE_WORKER__CLIENT_ID" in with_a_bad_one["message"]
    assert seen == []
