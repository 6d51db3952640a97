"""What the store holds beside what the table says, read in pages, both in the order of their keys."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from bioscope_gql.db import Database
from bioscope_gql.storage.blobs import BlobInfo, BlobStore, image_key, owner_of, thumbnail_key
from bioscope_gql.vocabulary import ThumbnailSize

PAGE = 1000
EXAMPLES = 20
MOST_ORPHANS = 10_000
"""Of so many pictures bytes are removed after one comparison; the next one finds the rest."""

ROWS = f"""
select storage_path, file_size from images where storage_path collate "C" > $1
order by storage_path collate "C" limit {PAGE}
"""
REFERRED = """
select path from unnest($1::text[]) path
where exists (select from images where storage_path collate "C" = path)
   or exists (select from object_deletions where storage_path collate "C" = path)
"""
STILL_THERE = """
select storage_path from images where storage_path collate "C" = any($1::text[]) and created_at < $2
"""


class _Expected(NamedTuple):
    """A key that should be there; `path` is its picture's. The size of a thumbnail is not recorded."""

    key: str
    path: str
    size: int | None


class _Orphan(NamedTuple):
    key: str
    path: str
    is_old: bool


@dataclass
class Comparison:
    """What was found. Bytes of uploads at work, and those that are queued to go, are no difference."""

    objects: int = 0
    pictures: int = 0
    orphans: int = 0
    """Objects that no picture refers to."""
    removable: int = 0
    """As many of them are older than the grace."""
    missing: int = 0
    """Objects that a picture refers to, and that are not there."""
    other_size: int = 0
    """Originals that are not as long as their row says."""
    foreign: int = 0
    """Objects under our prefixes whose names are none that we give. Nobody removes them."""
    doomed: set[str] = field(default_factory=set)
    """The pictures' keys that the removable ones belong to, at most MOST_ORPHANS of them."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Some of the keys, by the name of their count."""

    @property
    def differs(self) -> bool:
        return any((self.orphans, self.missing, self.other_size, self.foreign))

    def note(self, kind: str, key: str) -> None:
        """Count one more of a kind of difference."""
        setattr(self, kind, getattr(self, kind) + 1)
        found = self.examples.setdefault(kind, [])
        if len(found) < EXAMPLES:
            found.append(key)


async def compare(database: Database, store: BlobStore, *, grace: timedelta) -> Comparison:
    """Read all of both, and change nothing. What comes or goes meanwhile is not taken for a difference.

    Raises:
        StoreUnavailable: the store can't be listed.
    """
    began: datetime = await database.value("select clock_timestamp()")
    found = Comparison()
    for prefix in ("images/", "thumbnails/"):
        await _Side(database, found, began, began - grace).compare(
            _expected(database, prefix), store.list(prefix)
        )
        if prefix == "images/":
            found.pictures = await database.value("select count(*) from images where created_at < $1", began)
    return found


async def _expected(database: Database, prefix: str) -> AsyncIterator[_Expected]:
    after = ""
    while rows := await database.rows(ROWS, after):
        for row in rows:
            path: str = row["storage_path"]
            if prefix == "images/":
                yield _Expected(path, path, row["file_size"])
            else:
                for key in sorted(thumbnail_key(path, size) for size in ThumbnailSize):
                    yield _Expected(key, path, None)
        after = rows[-1]["storage_path"]


class _Side:
    """Merges the two, and asks the table again about each difference before it counts: time has passed."""

    def __init__(self, database: Database, found: Comparison, began: datetime, old: datetime) -> None:
        self._database = database
        self._found = found
        self._began = began
        self._old = old
        self._orphans: list[_Orphan] = []
        self._missing: list[_Expected] = []

    async def compare(self, rows: AsyncIterator[_Expected], blobs: AsyncIterator[BlobInfo]) -> None:
        row, blob = await anext(rows, None), await anext(blobs, None)
        while row is not None or blob is not None:
            if blob is None or (row is not None and row.key < blob.key):
                assert row is not None  # noqa: S101 - one of the two is there
                self._missing.append(row)
                row = await anext(rows, None)
            elif row is None or blob.key < row.key:
                self._nobodys(blob)
                blob = await anext(blobs, None)
            else:
                self._found.objects += 1
                if row.size not in (None, blob.size):
                    self._found.note("other_size", blob.key)
                row, blob = await anext(rows, None), await anext(blobs, None)
            if len(self._orphans) + len(self._missing) >= PAGE:
                await self._settle()
        await self._settle()

    def _nobodys(self, blob: BlobInfo) -> None:
        self._found.objects += 1
        owner = owner_of(blob.key)
        if owner is None:
            self._found.note("foreign", blob.key)
        else:
            self._orphans.append(_Orphan(blob.key, image_key(*owner), blob.modified <= self._old))

    async def _settle(self) -> None:
        referred = await _paths(self._database, REFERRED, [orphan.path for orphan in self._orphans])
        for orphan in self._orphans:
            if orphan.path not in referred:
                self._orphaned(orphan)
        there = await _paths(self._database, STILL_THERE, [row.path for row in self._missing], self._began)
        for row in self._missing:
            if row.path in there:
                self._found.note("missing", row.key)
        self._orphans.clear()
        self._missing.clear()

    def _orphaned(self, orphan: _Orphan) -> None:
        self._found.note("orphans", orphan.key)
        if orphan.is_old:
            self._found.removable += 1
            if len(self._found.doomed) < MOST_ORPHANS:
                self._found.doomed.add(orphan.path)


async def _paths(database: Database, sql: str, paths: Sequence[str], *more: object) -> set[str]:
    if not paths:
        return set()
    return {row[0] for row in await database.rows(sql, list(paths), *more)}
