"""Every arrow of docs/state-machine.md is walked, and every other is refused."""

import random
from contextlib import suppress

import pytest

from bioscope_gql.errors import Conflict, NothingToDo
from bioscope_gql.resolvers import items, lifecycle
from tests.lab import Place, services_of
from tests.test_histories import History, begun

WAYS: dict[str, tuple[str, ...]] = {
    "waiting": (),
    "dispatched": ("dispatch",),
    "RUNNING": ("dispatch", "start"),
    "SUCCEEDED": ("dispatch", "answer"),
    "FAILED": ("dispatch", "fail"),
    "CANCELLED": ("cancel",),
}
"""How an item gets into each state; QUEUED is two, for nobody can answer what was never dispatched."""

ARROWS: dict[tuple[str, str], tuple[str, int]] = {
    ("waiting", "cancel"): ("CANCELLED", 1),
    ("dispatched", "start"): ("RUNNING", 1),
    ("dispatched", "answer"): ("SUCCEEDED", 1),
    ("dispatched", "fail"): ("FAILED", 1),
    ("dispatched", "retryable"): ("QUEUED", 2),
    ("dispatched", "lease over"): ("QUEUED", 1),
    ("dispatched", "cancel"): ("CANCELLED", 1),
    ("RUNNING", "answer"): ("SUCCEEDED", 1),
    ("RUNNING", "fail"): ("FAILED", 1),
    ("RUNNING", "retryable"): ("QUEUED", 2),
    ("RUNNING", "lease over"): ("QUEUED", 2),
    ("RUNNING", "cancel"): ("CANCELLED", 1),
    ("FAILED", "retry"): ("QUEUED", 2),
    ("CANCELLED", "retry"): ("QUEUED", 2),
}
"""From a state, by an event: the state and the attempt after it. What is not here changes nothing."""

EVENTS = ("start", "answer", "fail", "retryable", "lease over", "cancel", "retry")


async def happen(history: History, event: str) -> None:
    """One event for the first item of a run; an answer is always to the attempt that the item is at."""
    services = history.services
    item = await services.db.row("select id, attempt from classification_items order by id limit 1")
    assert item is not None
    match event:
        case "dispatch":
            await history.step("dispatch", random.Random(0))
        case "lease over":
            await services.db.execute(
                "update classification_items set lease_until = clock_timestamp() - interval '1 second'"
                " where id = $1 and lease_until is not null", item["id"],
            )  # fmt: skip
            await items.sweep(services)
        case "cancel" | "retry":
            act = lifecycle.cancel if event == "cancel" else lifecycle.retry
            with suppress(Conflict, NothingToDo):
                await act(services, history.viewer, history.run)
        case _:
            await history.answered(event, item["id"], item["attempt"])


async def state(history: History) -> tuple[str, int]:
    row = await history.services.db.row(
        "select status, attempt from classification_items order by id limit 1"
    )
    assert row is not None
    return row["status"], row["attempt"]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("start", WAYS)
async def test_an_item_moves_along_its_arrows_only(place: Place, start: str, event: str) -> None:
    async with services_of(place) as services:
        history = await begun(services, pictures=1)
        for step in WAYS[start]:
            await happen(history, step)
        before = await state(history)
        assert before[0] == ("QUEUED" if start in ("waiting", "dispatched") else start)
        await happen(history, event)
        assert await state(history) == ARROWS.get((start, event), before)
        await history.check()


def test_the_drawing_has_these_arrows_and_no_others() -> None:
    """The Mermaid text, as pairs of states."""
    from tests.test_house import ROOT

    drawing = (ROOT / "docs" / "state-machine.md").read_text("utf-8").partition("## A run")[0]
    drawn = {
        tuple(part.strip() for part in line.partition(":")[0].split("-->"))
        for line in drawing.splitlines()
        if "-->" in line and "[*]" not in line
    }
    names = {"waiting": "QUEUED", "dispatched": "QUEUED"}
    walked = {(names.get(start, start), end) for (start, _), (end, _) in ARROWS.items()}
    assert drawn == {(start, end) for start, end in walked if start != end}
