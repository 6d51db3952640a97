"""What the leak test asks: documents for every root field, with the ids of everything there is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLSchema,
    get_named_type,
)

from tests.paths import Place, Tree, Word, arguments, filled, len_of, places, wanted

DEPTH = 4
"""How far from a root field."""


@dataclass(frozen=True)
class Probe:
    """One document about one root field, and how many paths it walks."""

    root: str
    text: str
    paths: int


def whole(schema: GraphQLSchema, ids: Sequence[str], depth: int = DEPTH) -> Iterator[Probe]:
    """Each root field with all that lies below it, so many edges deep.

    What is named by an id is asked for by each of `ids`; a list for all that it shows.
    """
    for name, field in roots(schema, "query").items():
        given = [arguments(filled(field, at, id)) for at in needed_ids(field) for id in ids]
        # What `node` leads to, `nodes` leads to as well.
        far = min(depth, 2) if isinstance(nullable(field.type), GraphQLInterfaceType) else depth
        yield probe(schema, "query", name, given or [arguments(wanted(field))], far)


def changes(schema: GraphQLSchema, ids: Sequence[str]) -> Iterator[Probe]:
    """Each mutation that can be pointed at something, pointed at each of `ids` in each place."""
    for name, field in roots(schema, "mutation").items():
        given = [arguments(filled(field, at, id)) for at, _ in places(field, "ID") for id in ids]
        if given:
            yield probe(schema, "mutation", name, given, 2)


def watches(schema: GraphQLSchema, ids: Sequence[str]) -> Iterator[Probe]:
    """Each subscription: by each of `ids` in each place, and without what it can do without."""
    for name, field in roots(schema, "subscription").items():
        given = [arguments(filled(field, at, id)) for at, _ in places(field, "ID") for id in ids]
        for each in given if needed_ids(field) else ["", *given]:
            yield probe(schema, "subscription", name, [each], DEPTH)


def pointed(schema: GraphQLSchema, ids: Sequence[str], texts: Sequence[str]) -> Iterator[Probe]:
    """Each root field with each id in each place for ids, each text in each place of a filter, and in each of
    its orders: what comes, and how much of it."""
    for name, field in roots(schema, "query").items():
        given = [filled(field, at, id) for at, _ in places(field, "ID") for id in ids]
        given += [filled(field, at, text) for at, _ in places(field, "String") for text in texts if at[1:]]
        given += [
            filled(field, at, Word(word)) for at, type in places(field, "enum") for word in words_of(type)
        ]
        if given:
            yield probe(schema, "query", name, sorted({arguments(each) for each in given}), 1)


def nested(schema: GraphQLSchema, ids: Sequence[str]) -> Iterator[Probe]:
    """Each list below what a root list shows, with each id in each place of its filter."""
    for name, field in roots(schema, "query").items():
        shown = getattr(get_named_type(field.type), "fields", {}).get("nodes")
        below = get_named_type(shown.type).fields if shown and not needed_ids(field) else {}
        asked = [
            f"{each}_{place}: {each}{arguments(filled(inner, at, id))} {{ totalCount nodes {{ id }} }}"
            for each, inner in below.items()
            if get_named_type(inner.type).name.endswith("Connection")
            for place, (at, id) in enumerate(product([at for at, _ in places(inner, "ID")], ids))
        ]
        if asked:
            text = f"query {{ {name} {{ nodes {{ {' '.join(asked)} }} }} }}"
            yield Probe(f"query.{name}", text, 2 * len(asked))


def roots(schema: GraphQLSchema, kind: str) -> dict[str, GraphQLField]:
    type = {
        "query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type
    }[kind]  # fmt: skip
    return dict(type.fields) if type else {}


def nullable(type: Any) -> Any:
    return type.of_type if isinstance(type, GraphQLNonNull) else type


def needed_ids(field: GraphQLField) -> list[Place]:
    """The places for ids that a field can't do without."""
    return [at for at, _ in places(field, "ID") if at[0] in wanted(field)]


def words_of(type: Any) -> list[str]:
    named = get_named_type(type)
    return list(named.values) if isinstance(named, GraphQLEnumType) else []


def probe(schema: GraphQLSchema, kind: str, name: str, given: Sequence[str], depth: int) -> Probe:
    """A root field once with each of the arguments, and all that lies so many edges deep."""
    target = get_named_type(roots(schema, kind)[name].type)
    tree = Tree(schema)
    selection, paths = tree.below(target, depth - len_of(target))
    asked = " ".join(f"{name}_{place}: {name}{each} {selection}" for place, each in enumerate(given))
    return Probe(f"{kind}.{name}", f"{kind} {{ {asked} }}\n{tree.text}", paths * len(given))
