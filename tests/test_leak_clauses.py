"""No clause that narrows what somebody sees can go: without it the leak test fails.

Each rule of `policy.VISIBLE` is made to say "true" for its table. Where a function asks for a rule by its
name (to find one row, to follow a run, to count what waits), the rule says "true" for that function alone;
these are found by listening while everything is probed, so a new one is tried by itself.
"""

import os
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any
from uuid import UUID

import pytest

from bioscope_gql import policy
from tests import probes
from tests.callers import Front
from tests.canaries import World, peopled, with_the_stranger
from tests.lab import Lab
from tests.probes import Probe
from tests.test_leaks import LINK, SCHEMA, answers, front_of, runs_of, told

Site = tuple[str, str]
"""The name of a rule, and the function that asks for it, or the rule's table."""

FUNCTIONS = (
    "visible_datasets", "visible_images", "visible_classifications", "visible_results", "visible_items",
    "visible_grants", "visible_users", "seen_by_all", "seen_by_admins", "email_for", "access_level",
)  # fmt: skip
OPEN: dict[str, Any] = {
    "email_for": lambda _viewer, user: user["email"],
    "access_level": lambda *_: "'MANAGE'",
}
"""What a rule says that refuses nobody; else it is "true"."""

NO_CLAUSES = {("access_level", "policy.access_shown")}
"""What the viewer may do somewhere, told to them; it narrows nothing. tests/test_grants.py has its values."""

BACKED: dict[Site, str] = {
    ("VISIBLE", "Device"): "every person sees devices, and schema/machines.py lets no machine select them",
    ("visible_classifications", "live.overview._changed"): "_states asks again when it reads the runs",
    ("visible_classifications", "live.overview._states"): "_changed has asked already",
    ("visible_images", "resolvers.labels.of_datasets"): "who sees a dataset sees its images",
}
"""Clauses whose lack alone tells nothing, and what stands behind them."""

CALLERS = ("analyst", "view guest", "idle machine")


class Ears:
    """Stands before every rule: hears who asks for it, and at one site lets everything pass."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.heard: set[Site] = set()
        self.open: Site | None = None
        for table, rule in policy.VISIBLE.items():
            patch.setitem(policy.VISIBLE, table, self._before("VISIBLE", rule, table.__name__))
        for name in FUNCTIONS:
            patch.setattr(policy, name, self._before(name, getattr(policy, name)))

    def _before(self, name: str, rule: Callable[..., Any], table: str = "") -> Callable[..., Any]:
        def asked(*args: Any) -> Any:
            site = name, table or called_by(sys._getframe(1).f_code)  # noqa: SLF001 - the way to know who asks
            self.heard.add(site)
            return OPEN.get(name, lambda *_: "true")(*args) if site == self.open else rule(*args)

        return asked


def called_by(code: CodeType) -> str:
    module = code.co_filename.rpartition("bioscope_gql/")[2].removesuffix(".py").replace("/", ".")
    return f"{module}.{code.co_qualname}"


async def fails(front: Front, world: World, asked: list[Probe]) -> bool:
    """Whether the leak test would: a canary is told, or an answer is torn."""
    for name in CALLERS:
        forbidden = world.forbidden(name)
        try:
            async for _, answer in answers(front, name, asked):
                if told(answer, forbidden):
                    return True
        except AssertionError:
            return True
    return False


async def all_answers(front: Front, asked: list[Probe]) -> list[str]:
    """What the analyst is told by queries; a foreign count shows when the foreign rows go."""
    queries = [each for each in asked if not each.root.startswith("subscription")]
    return [LINK.sub("link", answer) async for _, answer in answers(front, "analyst", queries)]


async def without_the_stranger(world: World) -> None:
    await world.lab.db.execute(
        "delete from datasets where id = $1", UUID(world.groups["B"].ids["datasets"][0])
    )


@pytest.mark.skipif(
    not os.environ.get("BIOSCOPE_TEST_RIGHTS"),
    reason="It takes minutes: BIOSCOPE_TEST_RIGHTS=1 runs it.",
)
@pytest.mark.timeout(900)
async def test_without_any_one_clause_the_leak_test_fails(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = await peopled(lab)
    await with_the_stranger(world)
    ears = Ears(monkeypatch)
    asked = [*probes.whole(SCHEMA, world.ids, 2), *probes.watches(SCHEMA, runs_of(world))]
    async with front_of(world) as front:
        assert not await fails(front, world, asked)
        sites = sorted(ears.heard - NO_CLAUSES)
        kept, untouched = [], await all_answers(front, asked)
        for ears.open in sites:
            if not await fails(front, world, asked):
                kept.append((ears.open, await all_answers(front, asked)))
        await without_the_stranger(world)
        ears.open, missed = None, []
        assert await all_answers(front, asked) == untouched
        for ears.open, with_the_strangers_rows in kept:
            if await all_answers(front, asked) == with_the_strangers_rows:
                missed.append(ears.open)

    with capsys.disabled():
        print(f"\n{len(sites)} clauses taken away one by one:")  # noqa: T201
        print(*(f"  {rule:24} {where}" for rule, where in sites), sep="\n")  # noqa: T201
    assert {site: BACKED.get(site) for site in missed} == BACKED


@pytest.mark.timeout(300)
async def test_without_any_one_clause_a_mutation_answers_otherwise_of_what_one_can_not_see(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = await peopled(lab)
    await with_the_stranger(world)
    ears = Ears(monkeypatch)
    forbidden = world.forbidden("analyst")
    asked = list(probes.changes(SCHEMA, [id for id in world.ids if id in forbidden]))
    async with front_of(world) as front:
        refused = [await front.ask("analyst", each.text) for each in asked]
        # What level somebody has matters once they see the dataset: tests/test_matrix.py.
        sites = sorted(site for site in ears.heard if site[0] != "access_level")
        missed = []
        for ears.open in sites:
            if [await front.ask("analyst", each.text) for each in asked] == refused:
                missed.append(ears.open)

    with capsys.disabled():
        print(f"\n{len(sites)} clauses of mutations taken away one by one:")  # noqa: T201
        print(*(f"  {rule:24} {where}" for rule, where in sites), sep="\n")  # noqa: T201
    assert missed == []
