"""Which fields are answered without Strawberry in between: what an object has, and what lies in a loader.

Said in the extensions of graphql-core's fields, which `transport/plans.py` reads.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import strawberry
from graphql import GraphQLObjectType
from strawberry.types.arguments import convert_arguments
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from bioscope_gql.schema.lookups import Lookup
from bioscope_gql.schema.views import View

DIRECT = "bioscope-direct"
STRAWBERRY = "strawberry-definition"


Arguments: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Makes Python's arguments out of GraphQL's."""


@dataclass(frozen=True, slots=True)
class Column:
    """The field shows this column of a view's row, or this attribute of an object that is no view."""

    name: str


@dataclass(frozen=True, slots=True)
class Edge:
    """The field shows what a lookup finds."""

    lookup: Lookup
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Method:
    """The field shows what a function says of the object; a parameter `info` tells it who asks."""

    call: Callable[..., Any]
    info: str | None
    arguments: Arguments

    def bound(self, arguments: Mapping[str, Any]) -> Callable[[Any, Any], Any]:
        """The function with these arguments, of an object and the context."""
        name = self.info
        if name is None:
            return lambda shown, _context: self.call(shown, **arguments)
        return lambda shown, context: self.call(shown, **{name: _Here(context)}, **arguments)


@dataclass(frozen=True, slots=True)
class _Here:
    """What of `strawberry.Info` there is without Strawberry. Whoever wants more finds it on the long way."""

    context: Any


def objects_in(schema: strawberry.Schema) -> Iterator[tuple[GraphQLObjectType, type[Any]]]:
    """The object types, each with its class."""
    for each in schema._schema.type_map.values():
        definition = each.extensions.get(STRAWBERRY)
        if isinstance(each, GraphQLObjectType) and isinstance(definition, StrawberryObjectDefinition):
            yield each, definition.origin


def views_in(schema: strawberry.Schema) -> Iterator[tuple[GraphQLObjectType, type[View]]]:
    """The types that show rows, each with its class."""
    return ((type, shown) for type, shown in objects_in(schema) if issubclass(shown, View))


def mark(schema: strawberry.Schema) -> None:
    """Note at each field how it is answered, if that is direct."""
    for type, _ in objects_in(schema):
        for field in type.fields.values():
            direct = _direct(schema, field.extensions[STRAWBERRY])
            if direct is not None:
                field.extensions[DIRECT] = direct


def _direct(schema: strawberry.Schema, field: StrawberryField) -> Column | Edge | Method | None:
    resolver = field.base_resolver
    if resolver is None:
        return Column(field.python_name)
    if "column" in field.metadata:
        return Column(field.metadata["column"])

    def arguments(sent: Mapping[str, Any]) -> Mapping[str, Any]:
        registry = schema.schema_converter.scalar_registry
        return convert_arguments(dict(sent), field.arguments, registry, schema.config)

    lookup = field.metadata.get("lookup")
    if lookup is not None:
        return Edge(lookup, arguments)
    if field.is_async or field.extensions or field.is_subscription or resolver.self_parameter is None:
        return None
    info = resolver.info_parameter
    return Method(
        cast("Callable[..., Any]", resolver.wrapped_func), None if info is None else info.name, arguments
    )
