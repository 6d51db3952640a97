"""Who in this process is watching which run, and what changed that others should hear of.

The database says what, a signal only says that: a watcher has one flag, however much happens.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

from bioscope_gql.db import Database, Row
from bioscope_gql.live.once import Once


@dataclass(frozen=True, slots=True)
class Change:
    """A run that is at `version` now."""

    run: UUID
    dataset: UUID
    version: int


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What was found at once; two are the same only if they are one."""

    rows: Sequence[Row]


class Watch:
    """One watcher's flag, and the version that it told last where it watches one run."""

    def __init__(self) -> None:
        self.told_version = 0
        self.moment: int | None = None
        """Of the last time that it was woken: the same for all who were woken then."""
        self._changed = asyncio.Event()

    def wake(self, moment: int) -> None:
        self.moment = moment
        self._changed.set()

    def clear(self) -> None:
        """To be called before the state is read: what changes from then on sets the flag again."""
        self._changed.clear()

    async def changed(self) -> None:
        await self._changed.wait()


class Hub:
    """Wakes the watchers of this process, and keeps what other replicas have not been told yet."""

    def __init__(self) -> None:
        self._watches: dict[UUID, set[Watch]] = {}
        self._wide: set[Watch] = set()
        self._untold: dict[UUID, Change] = {}
        self._has_untold = asyncio.Event()
        self._moments = count()
        self._readings: Once[Reading] = Once()

    @asynccontextmanager
    async def watching(self, run: UUID) -> AsyncGenerator[Watch, None]:
        watch = Watch()
        self._watches.setdefault(run, set()).add(watch)
        try:
            yield watch
        finally:
            left = self._watches[run]
            left.discard(watch)
            if not left:
                del self._watches[run]

    @asynccontextmanager
    async def watching_all(self) -> AsyncGenerator[Watch, None]:
        watch = Watch()
        self._wide.add(watch)
        try:
            yield watch
        finally:
            self._wide.discard(watch)

    def tell(self, change: Change) -> None:
        """A change was committed here: wake who watches it, and let the other replicas know.

        Of several changes of one run only the newest is kept, so an outage of the broker costs no memory.
        """
        self.wake(change.run)
        self._untold[change.run] = change
        self._has_untold.set()

    def wake(self, run: UUID) -> None:
        self.wake_one(run)
        self.wake_wide()

    def wake_one(self, run: UUID) -> None:
        """Wake who watches this run and no other."""
        self._wake(self._watches.get(run, ()))

    def wake_wide(self) -> None:
        """Wake who watches more than one run."""
        self._wake(self._wide)

    def _wake(self, watches: Iterable[Watch]) -> None:
        moment = next(self._moments)
        for watch in watches:
            watch.wake(moment)

    async def read(self, watch: Watch, db: Database, sql: str, args: Sequence[Any]) -> "Reading":
        """What a statement finds. Watchers that were woken together and have the same question ask it once.

        What somebody may see is a part of the statement and its values, so who shares a reading may see the
        same. To be called after `Watch.clear`: whatever is read was asked for after the last change that
        any of them knows of. A watcher that was not woken yet asks by itself.
        """

        async def ask() -> Reading:
            return Reading(await db.rows(sql, *args))

        if watch.moment is None:
            return await ask()
        return await self._readings.get((watch.moment, sql, repr(args)), ask)

    async def untold(self) -> list[Change]:
        """Wait for changes that others should hear of, and take them."""
        await self._has_untold.wait()
        self._has_untold.clear()
        changes = list(self._untold.values())
        self._untold.clear()
        return changes

    @property
    def is_watched_wide(self) -> bool:
        """Whether anybody watches more than one run."""
        return bool(self._wide)

    @property
    def watched(self) -> dict[UUID, int]:
        """The runs that are watched, with the oldest version that one of their watchers told last."""
        return {run: min(w.told_version for w in watches) for run, watches in self._watches.items()}
