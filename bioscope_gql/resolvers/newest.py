"""The newest result of each picture, repeated on the picture, so that lists need not look for it.

Newest is by (`created_at`, id). Both functions lock the pictures in the order of their ids, after runs and
items, as everybody does; whoever comes second sees what the first one wrote.
"""

from collections.abc import Collection
from uuid import UUID

from bioscope_gql.db import Connection
from bioscope_gql.resolvers.classifications import BULK_SECONDS

LOCKED = "select id from images where id = any({ids}) order by id for no key update"

NOTE = f"""
with locked as materialized ({LOCKED.format(ids="$1::uuid[]")})
update images i set latest_result = n.id, latest_label = n.label, latest_confidence = n.confidence,
  latest_at = n.created_at
from (
  select distinct on (image) image, id, label, confidence, created_at from classification_results
  where id = any($2::uuid[]) order by image, created_at desc, id desc) n
join locked l on l.id = n.image
where i.id = n.image
  and (i.latest_at is null or (i.latest_at, i.latest_result) < (n.created_at, n.id))
"""

JUDGED_BY = """
select i.id from images i join classification_results r on r.id = i.latest_result
where r.classification = $1
"""

LOOK_AGAIN = """
update images i set latest_result = n.id, latest_label = n.label, latest_confidence = n.confidence,
  latest_at = n.created_at
from unnest($1::uuid[]) as m(id) left join lateral (
  select r.id, r.label, r.confidence, r.created_at from classification_results r where r.image = m.id
  order by r.created_at desc, r.id desc limit 1) n on true
where i.id = m.id
"""


async def note(tx: Connection, images: Collection[UUID], results: Collection[UUID]) -> None:
    """These results were just recorded: where one is newer than what the picture shows, it shows that."""
    await tx.execute(NOTE, list(images), list(results))


async def judged_by(tx: Connection, run: UUID) -> list[UUID]:
    """The pictures whose newest result is of this run, locked."""
    found = [row["id"] for row in await tx.fetch(JUDGED_BY, run, timeout=BULK_SECONDS)]
    await tx.execute(LOCKED.format(ids="$1::uuid[]"), found, timeout=BULK_SECONDS)
    return found


async def look_again(tx: Connection, images: Collection[UUID]) -> None:
    """Results of these pictures are gone: each shows the newest of those that are left, or none.

    The pictures are locked already, by a statement before: this one must see what was recorded until then.
    """
    if images:
        await tx.execute(LOOK_AGAIN, list(images), timeout=BULK_SECONDS)
