"""`GET /files/...` as a browser meets it: a real server, real files, the links that the store makes."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from bioscope_gql.storage.disk import DiskStore
from bioscope_gql.storage.links import LinkSigner
from bioscope_gql.transport.files import Files
from tests.clients import a_client
from tests.stores import SECRET

KEY = "images/a/b"
TEN = b"0123456789"
LARGE = bytes(range(256)) * (128 << 10)
"""32 MiB: more than the buffers of two sockets hold."""


class Site:
    """A server with one picture in its store. Its clock stands still unless a test moves it."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.now = 1_000_000.0
        self.root = root
        signer = LinkSigner(SECRET)
        self.store = DiskStore(root, signer, clock=lambda: self.now)
        self.files = Files(self.store, signer, clock=lambda: self.now, **options)
        self.port = 0
        self._app = Starlette(routes=[self.files.route()])
        self._served = asyncio.Event()
        self.http = a_client()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            self._served.set()

    async def served(self) -> None:
        """Return once an answer has ended, however it did."""
        async with asyncio.timeout(10):
            await self._served.wait()

    async def put(self, data: bytes) -> None:
        await self.store.put(KEY, data, content_type="image/png", sha256=None)

    def link(
        self, filename: str | None = None, content_type: str = "image/png", sha256: str | None = None
    ) -> str:
        origin = f"http://127.0.0.1:{self.port}"
        return self.store.presign_get(
            KEY, seconds=60, content_type=content_type, filename=filename, origin=origin, sha256=sha256
        )

    async def get(self, link: str | None = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.get(link or self.link(), headers=named)


@asynccontextmanager
async def a_site(root: Path, **options: Any) -> AsyncIterator[Site]:
    site = Site(root, **options)
    server = uvicorn.Server(
        uvicorn.Config(site, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        site.port = listening.getsockname()[1]
        serving = asyncio.create_task(server.serve([listening]))
        async with site.store, site.http:
            try:
                yield site
            finally:
                server.should_exit = True
                await serving


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path / "files") as site:
        await site.put(TEN)
        yield site


def problem(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code and sentence of a refusal, which nobody may keep."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


async def test_a_link_shows_the_picture(site: Site) -> None:
    answer = await site.get()
    assert (answer.status_code, answer.content) == (200, TEN)
    headers = dict(answer.headers)
    tag = headers.pop("etag")
    assert tag.startswith('"')
    for name in ("date", "server"):
        headers.pop(name)
    assert headers == {
        "content-type": "image/png",
        "content-length": "10",
        "content-disposition": "inline",
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=80, immutable",
        "content-security-policy": "sandbox; default-src 'none'",
        "cross-origin-resource-policy": "same-site",
        "x-content-type-options": "nosniff",
    }


async def test_a_large_picture_arrives_whole(site: Site) -> None:
    await site.put(LARGE)
    answer = await site.get()
    assert (answer.headers["content-length"], answer.content == LARGE) == (str(len(LARGE)), True)


async def test_an_empty_file_arrives(site: Site) -> None:
    await site.put(b"")
    answer = await site.get()
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "0", b"")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a b.png", 'attachment; filename="a b.png"'),
        ("", 'attachment; filename="download"'),
        (
            "próbka krwi №1 [ß].jpg",
            'attachment; filename="pr_bka krwi _1 [_].jpg"; '
            "filename*=UTF-8''pr%C3%B3bka%20krwi%20%E2%84%961%20%5B%C3%9F%5D.jpg",
        ),
        ("血液.tif", "attachment; filename=\"__.tif\"; filename*=UTF-8''%E8%A1%80%E6%B6%B2.tif"),
        ("دم.png", "attachment; filename=\"__.png\"; filename*=UTF-8''%D8%AF%D9%85.png"),
        ('q"uo\\te\r\nX: y', "attachment; filename=\"q_uo_te__X: y\"; filename*=UTF-8''q%22uo_te__X%3A%20y"),
    ],
)
async def test_an_original_is_a_download_of_its_name_in_any_script(
    site: Site, name: str, header: str
) -> None:
    answer = await site.get(site.link(name))
    assert (answer.status_code, answer.content) == (200, TEN)
    assert answer.headers["content-disposition"] == header
    assert answer.headers["cache-control"] == "private, no-store"
    assert "x" not in answer.headers


async def test_the_type_is_the_one_that_was_signed(site: Site) -> None:
    assert (await site.get(site.link(content_type="image/tiff"))).headers["content-type"] == "image/tiff"


@pytest.mark.parametrize(
    ("asked", "range_", "part"),
    [
        ("bytes=0-3", "bytes 0-3/10", b"0123"),
        ("bytes=4-", "bytes 4-9/10", b"456789"),
        ("bytes=-3", "bytes 7-9/10", b"789"),
        ("bytes=-300", "bytes 0-9/10", TEN),
        ("bytes=8-300", "bytes 8-9/10", b"89"),
        ("Bytes=9-9", "bytes 9-9/10", b"9"),
    ],
)
async def test_a_range_is_answered_with_that_part(site: Site, asked: str, range_: str, part: bytes) -> None:
    answer = await site.get(Range=asked)
    assert (answer.status_code, answer.content) == (206, part)
    assert answer.headers["content-range"] == range_
    assert answer.headers["content-length"] == str(len(part))
    assert answer.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=5-2",
        "bytes=0-1,4-5",
        "bytes=-",
        "bytes=",
        "bytes",
        "rows=0-1",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=²-3",
    ],
)
async def test_a_range_that_makes_no_sense_is_answered_with_the_whole(site: Site, asked: str) -> None:
    answer = await site.http.get(site.link(), headers={b"Range": asked.encode()})
    assert (answer.status_code, answer.content) == (200, TEN)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=999999999999999999-", "bytes=-0"])
async def test_a_range_behind_the_end_is_refused(site: Site, asked: str) -> None:
    answer = await site.get(Range=asked)
    assert problem(answer) == (416, "RANGE_NOT_SATISFIABLE", "This file has 10 bytes.")
    assert answer.headers["content-range"] == "bytes */10"


async def test_no_range_of_an_empty_file_can_be_had(site: Site) -> None:
    await site.put(b"")
    answer = await site.get(Range="bytes=0-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */0")


async def test_a_range_of_what_has_changed_is_answered_with_the_whole(site: Site) -> None:
    tag = (await site.get()).headers["etag"]
    assert (await site.get(Range="bytes=2-3", If_Range=tag)).content == b"23"
    await site.put(b"abcdefghij")
    answer = await site.get(Range="bytes=2-3", If_Range=tag)
    assert (answer.status_code, answer.content) == (200, b"abcdefghij")
    date = "Wed, 21 Oct 2065 07:28:00 GMT"
    assert (await site.get(Range="bytes=2-3", If_Range=date)).status_code == 200


async def test_what_a_browser_has_is_not_sent_again(site: Site) -> None:
    tag = (await site.get()).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await site.get(If_None_Match=known)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == "private, max-age=80, immutable"
    assert (await site.get(If_None_Match='"other"')).status_code == 200
    assert (await site.get(If_None_Match=tag, Range="bytes=2-3")).status_code == 304

    await site.put(b"abcdefghij")
    assert (await site.get(If_None_Match=tag)).content == b"abcdefghij"


async def test_head_answers_as_get_does_without_the_bytes(site: Site) -> None:
    for link in (site.link(), site.link("a.png")):
        got, head = await site.http.get(link), await site.http.head(link)
        assert (head.status_code, head.content) == (200, b"")
        without = [name for name in got.headers if got.headers[name] != head.headers.get(name)]
        assert [name for name in without if name != "date"] == []
    assert (await site.http.head(site.link(), headers={"Range": "bytes=50-"})).status_code == 200
    expired = site.link()
    site.now += 100
    refused = await site.http.head(expired)
    assert (refused.status_code, refused.content) == (403, b"")


async def test_a_link_expires(site: Site) -> None:
    link = site.link("a.png")
    site.now += 59.9
    assert (await site.get(link)).status_code == 200
    site.now += 0.1
    assert problem(await site.get(link)) == (403, "LINK_EXPIRED", "This link has expired. Ask for a new one.")


async def test_a_link_can_not_be_altered(site: Site) -> None:
    link = site.link("a.png")
    (site.root / "images/a/c").write_bytes(b"not yours")
    for other in (
        link.replace("/a/b?", "/a/c?"),
        link.replace("/a/b?", "/a/%2e%2e/a/b?"),
        link.replace("/a/b?", "/a/b/?"),
        link.replace("a.png", "b.png"),
        link.replace("type=image", "type=text"),
        link.replace("exp=1", "exp=2"),
        link + "x",
        link + "&x=%ff",
        link.partition("?")[0],
    ):
        answer = await site.get(other)
        assert problem(answer) == (
            403,
            "LINK_ALTERED",
            "This link is not one that this server made. Ask for a new one.",
        ), other


async def test_a_key_may_be_spelled_with_escapes(site: Site) -> None:
    assert (await site.get(site.link().replace("/a/b?", "/%61%2fb?"))).content == TEN


async def test_what_was_deleted_is_gone(site: Site) -> None:
    await site.store.delete([KEY])
    assert problem(await site.get()) == (404, "NOT_FOUND", "This picture has been deleted.")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_nothing_but_get_and_head_works(site: Site, method: str) -> None:
    answer = await site.http.request(method, site.link())
    assert problem(answer) == (405, "METHOD_NOT_ALLOWED", "Only GET and HEAD work here.")
    assert answer.headers["allow"] == "GET, HEAD"
    assert (await site.get()).content == TEN


async def test_a_disk_that_does_not_work_is_said_without_its_name(site: Site) -> None:
    (site.root / KEY).unlink()
    (site.root / KEY).symlink_to(site.root)
    answer = await site.get()
    assert problem(answer) == (
        503,
        "SERVICE_UNAVAILABLE",
        "The pictures can't be read at the moment. Try again in a few seconds.",
    )
    assert answer.headers["retry-after"] == "5"


async def test_pictures_for_pages_of_other_sites_are_marked_so(tmp_path: Path) -> None:
    async with a_site(tmp_path, cross_site=True) as site:
        await site.put(TEN)
        assert (await site.get()).headers["cross-origin-resource-policy"] == "cross-origin"


def open_pictures(root: Path) -> list[str]:
    return [file.path for file in psutil.Process().open_files() if file.path.startswith(str(root))]


async def request_unread(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that asks for the picture, and has read the first line of the answer."""
    parts = urlsplit(site.link())
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
    writer.write(f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: lab\r\n\r\n".encode())
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    return reader, writer


async def test_a_client_that_stops_reading_is_given_up(tmp_path: Path) -> None:
    async with a_site(tmp_path, stall_seconds=0.3) as site:
        await site.put(LARGE)
        reader, writer = await request_unread(site)
        assert len(open_pictures(site.root)) == 1
        await site.served()
        assert open_pictures(site.root) == []
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(len(LARGE))
        writer.close()


async def test_a_client_that_goes_away_leaves_no_file_open(site: Site) -> None:
    await site.put(LARGE)
    _, writer = await request_unread(site)
    assert len(open_pictures(site.root)) == 1
    writer.transport.abort()
    await site.served()
    assert open_pictures(site.root) == []


async def test_a_file_that_becomes_shorter_is_never_filled_up(site: Site) -> None:
    await site.put(LARGE)
    reader, writer = await request_unread(site)
    os.truncate(site.root / KEY, 20 << 20)
    with pytest.raises(asyncio.IncompleteReadError):
        await reader.readexactly(len(LARGE))
    writer.close()
