"""What a person sees of the demo: bars while it works, then a table, and where to look next.

Where the output is no terminal there are no bars, nothing is cut to a width, and lines come as things end.
"""

import io
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from bioscope_gql.commands.demo_pictures import Refused
from bioscope_gql.commands.demo_table import ROWS_SHOWN, Row, plain, table_of

PLAIN_WIDTH = 1000
"""Wide enough that no line breaks where programs read."""
PLAIN_PAUSE_SECONDS = 5.0
"""How often a line tells how far it is, where there are no bars."""
NAMES_SHOWN = 30
MARGIN = 2


@dataclass
class Step:
    """Something that takes a while. `total` is None until it is known how much there is to do."""

    name: str
    total: int | None = None
    done: int = 0
    note: str = ""
    seconds: float | None = None
    """How long it took, once it is over."""
    began: float = field(default_factory=time.monotonic)

    def restart(self) -> None:
        """Its time counts from now on."""
        self.began = time.monotonic()


class Screen:
    """Where the demo writes; `out` is standard output unless a test says otherwise."""

    def __init__(self, out: TextIO | None = None, *, width: int | None = None) -> None:
        out = out or sys.stdout
        self.is_live = out.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
        self._console = Console(
            file=out,
            width=width if self.is_live else PLAIN_WIDTH,
            force_terminal=self.is_live,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=not self.is_live,
        )
        self._progress = Progress(
            TextColumn("  {task.fields[step].name:<12}"),
            SpinnerColumn(finished_text=Text("✓", style="green")),
            BarColumn(
                32, style="grey30", complete_style="cyan", finished_style="green", pulse_style="grey50"
            ),
            _HowFar(),
            console=self._console,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
            refresh_per_second=12,
        )
        self._told_at = time.monotonic()

    def say(self, text: str = "", style: str = "") -> None:
        """A paragraph."""
        shown = Text(plain(text), style=style)
        self._console.print(Padding(shown, (0, MARGIN)) if self.is_live and text else shown)

    def title(self, text: str, more: str) -> None:
        self.say()
        self.say(text, "bold")
        self.say(more, "dim")
        self.say()

    def copyable(self, text: str) -> None:
        """Lines to be copied: never wrapped by us."""
        self._console.print(Text(text, style="cyan"), soft_wrap=True)

    @contextmanager
    def live(self) -> Iterator[None]:
        """Bars move while the block lasts, and stay as they are after it."""
        if not self.is_live:
            yield
            return
        with self._progress:
            yield

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Step]:
        """A bar, or two lines. Its time counts from here to the end of the block."""
        step = Step(name, total)
        self._told_at = time.monotonic()
        task = self._progress.add_task("", total=total, step=step) if self.is_live else None
        if task is None:
            self.say(f"{name} ..." if total is None else f"{name}: {total} to do")
        yield step
        step.seconds = time.monotonic() - step.began
        if task is not None:
            whole = max(step.done, step.total or 1)
            self._progress.update(task, completed=whole, total=whole)
        else:
            self.say(_line(step))

    def show(self, step: Step) -> None:
        """Tell how far a step is; call it after changing one."""
        for task in self._progress.tasks:
            if task.fields["step"] is step:
                self._progress.update(task.id, completed=step.done, total=step.total)
        if not self.is_live and time.monotonic() - self._told_at > PLAIN_PAUSE_SECONDS:
            self._told_at = time.monotonic()
            self.say(_line(step))

    def facts(self, facts: Mapping[str, str]) -> None:
        """Names and values, one below the other."""
        listed = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        listed.add_column(style="dim", no_wrap=True)
        listed.add_column(overflow="fold")
        for name, value in facts.items():
            listed.add_row(name, plain(value))
        self._print(listed)
        self.say()

    def names(self, sentence: str, names: Sequence[str]) -> None:
        """A sentence, and what it speaks of by name."""
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        self.say(f"{sentence}: {', '.join(names[:NAMES_SHOWN])}{more}.")
        self.say()

    def refused(self, sentence: str, files: Sequence[Refused]) -> None:
        """A sentence, and each file with its reason."""
        self.say(sentence, "yellow")
        listed = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        listed.add_column(no_wrap=True, overflow="ellipsis", max_width=44 if self.is_live else None)
        listed.add_column(no_wrap=True, style="yellow")
        listed.add_column(overflow="fold")
        for file in files:
            listed.add_row(plain(file.name), plain(file.code), plain(file.reason))
        self._print(listed)
        self.say()

    def table(self, rows: Sequence[Row]) -> None:
        """All results, and their totals."""
        self._print(table_of(rows, self._console.width - MARGIN))
        if len(rows) > ROWS_SHOWN:
            self.say(f"... and {len(rows) - ROWS_SHOWN} more.")
        self.say()

    def _print(self, table: Table) -> None:
        if self.is_live:
            self._console.print(Padding(table, (0, 0, 0, MARGIN)))
            return
        with self._console.capture() as captured:
            self._console.print(table, soft_wrap=False)
        for line in captured.get().splitlines():
            self._console.print(line.rstrip())


def _line(step: Step) -> str:
    """How far it is, where there is no bar."""
    far = "" if step.total is None else f"{step.done} of {step.total}"
    seconds = "" if step.seconds is None else f"{step.seconds:.1f} s"
    told = " in ".join(part for part in (far, seconds) if part)
    return f"{step.name}: {', '.join(part for part in (told, step.note) if part)}"


class CurrentStderr(io.StringIO):
    """Standard error as it is at the moment: while bars move, lines for it go above them."""

    @override
    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    @override
    def flush(self) -> None:
        sys.stderr.flush()

    @override
    def isatty(self) -> bool:
        return sys.stderr.isatty()


class _HowFar(ProgressColumn):
    """How much is done, how long it took, and what it waits for."""

    max_refresh = 0.1

    def render(self, task: Task) -> Text:
        step: Step = task.fields["step"]
        seconds = step.seconds if step.seconds is not None else time.monotonic() - step.began
        count = "" if step.total is None else f"{step.done} of {step.total}"
        return Text.assemble((f"{count:>12}", ""), (f"{seconds:7.1f} s  ", "dim"), (step.note, "yellow"))
