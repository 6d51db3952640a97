"""What a resolver of the schema can reach."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import strawberry
from strawberry.dataloader import DataLoader

from bioscope_gql.errors import Unauthenticated
from bioscope_gql.live.places import Place
from bioscope_gql.policy import Viewer, Visit
from bioscope_gql.services import Services

Batch = Callable[[Sequence[Any]], Any]


class Loader(DataLoader[Any, Any]):
    """A DataLoader of which several wait for one row, and none takes it from the others.

    When a field fails, graphql-core cancels its neighbours; without the shield that would cancel the row that
    they wait for, and with it whoever else does, up to the request itself.
    """

    def load(self, key: Any) -> asyncio.Future[Any]:
        return asyncio.shield(super().load(key))


@dataclass(slots=True)
class Context:
    """Lives as long as one operation; its loaders as long as one event of it."""

    services: Services
    caller: Viewer | None
    request_id: str = ""
    origin: str = ""
    visit: Visit = field(default_factory=Visit)
    read_cookie: Callable[[], str | None] = lambda: None
    """The refresh token of the caller's cookie, where it may be honoured."""
    write_cookie: Callable[[str, int], None] = lambda _token, _seconds: None
    """Has the caller's browser keep a refresh token for so many seconds."""
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    place: Place = field(default_factory=Place)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    """Batches that are being loaded; a loader's are tasks of their own, which nobody else knows."""
    _loaders: dict[Hashable, Loader] = field(default_factory=dict)

    @property
    def viewer(self) -> Viewer:
        """Whoever asks.

        Raises:
            Unauthenticated: nobody signed in.
        """
        if self.caller is None:
            raise Unauthenticated("Sign in first: send `Authorization: Bearer <access token>`.")
        return self.caller

    def loader(self, name: Hashable, batch: Batch, key: Callable[[Any], Hashable] | None = None) -> Loader:
        """The loader that goes by `name`, made on first use; it batches, and remembers by `key`."""
        found = self._loaders.get(name)
        if found is None:
            found = self._loaders[name] = Loader(self._owned(batch), cache_key_fn=key)
        return found

    def _owned(self, batch: Batch) -> Batch:
        async def load(keys: Sequence[Any]) -> Any:
            task = asyncio.current_task()
            if task is not None:
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
            return await batch(keys)

        return load


Info = strawberry.Info[Context, None]
