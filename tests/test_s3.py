"""What the S3 store does beyond the promise of all stores: its bucket, its links, its server's failures."""

import asyncio
import hashlib
import signal
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bioscope_gql.errors import ConfigurationError
from bioscope_gql.storage.blobs import BlobMissing, BlobStore, Reader, StoreUnavailable
from bioscope_gql.storage.s3 import S3Options, S3Store
from bioscope_gql.storage.s3_bucket import PROBE
from tests.clients import a_client
from tests.stores import (
    Minio,
    Way,
    a_minio,
    an_s3_store,
    keys_of,
    read,
    real_s3_options,
    s3_options,
    unfinished,
)

KEY = "images/a/b"
LARGE = bytes(range(256)) * (160 << 10)
"""40 MiB: five parts."""

USES: dict[str, Callable[[BlobStore], Awaitable[object]]] = {
    "put": lambda store: put(store, b"x"),
    "put parts": lambda store: put(store, LARGE),
    "open": lambda store: read(store, KEY),
    "open nothing": lambda store: read(store, KEY, 3, 3),
    "list": keys_of,
    "delete": lambda store: store.delete([KEY]),
    "check": lambda store: store.check(),
}


async def put(store: BlobStore, data: bytes, sha256: str | None = None) -> None:
    await store.put(KEY, data, content_type="image/png", sha256=sha256)


def link(
    store: BlobStore,
    filename: str | None = None,
    *,
    content_type: str = "image/png",
    to: Reader = "browser",
) -> str:
    return store.presign_get(
        KEY, seconds=60, content_type=content_type, filename=filename, origin="http://lab", to=to
    )


async def sentence(work: Awaitable[object]) -> str:
    with pytest.raises(StoreUnavailable) as raised:
        await work
    return str(raised.value)


@pytest.fixture
def options() -> S3Options:
    return s3_options()


@pytest.fixture
def real_options() -> S3Options:
    return real_s3_options()


@pytest.fixture
async def store(options: S3Options) -> AsyncIterator[S3Store]:
    async with an_s3_store(options) as store:
        yield store


@pytest.mark.parametrize("use", USES)
async def test_the_bucket_is_made_on_first_use(options: S3Options, use: str) -> None:
    async with an_s3_store(options) as store:
        if use.startswith("open n"):  # asked without a body, the server does not say what is missing
            await store.check()
        try:
            await USES[use](store)
        except BlobMissing:
            assert use.startswith("open")
        async with S3Store(replace(options, create_bucket=False)) as other:
            await other.check()


async def test_many_may_use_it_first(options: S3Options) -> None:
    async with an_s3_store(options) as store:
        keys = [f"{KEY}/{number:02}" for number in range(30)]  # one key for all is too much haste for moto
        await asyncio.gather(*(store.put(key, b"x", content_type="image/png", sha256=None) for key in keys))
        assert await keys_of(store) == keys


@pytest.mark.parametrize("use", [use for use in USES if use != "open nothing"])
async def test_a_bucket_that_may_not_be_made_is_asked_for(options: S3Options, use: str) -> None:
    async with S3Store(replace(options, create_bucket=False)) as store:
        said = await sentence(USES[use](store))
    assert said == (
        f"There is no bucket {options.bucket} at {options.endpoint}. Make it, or switch s3.create_bucket on."
    )


@pytest.mark.parametrize("use", [use for use in USES if use != "open nothing"])
async def test_wrong_keys_are_named(real_options: S3Options, use: str) -> None:
    async with S3Store(replace(real_options, secret_key="wrong-secret")) as store:
        assert await sentence(USES[use](store)) == (
            f"The S3 store {real_options.endpoint} does not accept the secret key. Check s3.secret_key."
        )
    async with S3Store(replace(real_options, access_key="nobody")) as store:
        assert await sentence(USES[use](store)) == (
            f"The S3 store {real_options.endpoint} does not know the access key. Check s3.access_key."
        )


@pytest.mark.parametrize("use", USES)
async def test_a_server_that_is_away_is_named(use: str) -> None:
    options = S3Options("http://127.0.0.1:1", "user", "pictures", "secret", create_bucket=True)
    async with S3Store(options) as store:
        said = await sentence(USES[use](store))
    assert said.startswith("The S3 store http://127.0.0.1:1 can't be reached (")
    assert said.endswith("). Check s3.endpoint, and that it runs.")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 500 Oh\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("use", ["put", "open", "check"])
async def test_what_is_no_s3_server_is_not_believed(answer: bytes, use: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with S3Store(S3Options(endpoint, "user", "pictures", "secret")) as store:
            said = await sentence(USES[use](store))
    assert endpoint in said
    assert "s3.endpoint" in said


async def test_a_check_leaves_nothing_behind(store: S3Store, options: S3Options) -> None:
    await store.check()
    assert await unfinished(options, PROBE) == []
    assert await keys_of(store) == []


async def test_a_link_is_a_download_of_the_name_that_was_given(store: S3Store) -> None:
    await put(store, b"0123456789")
    async with a_client() as client:
        answer = await client.get(link(store, "próbka №1.png"))
        part = await client.get(link(store, "a.png"), headers={"Range": "bytes=2-4"})

    assert (answer.status_code, answer.content) == (200, b"0123456789")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"pr_bka _1.png\"; filename*=UTF-8''pr%C3%B3bka%20%E2%84%961.png"
    )
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")


async def test_a_link_without_a_name_is_shown_and_may_be_kept(store: S3Store) -> None:
    await put(store, b"0123456789")
    async with a_client() as client:
        answer = await client.get(link(store, content_type="image/webp"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["content-disposition"] == "inline"
    assert answer.headers["cache-control"] == "private, max-age=60, immutable"


async def test_a_link_expires_and_can_not_be_altered(real_options: S3Options) -> None:
    now = time.time()
    async with (
        an_s3_store(real_options, clock=lambda: now) as store,
        a_client() as client,
    ):
        await put(store, b"0123456789")
        good = link(store, "a.png")
        now -= 50
        old = link(store, "a.png")
        now -= 20
        expired = link(store, "a.png")
        answers = [
            await client.get(url)
            for url in (good, old, expired, good.replace("a.png", "b.png"), good.replace("/a/b", "/a/c"))
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 403, 403, 403]


async def test_links_name_the_endpoint_of_their_reader(options: S3Options) -> None:
    port = options.endpoint.rpartition(":")[2]
    other = replace(options, public_endpoint=f"http://localhost:{port}")
    far = replace(other, worker_endpoint="https://store.lab.example")
    async with (
        an_s3_store(other) as store,
        S3Store(far) as distant,
        a_client() as client,
    ):
        await put(store, b"0123456789")
        readers: tuple[Reader, ...] = ("browser", "worker")
        urls = [link(each, to=to) for each in (store, distant) for to in readers]
        answers = [await client.get(url) for url in urls[:2]]
    assert [url.partition("/" + options.bucket)[0] for url in urls] == [
        f"http://localhost:{port}",
        options.endpoint,
        f"http://localhost:{port}",
        "https://store.lab.example",
    ]
    assert [answer.content for answer in answers] == [b"0123456789"] * 2


async def test_the_server_is_given_the_checksum_to_compare(real_options: S3Options) -> None:
    async with an_s3_store(real_options) as store:
        digest = hashlib.sha256(b"0123456789")
        await put(store, b"0123456789", digest.hexdigest())
        async with a_client() as client:
            answer = await client.get(link(store), headers={"x-amz-checksum-mode": "ENABLED"})
        assert answer.headers.get("x-amz-checksum-sha256") == b64encode(digest.digest()).decode()


async def test_more_may_read_at_once_than_there_are_connections(store: S3Store) -> None:
    await put(store, LARGE[: 1 << 20])
    read_ones = await asyncio.gather(*(read(store, KEY) for _ in range(150)))
    assert {len(each) for each in read_ones} == {1 << 20}


@pytest.mark.parametrize("sent", [10, 1 << 20, 8 << 20, 25 << 20, len(LARGE) - (1 << 20)])
async def test_a_large_put_that_is_cancelled_leaves_the_old_bytes_and_no_unfinished_upload(
    store: S3Store, options: S3Options, sent: int
) -> None:
    await put(store, b"old")
    way = Way(options.endpoint, hold_after_bytes=sent)
    async with way.open() as endpoint, S3Store(replace(options, endpoint=endpoint)) as far:
        task = asyncio.create_task(put(far, LARGE))
        await way.held.wait()
        task.cancel()
        way.free()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await unfinished(options, KEY) == []
    assert await read(store, KEY) == b"old"


async def test_whoever_does_not_wait_for_the_clearing_up_leaves_nothing_either(
    store: S3Store, options: S3Options
) -> None:
    way = Way(options.endpoint, hold_after_bytes=10 << 20)
    async with way.open() as endpoint, S3Store(replace(options, endpoint=endpoint)) as far:
        task = asyncio.create_task(put(far, LARGE))
        await way.held.wait()
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        way.free()

    assert await unfinished(options, KEY) == []
    assert await keys_of(store) == []


async def test_a_large_put_of_other_bytes_leaves_no_unfinished_upload(
    store: S3Store, options: S3Options
) -> None:
    said = await sentence(put(store, LARGE, hashlib.sha256(b"announced").hexdigest()))
    assert said == "Other bytes arrived than were announced; nothing was stored. Try again."
    assert await unfinished(options, KEY) == []
    assert await keys_of(store) == []


@pytest.fixture
async def minio(tmp_path: Path) -> AsyncIterator[Minio]:
    with a_minio(tmp_path / "minio") as minio:
        await minio.start()
        yield minio


@pytest.mark.parametrize("use", USES)
async def test_a_frozen_server_ends_every_call_in_time(minio: Minio, use: str) -> None:
    async with S3Store(minio.options, call_seconds=0.5) as store:
        await put(store, b"old")
        minio.signal(signal.SIGSTOP)
        begin = time.monotonic()
        said = await sentence(USES[use](store))
        took = time.monotonic() - begin
        minio.signal(signal.SIGCONT)

        assert took < 1.5
        assert said == (
            f"The S3 store {minio.options.endpoint} does not answer in time. "
            "See whether it runs and is not overloaded."
        )
        await store.check()


async def test_a_server_that_freezes_while_a_blob_is_read_ends_the_reading(minio: Minio) -> None:
    async with S3Store(minio.options, call_seconds=0.5) as store:
        await put(store, LARGE)
        async with store.open(KEY) as blob:
            await anext(blob.chunks)
            minio.signal(signal.SIGSTOP)
            with pytest.raises(StoreUnavailable, match="does not answer in time"):
                async for _ in blob.chunks:
                    pass
        minio.signal(signal.SIGCONT)
        assert await read(store, KEY) == LARGE


@pytest.mark.parametrize("data", [LARGE[: 5 << 20], LARGE], ids=["small", "parts"])
async def test_a_server_killed_during_a_put_keeps_the_old_bytes(minio: Minio, data: bytes) -> None:
    options = minio.options
    async with S3Store(options) as store:
        await put(store, b"old")
        way = Way(options.endpoint, hold_after_bytes=len(data) - (1 << 20))
        async with way.open() as endpoint, S3Store(replace(options, endpoint=endpoint)) as far:
            task = asyncio.create_task(put(far, data))
            await way.held.wait()
            minio.kill()
            way.free()
            assert "can't be reached" in await sentence(task)
        assert "can't be reached" in await sentence(read(store, KEY))
        await minio.start()

        assert await read(store, KEY) == b"old"
        await put(store, b"new")
        assert [await keys_of(store), await read(store, KEY)] == [[KEY], b"new"]


async def test_a_connection_that_breaks_while_a_blob_is_read_is_no_end_of_the_blob(minio: Minio) -> None:
    async with S3Store(minio.options) as store:
        await put(store, LARGE)
        async with store.open(KEY) as blob:
            await anext(blob.chunks)
            minio.kill()
            with pytest.raises(StoreUnavailable, match="can't be reached"):
                async for _ in blob.chunks:
                    pass


def test_options_that_can_not_be_right_are_named_together() -> None:
    with pytest.raises(ConfigurationError) as raised:
        S3Options(
            endpoint="minio:9000",
            public_endpoint="http://files.example/path",
            worker_endpoint="http://user@minio",
            bucket="Pictures",
            access_key="",
            secret_key="",
            region="somewhere else",
        )
    assert list(raised.value.problems) == [
        "s3.endpoint must be an address like http://minio:9000, without a path; it is 'minio:9000'.",
        "s3.public_endpoint must be an address like http://minio:9000, without a path; "
        "it is 'http://files.example/path'.",
        "s3.worker_endpoint must be an address like http://minio:9000, without a path; "
        "it is 'http://user@minio'.",
        "s3.bucket must be 3 to 63 of a-z, 0-9, dot and hyphen; it is 'Pictures'.",
        "s3.region must be a name like us-east-1; it is 'somewhere else'.",
        "s3.access_key is empty.",
        "s3.secret_key is empty.",
    ]


def test_the_secret_key_is_not_shown() -> None:
    assert "hidden" not in repr(S3Options("http://minio:9000", "user", "pictures", "hidden"))


async def test_a_store_is_used_while_it_is_open_only() -> None:
    store = S3Store(S3Options("http://127.0.0.1:1", "user", "pictures", "secret"))
    with pytest.raises(RuntimeError, match="inside its `async with` only"):
        await store.check()
    async with store:
        pass
    with pytest.raises(RuntimeError, match="inside its `async with` only"):
        await read(store, KEY)
