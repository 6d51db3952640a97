"""Removes the bytes that no picture refers to: those that were queued at once, others after their grace."""

from datetime import timedelta

import structlog

from bioscope_gql.db import Database
from bioscope_gql.storage.blobs import BlobStore, StoreUnavailable, thumbnail_key
from bioscope_gql.storage.comparison import Comparison, compare
from bioscope_gql.vocabulary import ThumbnailSize

AT_ONCE = 200
AGAIN_SECONDS = 30
"""When what could not be deleted is tried again; until then it is left to whoever took it."""

MOST_REMOVED = 0.1
SHORTEST_PERIOD, LONGEST_PERIOD = timedelta(minutes=1), timedelta(days=1)

TAKE = f"""
update object_deletions set tries = tries + 1, due_at = clock_timestamp() + interval '{AGAIN_SECONDS} s'
where id in (select id from object_deletions where due_at <= clock_timestamp() order by due_at limit {AT_ONCE}
             for update skip locked)
returning id, storage_path
"""
QUEUE = """
insert into object_deletions (id, storage_path) select uuidv7(), path from unnest($1::text[]) path
where not exists (select from images where storage_path collate "C" = path)
  and not exists (select from object_deletions where storage_path collate "C" = path)
"""

logger = structlog.get_logger()


class TooMuchToRemove(Exception):
    """So much of the store is nobody's that the table must be the wrong one, or an old one."""


async def work_off(database: Database, store: BlobStore) -> int:
    """Delete what is due, and say of how many pictures that was. Several replicas share the work.

    What the store can't delete now stays queued. Whatever is taken here can get no row any more.
    """
    removed = 0
    while rows := await database.rows(TAKE):
        try:
            await store.delete([key for row in rows for key in _keys(row["storage_path"])])
        except StoreUnavailable as error:
            logger.warning("objects_not_deleted", count=len(rows), reason=str(error))
            break
        await database.execute(
            "delete from object_deletions where id = any($1::uuid[])", [row["id"] for row in rows]
        )
        removed += len(rows)
    if removed:
        logger.info("objects_deleted", pictures=removed)
    return removed


async def tidy(database: Database, store: BlobStore, *, grace: timedelta) -> Comparison:
    """Compare the store with the table, and queue what nobody has referred to for longer than the grace.

    An upload at work is safe whatever the grace: its bytes stand in the queue before they are stored.

    Raises:
        TooMuchToRemove: that would be more than a tenth of all objects; nothing is queued.
        StoreUnavailable: the store can't be listed.
    """
    await store.check()  # which clears away what killed processes were writing
    found = await compare(database, store, grace=grace)
    logger.info(
        "store_compared", objects=found.objects, pictures=found.pictures, orphans=found.orphans,
        removable=found.removable, missing=found.missing, other_size=found.other_size, foreign=found.foreign,
    )  # fmt: skip
    if found.removable > MOST_REMOVED * found.objects:
        raise TooMuchToRemove(
            f"Of {found.objects:,} objects in the store {found.removable:,} belong to no picture of this "
            "database. That is more than a tenth, so none is removed: see whether database.dsn and s3 name "
            "the same system, and `bioscope check --store`."
        )
    if found.doomed:
        await database.execute(QUEUE, sorted(found.doomed))
    return found


def period(grace: timedelta) -> timedelta:
    """How often the two are compared: daily, but for a grace that is shorter."""
    return min(max(grace, SHORTEST_PERIOD), LONGEST_PERIOD)


def _keys(path: str) -> list[str]:
    """A picture's original and its thumbnails."""
    return [path, *(thumbnail_key(path, size) for size in ThumbnailSize)]
