"""Following one run: the state as it is now, then at every change, without a gap."""

from collections.abc import AsyncGenerator, Hashable, Sequence
from dataclasses import dataclass
from uuid import UUID

from bioscope_gql import policy
from bioscope_gql.db import Args, Row
from bioscope_gql.errors import Refusal
from bioscope_gql.live.hub import Reading, Watch
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers.paging import table_columns
from bioscope_gql.services import Services
from bioscope_gql.tables import Classification
from bioscope_gql.vocabulary import FINAL_STATUSES

MOST_ITEMS = 100
LAST_PLACE = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A version of a run, and the last item told of those that changed in it."""

    version: int = 0
    place: UUID = LAST_PLACE

    def __str__(self) -> str:
        return str(self.version) if self.place == LAST_PLACE else f"{self.version}.{self.place}"

    @classmethod
    def read(cls, text: str) -> "Cursor":
        """
        Raises:
            Refusal: it is no cursor of ours.
        """
        version, _, place = text.partition(".")
        try:
            if not version.isascii() or not version.isdigit():
                raise ValueError(version)
            return cls(min(int(version[:19]), 2**63 - 1), UUID(place) if place else LAST_PLACE)
        except ValueError:
            raise Refusal("`after` is not a cursor of this subscription. Take it from an update.") from None


@dataclass(frozen=True, slots=True)
class Update:
    cursor: str
    run: Row
    items: Sequence[Row]
    source: Hashable
    """Where it comes from: updates of the same source are the same."""


async def run(
    services: Services, viewer: Viewer, id: UUID | None, after: str | None
) -> AsyncGenerator[Update, None]:
    """The run as it is, then at every change; ends after a final state was told whole.

    Registers before it reads, so nothing is missed in between. Visibility is part of every read.

    Raises:
        Refusal: NOT_FOUND, when the run is absent, invisible, or has become so.
    """
    cursor = Cursor() if after is None else Cursor.read(after)
    if id is None:
        raise _not_found()
    async with services.hub.watching(id) as watch:
        told: Cursor | None = None
        while True:
            watch.clear()
            reading = await _read(services, watch, viewer, id, cursor)
            if not reading.rows:
                raise _not_found()
            [row] = reading.rows
            items, is_whole = row["changed"][:MOST_ITEMS], len(row["changed"]) <= MOST_ITEMS
            cursor = Cursor(row["version"]) if is_whole else Cursor(items[-1]["version"], items[-1]["id"])
            watch.told_version = cursor.version
            if cursor != told:
                yield Update(str(cursor), row, items, reading)
            told = cursor
            if is_whole and row["status"] in FINAL_STATUSES:
                return
            if is_whole:
                await watch.changed()


async def _read(services: Services, watch: Watch, viewer: Viewer, id: UUID, cursor: Cursor) -> Reading:
    """The run and the items that changed since the cursor, as of one moment (one snapshot)."""
    args = Args([id, cursor.version, cursor.place])
    sql = (
        f"select {table_columns(Classification, 't')}, array("
        "  select i from classification_items i where i.classification = t.id"
        "  and (i.version, i.id) > ($2, $3)"
        f" order by i.version, i.id limit {MOST_ITEMS + 1}) as changed"
        f" from classifications t where t.id = $1 and {policy.visible_classifications(viewer, args, 't')}"
    )
    return await services.hub.read(watch, services.db, sql, args)


def _not_found() -> Refusal:
    return Refusal("There is no run of this id that you may see.", "NOT_FOUND")
