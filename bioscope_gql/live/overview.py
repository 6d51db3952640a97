"""Following every run that somebody may see: what is open or new, then every change, without a gap.

The cursor is a transaction id, and means: everything that older transactions changed has been told. A run
bears the id of the transaction that changed it last; runs are told in the order of these ids, and nobody is
promised an id that a transaction still at work is older than (the snapshot's xmin): a time or a sequence
would lose who commits late. So after a cut some runs are told again, and none is missed.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from bioscope_gql import policy
from bioscope_gql.db import Args, Row
from bioscope_gql.errors import Refusal
from bioscope_gql.live.hub import Reading, Watch
from bioscope_gql.live.watch import MOST_ITEMS, Cursor, Update
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import classifications
from bioscope_gql.resolvers.classifications import COLUMNS
from bioscope_gql.resolvers.paging import Wanted
from bioscope_gql.services import Services

PAGE = 20
"""Runs that are read at once, each with up to 100 items: what a watcher who does not read on costs."""

MOST_REMEMBERED = 5_000
"""Runs of which a watcher knows what it told; of one that it forgot, the next update carries no items."""

PREFIX = "s"
FIRST_ID = UUID(int=0)
NEW = "(t.finished_at is null or t.finished_at > clock_timestamp() - interval '1 hour')"


@dataclass(slots=True)
class Told:
    """What one watcher has told, the run told last at the end."""

    runs: dict[UUID, Cursor] = field(default_factory=dict)

    def remember(self, row: Row) -> None:
        """A run is told as `row` has it, with the first of the items that changed."""
        run, changed = row["id"], row["changed"]
        self.runs.pop(run, None)
        if len(changed) > MOST_ITEMS:
            last = changed[MOST_ITEMS - 1]
            self.runs[run] = Cursor(last["version"], last["id"])
        elif row["admitted"]:
            self.runs[run] = Cursor(row["version"])
        if len(self.runs) > MOST_REMEMBERED:
            del self.runs[next(iter(self.runs))]

    def is_news(self, run: UUID, version: int) -> bool:
        return self.runs.get(run) != Cursor(version)


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over what changed: from which transaction on, and which runs count."""

    since: int
    only_new: bool = False
    """Only runs that are open, or finished in the last hour: of somebody who begins."""
    with_leavers: bool = False
    """Runs that the filter does not admit too: of somebody who comes back, and may have been told of them."""


async def runs(
    services: Services, viewer: Viewer, wanted: Wanted, after: str | None
) -> AsyncGenerator[Update, None]:
    """Every run that the viewer may see and the filter admits, then every change; it never ends by itself.

    A run's first update carries no items; one that leaves the filter is told once more. A slow watcher
    skips intermediate states. Visibility is part of every read.

    Raises:
        Refusal: `after` is no cursor of this subscription.
    """
    this = Round(0, only_new=True) if after is None else Round(_read_cursor(after), with_leavers=True)
    told = Told()
    async with services.hub.watching_all() as watch:
        while True:
            watch.clear()
            xmin, place = None, (this.since, FIRST_ID)
            while True:
                page = (await _changed(services, watch, viewer, wanted, this, place)).rows
                xmin = page[0]["xmin"] if xmin is None else xmin
                found = [row for row in page if row["id"] is not None]
                cursors = {row["id"]: f"{PREFIX}{min(row['xid'], xmin)}" for row in found}
                news = [row["id"] for row in found if told.is_news(row["id"], row["version"])]
                while news:
                    reading = await _states(services, watch, viewer, wanted, news, told)
                    news = [row["id"] for row in reading.rows if len(row["changed"]) > MOST_ITEMS]
                    for row in reading.rows:
                        if row["admitted"] or this.with_leavers or row["id"] in told.runs:
                            told.remember(row)
                            cursor = cursors[row["id"]]
                            source = (reading, row["id"], cursor)
                            yield Update(cursor, row, row["changed"][:MOST_ITEMS], source)
                if len(found) < PAGE:
                    break
                place = (found[-1]["xid"], found[-1]["id"])
            this = Round(xmin)
            await watch.changed()


async def _changed(
    services: Services,
    watch: Watch,
    viewer: Viewer,
    wanted: Wanted,
    this: Round,
    place: tuple[int, UUID],
) -> Reading:
    """The next runs that changed, oldest change first; where there are none, one row of nulls with `xmin`.

    What of a filter can change, a run's status, is not asked here: a run that leaves is told too.
    """
    args = Args(place)
    constant = {name: value for name, value in wanted.items() if name != "status"}
    conditions = [
        "(t.changed_xid, t.id) > ($1, $2)",
        policy.visible_classifications(viewer, args, "t"),
        *classifications.conditions(constant, args, "t"),
        *([NEW] if this.only_new else []),
    ]
    sql = (
        "select s.xmin, c.* from (select pg_snapshot_xmin(pg_current_snapshot()) as xmin) s left join ("
        " select t.id, t.version, t.changed_xid as xid from classifications t"
        f" where {' and '.join(conditions)} order by t.changed_xid, t.id limit {PAGE}) c on true"
        " order by c.xid, c.id"
    )
    return await services.hub.read(watch, services.db, sql, args)


async def _states(
    services: Services, watch: Watch, viewer: Viewer, wanted: Wanted, ids: Sequence[UUID], told: Told
) -> Reading:
    """The runs as they are now, in this order, each with the items that changed since it was told last."""
    cursors = [told.runs.get(id) for id in ids]
    args = Args([ids, [c and c.version for c in cursors], [c and c.place for c in cursors]])
    admitted = classifications.conditions(
        {name: value for name, value in wanted.items() if name == "status"}, args, "t"
    )
    sql = (
        f"select {COLUMNS}, {' and '.join(admitted) or 'true'} as admitted, array("
        "  select i from classification_items i where i.classification = t.id"
        "  and (i.version, i.id) > (k.version, k.place)"
        f" order by i.version, i.id limit {MOST_ITEMS + 1}) as changed"
        " from unnest($1::uuid[], $2::bigint[], $3::uuid[]) with ordinality k(id, version, place, ordinal)"
        " join classifications t on t.id = k.id"
        f" where {policy.visible_classifications(viewer, args, 't')} order by k.ordinal"
    )
    return await services.hub.read(watch, services.db, sql, args)


def _read_cursor(text: str) -> int:
    digits = text.removeprefix(PREFIX)
    if text == digits or not digits.isascii() or not digits.isdigit():
        raise Refusal("`after` is not a cursor of this subscription. Take it from an update.")
    return min(int(digits[:20]), 2**63 - 1)
