"""What a resolver of the schema can reach."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import strawberry

from bioscope_gql.db import Row
from bioscope_gql.errors import Unauthenticated
from bioscope_gql.live.places import Place
from bioscope_gql.policy import Viewer, Visit
from bioscope_gql.resolvers.paging import EVERYTHING, Shown
from bioscope_gql.schema.loaders import Batch, Loader
from bioscope_gql.services import Services
from bioscope_gql.tables import Table


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
    shown: Shown = field(default_factory=lambda: EVERYTHING)
    """The columns that the operation shows; no others need be read."""
    known: Mapping[type[Table], Mapping[UUID, Row]] = field(default_factory=dict)
    """Rows that were read for the operation already, by their ids; the caller may see them."""
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

    def loader(self, name: Hashable, batch: Batch, known: Mapping[Any, Any] | None = None) -> Loader:
        """The loader that goes by `name`, made on first use; it batches, and remembers what is `known`."""
        found = self._loaders.get(name)
        if found is None:
            found = self._loaders[name] = Loader(batch, self.tasks, known)
        return found


Info = strawberry.Info[Context, None]
