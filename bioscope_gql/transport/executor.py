"""graphql-core's executor with two shortcuts. What it answers, errors too, is what graphql-core answers.

A column of a view is read and written without a resolver. Before a list of views is gone through, all that
its rows point to is read: a field then takes its answer instead of waiting for it, and no coroutine is made
for each row and edge. Whatever is out of the ordinary goes the long way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from graphql import (
    GraphQLError,
    GraphQLObjectType,
    GraphQLOutputType,
    Undefined,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_object_type,
)
from graphql.execution.executor_throwing_on_incremental import ExecutorThrowingOnIncremental
from graphql.execution.values import get_argument_values
from graphql.pyutils import Path, gather_with_cancel

from bioscope_gql.schema.direct import DIRECT, Column
from bioscope_gql.schema.loaders import ABSENT, Loader
from bioscope_gql.schema.lookups import Found, Lookup
from bioscope_gql.schema.views import View


@dataclass(slots=True)
class Step:
    """One field of a selection. Without `column` and `lookup` it goes the long way."""

    name: str
    details: Any
    type: GraphQLOutputType | None = None
    nullable: bool = False
    column: str | None = None
    write: Callable[[Any], Any] = str
    lookup: Lookup | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    shows: GraphQLObjectType | None = None
    """Of a lookup: the type of the view that it shows, one or, if `many`, a list of them."""
    many: bool = False
    leaf: bool = False


Asked: TypeAlias = tuple[Step, Sequence[View]]


class ViewExecutor(ExecutorThrowingOnIncremental):
    """Made by `build`, for one operation."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._plans: dict[int, tuple[Any, list[Step]]] = {}
        self._roots: dict[GraphQLObjectType, Any] = {}

    def execute_collected_root_fields(
        self, root_type: GraphQLObjectType, root_value: Any, fields: Any, serially: bool, deferred: Any
    ) -> Any:
        """Every event of a subscription starts from the fields that the first one found.

        The executors of events share what is remembered of selections, and it is found by the identity of
        their fields: with new ones for each event it would grow as long as somebody watches.
        """
        fields = self._roots.setdefault(root_type, fields)
        return super().execute_collected_root_fields(root_type, root_value, fields, serially, deferred)

    def execute_fields(
        self, parent_type: GraphQLObjectType, source_value: Any, path: Path | None, fields: Any, context: None
    ) -> Any:
        if not isinstance(source_value, View):
            return super().execute_fields(parent_type, source_value, path, fields, context)
        row = source_value.row
        results: dict[str, Any] = {}
        waiting: list[str] = []
        try:
            for step in self._plan(parent_type, fields):
                value = self._column(step, row) if step.column is not None else ABSENT
                if value is ABSENT:
                    value = self._answer(step, parent_type, source_value, path)
                    if value is Undefined:
                        continue
                    if self.is_awaitable(value):
                        waiting.append(step.name)
                results[step.name] = value
        except Exception:
            self.settle_in_background([results[name] for name in waiting])
            raise
        return self._gathered(results, waiting) if waiting else results

    def _column(self, step: Step, row: Any) -> Any:
        try:
            value = row[step.column]
        except KeyError:
            return ABSENT
        return self._written(step, str(value) if isinstance(value, UUID) else value)

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

    def _answer(self, step: Step, parent_type: GraphQLObjectType, source: View, path: Path | None) -> Any:
        """What was read already, if it is a leaf or a view; anything else as graphql-core has it."""
        shown = self._peeked(step, source) if step.leaf or (step.shows and not step.many) else ABSENT
        if step.leaf and shown is not ABSENT:
            shown = self._written(step, shown)
            if shown is not ABSENT:
                return shown
        field_path = Path(path, step.name, parent_type.name)
        if step.type is None or step.shows is None or not isinstance(shown, View):
            return self.execute_field(parent_type, source, step.details, field_path, None)
        try:
            answer = self.collect_and_execute_subfields(step.shows, step.details, field_path, shown, None)
        except Exception as error:  # noqa: BLE001 - graphql-core's own way with errors of fields
            self.handle_field_error(error, step.type, step.details, field_path)
            return None
        if self.is_awaitable(answer):
            return self._told(answer, step.type, step.details, field_path)
        return answer

    async def _told(self, answer: Awaitable[Any], type: GraphQLOutputType, details: Any, path: Path) -> Any:
        try:
            return await answer
        except Exception as error:  # noqa: BLE001 - graphql-core's own way with errors of fields
            self.handle_field_error(error, type, details, path)
            return None

    def _peeked(self, step: Step, source: View) -> Any:
        found = self._found(step, source)
        if found is None:
            return ABSENT
        loader, key, show = found
        value = loader.peek(key)
        return ABSENT if value is ABSENT else show(value)

    def _found(self, step: Step, view: View) -> Found:
        return step.lookup.find(self.context_value, view, **step.arguments) if step.lookup else None

    def complete_list_value(
        self, return_type: Any, details: Any, info: Any, path: Path, result: Any, context: None
    ) -> Any:
        complete = super().complete_list_value
        item_type = get_nullable_type(return_type.of_type)
        if not (is_object_type(item_type) and isinstance(result, list) and len(result) > 1):
            return complete(return_type, details, info, path, result, context)
        views = [each for each in result if isinstance(each, View)]
        asked = self._foreseen(item_type, details, views)
        if not asked:
            return complete(return_type, details, info, path, result, context)

        async def after() -> Any:
            await self._read(asked)
            completed = complete(return_type, details, info, path, result, context)
            return await completed if self.is_awaitable(completed) else completed

        return after()

    def _foreseen(self, type: GraphQLObjectType, details: Any, views: Sequence[View]) -> list[Asked]:
        """The lookups that a selection makes, each with the views that it starts from."""
        if not views:
            return []
        steps = self._plan(type, self.collect_subfields(type, details).grouped_field_set)
        return [(step, views) for step in steps if step.lookup is not None]

    async def _read(self, asked: Iterable[Asked]) -> None:
        """Have loaders read what these lookups will find, and what their views look up in turn.

        What fails fails again at the field that wants it.
        """
        waiting: set[asyncio.Future[None]] = set()
        for step, views in asked:
            keys: dict[Loader, dict[Any, None]] = {}
            for found in (self._found(step, view) for view in views):
                if found is not None:
                    keys.setdefault(found[0], {})[found[1]] = None
            for loader, wanted in keys.items():
                waiting |= loader.request(wanted)
        if waiting:
            await asyncio.wait(waiting)
        deeper = [each for step, views in asked for each in self._beyond(step, views)]
        if deeper:
            await self._read(deeper)

    def _beyond(self, step: Step, views: Sequence[View]) -> list[Asked]:
        if step.shows is None:
            return []
        shown: dict[int, View] = {}
        for view in views:
            value = self._peeked(step, view)
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, View):
                    shown[id(each.row)] = each
        return self._foreseen(step.shows, step.details, list(shown.values()))

    def _plan(self, type: GraphQLObjectType, fields: Any) -> list[Step]:
        """How each field of a selection is answered. graphql-core has one `fields` for all rows of a list."""
        known = self._plans.get(id(fields))
        if known is None:
            steps = [self._step(type, name, details) for name, details in fields.items()]
            known = self._plans[id(fields)] = fields, steps
        return known[1]

    def _step(self, parent_type: GraphQLObjectType, name: str, details: Any) -> Step:
        step, node = Step(name, details), details[0].node
        definition = self.schema.get_field(parent_type, node.name.value)
        direct = definition.extensions.get(DIRECT) if definition else None
        if definition is None or direct is None:
            return step
        step.type, inner = definition.type, get_nullable_type(definition.type)
        step.nullable, step.leaf = inner is definition.type, is_leaf_type(inner)
        if is_leaf_type(inner):
            step.write = inner.coerce_output_value
        if isinstance(direct, Column):
            step.column, step.leaf = (direct.name if step.leaf else None), False
            return step
        try:
            sent = get_argument_values(
                definition, node, self.variable_values, details[0].fragment_variable_values
            )
        except GraphQLError:
            return Step(name, details)  # it is told, with its place, where the field is executed
        step.lookup, step.arguments = direct.lookup, direct.arguments(sent)
        step.many = is_list_type(inner)
        shows = get_nullable_type(inner.of_type) if is_list_type(inner) else inner
        step.shows = shows if is_object_type(shows) else None
        return step
