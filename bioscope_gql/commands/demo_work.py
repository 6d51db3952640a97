"""What the demo does with the API: a dataset, its pictures, a run over them, what came out."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioscope_gql.commands import demo_documents as documents
from bioscope_gql.commands.demo_client import Client
from bioscope_gql.commands.demo_pictures import Refused, batches, measured
from bioscope_gql.commands.demo_screen import Screen, Step
from bioscope_gql.commands.demo_table import Row, by_name, row_of
from bioscope_gql.errors import NothingToDo, Problem

MODEL = "blood-smear"
"""The reference classifier's name, `bioscope_gql.worker.reference.NAME`."""
REQUESTS_AT_ONCE = 2
WORKER_SECONDS = 60.0
POLL_SECONDS = 0.2


@dataclass
class Uploaded:
    """What became of the files, by name in their order."""

    stored: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Classified:
    """How the runs ended; none was needed where every picture had a result."""

    statuses: list[str] = field(default_factory=list)
    failed: list[Refused] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        return all(status == "COMPLETED" for status in self.statuses)


class Work:
    """Done for whoever `client` speaks for, and shown on `screen`."""

    def __init__(self, client: Client, screen: Screen) -> None:
        self._client, self._screen = client, screen

    async def dataset(self, name: str, description: str) -> str:
        """The id of one's own dataset of that name: one that is there already, or a new one."""
        listed = await self._client.ask(documents.DATASETS, name=name, owner=self._client.user_id)
        for node in listed["nodes"]:
            if node["name"].casefold() == name.casefold():
                return str(node["id"])
        made = await self._client.ask(documents.CREATE_DATASET, name=name, description=description)
        return str(made["id"])

    async def upload(self, dataset: str, folder: Path, files: Sequence[Path]) -> Uploaded:
        """Send all files below `folder`; one that is refused keeps none of the others back."""
        limits = (await self._client.ask(documents.SERVER))["limits"]
        most_bytes = limits["bytesPerUpload"]
        outcomes: dict[Path, Any] = {}
        with self._screen.step("Uploading", len(files)) as step:
            sendable, refused = measured(files, most_bytes=most_bytes)
            outcomes.update(refused)
            step.done = len(outcomes)
            waiting = batches(sendable, most_files=limits["filesPerUpload"], most_bytes=most_bytes)

            async def send() -> None:
                for batch in waiting:
                    answers = await self._client.upload(dataset, batch)
                    outcomes.update(zip(batch, answers, strict=True))
                    step.done += len(batch)
                    self._screen.show(step)

            await _all_of(send() for _ in range(REQUESTS_AT_ONCE))
        return _sorted_out(folder, files, outcomes, step)

    async def classify(self, dataset: str) -> Classified:
        """Run the reference model over what has no result of it yet, and watch that to its end."""
        with self._screen.step("Classifying") as step:
            await self._worker(step)
            runs = (await self._client.ask(documents.OPEN_RUNS, dataset=dataset, model=MODEL))["nodes"]
            try:
                runs.append(await self._client.ask(documents.RUN, dataset=dataset, model=MODEL))
            except NothingToDo:
                step.note = "" if runs else "nothing new"
            ended = Classified()
            if runs:
                step.total = sum(run["progress"]["total"] for run in runs)
            for run in runs:
                ended.statuses.append(await self._watch(run, step, ended.failed))
        ended.seconds = step.seconds or 0.0
        return ended

    async def results(self, dataset: str) -> list[Row]:
        """Every picture of the dataset by name, with its newest result."""
        rows: list[Row] = []
        after: str | None = None
        while True:
            page = await self._client.ask(documents.RESULTS, dataset=dataset, after=after)
            rows += map(row_of, page["nodes"])
            if not page["pageInfo"]["hasNextPage"]:
                return sorted(rows, key=by_name)
            after = page["pageInfo"]["endCursor"]

    async def _watch(self, run: Any, step: Step, failed: list[Refused]) -> str:
        before = step.done

        def told(update: Any) -> None:
            progress = update["classification"]["progress"]
            step.done = before + progress["succeeded"] + progress["failed"] + progress["cancelled"]
            for item in update["items"]:
                if item["status"] in ("FAILED", "CANCELLED"):
                    reason = item["errorMessage"] or "It was cancelled."
                    failed.append(
                        Refused(item["image"]["filename"], item["errorCode"] or item["status"], reason)
                    )
            self._screen.show(step)

        return await self._client.follow(run["id"], told)

    async def _worker(self, step: Step) -> None:
        """Wait until a worker serves the model; the step's time begins then."""
        try:
            async with asyncio.timeout(WORKER_SECONDS):
                while not await self._has_worker():
                    step.note = "waiting for a worker"
                    self._screen.show(step)
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise Problem(
                f"No worker for {MODEL} has announced itself within {WORKER_SECONDS:.0f} seconds. "
                "Its log, in the folder logs beside the data, says why; then start the demo again."
            ) from None
        step.note = ""
        step.restart()

    async def _has_worker(self) -> bool:
        models = await self._client.ask(documents.LIVE_MODELS, name=MODEL)
        return any((node["liveWorkers"] or 0) > 0 for node in models["nodes"])


def _sorted_out(folder: Path, files: Sequence[Path], outcomes: dict[Path, Any], step: Step) -> Uploaded:
    uploaded = Uploaded(seconds=step.seconds or 0.0)
    for file in files:
        name = str(file.relative_to(folder))
        match outcomes[file]:
            case Refused(code=code, reason=reason):
                uploaded.refused.append(Refused(name, code, reason))
            case {"__typename": "RejectedFile", "code": code, "message": reason}:
                uploaded.refused.append(Refused(name, code, reason))
            case {"__typename": "DuplicateImage"}:
                uploaded.duplicates.append(name)
            case _:
                uploaded.stored.append(name)
    return uploaded


async def _all_of(works: Iterator[Any]) -> None:
    """Do all at once; the first failure ends the others, and is raised when they have ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
