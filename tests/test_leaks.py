"""What is not for somebody's eyes is told on no path through the printed schema, in no byte of an answer.

The paths are generated from the schema, so what it gains is tried by itself (tests/paths.py, probes.py);
whose the canaries are is said by tests/canaries.py, which knows nothing of policy.py.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from graphql import GraphQLObjectType, GraphQLSchema, build_schema

from bioscope_gql.policy import VISIBLE
from bioscope_gql.schema import print_schema
from bioscope_gql.schema.machines import GUARDED, is_open
from tests import probes
from tests.callers import Front, a_front
from tests.canaries import Caller, World, peopled, with_the_stranger
from tests.lab import Lab
from tests.probes import Probe

SCHEMA = build_schema(print_schema())
LINK = re.compile(r'"https?://[^"]*"')
"""Links are signed anew for every answer."""

REFUSALS = {"FORBIDDEN", "NOT_FOUND", "UNAUTHENTICATED"}
"""Whatever else is answered hides paths: then the generator made an operation that could not run."""


@asynccontextmanager
async def front_of(world: World) -> AsyncIterator[Front]:
    viewers = {name: caller.viewer for name, caller in world.callers.items()}
    async with a_front(world.lab.services, viewers, world.lab.place.folder / "leaks") as front:
        yield front


async def answers(front: Front, name: str, asked: Iterable[Probe]) -> AsyncIterator[tuple[Probe, str]]:
    asked = list(asked)
    watches = [each for each in asked if each.root.startswith("subscription")]
    heard = dict(
        zip(watches, await asyncio.gather(*(front.watch(name, each.text) for each in watches)), strict=True)
    )
    for each in asked:
        answer = heard.get(each) or await front.ask(name, each.text)
        refused = re.findall(
            r'"code":"([A-Z_]+)"[^{}]*}', json.dumps(errors_of(answer), separators=(",", ":"))
        )
        assert set(refused) <= REFUSALS, (name, each.root, answer[:500])
        yield each, answer


def errors_of(answer: str) -> list[object]:
    found: list[object] = []
    for line in answer.splitlines():
        body = json.loads(line) if line.startswith("{") else {}
        payload = body.get("payload") if "payload" in body else body
        found += payload if isinstance(payload, list) else (payload or {}).get("errors", [])
    return found


def told(answer: str, forbidden: Iterable[str]) -> set[str]:
    return {text for text in forbidden if text in answer}


async def test_nobody_can_count_what_is_not_for_their_eyes(lab: Lab) -> None:
    """Who sees nothing of a stranger's hears the same before the stranger comes and after."""
    world = await peopled(lab)
    async with front_of(world) as front:
        counted = [*probes.whole(SCHEMA, world.ids, depth=2), *probes.pointed(SCHEMA, [], ["harmless"])]
        watching = [
            name for name, caller in world.callers.items() if "B" not in caller.sees and not caller.reads
        ]
        before = {name: [text async for _, text in answers(front, name, counted)] for name in watching}
        await with_the_stranger(world)
        after = {name: [text async for _, text in answers(front, name, counted)] for name in watching}
        for name in watching:
            for probe, one, other in zip(counted, before[name], after[name], strict=True):
                assert LINK.sub("link", one) == LINK.sub("link", other), (name, probe.root)


@pytest.mark.timeout(300)
async def test_on_no_path_is_anybody_told_of_what_is_not_for_their_eyes(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    world = await peopled(lab)
    await with_the_stranger(world)
    async with front_of(world) as front:
        asked = {name: all_probes(world, schema_of(caller)) for name, caller in world.callers.items()}
        began = time.monotonic()
        leaks, heard = [], dict.fromkeys(world.callers, "")
        for name in world.callers:
            forbidden = world.forbidden(name)
            async for probe, answer in answers(front, name, asked[name]):
                leaks += [(name, probe.root, text) for text in told(answer, forbidden)]
                heard[name] += answer
        seconds = time.monotonic() - began

    assert leaks == []
    for name in ("owner", "view guest", "contribute guest", "manage guest", "admin"):
        group = world.groups["A"]
        assert group.texts - told(heard[name], group.texts) == set(), name
    for group in world.groups.values():
        assert told(heard["reading machine"], group.for_workers) == group.for_workers
        assert [table for table, ids in group.ids.items() if not told(heard["admin"], ids)] == []
    paths = sum(each.paths for each in asked["admin"])
    assert paths > 100_000
    with capsys.disabled():
        print(f"\n{paths:,} paths, each as {len(world.callers)} callers, in {seconds:.1f} s")  # noqa: T201


def schema_of(caller: Caller) -> GraphQLSchema:
    """What they can ask: for a machine that reads pictures the fields of its scope (tests/test_scopes.py)."""
    if not caller.reads:
        return SCHEMA
    assert caller.viewer is not None
    schema = build_schema(print_schema())
    for type in schema.type_map.values():
        carries = type.name.startswith("__") or type.name.endswith(("Connection", "Edge"))
        if isinstance(type, GraphQLObjectType) and not carries:
            for name in [each for each in type.fields if not is_open(f"{type.name}.{each}", caller.viewer)]:
                del type.fields[name]
    for guarded in GUARDED:
        field, argument = guarded.removeprefix("Query.").rstrip(")").split("(")
        del schema.query_type.fields[field].args[argument]  # type: ignore[union-attr]
    return schema


def all_probes(world: World, schema: GraphQLSchema = SCHEMA) -> list[Probe]:
    texts = [group.text("label") for group in world.groups.values()]
    return [
        *probes.whole(schema, world.ids),
        *probes.pointed(schema, world.ids, texts),
        *probes.nested(schema, world.ids),
        *probes.watches(schema, runs_of(world)),
    ]


def runs_of(world: World) -> list[str]:
    return [group.ids["classifications"][0] for group in world.groups.values()]


async def test_a_mutation_pointed_at_what_one_can_not_see_tells_nothing_and_changes_nothing(lab: Lab) -> None:
    world = await peopled(lab)
    await with_the_stranger(world)
    ids = world.ids
    judged = {table._meta.tablename for table in VISIBLE}
    async with front_of(world) as front:
        dump = await lab.dump()
        for name in world.callers:
            forbidden = world.forbidden(name)
            foreign = [id for id in ids if id in forbidden]
            async for probe, answer in answers(front, name, probes.changes(SCHEMA, foreign)):
                assert told(answer, forbidden) == set(), (name, probe.root)
        after = await lab.dump()

    assert {name: set(after[name]) ^ set(dump[name]) for name in judged} == {name: set() for name in judged}
