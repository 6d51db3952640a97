"""What a resolver of the schema can reach."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import strawberry
from strawberry.dataloader import DataLoader

from bioscope_gql.errors import Unauthenticated
from bioscope_gql.policy import Viewer, Visit
from bioscope_gql.services import Services

Batch = Callable[[Sequence[Any]], Any]


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
    _loaders: dict[Hashable, DataLoader[Any, Any]] = field(default_factory=dict)

    @property
    def viewer(self) -> Viewer:
        """Whoever asks.

        Raises:
            Unauthenticated: nobody signed in.
        """
        if self.caller is None:
            raise Unauthenticated("Sign in first: send `Authorization: Bearer <access token>`.")
        return self.caller

    def loader(
        self, name: Hashable, batch: Batch, key: Callable[[Any], Hashable] | None = None
    ) -> DataLoader[Any, Any]:
        """The loader that goes by `name`, made on first use; it batches, and remembers by `key`."""
        found = self._loaders.get(name)
        if found is None:
            found = self._loaders[name] = DataLoader(batch, cache_key_fn=key)
        return found


Info = strawberry.Info[Context, None]
