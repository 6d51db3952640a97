"""A run's counters: changed only here, under the run's lock, by what its items did in that transaction."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from bioscope_gql.db import Connection, Row
from bioscope_gql.live.hub import Change
from bioscope_gql.vocabulary import ItemStatus

Deltas = Mapping[UUID, Counter[str]]
"""By how much each counter of each run changes; a run whose items changed and whose counters did not, too."""

COUNTERS = [status.value.lower() for status in ItemStatus]

APPLY = f"""
update classifications c set
  {", ".join(f"{name} = c.{name} + d.{name}" for name in COUNTERS)},
  total = c.total + d.{" + d.".join(COUNTERS)},
  version = c.version + 1, changed_xid = pg_current_xact_id(), updated_at = clock_timestamp(),
  started_at = case when c.started_at is null and d.moved then clock_timestamp() else c.started_at end,
  finished_at = case when c.queued + d.queued + c.running + d.running = 0
    then coalesce(c.finished_at, clock_timestamp()) end,
  error = case when c.queued + d.queued + c.running + d.running = 0 and c.failed + d.failed > 0
    and c.cancelled + d.cancelled = 0 then
    (c.failed + d.failed) || ' of ' || (c.total + d.{" + d.".join(COUNTERS)}) || ' pictures failed: ' || (
      select string_agg(reason, ', ') from (
        select error_code || ' (' || count(*) || ')' as reason from classification_items
        where classification = c.id and status = 'FAILED' group by error_code
        order by count(*) desc, error_code limit 3) reasons) || '.' end
from unnest($1::uuid[], {", ".join(f"${place}::int[]" for place in range(2, len(COUNTERS) + 2))}, $7::bool[])
  as d(run, {", ".join(COUNTERS)}, moved)
where c.id = d.run returning c.id, c.dataset, c.version
"""


async def lock(tx: Connection, ids: Collection[UUID]) -> dict[UUID, Row]:
    """The runs, locked in the order of their ids, as everybody does."""
    rows = await tx.fetch(
        "select id, model, model_name, model_version from classifications where id = any($1::uuid[])"
        " order by id for no key update",
        list(ids),
    )
    return {row["id"]: row for row in rows}


def deltas(rows: Iterable[Row]) -> Deltas:
    """From rows of ``classification, was, status``: what an item was before, and what it is now.

    Where there is a ``count``, a row stands for so many items.
    """
    found: dict[UUID, Counter[str]] = {}
    for row in rows:
        counted, count = found.setdefault(row["classification"], Counter()), row.get("count", 1)
        counted[row["was"].lower()] -= count
        if row["status"] is not None:
            counted[row["status"].lower()] += count
    return found


async def apply(tx: Connection, changed: Deltas) -> list[Change]:
    """Count, raise the version, and derive when the run started and ended. The runs are locked already.

    A run has started once an item runs, succeeds or fails; what only waits or is cancelled starts nothing.
    """
    if not changed:
        return []
    counts = [[each[name] for each in changed.values()] for name in COUNTERS]
    moved = [any(each[name] > 0 for name in ("running", "succeeded", "failed")) for each in changed.values()]
    rows = await tx.fetch(APPLY, list(changed), *counts, moved)
    return [Change(row["id"], row["dataset"], row["version"]) for row in rows]
