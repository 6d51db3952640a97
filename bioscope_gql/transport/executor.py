"""graphql-core's executor with three shortcuts. What it answers, errors too, is what graphql-core answers.

What an object simply has, a column of its row or an attribute, is read and written without a resolver. Before
views are gone through, all that their rows point to is read: a field then takes its answer instead of waiting
for it, and no coroutine is made for each row and edge. And what was found out about an operation is kept for
the next time that it is sent. Whatever is out of the ordinary goes the long way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import (
    BooleanValueNode,
    EnumValueNode,
    FloatValueNode,
    GraphQLError,
    GraphQLField,
    GraphQLID,
    GraphQLObjectType,
    GraphQLOutputType,
    IntValueNode,
    NullValueNode,
    StringValueNode,
    Undefined,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
    is_object_type,
)
from graphql.execution.executor_throwing_on_incremental import ExecutorThrowingOnIncremental
from graphql.execution.values import get_argument_values
from graphql.pyutils import Path, gather_with_cancel

from bioscope_gql.schema.direct import DIRECT, STRAWBERRY, Column, Method
from bioscope_gql.schema.loaders import ABSENT, Loader
from bioscope_gql.schema.lookups import READY, Found, Lookup, as_it_is, peeked
from bioscope_gql.schema.reads import TABLE
from bioscope_gql.schema.views import View, type_name

CONSTANT = (StringValueNode, IntValueNode, FloatValueNode, BooleanValueNode, EnumValueNode, NullValueNode)
"""How an argument is written that is the same every time; lists and objects may hold variables."""


@dataclass(slots=True)
class Step:
    """One field of a selection. Without `column`, `method` and `lookup` it goes the long way."""

    name: str
    details: Any
    definition: GraphQLField | None = None
    type: Any = None
    nullable: bool = False
    column: str | None = None
    method: Callable[[Any], Any] | None = None
    write: Callable[[Any], Any] = str
    lookup: Lookup | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    shows: GraphQLObjectType | None = None
    """The type of the objects that it shows, one or, if `many`, a list of them; None for an abstract one."""
    many: bool = False
    leaf: bool = False
    leads: bool | None = None
    """Whether anything is looked up below it; None until somebody asks."""
    varies: bool = False
    """Whether its arguments may be others the next time."""


Asked: TypeAlias = tuple[Step, Sequence[Any]]
Planned: TypeAlias = dict[int, tuple[Any, list[Step]]]
"""The steps of a selection, by the identity of what graphql-core collected for it; that is kept with them."""


@dataclass(slots=True)
class Plans:
    """What was found out about one operation whose fields are the same whatever its variables say."""

    root: Any = None
    subfields: dict[tuple[GraphQLObjectType, int], tuple[Any, Any]] = field(default_factory=dict)
    steps: Planned = field(default_factory=dict)


class ViewExecutor(ExecutorThrowingOnIncremental):
    """Made by `build`, for one operation; `plans` are those that were kept of it."""

    def __init__(self, *args: Any, plans: Plans | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept = Plans() if plans is None else plans
        self._steps: Planned = {}
        self._ahead: set[int] = set()
        """Fields whose objects were read for from above, by the identity of their details."""

    def execute_collected_root_fields(self, root_type: Any, root: Any, fields: Any, *rest: Any) -> Any:
        """Every time that an operation is executed, and every event of a subscription, starts from the same
        fields: what is remembered of selections is found by their identity, and would grow with new ones."""
        if self._kept.root is None:
            self._kept.root = fields
        return super().execute_collected_root_fields(root_type, root, self._kept.root, *rest)

    def collect_subfields(self, return_type: GraphQLObjectType, details: Any) -> Any:
        key = return_type, id(details)
        known = self._kept.subfields.get(key)
        if known is None:
            known = self._kept.subfields[key] = details, super().collect_subfields(return_type, details)
        return known[1]

    def execute_fields(
        self, parent_type: GraphQLObjectType, source_value: Any, path: Path | None, fields: Any, context: None
    ) -> Any:
        if STRAWBERRY not in parent_type.extensions:
            return super().execute_fields(parent_type, source_value, path, fields, context)
        steps = self._plan(parent_type, fields)
        if path is None and any(step.lookup is None for step in steps):
            # What is no lookup may take long, as figures do: each field of the root begins at once.
            return super().execute_fields(parent_type, source_value, path, fields, context)
        values = self._values(steps, source_value)
        ahead = [
            (step, [source_value])
            for step, value in zip(steps, values, strict=True)
            if value is ABSENT and step.lookup is not None
        ]
        if not ahead:
            return self._answers(steps, values, parent_type, source_value, path)

        async def after() -> Any:
            await self._read(ahead)
            found = [
                self._peeked(step, source_value) if value is ABSENT else value
                for step, value in zip(steps, values, strict=True)
            ]
            answers = self._answers(steps, found, parent_type, source_value, path)
            return await answers if self.is_awaitable(answers) else answers

        return after()

    def _values(self, steps: Iterable[Step], source: Any) -> list[Any]:
        """What each field shows, as far as it is there already; otherwise `ABSENT`."""
        row = source.row if isinstance(source, View) else getattr(source, "__dict__", {})
        return [
            row.get(step.column, ABSENT) if step.column is not None else self._worked_out(step, source)
            for step in steps
        ]

    def _worked_out(self, step: Step, source: Any) -> Any:
        if step.method is None:
            return self._peeked(step, source)
        try:
            return step.method(source)
        except Exception:  # noqa: BLE001 - it comes again on the long way, and is told there with its place
            return ABSENT

    def _answers(
        self,
        steps: Iterable[Step],
        values: Iterable[Any],
        parent_type: GraphQLObjectType,
        source: Any,
        path: Path | None,
    ) -> Any:
        results: dict[str, Any] = {}
        waiting: list[str] = []
        try:
            for step, value in zip(steps, values, strict=True):
                answer = ABSENT
                if step.leaf and value is not ABSENT:
                    answer = self._written(step, value)
                if answer is ABSENT:
                    answer = self._answer(step, value, parent_type, source, path)
                    if answer is Undefined:
                        continue
                    if self.is_awaitable(answer):
                        waiting.append(step.name)
                results[step.name] = answer
        except Exception:
            self.settle_in_background([results[name] for name in waiting])
            raise
        return self._gathered(results, waiting) if waiting else results

    @staticmethod
    def _written(step: Step, value: Any) -> Any:
        """A leaf as it goes out; `ABSENT` where graphql-core should find out what is the matter."""
        if value is None:
            return None if step.nullable else ABSENT
        try:
            written = step.write(value)
        except Exception:  # noqa: BLE001 - it comes again on the long way, and is told there with its place
            return ABSENT
        return ABSENT if written is None or written is Undefined else written

    @staticmethod
    async def _gathered(results: dict[str, Any], waiting: list[str]) -> dict[str, Any]:
        if len(waiting) == 1:
            results[waiting[0]] = await results[waiting[0]]
        else:
            answers = await gather_with_cancel(*(results[name] for name in waiting))
            results.update(zip(waiting, answers, strict=True))
        return results

    def _answer(
        self, step: Step, value: Any, parent_type: GraphQLObjectType, source: Any, path: Path | None
    ) -> Any:
        """What is there already, where it is more than a leaf; anything else as graphql-core has it."""
        field_path = Path(path, step.name, parent_type.name)
        if value is ABSENT or step.definition is None or step.leaf:
            return self.execute_field(parent_type, source, step.details, field_path, None)
        try:
            if value is None and step.nullable:
                return None
            shows = step.shows or self._type_of(step, value)
            if shows is not None and not step.many and value is not None:
                answer = self.collect_and_execute_subfields(shows, step.details, field_path, value, None)
            else:
                nodes = [each.node for each in step.details]
                info = self.build_resolve_info(step.definition, nodes, parent_type, field_path)
                answer = self.complete_value(step.type, step.details, info, field_path, value, None)
        except Exception as error:  # noqa: BLE001 - graphql-core's own way with errors of fields
            self.handle_field_error(error, step.type, step.details, field_path)
            return None
        if self.is_awaitable(answer):
            return self._told(answer, step.type, step.details, field_path)
        return answer

    def _type_of(self, step: Step, value: Any) -> GraphQLObjectType | None:
        """The type of a view where an interface or union is promised; None where graphql-core should look."""
        if not isinstance(value, View):
            return None
        promised, found = get_nullable_type(step.type), self.schema.get_type(type_name(value))
        if not (is_abstract_type(promised) and isinstance(found, GraphQLObjectType)):
            return None
        return found if self.schema.is_sub_type(promised, found) else None

    def complete_object_value(
        self, return_type: GraphQLObjectType, details: Any, info: Any, path: Path, result: Any, context: None
    ) -> Any:
        if isinstance(result, View) and type_name(result) == return_type.name:
            return self.collect_and_execute_subfields(return_type, details, path, result, context)
        return super().complete_object_value(return_type, details, info, path, result, context)

    async def _told(self, answer: Awaitable[Any], type: GraphQLOutputType, details: Any, path: Path) -> Any:
        try:
            return await answer
        except Exception as error:  # noqa: BLE001 - graphql-core's own way with errors of fields
            self.handle_field_error(error, type, details, path)
            return None

    def _peeked(self, step: Step, source: Any) -> Any:
        if step.lookup is None:
            return ABSENT
        try:
            return peeked(step.lookup.find(self.context_value, source, **step.arguments))
        except Exception:  # noqa: BLE001 - it comes again on the long way, and is told there with its place
            return ABSENT

    def complete_list_value(
        self, return_type: Any, details: Any, info: Any, path: Path, result: Any, context: None
    ) -> Any:
        complete = super().complete_list_value
        item_type = get_nullable_type(return_type.of_type)
        is_read = id(details) in self._ahead
        if is_read or not (is_object_type(item_type) and isinstance(result, list) and result):
            return complete(return_type, details, info, path, result, context)
        asked = self._foreseen(item_type, details, [each for each in result if each is not None])
        if not asked:
            return complete(return_type, details, info, path, result, context)

        async def after() -> Any:
            await self._read(asked)
            completed = complete(return_type, details, info, path, result, context)
            return await completed if self.is_awaitable(completed) else completed

        return after()

    def _foreseen(self, type: GraphQLObjectType, details: Any, objects: Sequence[Any]) -> list[Asked]:
        """What a selection looks up, and what leads to more of it, each with what it starts from."""
        if not objects:
            return []
        steps = self._below(type, details)
        return [(step, objects) for step in steps if step.lookup is not None or self._leads(step)]

    def _leads(self, step: Step) -> bool:
        if step.leads is None:
            below = [] if step.shows is None else self._below(step.shows, step.details)
            step.leads = any(each.lookup is not None or self._leads(each) for each in below)
        return step.leads

    def _below(self, type: GraphQLObjectType, details: Any) -> list[Step]:
        return self._plan(type, self.collect_subfields(type, details).grouped_field_set)

    async def _read(self, asked: Iterable[Asked]) -> None:
        """Have loaders read what these fields will find, and what is looked up below in turn.

        What fails fails again at the field that wants it.
        """
        waiting: set[asyncio.Future[None]] = set()
        all_found: list[tuple[Step, list[Found]]] = []
        for step, objects in asked:
            found = [self._found(step, each) for each in objects]
            keys: dict[Loader, dict[Any, None]] = {}
            for each in found:
                if each is not None and each[0] is not READY:
                    keys.setdefault(each[0], {})[each[1]] = None
            for loader, wanted in keys.items():
                waiting |= loader.request(wanted)
            if self._leads(step):
                all_found.append((step, found))
        if waiting:
            await asyncio.wait(waiting)
        deeper = [each for step, found in all_found for each in self._beyond(step, found)]
        if deeper:
            await self._read(deeper)

    def _found(self, step: Step, source: Any) -> Found:
        """Where a field's answer lies, or what it is."""
        if step.lookup is None:
            [value] = self._values([step], source)
            return None if value is ABSENT else (READY, value, as_it_is)
        try:
            return step.lookup.find(self.context_value, source, **step.arguments)
        except Exception:  # noqa: BLE001 - it comes again on the long way, and is told there with its place
            return None

    def _beyond(self, step: Step, found: Iterable[Found]) -> list[Asked]:
        if step.shows is None:
            return []
        self._ahead.add(id(step.details))
        shown: dict[int, Any] = {}
        for value in map(peeked, found):
            for each in value if isinstance(value, list) else [value]:
                if each is not None and each is not ABSENT:
                    shown[id(each.row) if isinstance(each, View) else id(each)] = each
        return self._foreseen(step.shows, step.details, list(shown.values()))

    def _plan(self, type: GraphQLObjectType, fields: Any) -> list[Step]:
        """How each field of a selection is answered. graphql-core has one `fields` for all rows of a list."""
        known = self._kept.steps.get(id(fields)) or self._steps.get(id(fields))
        if known is None:
            steps = [self._step(type, name, details) for name, details in fields.items()]
            plans = self._steps if any(step.varies for step in steps) else self._kept.steps
            known = plans[id(fields)] = fields, steps
        return known[1]

    def _step(self, parent_type: GraphQLObjectType, name: str, details: Any) -> Step:
        step, node = Step(name, details), details[0].node
        definition = self.schema.get_field(parent_type, node.name.value)
        direct = definition.extensions.get(DIRECT) if definition else None
        if definition is None or direct is None:
            return step
        step.definition, step.type, inner = definition, definition.type, get_nullable_type(definition.type)
        step.nullable, step.leaf = inner is definition.type, is_leaf_type(inner)
        if is_leaf_type(inner):
            step.write = inner.coerce_output_value
        step.many = is_list_type(inner)
        shows = get_nullable_type(inner.of_type) if is_list_type(inner) else inner
        step.shows = shows if is_object_type(shows) else None
        if isinstance(direct, Column):
            step.column = direct.name
            if inner is GraphQLID and TABLE in parent_type.extensions:
                step.write = str
            return step
        if isinstance(direct, Method):
            step.method = direct.call
            return step
        step.varies = any(not isinstance(each.value, CONSTANT) for each in node.arguments or ())
        try:
            sent = get_argument_values(
                definition, node, self.variable_values, details[0].fragment_variable_values
            )
        except GraphQLError:
            # It is told, with its place, where the field is executed.
            return Step(name, details, varies=True)
        step.lookup, step.arguments = direct.lookup, direct.arguments(sent)
        return step
