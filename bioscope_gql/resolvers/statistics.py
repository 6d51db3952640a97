"""Figures over what somebody may see, within a window of time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bioscope_gql.db import Args, Database
from bioscope_gql.errors import Refusal
from bioscope_gql.policy import VISIBLE, Viewer
from bioscope_gql.resolvers import words
from bioscope_gql.resolvers.labels import LabelCount
from bioscope_gql.resolvers.paging import Wanted, compare
from bioscope_gql.tables import Classification, ClassificationResult, Image, Table
from bioscope_gql.vocabulary import ClassificationStatus, TimeBucket

MOST_BUCKETS = 1000
DEFAULT_SPAN = timedelta(hours=24)
STEPS = {
    TimeBucket.HOUR: timedelta(hours=1),
    TimeBucket.DAY: timedelta(days=1),
    TimeBucket.WEEK: timedelta(weeks=1),
}
MONDAY = datetime(2001, 1, 1, tzinfo=UTC)
"""From here hours, days and weeks are counted, both ways. Not the first day there is: that asyncpg takes for
-infinity."""


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` (inclusive) to `until` (exclusive), in UTC; `wanted` names a dataset or a model."""

    since: datetime
    until: datetime
    bucket: TimeBucket
    dataset: str | None = None
    model_name: str | None = None
    model_version: str | None = None

    @property
    def buckets(self) -> list[datetime]:
        """The beginning of each bucket that the window touches."""
        step, first = STEPS[self.bucket], _begin(self.since, self.bucket)
        return [first + number * step for number in range(_count(self.since, self.until, self.bucket))]


@dataclass(frozen=True, slots=True)
class Figure:
    """How many there were, and how sure the models were on average; None where there are none."""

    count: int = 0
    average: float | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a window: all of them, by label (the most frequent first), by bucket (each one)."""

    total: Figure
    labels: Sequence[LabelCount]
    timeline: Sequence[tuple[datetime, Figure]]


def window(since: datetime | None, until: datetime | None, bucket: TimeBucket, **of: str | None) -> Window:
    """The last 24 hours unless told otherwise; without `until`, to the end of the bucket that is now.

    Raises:
        Refusal: it begins after its end, or has more buckets than fit.
    """
    now = datetime.now(UTC)
    try:
        begin = since or (until or now) - DEFAULT_SPAN
        end = until or _begin(now, bucket) + STEPS[bucket]
    except OverflowError:
        raise Refusal("`since` is out of the range of times.") from None
    if begin >= end:
        raise Refusal("`since` must lie before `until`.")
    if (count := _count(begin, end, bucket)) > MOST_BUCKETS:
        raise Refusal(
            f"From `since` to `until` there are {count:,} buckets of one {bucket.lower()}; {MOST_BUCKETS:,}"
            " fit. Choose a coarser `bucket` or a shorter time."
        )
    return Window(begin, end, bucket, **of)


def _begin(at: datetime, bucket: TimeBucket) -> datetime:
    return at - (at - MONDAY) % STEPS[bucket]


def _count(since: datetime, until: datetime, bucket: TimeBucket) -> int:
    return -((_begin(since, bucket) - until) // STEPS[bucket])


async def results(db: Database, viewer: Viewer, window: Window) -> Results:
    """What models said within the window, by one statement."""
    args = Args([STEPS[window.bucket], MONDAY])
    where = _where(ClassificationResult, viewer, window, args)
    rows = await db.rows(
        "select grouping(s.at, s.label) as level, s.at, s.label, coalesce(sum(s.count), 0)::bigint as count,"
        " sum(s.sum) / sum(s.count)::float8 as mean from ("
        "select date_bin($1::interval, t.created_at, $2::timestamptz) as at,"
        " t.label, count(*) as count, sum(confidence) as sum"
        f" from classification_results t where {where} group by 1, 2) s"
        " group by grouping sets ((s.at), (s.label), ()) order by 4 desc, s.label",
        *args,
    )
    by_level: dict[int, dict[object, Figure]] = {1: {}, 2: {}, 3: {}}
    for level, at, label, count, mean in rows:
        by_level[level][at or label] = Figure(count, mean)
    return Results(
        total=by_level[3][None],
        labels=[
            {"label": label, "count": figure.count, "average_confidence": figure.average}
            for label, figure in by_level[2].items()
        ],
        timeline=[(at, by_level[1].get(at, Figure())) for at in window.buckets],
    )


async def statuses(db: Database, viewer: Viewer, window: Window) -> Mapping[ClassificationStatus, int]:
    """How many of the runs made within the window have which status now; those that none has are left out."""
    args = Args()
    where = _where(Classification, viewer, window, args)
    rows = await db.rows(
        f"select t.status, count(*) as count from classifications t where {where} group by 1", *args
    )
    found = {row["status"]: row["count"] for row in rows}
    return {status: found[status] for status in ClassificationStatus if status in found}


async def image_count(db: Database, viewer: Viewer, window: Window) -> int:
    """How many pictures there are now."""
    args = Args()
    where = " and ".join(_of_dataset(Image, viewer, window, args))
    count: int = await db.value(f"select count(*) from images t where {where}", *args)
    return count


def _of_dataset(table: type[Table], viewer: Viewer, window: Window, args: Args) -> list[str]:
    found = [VISIBLE[table](viewer, args, "t")]
    if window.dataset is not None:
        found.append(f"t.dataset = {args(words.read_id(window.dataset))}")
    return found


_compared = compare({"model_name": "model_name =", "model_version": "model_version ="})


def _where(table: type[Table], viewer: Viewer, window: Window, args: Args) -> str:
    model: Wanted = {
        name: words.comparable(value)
        for name, value in (("model_name", window.model_name), ("model_version", window.model_version))
        if value is not None
    }
    return " and ".join(
        [
            *_of_dataset(table, viewer, window, args),
            *_compared(model, args, "t"),
            f"t.created_at >= {args(window.since)} and t.created_at < {args(window.until)}",
        ]
    )
