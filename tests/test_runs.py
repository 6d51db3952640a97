"""Runs, from the order to the last result."""

from tests.lab import Lab


async def test_a_run_over_a_dataset_ends_when_every_picture_has_its_result(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    await ada.images(dataset, 3)
    async with lab.a_worker() as worker:
        run = await ada.run(target={"datasetId": dataset})
        assert run["status"] == "PENDING"
        assert run["progress"] == {
            "total": 3, "queued": 3, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "fraction": 0.0,
        }  # fmt: skip
        for job in await worker.jobs(3):
            await worker.answer(job, "bright", 0.75)
        last = await ada.finished(run["id"])

    assert last["classification"]["status"] == "COMPLETED"
    assert last["classification"]["progress"]["succeeded"] == 3
    labels = await ada.ask("{ images { nodes { latestResult { label confidence } } } }")
    assert labels["nodes"] == [{"latestResult": {"label": "bright", "confidence": 0.75}}] * 3
