"""The ledger between the database and the workers: what is handed out, renewed, and taken back.

Every function may be called by any replica at any time: an advisory lock per model, conditional
updates and SKIP LOCKED see to it that they don't add up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from bioscope_gql.db import Row
from bioscope_gql.live.hub import Change
from bioscope_gql.resolvers import runs
from bioscope_gql.resolvers.models import LIVE
from bioscope_gql.services import Services

MOST_IN_FLIGHT = 2000
IN_FLIGHT_UNKNOWN = 32
RATE_SECONDS = 10
LAST_COUNT = 5
"""As many of the last pictures, if all of them were seen at work, tell how long one takes."""

RATE_COUNT = 5000
"""As many answers as are looked at to judge a model's pace: those of the last second, or of the last ten."""

SWEPT_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Demand:
    """A model that has pictures waiting and a worker to take them.

    `rate`: pictures answered per second lately; None where there was none.
    `seconds`: how long the last ones took from `started` to the answer; None where some said none.
    """

    model: UUID
    concurrency: int
    rate: float | None
    seconds: float | None = None

    @property
    def pace(self) -> float | None:
        """Pictures per second that its workers surely do; None while nothing is known.

        A model that takes a minute answers nothing for most of the time, and several pictures at once then.
        """
        steady = max(self.concurrency, 1) / self.seconds if self.seconds else None
        return min((each for each in (self.rate, steady) if each is not None), default=None)

    @property
    def window(self) -> int:
        """How many pictures may be in flight: what the workers do in two seconds, within bounds."""
        rate = self.pace if self.rate is None else self.rate
        if rate is None:
            return max(IN_FLIGHT_UNKNOWN, 2 * self.concurrency)
        return int(min(MOST_IN_FLIGHT, max(2 * rate, 4, 2 * self.concurrency)))

    def patience(self, lease_seconds: float, in_flight: int) -> float:
        """For how many seconds what is handed out now may wait for its turn."""
        pace = self.pace
        return lease_seconds if pace is None else max(lease_seconds, 3 * in_flight / pace)

    @property
    def overdue_seconds(self) -> float:
        """After how long an answer is far later than this pace explains, and its picture no sign of work.

        With a replica that was killed, its share of the answers lies unread until Kafka notices; the others
        go on meanwhile.
        """
        return math.inf if not self.pace else 1 + 1.5 * self.window / self.pace


async def demands(services: Services) -> list[Demand]:
    """The models for which something can be handed out now."""
    rows = await services.db.rows(
        f"""select m.id, coalesce(l.concurrency, 0)::int as concurrency, r.rate, s.seconds
        from models m
        cross join lateral (
          select sum(w.concurrency) as concurrency from workers w where w.model = m.id and {LIVE}) l
        cross join lateral (
          select greatest(
              count(*) filter (where f.finished_at > clock_timestamp() - interval '1 second'),
              count(*)::float8 / {RATE_SECONDS}) as rate
          from (
            select f.finished_at from classification_items f where f.model = m.id
            and f.finished_at > clock_timestamp() - interval '{RATE_SECONDS} seconds'
            order by f.finished_at desc limit {RATE_COUNT}) f) r
        cross join lateral (
          select case when bool_and(f.started_at > f.dispatched_at)
            then avg(extract(epoch from f.finished_at - f.started_at))::float8 end as seconds
          from (
            select f.finished_at, f.started_at, f.dispatched_at from classification_items f
            where f.model = m.id and f.finished_at is not null
            order by f.finished_at desc limit {LAST_COUNT}) f) s
        where (m.is_static or l.concurrency > 0)
          and exists (select from classifications c where c.model = m.id and c.finished_at is null)"""
    )
    return [
        Demand(row["id"], row["concurrency"], row["rate"] or None, row["seconds"] or None) for row in rows
    ]


async def take(services: Services, demand: Demand) -> list[Row]:
    """Lease what waits for a model, as much as its window has room for, and say what it is.

    Fair: the higher priority first; within one, every run gets its turn, those with less in flight
    before those with more. What is returned is committed as dispatched, so it must be published.
    """
    lease = services.settings.limits.lease_seconds
    async with services.db.transaction() as tx:
        mine = await tx.fetchval(
            "select pg_try_advisory_xact_lock(hashtextextended($1::uuid::text, 7))", demand.model
        )
        if not mine:
            return []
        [(flying, overdue)] = await tx.fetch(
            """select count(*),
              count(*) filter (where extract(epoch from clock_timestamp() - dispatched_at) > $2)
            from classification_items
            where model = $1 and lease_until is not null and status in ('QUEUED', 'RUNNING')""",
            demand.model,
            demand.overdue_seconds,
        )
        room = demand.window - flying + min(overdue, demand.window)
        if room <= 0:
            return []
        wait = demand.patience(lease, flying + room)
        taken: list[Row] = await tx.fetch(_take(room), demand.model, float(wait))
    return taken


def _take(room: int) -> str:
    """Limits are literals: with parameters PostgreSQL's generic plan turned 6 ms into 40.

    The picked ids are an array: joined, and without statistics yet, they were picked anew for every queued
    item (1.9 s for 400).
    """
    return f"""
with open_runs as materialized (
  select c.id, c.priority, f.flying, count(*) over (partition by c.priority) as rivals
  from classifications c cross join lateral (
    select count(*) as flying from classification_items f
    where f.model = $1 and f.classification = c.id and f.lease_until is not null
      and f.status in ('QUEUED', 'RUNNING')) f
  where c.model = $1 and c.finished_at is null and exists (
    select from classification_items q
    where q.classification = c.id and q.status = 'QUEUED' and q.lease_until is null)
  order by c.priority desc, f.flying, c.id limit {room}
), picked as (
  select i.id
  from open_runs r cross join lateral (
    select q.id, row_number() over (order by q.id) as turn
    from (
      select q.id from classification_items q
      where q.classification = r.id and q.status = 'QUEUED' and q.lease_until is null
      order by q.id limit {room}) q
    order by q.id limit ceil({room}::numeric / r.rivals)) i
  order by r.priority desc, r.flying + i.turn, i.id limit {room}
), locked as materialized (
  select i.id from classification_items i where i.id = any(array(select id from picked))
    and i.status = 'QUEUED' and i.lease_until is null for update skip locked
)
update classification_items i
set dispatched_at = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => $2)
from locked l, classifications c, images g
where i.id = l.id and c.id = i.classification and g.id = i.image
returning i.id, i.attempt, i.classification, i.image, i.queued_at, i.dispatched_at, i.lease_until,
  c.dataset, c.model_name, c.model_version, c.trace, g.storage_path, g.sha256, g.content_type, g.file_size,
  g.width, g.height
"""


async def give_back(services: Services, items: Sequence[UUID]) -> None:
    """These were certainly never published: their lease ends now, and the attempt is as good as before."""
    await services.db.execute(
        "update classification_items set dispatched_at = null, lease_until = null"
        " where id = any($1::uuid[]) and status = 'QUEUED'",
        list(items),
    )


async def take_back_all(services: Services) -> int:
    """The broker has forgotten everything: whatever is open must be handed out anew.

    The same attempt, and no try is used: nobody has the old jobs any more. For the embedded stack only.
    """
    async with services.db.transaction() as tx:
        await tx.execute(
            "select from classifications where finished_at is null order by id for no key update"
        )
        rows = await tx.fetch(
            "update classification_items i set status = 'QUEUED', dispatched_at = null, lease_until = null,"
            " started_at = null, version = c.version + 1 from classifications c"
            " where c.id = i.classification and c.finished_at is null and i.status in ('QUEUED', 'RUNNING')"
            " and i.lease_until is not null returning i.classification, old.status as was, i.status"
        )
        changes = await runs.apply(tx, runs.deltas(rows))
    _tell(services, changes)
    return len(rows)


async def sweep(services: Services) -> int:
    """Take back what nobody answered in time; how many items that were.

    One that was never started goes out again as the same attempt, which costs a try only if answers of
    its model came in after its dispatch. One that was started gets the next attempt, or ends as STALLED.
    """
    tries = services.settings.limits.tries
    async with services.db.transaction() as tx:
        overdue = await tx.fetch(
            "select id, classification from classification_items where lease_until < clock_timestamp()"
            f" and status in ('QUEUED', 'RUNNING') order by lease_until limit {SWEPT_AT_ONCE}"
        )
        if not overdue:
            return 0
        await runs.lock(tx, {row["classification"] for row in overdue})
        rows = await tx.fetch(SWEEP, [row["id"] for row in overdue], tries)
        changes = await runs.apply(tx, runs.deltas(rows))
    _tell(services, changes)
    services.wake_dispatch()
    return len(rows)


SWEEP = """
with judged as (
  select i.id, i.status = 'RUNNING' as started,
    i.status = 'RUNNING' or exists (
      select from classification_items o where o.model = i.model and o.finished_at > i.dispatched_at) as costs
  from classification_items i
  where i.id = any($1::uuid[]) and i.status in ('QUEUED', 'RUNNING') and i.lease_until < clock_timestamp()
)
update classification_items i set
  tries = i.tries + costs::int,
  status = case when costs and i.tries + 1 >= $2 then 'FAILED' else 'QUEUED' end,
  attempt = i.attempt + case when started and i.tries + 1 < $2 then 1 else 0 end,
  error_code = case when costs and i.tries + 1 >= $2 then 'STALLED' end,
  error_message = case when costs and i.tries + 1 >= $2 then
    'No worker answered in time, after ' || (i.tries + 1) || ' tries.' end,
  finished_at = case when costs and i.tries + 1 >= $2 then clock_timestamp() end,
  queued_at = case when started then clock_timestamp() else i.queued_at end,
  started_at = case when costs and i.tries + 1 >= $2 then i.started_at end,
  dispatched_at = null, lease_until = null, version = c.version + 1
from judged j, classifications c
where i.id = j.id and c.id = i.classification and i.lease_until < clock_timestamp()
returning i.classification, old.status as was, i.status
"""


async def rest(services: Services, seconds: float) -> None:
    """Nobody swept for so long: push all open leases out by as much, for the answers still to come."""
    await services.db.execute(
        "update classification_items set lease_until = lease_until + make_interval(secs => $1)"
        " where lease_until is not null and status in ('QUEUED', 'RUNNING')",
        seconds,
    )


def _tell(services: Services, changes: Sequence[Change]) -> None:
    for change in changes:
        services.hub.tell(change)
