"""What an operation costs: how many objects it may bring at most, by what it asks and its variables.

An object counts one and what is asked of it as often as there may be objects: `first` of them in a page, as
many as ids were sent, some in a list that nobody limits. Scalars and introspection cost nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Undefined,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    value_from_ast_untyped,
)

PAGE = 20
MOST = 100
"""Objects in a page where nobody says how many, and at most: more is refused when it is asked for."""

ASSUMED = 10
"""Objects in a list that has no `first`."""

Variables: TypeAlias = Mapping[str, Any]
Factor: TypeAlias = Callable[[Variables], int]


@dataclass(frozen=True, slots=True)
class Price:
    """A sum of what is fixed and of what comes as often as the variables say."""

    fixed: int
    scaled: tuple[tuple[Factor, "Price"], ...] = ()

    def of(self, variables: Variables) -> int:
        return self.fixed + sum(factor(variables) * price.of(variables) for factor, price in self.scaled)


def price(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Price:
    """The price of an operation of a valid document, whose fields were counted with fragments unfolded."""
    root = schema.get_root_type(operation.operation)
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    defaults = {
        definition.variable.name.value: value_from_ast_untyped(definition.default_value)
        for definition in operation.variable_definitions or ()
        if definition.default_value is not None
    }
    return _Pricing(schema, fragments, defaults).selections(operation.selection_set, root)


@dataclass(frozen=True, slots=True)
class _Pricing:
    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    defaults: Variables

    def selections(self, selected: SelectionSetNode | None, parent: GraphQLNamedType | None) -> Price:
        prices = [self._field(*each) for each in self._fields(selected, parent)]
        return Price(
            sum(each.fixed for each in prices), tuple(part for each in prices for part in each.scaled)
        )

    def _fields(
        self, selected: SelectionSetNode | None, parent: GraphQLNamedType | None
    ) -> Iterator[tuple[FieldNode, GraphQLField, bool]]:
        """What is selected, fragments unfolded; True for what a page holds, which the page has counted."""
        for selection in selected.selections if selected else ():
            if isinstance(selection, FieldNode):
                fields = parent.fields if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) else {}
                field = fields.get(selection.name.value)
                if field is not None:
                    yield selection, field, "pageInfo" in fields
            elif isinstance(selection, FragmentSpreadNode):
                fragment = self.fragments[selection.name.value]
                kind = self.schema.get_type(fragment.type_condition.name.value)
                yield from self._fields(fragment.selection_set, kind)
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                kind = self.schema.get_type(condition.name.value) if condition else parent
                yield from self._fields(selection.selection_set, kind)

    def _field(self, node: FieldNode, field: GraphQLField, in_page: bool) -> Price:
        kind = get_named_type(field.type)
        if is_leaf_type(kind):
            return Price(0)
        below = self.selections(node.selection_set, kind)
        each = Price(below.fixed + 1, below.scaled)
        if "first" in field.args:
            page = self._argument(node, "first", field.args["first"].default_value)
            return self._times(page, below, fixed=1)
        if "ids" in field.args:
            return self._times(self._argument(node, "ids", None), each)
        if is_list_type(get_nullable_type(field.type)) and not in_page:
            return Price(ASSUMED * each.fixed, tuple((_of(ASSUMED, f), p) for f, p in each.scaled))
        return each

    def _times(self, value: Any, price: Price, *, fixed: int = 0) -> Price:
        """A price that comes as often as an argument says."""
        if not isinstance(value, _Sent):
            number = amount(value)
            scaled = tuple((_of(number, factor), part) for factor, part in price.scaled)
            return Price(fixed + number * price.fixed, scaled)
        return Price(fixed, ((value.amount, price),))

    def _argument(self, node: FieldNode, name: str, default: Any) -> Any:
        """What is sent for an argument: a plain value, or the variable that has it."""
        default = None if default is Undefined else default
        for argument in node.arguments or ():
            if argument.name.value == name:
                if isinstance(argument.value, VariableNode):
                    variable = argument.value.name.value
                    return _Sent(variable, self.defaults.get(variable, default))
                return value_from_ast_untyped(argument.value)
        return default


@dataclass(frozen=True, slots=True)
class _Sent:
    """A variable, and what it means where it is left out."""

    name: str
    default: Any

    def amount(self, variables: Variables) -> int:
        return amount(variables.get(self.name, self.default))


def _of(number: int, factor: Factor) -> Factor:
    return lambda variables: number * factor(variables)


def amount(value: Any) -> int:
    """How many objects an argument asks for. What is no number is not counted: it will be refused."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        return len(list(value))
    if not isinstance(value, int) or isinstance(value, bool):
        return PAGE
    return min(max(value, 1), MOST)
