"""What every store promises, tried with each of them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from uuid import UUID

import pytest

from bioscope_gql.storage.blobs import (
    MAX_LINK_SECONDS,
    BlobMissing,
    BlobStore,
    Reader,
    StoreUnavailable,
    content_disposition,
    image_key,
    is_key,
    lifetime,
    owner_of,
    thumbnail_key,
)
from bioscope_gql.storage.s3 import S3Store
from bioscope_gql.vocabulary import ThumbnailSize
from tests.stores import a_disk_store, an_s3_store, keys_of, read, real_s3_options, s3_options

DATASET, IMAGE = UUID(int=1), UUID(int=2)
LARGE = bytes(range(256)) * 36_000
"""More than one part of an upload, and no part like another."""


@pytest.fixture(params=["disk", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    made = a_disk_store(tmp_path / "files") if request.param == "disk" else an_s3_store(s3_options())
    async with made as store:
        yield store


async def put(store: BlobStore, key: str, data: bytes | Path, sha256: str | None = None) -> None:
    await store.put(key, data, content_type="image/png", sha256=sha256)


@pytest.mark.parametrize(
    "data", [b"", b"x", LARGE[: 8 << 20], LARGE], ids=["empty", "small", "a part", "parts"]
)
@pytest.mark.parametrize("given", ["bytes", "file"])
async def test_what_was_put_is_read(
    store: BlobStore, tmp_path: Path, data: bytes, given: Literal["bytes", "file"]
) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(data)

    await put(
        store, "images/a/b", data if given == "bytes" else file, hashlib.sha256(data).hexdigest().upper()
    )

    async with store.open("images/a/b") as blob:
        assert blob.size == len(data)
        assert blob.content_type in ("image/png", None)
        assert b"".join([chunk async for chunk in blob.chunks]) == data


@pytest.mark.parametrize(
    ("start", "end", "part"),
    [
        (0, 4, b"0123"),
        (2, None, b"23456789"),
        (2, 5, b"234"),
        (9, 10, b"9"),
        (8, 400, b"89"),
        (3, 3, b""),
        (5, 2, b""),
        (10, None, b""),
        (10, 12, b""),
        (400, 500, b""),
    ],
)
async def test_a_part_is_read_from_its_start_up_to_its_end(
    store: BlobStore, start: int, end: int | None, part: bytes
) -> None:
    await put(store, "images/a/b", b"0123456789")

    async with store.open("images/a/b", start=start, end=end) as blob:
        assert blob.size == 10
        assert b"".join([chunk async for chunk in blob.chunks]) == part


async def test_any_part_of_an_empty_blob_is_empty(store: BlobStore) -> None:
    await put(store, "images/a/b", b"")
    assert [await read(store, "images/a/b", *part) for part in [(0, None), (0, 5), (3, None)]] == [
        b"",
        b"",
        b"",
    ]


async def test_a_range_that_counts_from_the_end_is_refused(store: BlobStore) -> None:
    await put(store, "images/a/b", b"0123456789")
    for start, end in ((-3, None), (0, -1)):
        with pytest.raises(ValueError, match="can't be read"):
            await read(store, "images/a/b", start, end)


@pytest.mark.parametrize("part", [(0, None), (4, None), (4, 4)])
async def test_what_is_not_there_is_missing(store: BlobStore, part: tuple[int, int | None]) -> None:
    with pytest.raises(BlobMissing, match=r"^The store holds nothing under images/a/b\.$"):
        await read(store, "images/a/b", *part)
    await put(store, "images/a/b/c", b"below")
    with pytest.raises(BlobMissing):
        await read(store, "images/a/b", *part)
    await put(store, "images/d", b"above")
    with pytest.raises(BlobMissing):
        await read(store, "images/d/e", *part)


async def test_new_bytes_take_the_place_of_the_old(store: BlobStore) -> None:
    await put(store, "images/a/b", LARGE)
    await put(store, "images/a/b", b"new")
    assert await read(store, "images/a/b") == b"new"


async def test_a_reader_that_had_begun_sees_the_old_bytes_to_their_end(store: BlobStore) -> None:
    await put(store, "images/a/b", LARGE)
    async with store.open("images/a/b") as blob:
        first = await anext(blob.chunks)
        putting = asyncio.create_task(put(store, "images/a/b", b"new"))  # MinIO lets it wait for the reader
        assert first + b"".join([chunk async for chunk in blob.chunks]) == LARGE
    await putting
    assert await read(store, "images/a/b") == b"new"


@pytest.mark.parametrize("data", [b"other bytes", LARGE], ids=["small", "parts"])
async def test_other_bytes_than_were_announced_are_not_stored(store: BlobStore, data: bytes) -> None:
    await put(store, "images/a/b", b"old")
    for key in ("images/a/b", "images/a/c"):
        with pytest.raises(StoreUnavailable, match="nothing was stored"):
            await put(store, key, data, hashlib.sha256(b"announced").hexdigest())

    assert await keys_of(store) == ["images/a/b"]
    assert await read(store, "images/a/b") == b"old"


async def test_a_put_that_is_cancelled_leaves_all_or_nothing(store: BlobStore) -> None:
    for after in range(12):
        task = asyncio.create_task(put(store, "images/a/b", LARGE))
        for _ in range(after * 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    found = await keys_of(store)
    assert found in ([], ["images/a/b"])
    if found:
        assert await read(store, "images/a/b") == LARGE


async def test_a_source_that_is_not_there_is_the_callers_error(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await put(store, "images/a/b", tmp_path / "absent")
    assert await keys_of(store) == []


async def test_a_reader_may_leave_early_and_often(store: BlobStore) -> None:
    await put(store, "images/a/b", LARGE)
    for _ in range(100):
        async with store.open("images/a/b") as blob:
            await anext(blob.chunks)
    assert await read(store, "images/a/b", 5, 8) == LARGE[5:8]


async def test_deleting_removes_what_is_named_and_nothing_else(store: BlobStore) -> None:
    for key in ("images/a/1", "images/a/2", "images/b/1"):
        await put(store, key, b"x")

    await store.delete(["images/a/1", "images/b/1", "images/absent", "images/a/1/deeper", "images/a"])
    await store.delete([])

    assert await keys_of(store) == ["images/a/2"]


async def test_more_is_deleted_than_one_request_may_name(store: BlobStore) -> None:
    await put(store, "images/a/1", b"x")
    await put(store, "images/a/z", b"x")
    await store.delete([f"images/a/{number}" for number in range(2500)] + ["images/a/z"])
    assert await keys_of(store) == []


async def test_a_listing_is_in_the_order_of_the_keys_bytes(store: BlobStore) -> None:
    keys = ["a/b/c", "a-b", "a/b-c/d", "a.b/c", "a/b.c", "ab", "a/b/c.d", "a_b/c", "a0", "a/b0"]
    for key in keys:
        await put(store, key, b"x")

    assert await keys_of(store) == sorted(keys)
    assert await keys_of(store, "a/b") == [key for key in sorted(keys) if key.startswith("a/b")]
    assert await keys_of(store, "a/b/") == ["a/b/c", "a/b/c.d"]
    assert await keys_of(store, "none/") == []
    for after in [*keys, "a/", "a/b/", "a/b/b", "zz", ""]:
        assert await keys_of(store, after=after) == [key for key in sorted(keys) if key > after]
        assert await keys_of(store, "a/b", after) == [
            key for key in sorted(keys) if key > after and key.startswith("a/b")
        ]


async def test_a_listing_is_longer_than_a_page(store: BlobStore) -> None:
    keys = [f"images/{number:04}" for number in range(1105)]
    for first in range(0, len(keys), 50):
        await asyncio.gather(*(put(store, key, b"x") for key in keys[first : first + 50]))
    assert await keys_of(store, "images/") == keys
    assert await keys_of(store, after="images/1100") == keys[-4:]


async def test_a_listing_tells_size_and_time(store: BlobStore) -> None:
    await put(store, "images/a/b", b"12345")
    [info] = [info async for info in store.list("")]
    assert (info.key, info.size) == ("images/a/b", 5)
    assert abs(datetime.now(UTC) - info.modified) < timedelta(minutes=1)


async def test_many_may_write_the_same_key_and_one_of_them_stays(store: BlobStore) -> None:
    if isinstance(store, S3Store):
        real_s3_options()  # moto answers with 500 when it is hurried so
    written = [bytes([number]) * 100_000 for number in range(20)]
    await asyncio.gather(*(put(store, "images/a/b", data) for data in written))
    assert await read(store, "images/a/b") in written
    assert await keys_of(store) == ["images/a/b"]


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".drafts/x", "A", "a b", "a\n", "ä"]
)
async def test_what_is_no_key_reaches_nothing(store: BlobStore, key: str) -> None:
    assert not is_key(key)
    with pytest.raises(ValueError, match="is not a key"):
        await put(store, key, b"x")
    with pytest.raises(ValueError, match="is not a key"):
        await read(store, key)
    with pytest.raises(ValueError, match="is not a key"):
        await store.delete(["images/a", key])
    with pytest.raises(ValueError, match="is not a key"):
        store.presign_get(key, seconds=60, content_type="image/png", filename=None, origin="http://lab")
    assert await keys_of(store) == []


async def test_a_store_that_works_passes_its_check_and_stays_empty(store: BlobStore) -> None:
    await store.check()
    assert await keys_of(store) == []


def test_keys_name_their_owner() -> None:
    key = image_key(DATASET, IMAGE)
    small = thumbnail_key(key, ThumbnailSize.SMALL)

    assert key == f"images/{DATASET}/{IMAGE}"
    assert small == f"thumbnails/{DATASET}/{IMAGE}/small.webp"
    assert owner_of(key) == owner_of(small) == (DATASET, IMAGE)
    assert [owner_of(other) for other in ("images/check", f"{key}/x", f"thumbnails/{DATASET}/{IMAGE}")] == [
        None
    ] * 3
    with pytest.raises(ValueError, match="is not the key of a picture"):
        thumbnail_key(small, ThumbnailSize.SMALL)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        (None, "inline"),
        ("a b.png", 'attachment; filename="a b.png"'),
        ("", 'attachment; filename="download"'),
        ('a"b%.png', "attachment; filename=\"a_b_.png\"; filename*=UTF-8''a%22b%25.png"),
        ("a\r\nSet-Cookie: x", 'attachment; filename="a__Set-Cookie: x"'),
        ("../a\\b", 'attachment; filename=".._a_b"'),
        (
            "próbka №1.jpg",
            "attachment; filename=\"pr_bka _1.jpg\"; filename*=UTF-8''pr%C3%B3bka%20%E2%84%961.jpg",
        ),
        ("gpj.\u202eexe", 'attachment; filename="gpj._exe"'),
        ("\ud800", 'attachment; filename="_"'),
    ],
)
def test_a_file_name_of_any_script_becomes_a_header(name: str | None, header: str) -> None:
    assert content_disposition(name) == header


def test_steady_links_of_one_half_life_are_the_same_and_live_as_long_as_was_asked() -> None:
    assert lifetime(1000.9, 60, steady=False) == (1000, 1060)
    assert lifetime(1019.9, 60, steady=True) == lifetime(990.0, 60, steady=True) == (990, 1080)
    assert lifetime(1020.0, 60, steady=True) == (1020, 1110)
    assert lifetime(1000.0, 1, steady=True) == (1000, 1001)
    begin, end = lifetime(1e9, MAX_LINK_SECONDS, steady=True)
    assert end - begin == MAX_LINK_SECONDS
    for seconds in (0, MAX_LINK_SECONDS + 1):
        with pytest.raises(ValueError, match="A link can live"):
            lifetime(1000.0, seconds, steady=True)


async def test_a_steady_link_is_the_same_for_a_browser_only(tmp_path: Path) -> None:
    now = 1_000_000.0
    async with a_disk_store(tmp_path, clock=lambda: now) as store:

        def link(filename: str | None, to: Reader) -> str:
            return store.presign_get(
                "a", seconds=600, content_type="image/png", filename=filename, origin="http://lab/", to=to
            )

        before = [link(None, "browser"), link("a.png", "browser"), link(None, "worker")]
        now += 10
        after = [link(None, "browser"), link("a.png", "browser"), link(None, "worker")]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, False]
    assert before[0].startswith("http://lab/files/a?")
