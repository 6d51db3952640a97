"""Fields whose answer lies in a loader under a key that the row tells.

`transport/executor.py` knows them: before it goes through a list it has the loaders read for all of its rows,
and then takes each answer without waiting. Anywhere else they are resolvers like others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import strawberry
from strawberry import UNSET

from bioscope_gql.schema import define
from bioscope_gql.schema.context import Context, Info
from bioscope_gql.schema.loaders import ABSENT, Loader

Show = Callable[[Any], Any]
Found = tuple[Loader | None, Any, Show] | None
"""The loader, the key there, and how its answer is shown; None where the answer is null."""

READY = None
"""Instead of a loader: nothing has to be read, the key is the answer."""

Find = Callable[[Any], Found]
"""Takes an object, such as a view."""

Begin = Callable[..., Find]
"""Takes a context and the arguments of the field, and finds for any number of objects."""


def as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where an answer is found."""

    begin: Begin

    def resolve(self, context: Context, root: Any, **arguments: Any) -> Any:
        """The answer if it was read already, otherwise something to wait for."""
        found = self.begin(context, **arguments)(root)
        if found is None:
            return None
        loader, key, show = found
        value = peeked(found)
        return _later(loader, key, show) if value is ABSENT and loader is not None else value


def peeked(found: Found) -> Any:
    """The answer as it is shown, if it is there already; otherwise `ABSENT`."""
    if found is None:
        return None
    loader, key, show = found
    value = key if loader is None else loader.peek(key)
    return value if value is ABSENT else show(value)


async def _later(loader: Loader, key: Any, show: Show) -> Any:
    return show(await loader.load(key))


def looked_up(
    begin: Callable[[Context], Find], description: str | None = None, *, reads: Sequence[str] | None = None
) -> Any:
    """A field without arguments. `reads` are the columns of the row that are looked at; None: any."""
    lookup = Lookup(begin)

    def resolve(root: Any, info: Info) -> Any:
        return lookup.resolve(info.context, root)

    return _field(resolve, description, lookup, reads)


def looked_up_by_id(begin: Begin, description: str) -> Any:
    """A field of the root that takes an id."""
    lookup = Lookup(begin)

    def resolve(root: Any, info: Info, id: strawberry.ID) -> Any:
        return lookup.resolve(info.context, root, id=id)

    return _field(resolve, description, lookup, None)


def looked_up_by_model(
    begin: Callable[[Context, Mapping[str, Any]], Find], description: str, *, reads: Sequence[str]
) -> Any:
    """A field that may be asked about one model; `begin` is told which."""

    def begin_wanted(context: Context, model_name: Any = UNSET, model_version: Any = UNSET) -> Find:
        return begin(context, define.stated(model_name=model_name, model_version=model_version))

    lookup = Lookup(begin_wanted)

    def resolve(
        root: Any, info: Info, model_name: str | None = UNSET, model_version: str | None = UNSET
    ) -> Any:
        return lookup.resolve(info.context, root, model_name=model_name, model_version=model_version)

    return _field(resolve, description, lookup, reads)


def _field(
    resolve: Callable[..., Any], description: str | None, lookup: Lookup, reads: Sequence[str] | None
) -> Any:
    facts = {"lookup": lookup} if reads is None else {"lookup": lookup, "reads": reads}
    return strawberry.field(resolver=resolve, description=description, metadata=facts)
