"""The store holds exactly what the table says: the queue, the comparison, and what stands in their way."""

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from bioscope_gql.db import Database
from bioscope_gql.resolvers import accounts, images
from bioscope_gql.storage import janitor
from bioscope_gql.storage.announced import announce
from bioscope_gql.storage.blobs import StoreUnavailable, image_key, thumbnail_key
from bioscope_gql.storage.comparison import compare
from bioscope_gql.storage.uploads import UploadedFile
from bioscope_gql.vocabulary import RejectionCode, ThumbnailSize, uuid7
from tests.grounds import variables
from tests.lab import Lab, Person, a_picture
from tests.processes import bioscope
from tests.stores import keys_of

NO_GRACE = timedelta(0)


class Broken:
    """A store of which one method does not answer."""

    def __init__(self, store: Any, method: str) -> None:
        self._store, self._method = store, method

    def __getattr__(self, name: str) -> Any:
        return self._refuse if name == self._method else getattr(self._store, name)

    async def _refuse(self, *_: Any, **__: Any) -> None:
        raise StoreUnavailable("The store is away.")


async def some_pictures(person: Person, dataset: str, count: int) -> list[str]:
    """The ids of pictures that were uploaded, with their thumbnails."""
    files = [(f"{number}.png", a_picture(number)) for number in range(count)]
    sent = await person.upload(dataset, files)
    return [outcome["image"]["id"] for outcome in sent["files"]]


def keys(dataset: str, image: str) -> list[str]:
    key = image_key(UUID(dataset), UUID(image))
    return sorted([key, *(thumbnail_key(key, size) for size in ThumbnailSize)])


async def test_an_uploaded_picture_leaves_nothing_in_the_queue_and_no_difference(lab: Lab) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()

    [image] = await some_pictures(anna, dataset, 1)

    found = await compare(lab.db, lab.services.store, grace=NO_GRACE)
    assert await lab.count("object_deletions") == 0
    assert await keys_of(lab.services.store) == keys(dataset, image)
    assert (found.objects, found.pictures, found.differs) == (4, 1, False)


async def test_what_no_picture_refers_to_goes_after_its_grace_and_all_else_stays(lab: Lab) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()
    pictures = await some_pictures(anna, dataset, 12)
    stray = image_key(UUID(dataset), uuid7())
    kept = sorted(key for image in pictures for key in keys(dataset, image))
    store = lab.services.store
    await store.put(stray, b"nobody's", content_type="image/png", sha256=None)
    await store.put(
        thumbnail_key(stray, ThumbnailSize.SMALL), b"small", content_type="image/webp", sha256=None
    )

    young = await janitor.tidy(lab.db, store, grace=timedelta(days=7))
    there = await keys_of(store)
    old = await janitor.tidy(lab.db, store, grace=NO_GRACE)
    removed = await janitor.work_off(lab.db, store)

    assert (young.orphans, young.removable, young.objects) == (2, 0, 50)
    assert len(there) == 50
    assert (old.orphans, old.removable, old.doomed, removed) == (2, 2, {stray}, 1)
    assert await keys_of(store) == kept
    assert await lab.count("object_deletions") == 0


async def test_more_than_a_tenth_is_never_removed(lab: Lab) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()
    await some_pictures(anna, dataset, 2)
    store = lab.services.store
    await store.put(image_key(UUID(dataset), uuid7()), b"nobody's", content_type="image/png", sha256=None)
    before = await lab.dump()

    with pytest.raises(janitor.TooMuchToRemove, match=r"^Of 9 objects in the store 1 belong to no picture"):
        await janitor.tidy(lab.db, store, grace=NO_GRACE)

    assert await lab.dump() == before


async def test_an_upload_at_work_is_safe_whatever_the_grace(lab: Lab) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()
    await some_pictures(anna, dataset, 10)
    key, store = image_key(UUID(dataset), uuid7()), lab.services.store
    await announce(lab.db, key, 100)
    await store.put(key, b"on its way", content_type="image/png", sha256=None)

    found = await janitor.tidy(lab.db, store, grace=NO_GRACE)
    removed = await janitor.work_off(lab.db, store)

    assert (found.differs, removed) == (False, 0)
    assert key in await keys_of(store)


async def test_an_upload_that_the_janitor_overtakes_gets_no_row(lab: Lab, tmp_path: Path) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()
    viewer = await accounts.authenticate(lab.services, f"Bearer {anna.token}")
    assert viewer is not None
    path, data, store = tmp_path / "a.png", a_picture(), lab.services.store
    path.write_bytes(data)
    sent = UploadedFile("a.png", path, len(data), hashlib.sha256(data).hexdigest())

    class Slow:
        """Before the last thumbnail is stored the upload's time is over, and the janitor comes."""

        async def put(self, key: str, source: Any, **more: Any) -> None:
            if key.endswith("small.webp"):
                await lab.db.execute("update object_deletions set due_at = now()")
                assert await janitor.work_off(lab.db, store) == 1
            await store.put(key, source, **more)

    slow = lab.with_services(store=Slow())
    _, [outcome] = await images.upload(slow, viewer, dataset, [sent])

    assert isinstance(outcome, images.Refused)
    assert outcome.reason.code is RejectionCode.STORAGE_UNAVAILABLE
    assert await lab.count("images") == 0


async def test_where_the_outcome_of_the_row_is_unknown_its_bytes_go_only_if_it_was_not_made(
    lab: Lab, tmp_path: Path
) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()
    viewer = await accounts.authenticate(lab.services, f"Bearer {anna.token}")
    assert viewer is not None
    sent = []
    for number, name in enumerate(("made", "lost")):
        path, data = tmp_path / name, a_picture(number)
        path.write_bytes(data)
        sent.append(UploadedFile(name, path, len(data), hashlib.sha256(data).hexdigest()))

    class Cut(Database):
        """The connection breaks just before or just after the row is made."""

        made = False

        async def row(self, sql: str, *args: Any) -> Any:
            if "insert into images" not in sql:
                return await super().row(sql, *args)
            if self.made:
                await super().row(sql, *args)
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    for file in sent:
        cut = Cut(lab.db.pool)
        cut.made = file.filename == "made"
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await images.upload(lab.with_services(db=cut), viewer, dataset, [file])
    await lab.db.execute("update object_deletions set due_at = now()")
    assert await janitor.work_off(lab.db, lab.services.store) == 1

    rows = await lab.db.rows("select id, filename from images")
    assert [row["filename"] for row in rows] == ["made"]
    assert await keys_of(lab.services.store) == keys(dataset, str(rows[0]["id"]))


async def test_deleted_pictures_wait_for_a_store_that_is_away(lab: Lab) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()
    pictures = await some_pictures(anna, dataset, 2)
    store = lab.services.store

    await lab.db.execute(
        "insert into object_deletions (id, storage_path) values (uuidv7(), $1)", keys(dataset, pictures[0])[0]
    )
    removed = await janitor.work_off(lab.db, Broken(store, "delete"))
    again_at_once = await janitor.work_off(lab.db, store)
    await lab.db.execute("update object_deletions set due_at = now()")
    later = await janitor.work_off(lab.db, store)

    assert (removed, again_at_once, later) == (0, 0, 1)
    assert await keys_of(store) == keys(dataset, pictures[1])


async def test_replicas_share_the_queue_and_each_picture_is_deleted_once(lab: Lab) -> None:
    paths = [image_key(uuid7(), uuid7()) for _ in range(1000)]
    deleted: list[str] = []

    class Counting:
        async def delete(self, doomed: Any) -> None:
            await asyncio.sleep(0)
            deleted.extend(doomed)

    await lab.db.execute(
        "insert into object_deletions (id, storage_path, due_at)"
        " select uuidv7(), unnest($1::text[]), now() + '1 h'",
        paths,
    )
    await lab.db.execute("update object_deletions set due_at = now()")
    counts = await asyncio.gather(*(janitor.work_off(lab.db, Counting()) for _ in range(3)))  # type: ignore[arg-type]

    own = await lab.count("object_deletions")
    assert own == 0
    assert sum(counts) <= 1000
    assert len(deleted) == len(set(deleted)) == 4 * sum(counts)


def test_the_store_is_compared_daily_or_as_often_as_the_grace_asks() -> None:
    periods = [janitor.period(timedelta(days=days)) for days in (0, 1, 7)]

    assert periods == [timedelta(minutes=1), timedelta(days=1), timedelta(days=1)]


async def test_a_check_shows_every_difference_and_changes_none(lab: Lab) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()
    pictures = await some_pictures(anna, dataset, 3)
    settings = variables(lab.place)
    del settings["BIOSCOPE_S3__DIRECTORY"]
    settings |= lab.place.store_variables

    same = await bioscope(lab.place.folder, "check", "--store", **settings)

    store, stray = lab.services.store, image_key(UUID(dataset), uuid7())
    await store.put(stray, b"nobody's", content_type="image/png", sha256=None)
    await store.put("images/notes.txt", b"somebody's", content_type="text/plain", sha256=None)
    await store.put(keys(dataset, pictures[0])[0], b"short", content_type="image/png", sha256=None)
    lost = [keys(dataset, pictures[1])[0], keys(dataset, pictures[2])[3]]
    await store.delete(lost)
    before = await lab.dump()

    differing = await bioscope(lab.place.folder, "check", "--store", **settings)

    assert (same.code, same.said) == (0, [])
    assert same.out == "12 objects, 3 pictures.\nThe store holds exactly what the table says.\n"
    assert (differing.code, differing.said) == (1, [])
    assert [line.split(": ")[0].split(" that")[0] for line in differing.out.splitlines()] == [
        "12 objects, 3 pictures.",
        "2 objects missing",
        *(f"  {key}" for key in lost),
        "1 objects of another size than their picture's row says",
        f"  {keys(dataset, pictures[0])[0]}",
        "1 objects",
        f"  {stray}",
        "1 objects",
        "  images/notes.txt",
    ]
    assert await lab.dump() == before
