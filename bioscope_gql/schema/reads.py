"""Which columns an operation shows: what its fields read of their rows, together for each table.

Every field of a view tells what it reads: a plain field its column, an edge the foreign key, a method what it
names with `define.reading`. One that tells nothing reads the whole row. The answer is one for the operation
and not one for each place in it, so that a loader needs to read a row only once, whoever asks for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import strawberry
from graphql import (
    BooleanValueNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    NamedTypeNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_abstract_type,
)

from bioscope_gql.resolvers.paging import Shown, open_columns
from bioscope_gql.schema.direct import DIRECT, STRAWBERRY, Column, views_in
from bioscope_gql.tables import Table

READS, TABLE = "bioscope-reads", "bioscope-table"


def mark(schema: strawberry.Schema) -> None:
    """Note at each view its table, and at each of its fields the columns that it reads.

    Raises:
        TypeError: a field reads a column that there is not, or that is never shown.
    """
    for type, view in views_in(schema):
        known = frozenset(open_columns(view.table))
        type.extensions[TABLE] = view.table
        for name, field in type.fields.items():
            direct = field.extensions.get(DIRECT)
            declared = field.extensions[STRAWBERRY].metadata.get("reads", known)
            read = {direct.name} if isinstance(direct, Column) else frozenset(declared)
            if read - known:
                raise TypeError(
                    f"{type.name}.{name} reads {sorted(read - known)}, which {view.table} has not."
                )
            field.extensions[READS] = frozenset(read)


@dataclass(frozen=True, slots=True)
class Switch:
    """A variable that @include or @skip asks for, what it is where nobody sends it, and when the part is left
    out."""

    variable: str
    default: bool | None
    off: bool

    def is_on(self, variables: Mapping[str, Any]) -> bool:
        return variables.get(self.variable, self.default) is not self.off


When = frozenset[Switch]
"""All that must be on."""

Found = dict[type[Table], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Reads:
    """The columns of an operation by table: of what is always selected, and of what variables switch on."""

    always: Shown
    sometimes: tuple[tuple[When, Shown], ...] = ()
    varies: bool = False
    """Whether variables decide which fields there are, be it fields that read nothing."""

    def of(self, variables: Mapping[str, Any]) -> Shown:
        if not self.sometimes:
            return self.always
        found = dict(self.always)
        for when, shown in self.sometimes:
            if all(switch.is_on(variables) for switch in when):
                for table, columns in shown.items():
                    found[table] = columns | found.get(table, frozenset())
        return found


def reads(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Reads:
    """What an operation of a valid document reads, whose fields were counted with fragments unfolded."""
    walk, root = _Walk(schema, document, operation), schema.get_root_type(operation.operation)
    if root is not None:
        walk.within([root], operation.selection_set, frozenset())
    always = walk.found.pop(frozenset(), {})
    return Reads(always, tuple(walk.found.items()), walk.varies)


class _Walk:
    def __init__(
        self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode
    ) -> None:
        self.found: dict[When, Found] = {}
        self.varies = False
        self._schema = schema
        self._fragments = {
            each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)
        }
        self._defaults = {
            each.variable.name.value: each.default_value.value
            for each in operation.variable_definitions or ()
            if isinstance(each.default_value, BooleanValueNode)
        }

    def within(self, types: Iterable[GraphQLObjectType], selected: SelectionSetNode, when: When) -> None:
        """Note what is selected of objects of these types."""
        for node in selected.selections:
            still = self._switched(node, when)
            if still is None:
                continue
            if isinstance(node, FieldNode):
                for type in types:
                    self._field(type, node, still)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                self.within(self._those(types, fragment.type_condition), fragment.selection_set, still)
            elif isinstance(node, InlineFragmentNode):
                self.within(self._those(types, node.type_condition), node.selection_set, still)

    def _field(self, type: GraphQLObjectType, node: FieldNode, when: When) -> None:
        field = self._schema.get_field(type, node.name.value)
        if field is None:
            return
        self._note(type, field.extensions.get(READS, frozenset()), when)
        if node.selection_set is None:
            return
        below = list(self._objects(get_named_type(field.type)))
        for each in below:
            self._note(each, frozenset(), when)
            if "nodes" in each.fields:  # a page: its rows are read for cursors, if for nothing else
                for shown in self._objects(get_named_type(each.fields["nodes"].type)):
                    self._note(shown, frozenset(), when)
        self.within(below, node.selection_set, when)

    def _note(self, type: GraphQLObjectType, columns: frozenset[str], when: When) -> None:
        table = type.extensions.get(TABLE)
        if table is not None:
            found = self.found.setdefault(when, {})
            found[table] = found.get(table, frozenset()) | columns

    def _switched(self, node: Any, when: When) -> When | None:
        """What must be on for a selection to be made; None for one that never is."""
        for directive in node.directives or ():
            if directive.name.value in ("include", "skip"):
                off, value = directive.name.value == "skip", directive.arguments[0].value
                if isinstance(value, VariableNode):
                    name, self.varies = value.name.value, True
                    when |= {Switch(name, self._defaults.get(name), off)}
                elif value.value is off:
                    return None
        return when

    def _those(
        self, types: Iterable[GraphQLObjectType], condition: NamedTypeNode | None
    ) -> list[GraphQLObjectType]:
        named = self._schema.get_type(condition.name.value) if condition else None
        return [each for each in types if named is None or each in self._objects(named)]

    def _objects(self, type: GraphQLNamedType) -> Iterator[GraphQLObjectType]:
        """The types that an object may have where this one is promised."""
        if isinstance(type, GraphQLObjectType):
            yield type
        elif is_abstract_type(type):
            yield from self._schema.get_possible_types(type)
