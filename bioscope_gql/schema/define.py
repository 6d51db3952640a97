"""Strawberry's decorators with the habits of this house: a docstring is the description that clients read."""

import builtins
from collections.abc import Callable, Iterable, Mapping
from inspect import cleandoc
from typing import Any, TypeVar, dataclass_transform

import strawberry
from strawberry import UNSET

from bioscope_gql.resolvers import words
from bioscope_gql.schema.problems import ProblemsAsData

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def _doc(thing: Any) -> str | None:
    text = thing.__dict__.get("__doc__") if isinstance(thing, builtins.type) else thing.__doc__
    # dataclasses and enums write docstrings of their own
    return None if not text or text.startswith(f"{thing.__name__}(") else cleandoc(text)


@dataclass_transform(kw_only_default=True, field_specifiers=(strawberry.field,))
def type(cls: builtins.type[T]) -> builtins.type[T]:
    return strawberry.type(cls, description=_doc(cls))


@dataclass_transform(kw_only_default=True, field_specifiers=(strawberry.field,))
def interface(cls: builtins.type[T]) -> builtins.type[T]:
    return strawberry.interface(cls, description=_doc(cls))


@dataclass_transform(kw_only_default=True, field_specifiers=(strawberry.field,))
def input(cls: builtins.type[T]) -> builtins.type[T]:
    return strawberry.input(cls, description=_doc(cls))


def field(resolve: F) -> F:
    made: F = strawberry.field(resolver=resolve, description=_doc(resolve))
    return made


def reading(*columns: str) -> Callable[[F], F]:
    """A field of a view that reads these columns of its row and no others; `field` has the whole row read."""

    def declared(resolve: F) -> F:
        made: F = strawberry.field(resolver=resolve, description=_doc(resolve), metadata={"reads": columns})
        return made

    return declared


def mutation(resolve: F) -> F:
    """What raises a `Problem` answers with the member of its union that goes by the same name."""
    made: F = strawberry.mutation(resolver=resolve, description=_doc(resolve), extensions=[ProblemsAsData()])
    return made


def subscription(resolve: F) -> F:
    made: F = strawberry.subscription(resolver=resolve, description=_doc(resolve))
    return made


def sent(value: Any, default: Any = None) -> Any:
    """An optional argument: null and left out mean the default."""
    return default if value is UNSET or value is None else value


def given(sent_input: Any) -> Mapping[str, Any]:
    """The fields of an input that were sent, null ones too."""
    return {} if sent_input is UNSET or sent_input is None else _fields(sent_input, (UNSET,))


def wanted(sent_filter: Any) -> Mapping[str, Any]:
    """The fields of a filter that say something: neither left out nor null."""
    fields = {} if sent_filter is UNSET or sent_filter is None else _fields(sent_filter, (UNSET, None))
    return {name: _comparable(value) for name, value in fields.items()}


def stated(**arguments: Any) -> Mapping[str, Any]:
    """Those of a field's arguments that say something, as in a filter."""
    return {
        name: _comparable(value)
        for name, value in arguments.items()
        if value is not UNSET and value is not None
    }


def _comparable(value: Any) -> Any:
    if isinstance(value, list):
        return [_comparable(each) for each in value]
    return words.comparable(value) if isinstance(value, str) else value


def _fields(value: Any, without: Iterable[Any]) -> Mapping[str, Any]:
    left_out = {id(each) for each in without}
    return {name: each for name, each in vars(value).items() if id(each) not in left_out}
