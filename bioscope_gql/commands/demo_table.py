"""The table of what came out: a line for each picture, means and sums below."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

ROWS_SHOWN = 500
GAP = 2
NAME_WIDTH = len("smear-01.jpg")
NO_RESULT = "no result"


@dataclass(frozen=True)
class Row:
    """One picture of the table. Without a result it has only its name."""

    picture: str
    label: str | None = None
    confidence: float | None = None
    red_cells: int | None = None
    leukocytes: int | None = None
    platelets: int | None = None
    milliseconds: int | None = None


def row_of(image: dict[str, Any]) -> Row:
    """A row from the API's Image. A model that counts nothing leaves those cells empty."""
    result = image["latestResult"]
    if result is None:
        return Row(image["filename"])
    details = result["details"] if isinstance(result["details"], dict) else {}
    counts = details.get("counts", {})
    return Row(
        image["filename"],
        result["label"],
        result["confidence"],
        counts.get("RBC"),
        counts.get("WBC"),
        counts.get("Platelet"),
        result["durationMs"],
    )


def table_of(rows: Sequence[Row], width: int) -> Table:
    """All rows, as far as there is room for them. Names lose their middle where it would not fit `width`."""
    labels = [Text(plain(row.label or NO_RESULT)) for row in rows]
    label_width = max((label.cell_len for label in labels), default=0)
    columns = [
        _means("Confidence", [row.confidence for row in rows], "{:.2f}"),
        _sums("Red cells", [row.red_cells for row in rows]),
        _sums("Leukocytes", [row.leukocytes for row in rows]),
        _sums("Platelets", [row.platelets for row in rows]),
        _means("ms", [row.milliseconds for row in rows], "{:.0f}"),
    ]
    space = width - label_width - sum(column.width for column in columns) - GAP * (1 + len(columns))

    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        show_footer=True,
        header_style="dim",
        footer_style="bold",
    )
    table.add_column("Picture", count(len(rows), "picture"), no_wrap=True)
    table.add_column("Label", no_wrap=True, min_width=label_width)
    for column in columns:
        table.add_column(column.name, column.total, justify="right", no_wrap=True, min_width=column.width)
    for row, label, *numbers in list(zip(rows, labels, *(each.cells for each in columns), strict=True))[
        :ROWS_SHOWN
    ]:
        name = shortened(plain(row.picture), max(space, NAME_WIDTH))
        table.add_row(Text(name), label, *numbers, style="" if row.label else "dim")
    table.add_row()
    return table


@dataclass(frozen=True)
class _Column:
    name: str
    cells: Sequence[str]
    total: str

    @property
    def width(self) -> int:
        return max(map(len, (self.name, self.total, *self.cells)))


def _means(name: str, values: Sequence[float | None], form: str) -> _Column:
    known = [value for value in values if value is not None]
    return _Column(name, _texts(values, form), form.format(fmean(known)) if known else "")


def _sums(name: str, values: Sequence[int | None]) -> _Column:
    known = [value for value in values if value is not None]
    return _Column(name, _texts(values, "{}"), str(sum(known)) if known else "")


def _texts(values: Sequence[float | None], form: str) -> list[str]:
    return ["" if value is None else form.format(value) for value in values]


def plain(text: str) -> str:
    """Text that moves no cursor: what can't be printed is shown as a question mark."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)


def shortened(name: str, space: int) -> str:
    """Without its middle where it is too long: the beginning and the suffix tell most."""
    if cell_len(name) <= space:
        return name
    tail = name[-min(8, space // 2) :]
    return f"{set_cell_size(name, space - cell_len(tail) - 1).rstrip()}…{tail}"


def by_name(row: Row) -> list[tuple[int, str]]:
    """The order that people expect: 2 before 10, and no regard to case."""
    return [
        (int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", row.picture.casefold())
    ]


def count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
