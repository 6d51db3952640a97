"""``bioscope demo``: everything embedded, pictures classified before your eyes, then it serves.

It is a client of its own API. Only its account is made by the back door, as there is nobody yet to make it.
"""

import argparse
import asyncio
import io
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from bioscope_gql import observability
from bioscope_gql.commands import demo_account, running
from bioscope_gql.commands.demo_client import Client
from bioscope_gql.commands.demo_pictures import drawn, found_in
from bioscope_gql.commands.demo_report import Report, Shown
from bioscope_gql.commands.demo_screen import CurrentStderr, Screen
from bioscope_gql.commands.demo_table import plain
from bioscope_gql.commands.demo_work import Classified, Work
from bioscope_gql.commands.development import Development, development
from bioscope_gql.errors import Problem
from bioscope_gql.settings import Settings

DRAWN = 25
DRAWN_NAME = "Drawn blood smears"

T = TypeVar("T")


def run(args: argparse.Namespace, settings: Settings) -> int:
    files = found_in(args.images) if args.images else None
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    level = "warning" if settings.app.log_level == "info" else settings.app.log_level
    observability.configure(level, settings.app.log_format, stream=CurrentStderr())
    return running.run(_Demo(args, settings, Screen()).run(files))


class _Demo:
    """One showing, from the empty screen to the exit code."""

    def __init__(self, args: argparse.Namespace, settings: Settings, screen: Screen) -> None:
        self._once: bool = args.once
        self._data_dir = settings.app.data_dir.resolve()
        self._images: Path | None = args.images
        self._settings, self._screen = settings, screen

    async def run(self, files: Sequence[Path] | None) -> int:
        self._screen.title(
            "BioScope GQL demo", f"Everything runs on this machine and keeps its data in {self._data_dir}"
        )
        async with AsyncExitStack() as exits:
            with self._screen.live(), tempfile.TemporaryDirectory(prefix="bioscope-demo-") as drawings:
                folder = self._images or Path(drawings)
                async with _beside(self._pictures(folder, files)) as pictures:
                    stack = await self._started(exits)
                    shown = await _unless_stopped(stack, self._show(stack, folder, pictures))
            if shown is None:
                return self._ended(stack, 1 if self._once else 0)
            report = Report(
                shown,
                url=stack.url,
                data_dir=self._data_dir,
                is_drawn=self._images is None,
                goes_on=not self._once,
                notices=stack.notices,
            )
            report.tell(self._screen)
            if self._once:
                return 0 if shown.is_well else 1
            await stack.stopped.wait()
            return self._ended(stack, 0)

    async def _pictures(self, folder: Path, files: Sequence[Path] | None) -> Sequence[Path]:
        if files is not None:
            return files
        with self._screen.step("Drawing", DRAWN) as step:

            def told() -> None:
                step.done += 1
                self._screen.show(step)

            return await drawn(folder, DRAWN, told)

    async def _started(self, exits: AsyncExitStack) -> Development:
        with self._screen.step("Starting"):
            return await exits.enter_async_context(development(self._settings))

    async def _show(
        self, stack: Development, folder: Path, pictures: "asyncio.Task[Sequence[Path]]"
    ) -> Shown:
        async with Client(stack.url) as client:
            account = await demo_account.sign_in(client, stack.services, self._data_dir)
            work = Work(client, self._screen)
            files = await pictures
            dataset = await work.dataset(*self._named())
            uploaded = await work.upload(dataset, folder, files)
            classified = Classified()
            if uploaded.stored or uploaded.duplicates:
                classified = await work.classify(dataset)
            return Shown(account, dataset, uploaded, classified, await work.results(dataset))

    def _named(self) -> tuple[str, str]:
        """The dataset's name and description."""
        if self._images is None:
            return DRAWN_NAME, "Drawn by `bioscope demo`, not photographed."
        name = plain(self._images.resolve().name.encode("utf-8", "replace").decode())[:100].strip()
        return name or "Pictures", "Uploaded by `bioscope demo`."

    def _ended(self, stack: Development, code: int) -> int:
        if stack.failure:
            raise Problem(stack.failure)
        self._screen.say("Stopping.")
        return code


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, T]) -> AsyncIterator["asyncio.Task[T]"]:
    """A task that ends with the block at the latest."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _unless_stopped(stack: Development, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns; nothing where the stack is to stop before it is done."""
    async with _beside(work) as done, _beside(stack.stopped.wait()) as stopped:
        await asyncio.wait([done, stopped], return_when=asyncio.FIRST_COMPLETED)
        return done.result() if done.done() else None
