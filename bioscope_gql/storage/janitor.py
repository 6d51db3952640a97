"""Removes the bytes of pictures that were deleted: queued with the deletion, gone soon after."""

import structlog

from bioscope_gql.db import Database
from bioscope_gql.storage.blobs import BlobStore, StoreUnavailable, thumbnail_key
from bioscope_gql.vocabulary import ThumbnailSize

AT_ONCE = 200

logger = structlog.get_logger()


async def work_off(database: Database, store: BlobStore) -> int:
    """Delete what is queued, and say how much that was. Doing it twice, or in two replicas, is no harm.

    What the store can't delete now stays queued.
    """
    removed = 0
    while True:
        rows = await database.rows(
            f"select id, storage_path from object_deletions order by id limit {AT_ONCE}"
        )
        if not rows:
            return removed
        try:
            await store.delete([key for row in rows for key in _keys(row["storage_path"])])
        except StoreUnavailable as error:
            ids = [row["id"] for row in rows]
            await database.execute(
                "update object_deletions set tries = tries + 1 where id = any($1::uuid[])", ids
            )
            logger.warning("objects_not_deleted", count=len(rows), reason=str(error))
            return removed
        await database.execute(
            "delete from object_deletions where id = any($1::uuid[])", [row["id"] for row in rows]
        )
        removed += len(rows)


def _keys(path: str) -> list[str]:
    """A picture's original and its thumbnails."""
    return [path, *(thumbnail_key(path, size) for size in ThumbnailSize)]
