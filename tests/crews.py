"""Workers of the SDK as processes at a real server: started again when they die, as a supervisor would."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab import PATIENCE_SECONDS, Lab

ROOT = Path(__file__).parents[1]


def surroundings(lab: Lab) -> dict[str, str]:
    """The variables that a worker in any language needs to find this laboratory's Kafka and API."""
    kafka = lab.services.settings.kafka
    topics = kafka.topics
    return {
        "BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS": ",".join(kafka.bootstrap_servers),
        "BIOSCOPE_KAFKA__TOPICS__JOBS": topics.jobs,
        "BIOSCOPE_KAFKA__TOPICS__RESULTS": topics.results,
        "BIOSCOPE_KAFKA__TOPICS__WORKERS": topics.workers,
        "BIOSCOPE_WORKER__DEVELOPMENT": str(lab.place.embedded).lower(),
        "BIOSCOPE_WORKER__API_URL": lab.url,
        "PYTHONPATH": str(ROOT),
        "PATH": os.environ["PATH"],
    }


@dataclass
class Crew:
    """One worker that works in a process, and in the next when that one dies."""

    command: tuple[str, ...]
    variables: dict[str, str]
    deaths: list[int] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            process = await self.start()
            self.deaths.append(await process.wait())

    async def start(self) -> asyncio.subprocess.Process:
        self._process = process = await asyncio.create_subprocess_exec(*self.command, env=self.variables)
        return process

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        assert self._process is not None
        self._process.kill()

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def a_crew(lab: Lab, program: Path | str, *arguments: str, **variables: str) -> AsyncIterator[Crew]:
    """A Python program as a worker that is started again whenever it ends, while the block lasts."""
    command = (sys.executable, str(program), *arguments)
    crew = Crew(command, surroundings(lab) | variables)
    running = asyncio.create_task(crew.run())
    try:
        yield crew
    finally:
        running.cancel()
        await asyncio.wait([running])
        await crew.end()


@asynccontextmanager
async def a_member(
    command: tuple[str, ...], variables: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program in any language, started once; killed at the end if it still runs."""
    crew = Crew(command, variables)
    try:
        yield await crew.start()
    finally:
        await crew.end()


async def announced(lab: Lab, model: str) -> None:
    """Return once a live worker serves the model: then runs may ask for it."""
    await lab.until(
        "select count(*) > 0 from workers w join models m on m.id = w.model"
        " where m.name = $1 and w.stopped_at is null", model,
    )  # fmt: skip


async def ended(lab: Lab, run: str, seconds: float = PATIENCE_SECONDS) -> str:
    """How a run ended, in the database's words, with so much time for it."""
    async with asyncio.timeout(seconds):
        while await lab.db.value(
            "select finished_at is null from classifications where id = $1::text::uuid", run
        ):
            await asyncio.sleep(0.02)
    status: str = await lab.db.value("select status from classifications where id = $1::text::uuid", run)
    return status
