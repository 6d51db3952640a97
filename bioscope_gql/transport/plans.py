"""How each field of an operation is answered, found out once and kept with the operation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from graphql import (
    BooleanValueNode,
    EnumValueNode,
    FloatValueNode,
    GraphQLError,
    GraphQLField,
    GraphQLID,
    GraphQLObjectType,
    GraphQLSchema,
    IntValueNode,
    NullValueNode,
    StringValueNode,
    TypeNameMetaFieldDef,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_object_type,
)
from graphql.execution.values import get_argument_values

from bioscope_gql.schema.direct import DIRECT, Column, Edge, Method
from bioscope_gql.schema.lookups import Lookup
from bioscope_gql.schema.reads import TABLE

CONSTANT = (StringValueNode, IntValueNode, FloatValueNode, BooleanValueNode, EnumValueNode, NullValueNode)
"""How an argument is written that is the same every time; lists and objects may hold variables."""

Write: TypeAlias = Callable[[Any], Any]


@dataclass(slots=True)
class Step:
    """One field of a selection. One that is not `direct` is left to graphql-core, and all around it."""

    name: str
    details: Any
    direct: bool = False
    column: str | None = None
    """What the row has, or an attribute of an object that is no view."""
    method: Callable[[Any, Any], Any] | None = None
    """Says it of an object and the context."""
    lookup: Lookup | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the lookup."""
    varies: bool = False
    """Whether the arguments may be others the next time."""

    nullable: bool = False
    many: bool = False
    nullable_items: bool = False
    write: Write | None = None
    """How a leaf goes out, or each of a list of leaves; None for objects."""
    shows: GraphQLObjectType | None = None
    """The type of the objects, one or many; None for an abstract one."""
    promises: Any = None
    """That abstract type."""
    leads: bool | None = None
    """Whether anything is looked up below it; None until somebody asks."""
    is_plain: bool | None = None
    """Whether it and all below it is direct; None until somebody asks."""


Planned: TypeAlias = dict[int, tuple[Any, list[Step]]]
"""The steps of a selection, by the identity of what graphql-core collected for it; that is kept with them."""


@dataclass(slots=True)
class Plans:
    """What was found out about one operation whose fields are the same whatever its variables say."""

    root: Any = None
    subfields: dict[tuple[GraphQLObjectType, int], tuple[Any, Any]] = field(default_factory=dict)
    steps: Planned = field(default_factory=dict)


def _refuse(*_: Any) -> NoReturn:
    """Instead of a field whose arguments can't be: graphql-core tells it, with its place."""
    raise LookupError


REFUSED = Lookup(_refuse)


def step_of(
    schema: GraphQLSchema, parent_type: GraphQLObjectType, name: str, details: Any, variables: Any
) -> Step:
    """How a field that is shown as `name` is answered, with these values of variables."""
    step, node = Step(name, details), details[0].node
    definition = schema.get_field(parent_type, node.name.value)
    if definition is None or not _shown(step, definition):
        return step
    if definition is TypeNameMetaFieldDef:
        step.method = lambda _object, _context: parent_type.name
        step.direct = True
        return step
    direct = definition.extensions.get(DIRECT)
    if isinstance(direct, Column):
        step.column = direct.name
        if TABLE in parent_type.extensions and get_nullable_type(definition.type) is GraphQLID:
            step.write = str
    elif isinstance(direct, Edge | Method):
        step.varies = any(not isinstance(each.value, CONSTANT) for each in node.arguments or ())
        try:
            sent = get_argument_values(definition, node, variables, details[0].fragment_variable_values)
        except GraphQLError:
            # Others may do, so it stays a lookup or method: what is kept of the fields above depends on that.
            step.lookup, step.method = (REFUSED, None) if isinstance(direct, Edge) else (None, _refuse)
        else:
            arguments = direct.arguments(sent)
            if isinstance(direct, Edge):
                step.lookup, step.arguments = direct.lookup, arguments
            else:
                step.method = direct.bound(arguments)
    step.direct = direct is not None
    return step


def _shown(step: Step, definition: GraphQLField) -> bool:
    """Note what a field shows; whether that is within two steps of a leaf, an object or a list of one."""
    inner = get_nullable_type(definition.type)
    step.nullable = inner is definition.type
    if is_list_type(inner):
        item_type, inner = inner.of_type, get_nullable_type(inner.of_type)
        step.many, step.nullable_items = True, inner is item_type
    if is_leaf_type(inner):
        step.write = inner.coerce_output_value
    elif is_object_type(inner):
        step.shows = inner
    elif is_abstract_type(inner):
        step.promises = inner
    else:
        return False
    return True
