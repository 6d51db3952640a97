"""How much there is to do in the whole system: for those who run it, not for a viewer."""

from collections.abc import Mapping, Sequence

from bioscope_gql.db import Database, Row
from bioscope_gql.resolvers.models import LIVE

PER_MODEL = f"""
select m.name || '@' || m.version as model,
  count(i.id) filter (where i.lease_until is null) as queued,
  count(i.id) filter (where i.lease_until is not null) as in_flight,
  (select count(*) from workers w where w.model = m.id and {LIVE}) as workers
from models m left join classification_items i on i.model = m.id and i.status in ('QUEUED', 'RUNNING')
group by m.id
"""


async def per_model(db: Database) -> Sequence[Row]:
    """Of each model: items that wait, items that somebody works on, and live workers."""
    return await db.rows(PER_MODEL)


async def totals(db: Database) -> Mapping[str, int]:
    """Runs that are not finished, and dead letters that nobody replayed."""
    row = await db.row(
        "select (select count(*) from classifications where finished_at is null) as open_runs,"
        " (select count(*) from dead_letters where replayed_at is null) as dead_letters"
    )
    return dict(row or {})
