"""Every path through the printed schema: chains of fields from a root field down to a leaf.

What is selected below a type is written as fragments, one for each type and depth, so that a document
stays small while the paths in it are thousands. The rows of a list are followed through `nodes`; its
`edges` show the same rows, of which they tell the leaves.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
    get_named_type,
    is_leaf_type,
)

NESTED = 2
"""How many rows of a list are followed below the root."""

SAMPLES: Mapping[str, Any] = {
    "Int": 1, "Float": 0.5, "Boolean": True, "BigInt": 1, "JSON": {}, "ID": "harmless",
    "DateTime": "2026-01-01T00:00:00Z",
}  # fmt: skip
"""A value of each scalar; any other is a text."""

ECHOES = {("NotFound", "ids")}
"""Fields that tell back what was sent."""

Place = tuple[str, ...]
"""The names that lead to a value inside the arguments of a field."""


class Word(str):
    """The name of an enum's value, which stands in a document without quotes."""

    __slots__ = ()


@dataclass
class Tree:
    """A selection with the fragments it needs; `paths` counts its leaves with all fragments unfolded."""

    schema: GraphQLSchema
    fragments: dict[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return "\n".join(text for text, _ in self.fragments.values())

    def below(self, type: Any, depth: int) -> tuple[str, int]:
        """What to select of a type and so many edges further, and the number of paths."""
        if is_leaf_type(type):
            return "", 1
        if isinstance(type, GraphQLInterfaceType | GraphQLUnionType):
            each = [self.below(one, depth) for one in self.schema.get_possible_types(type)]
            return f"{{ {' '.join(text[1:-1] for text, _ in each)} }}", sum(paths for _, paths in each)
        name = f"{type.name}_{depth}"
        if name not in self.fragments:
            kept = [self._field(type.name, name, each, depth) for name, each in type.fields.items()]
            chosen = [each for each in kept if each is not None]
            text = " ".join(["__typename", *(text for text, _ in chosen)])
            paths = 1 + sum(paths for _, paths in chosen)
            self.fragments[name] = f"fragment {name} on {type.name} {{ {text} }}", paths
        return f"{{ ...{name} }}", self.fragments[name][1]

    def _field(self, owner: str, name: str, field: GraphQLField, depth: int) -> tuple[str, int] | None:
        target = get_named_type(field.type)
        left = depth - len_of(target)
        if owner.endswith("Edge") and not is_leaf_type(target):
            left = 0
        if left < 0 or (owner, name) in ECHOES or needs_id(field):
            return None
        selection, paths = self.below(target, left)
        given = wanted(field) | ({"first": NESTED} if "first" in field.args else {})
        return f"{alias(name, field)}: {name}{arguments(given)} {selection}", paths


def needs_id(field: GraphQLField) -> bool:
    return any(get_named_type(field.args[name].type).name == "ID" for name in wanted(field))


def len_of(type: Any) -> int:
    """How far a step into a type goes: what a list is made of is no edge of its own."""
    return int(not is_leaf_type(type) and not type.name.endswith(("Edge", "PageInfo", "Connection")))


def alias(name: str, field: GraphQLField) -> str:
    """Types of one interface may give a name different types, which then must go by different names."""
    return f"{name}_{re.sub(r'[^A-Za-z]', '_', str(field.type))}"


def wanted(field: GraphQLField) -> dict[str, Any]:
    """The arguments that a field can't do without."""
    return {name: sample(each.type) for name, each in field.args.items() if is_needed(each)}


def is_needed(argument: Any) -> bool:
    return isinstance(argument.type, GraphQLNonNull) and argument.default_value is Undefined


def sample(type: Any) -> Any:
    """A value that a type admits, with as little in it as can be."""
    if isinstance(type, GraphQLNonNull):
        return sample(type.of_type)
    if isinstance(type, GraphQLList):
        return [] if get_named_type(type).name == "Upload" else [sample(type.of_type)]
    if isinstance(type, GraphQLEnumType):
        return Word(next(iter(type.values)))
    if isinstance(type, GraphQLInputObjectType) and type.is_one_of:
        name, first = next(iter(type.fields.items()))
        return {name: sample(first.type)}
    if isinstance(type, GraphQLInputObjectType):
        return {name: sample(each.type) for name, each in type.fields.items() if is_needed(each)}
    return SAMPLES.get(type.name, "harmless text")


def places(field: GraphQLField, scalar: str) -> Iterator[tuple[Place, Any]]:
    """Where in the arguments of a field a value of some type can stand, and the type there."""
    for name, argument in field.args.items():
        yield from _places(argument.type, scalar, (name,), ())


def _places(type: Any, scalar: str, at: Place, above: tuple[str, ...]) -> Iterator[tuple[Place, Any]]:
    named = get_named_type(type)
    if named.name == scalar or (scalar == "enum" and isinstance(named, GraphQLEnumType)):
        yield at, type
    elif isinstance(named, GraphQLInputObjectType) and named.name not in above:
        for name, each in named.fields.items():
            yield from _places(each.type, scalar, (*at, name), (*above, named.name))


def filled(field: GraphQLField, at: Place, value: Any) -> dict[str, Any]:
    """The arguments of a field with a value at a place, and else what it can't do without."""
    given, types = wanted(field), field.args
    here = given
    for place, name in enumerate(at):
        type = types[name].type
        named: Any = get_named_type(type)
        if place == len(at) - 1:
            here[name] = [value] if _is_list(type) else value
        else:
            if not isinstance(here.get(name), dict) or named.is_one_of:
                here[name] = {} if named.is_one_of else sample(named)
            here, types = here[name], named.fields
    return given


def _is_list(type: Any) -> bool:
    return isinstance(type.of_type if isinstance(type, GraphQLNonNull) else type, GraphQLList)


def arguments(given: Mapping[str, Any]) -> str:
    return f"({', '.join(f'{name}: {literal(each)}' for name, each in given.items())})" if given else ""


def literal(value: Any) -> str:
    """A value as it stands in a document."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {literal(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) and not isinstance(value, Word) else str(value)
