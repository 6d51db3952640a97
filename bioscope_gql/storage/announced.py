"""Uploads announce their bytes: they stand in the queue of what is to be removed until their row is made."""

from uuid import UUID

from bioscope_gql.db import Database
from bioscope_gql.vocabulary import uuid7

LEAST_SECONDS = 60
SLOWEST_BYTES_PER_SECOND = 512 * 1024
"""An upload has `LEAST_SECONDS`, and as much longer as this speed asks for its bytes."""

ANNOUNCE = """
insert into object_deletions (id, storage_path, due_at)
values ($1, $2, clock_timestamp() + $3::int * interval '1 s')
"""

CLAIM = "select id from object_deletions where id = {id} and tries = 0 for update"
"""Gives a row to who announced it, unless the janitor was first; then the bytes are gone."""

KEEP = "delete from object_deletions where id = {id} and exists (select from made)"


async def announce(database: Database, path: str, size: int) -> UUID:
    """Queue a picture's objects to be removed, unless its row is made in time. Comes before its first byte.

    Whatever happens from here on, kill -9 and lost connections too, the bytes get a row or go.
    """
    id = uuid7()
    await database.execute(ANNOUNCE, id, path, LEAST_SECONDS + size // SLOWEST_BYTES_PER_SECOND)
    return id


async def give_up(database: Database, id: UUID) -> None:
    """Make them due at once; the janitor is to be woken."""
    await database.execute("update object_deletions set due_at = clock_timestamp() where id = $1", id)
