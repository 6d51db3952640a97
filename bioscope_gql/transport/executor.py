"""graphql-core's executor with three short ways. What it answers, errors too, is what graphql-core answers.

What an object simply has, a column of its row or an attribute, is read and written without a resolver. Before
objects are gone through, all that they point to is read, so that the rest is one walk that waits for nothing.
And what was found out about an operation is kept for the next time that it is sent. Whatever is out of the
ordinary goes the long way.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

from graphql import GraphQLObjectType, Undefined, get_nullable_type, is_object_type
from graphql.execution.executor_throwing_on_incremental import ExecutorThrowingOnIncremental
from graphql.pyutils import Path

from bioscope_gql.schema.direct import STRAWBERRY
from bioscope_gql.schema.loaders import ABSENT, Loader
from bioscope_gql.schema.lookups import READY, Find, Found, Lookup, as_it_is, peeked
from bioscope_gql.schema.views import View, type_name
from bioscope_gql.transport.plans import Planned, Plans, Step, step_of

Asked: TypeAlias = tuple[Step, Sequence[Any]]


class _LongWayError(Exception):
    """What the walk met is not there yet, or not as it was promised."""


def _row(shown: Any) -> Any:
    """What an object simply has: a mapping of the columns of its row, or of its attributes."""
    return shown.row if isinstance(shown, View) else getattr(shown, "__dict__", {})


class ViewExecutor(ExecutorThrowingOnIncremental):
    """Made by `build`, for one operation; `plans` are those that were kept of it."""

    def __init__(self, *args: Any, plans: Plans | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._kept = Plans() if plans is None else plans
        self._steps: Planned = {}
        self.begin_reading()

    def begin_reading(self) -> None:
        """Forget what was found with another context."""
        self._ahead: set[int] = set()
        """Fields whose objects were read for from above, by the identity of their details."""
        self._finds: dict[int, Find] = {}
        """Lookups that began with this context, by the identity of their steps."""

    def build_per_event_executor(self, payload: Any) -> "ViewExecutor":
        executor = cast("ViewExecutor", super().build_per_event_executor(payload))
        executor.begin_reading()
        return executor

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
        execute = super().execute_fields
        steps = self._plan(parent_type, fields) if STRAWBERRY in parent_type.extensions else []
        if not steps or not all(map(self._is_plain, steps)):
            return execute(parent_type, source_value, path, fields, context)
        answer = self._walked(steps, source_value)
        if answer is not ABSENT:
            return answer
        ahead = self._foreseen(steps, [source_value])
        if not ahead:
            return execute(parent_type, source_value, path, fields, context)

        async def after() -> Any:
            await self._read(ahead)
            answer = self._walked(steps, source_value)
            if answer is ABSENT:
                answer = execute(parent_type, source_value, path, fields, context)
            return await answer if self.is_awaitable(answer) else answer

        return after()

    def _is_plain(self, step: Step) -> bool:
        """Whether the walk can answer a field with all below it. Below an abstract type it finds out."""
        if step.is_plain is None:
            below = [] if step.shows is None else self._below(step.shows, step.details)
            step.is_plain = step.direct and all(map(self._is_plain, below))
        return step.is_plain

    def _walked(self, steps: Iterable[Step], shown: Any) -> Any:
        """An object as it goes out with all below it; `ABSENT` where graphql-core should find out more.

        Nothing is done on the way, so whatever fails fails again there, and is told with its place.
        """
        try:
            return self._object(steps, shown)
        except Exception:  # noqa: BLE001 - see above
            return ABSENT

    def _object(self, steps: Iterable[Step], shown: Any) -> dict[str, Any]:
        row = _row(shown)
        answers: dict[str, Any] = {}
        for step in steps:
            value = row.get(step.column, ABSENT) if step.column is not None else self._value(step, shown)
            if value is None:
                if not step.nullable:
                    raise _LongWayError
            elif value is ABSENT:
                raise _LongWayError
            elif step.many:
                value = self._list(step, value)
            elif step.write is not None:
                value = step.write(value)
                if value is None or value is Undefined:
                    raise _LongWayError
            else:
                value = self._object(self._steps_of(step, value), value)
            answers[step.name] = value
        return answers

    def _list(self, step: Step, values: Any) -> list[Any]:
        if not isinstance(values, list) or (None in values and not step.nullable_items):
            raise _LongWayError
        if step.write is not None:
            items = [None if each is None else step.write(each) for each in values]
            if Undefined in items or (None in items and not step.nullable_items):
                raise _LongWayError
            return items
        steps = None if step.shows is None else self._below(step.shows, step.details)
        return [
            None if each is None else self._object(steps or self._steps_of(step, each), each)
            for each in values
        ]

    def _value(self, step: Step, shown: Any) -> Any:
        if step.method is not None:
            return step.method(shown, self.context_value)
        if step.lookup is None:
            raise _LongWayError
        return peeked(self._find(step, step.lookup)(shown))

    def _find(self, step: Step, lookup: Lookup) -> Find:
        find = self._finds.get(id(step))
        if find is None:
            find = self._finds[id(step)] = lookup.begin(self.context_value, **step.arguments)
        return find

    def _steps_of(self, step: Step, value: Any) -> list[Step]:
        """How what is selected of a value is answered."""
        if step.shows is not None:
            return self._below(step.shows, step.details)
        found = self.schema.get_type(type_name(value)) if isinstance(value, View) else None
        if not isinstance(found, GraphQLObjectType) or not self.schema.is_sub_type(step.promises, found):
            raise _LongWayError
        return self._below(found, step.details)

    def complete_list_value(
        self, return_type: Any, details: Any, info: Any, path: Path, result: Any, context: None
    ) -> Any:
        complete = super().complete_list_value
        item_type = get_nullable_type(return_type.of_type)
        is_read = id(details) in self._ahead
        if is_read or not (is_object_type(item_type) and isinstance(result, list) and result):
            return complete(return_type, details, info, path, result, context)
        steps = self._below(item_type, details)
        asked = self._foreseen(steps, [each for each in result if each is not None])
        if not asked:
            return complete(return_type, details, info, path, result, context)

        async def after() -> Any:
            await self._read(asked)
            completed = complete(return_type, details, info, path, result, context)
            return await completed if self.is_awaitable(completed) else completed

        return after()

    def _foreseen(self, steps: Iterable[Step], objects: Sequence[Any]) -> list[Asked]:
        """What a selection looks up, and what leads to more of it, each with what it starts from."""
        if not objects:
            return []
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

    def _found(self, step: Step, shown: Any) -> Found:
        """Where a field's answer lies, or what it is."""
        try:
            if step.lookup is not None:
                return self._find(step, step.lookup)(shown)
            value = _row(shown)[step.column] if step.column is not None else self._value(step, shown)
        except Exception:  # noqa: BLE001 - it comes again on the long way, and is told there with its place
            return None
        return READY, value, as_it_is

    def _beyond(self, step: Step, found: Iterable[Found]) -> list[Asked]:
        if step.shows is None:
            return []
        self._ahead.add(id(step.details))
        shown: dict[int, Any] = {}
        for value in map(peeked, found):
            for each in value if isinstance(value, list) else [value]:
                if each is not None and each is not ABSENT:
                    shown[id(each.row) if isinstance(each, View) else id(each)] = each
        return self._foreseen(self._below(step.shows, step.details), list(shown.values()))

    def _plan(self, type: GraphQLObjectType, fields: Any) -> list[Step]:
        """How each field of a selection is answered. graphql-core has one `fields` for all rows of a list."""
        known = self._kept.steps.get(id(fields)) or self._steps.get(id(fields))
        if known is None:
            steps = [
                step_of(self.schema, type, name, details, self.variable_values)
                for name, details in fields.items()
            ]
            plans = self._steps if any(step.varies for step in steps) else self._kept.steps
            known = plans[id(fields)] = fields, steps
        return known[1]
