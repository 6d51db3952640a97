"""The newest result of each picture, repeated on the picture, and of each model, marked among its results.

So lists and figures need not look for it. Newest is by (`created_at`, id). Pictures are locked in the order
of their ids, after runs and items, as everybody does; whoever comes second sees what the first one wrote.
"""

from collections.abc import Collection
from uuid import UUID

from bioscope_gql.db import BULK_SECONDS, Connection

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

MARK = """
update classification_results r set newest_of_model = n.of_model, newest_of_version = n.of_version
from (
  select id, row_number() over (model order by created_at desc, id desc) = 1 as of_model,
    row_number() over (version order by created_at desc, id desc) = 1 as of_version
  from classification_results where image = any($1::uuid[]) and (newest_of_version or $2)
  window model as (partition by image, model_name),
    version as (partition by image, model_name, model_version)) n
where r.id = n.id and (r.newest_of_model, r.newest_of_version) <> (n.of_model, n.of_version)
"""
"""$2: whether those count again that were not the newest until now, as when a newer one is gone."""

JUDGED_BY = "select distinct image from classification_results where classification = $1"

LOOK_AGAIN = """
update images i set latest_result = n.id, latest_label = n.label, latest_confidence = n.confidence,
  latest_at = n.created_at
from unnest($1::uuid[]) as m(id) left join lateral (
  select r.id, r.label, r.confidence, r.created_at from classification_results r where r.image = m.id
  order by r.created_at desc, r.id desc limit 1) n on true
where i.id = m.id and i.latest_result is distinct from n.id
"""


async def note(tx: Connection, images: Collection[UUID], results: Collection[UUID]) -> None:
    """These results were just recorded: where one is newer than what was there, it takes its place."""
    pictures = list(images)
    await tx.execute(NOTE, pictures, list(results))
    await tx.execute(MARK, pictures, False)


async def judged_by(tx: Connection, run: UUID) -> list[UUID]:
    """The pictures that have a result of this run, locked.

    All of them: while another run's end is awaited, this one's result may become the newest.
    """
    found = [row["image"] for row in await tx.fetch(JUDGED_BY, run, timeout=BULK_SECONDS)]
    await tx.execute(LOCKED.format(ids="$1::uuid[]"), found, timeout=BULK_SECONDS)
    return found


async def look_again(tx: Connection, images: Collection[UUID]) -> None:
    """Results of these pictures are gone: those that are left take their places.

    The pictures are locked already, by a statement before: this one must see what was recorded until then.
    """
    if images:
        await tx.execute(LOOK_AGAIN, list(images), timeout=BULK_SECONDS)
        await tx.execute(MARK, list(images), True, timeout=BULK_SECONDS)
