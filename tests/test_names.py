"""A picture under any name, from the upload to the download, on the disk and in an S3 store."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from bioscope_gql.storage.comparison import compare
from tests.clients import a_client
from tests.lab import Lab, Person, Place, a_lab, a_picture, unwrapped
from tests.lab_documents import UPLOAD
from tests.stores import an_s3_store, s3_options, settings_of

NAMES = {
    "血液涂片 №1.png": "血液涂片 №1.png",
    "صورة الدم.png": "صورة الدم.png",
    "🔬👩🏽‍🔬.png": "🔬👩🏽‍🔬.png",
    'the "best" cell\'s.png': 'the "best" cell\'s.png',
    "a/b\\c.png": "c.png",
    "nul\0in.png": "nulin.png",
    "../../etc/passwd.png": "passwd.png",
    "n" * 5000 + ".png": "n" * 251 + ".png",
    "字" * 5000 + ".png": "字" * 251 + ".png",
    "100% \r\nSet-Cookie: a=b.png": "100% Set-Cookie: a=b.png",
    "": "unnamed",
}
"""As sent, and as kept, shown and downloaded."""

SHOWN = "query ($id: ID!) { image(id: $id) { filename downloadUrl thumbnailUrl } }"
DELETE = "mutation ($ids: [ID!]!) { deleteImages(ids: $ids) { __typename } }"


@pytest.fixture(params=["disk", "s3"])
async def anywhere(request: pytest.FixtureRequest, place: Place) -> AsyncIterator[Lab]:
    """A lab over either kind of store."""
    async with AsyncExitStack() as stack:
        if request.param == "s3" and place.s3 is None:
            options = s3_options()
            await stack.enter_async_context(an_s3_store(options))
            place = replace(place, s3=settings_of(options))
        yield await stack.enter_async_context(a_lab(place))


def saved_as(answer: httpx.Response) -> str:
    """The name under which a browser keeps it: RFC 6266, the extended one first."""
    header = answer.headers["content-disposition"]
    assert header.startswith("attachment;")
    assert header.isascii()
    extended = re.search(r"filename\*=UTF-8''([^;]+)", header)
    if extended:
        return unquote(extended[1])
    plain = re.search(r'filename="((?:[^"\\]|\\.)*)"', header)
    assert plain, header
    return plain[1]


async def as_sent(person: Person, dataset: str, files: list[tuple[str, bytes]]) -> Any:
    """An upload as browsers write it; httpx would hide a NUL from the server."""
    nothing = [None] * len(files)
    operations = {"query": UPLOAD, "variables": {"dataset": dataset, "files": nothing}}
    request = httpx.Request(
        "POST",
        person.lab.url,
        data={
            "operations": json.dumps(operations),
            "map": json.dumps({str(n): [f"variables.files.{n}"] for n in range(len(files))}),
        },
        files=[(str(n), file) for n, file in enumerate(files)],
        headers={**person.headers, "graphql-require-preflight": "1"},
    )
    body = request.read().replace(b"nul%00in", b"nul\0in")
    headers = {
        name: value for name, value in request.headers.items() if name not in ("content-length", "host")
    }
    return unwrapped(await person.lab.http.post("/graphql", content=body, headers=headers))


async def test_any_name_is_kept_shown_and_downloaded_and_none_is_refused(anywhere: Lab) -> None:
    ada = await anywhere.a_user()
    dataset = await ada.a_dataset()
    pictures = [a_picture(number) for number in range(len(NAMES))]

    report = await as_sent(ada, dataset, list(zip(NAMES, pictures, strict=True)))
    seen = []
    async with a_client() as http:
        for file, data in zip(report["files"], pictures, strict=True):
            shown = await ada.ask(SHOWN, id=file["image"]["id"])
            original, small = await http.get(shown["downloadUrl"]), await http.get(shown["thumbnailUrl"])
            assert (original.status_code, original.content == data) == (200, True)
            assert (small.status_code, small.headers["content-type"]) == (200, "image/webp")
            seen.append((file["filename"], shown["filename"], saved_as(original)))

    assert seen == [(name, name, name) for name in NAMES.values()]


async def test_pictures_come_and_go_and_the_store_holds_what_the_table_says(anywhere: Lab) -> None:
    ada = await anywhere.a_user()
    report = await ada.upload(await ada.a_dataset(), [(f"{n}.png", a_picture(n)) for n in range(5)])
    ids = [file["image"]["id"] for file in report["files"]]

    full = await compare(anywhere.db, anywhere.services.store, grace=timedelta(0))
    await ada.ask(DELETE, ids=ids[:3])
    await anywhere.until("select count(*) = 0 from object_deletions")
    rest = await compare(anywhere.db, anywhere.services.store, grace=timedelta(0))

    assert (full.objects, full.pictures, full.differs) == (20, 5, False)
    assert (rest.objects, rest.pictures, rest.differs) == (8, 2, False)


async def test_a_thumbnail_has_one_link_for_some_minutes_and_may_be_kept_as_long(anywhere: Lab) -> None:
    ada = await anywhere.a_user()
    report = await ada.upload(await ada.a_dataset(), [("a.png", a_picture())])
    id = report["files"][0]["image"]["id"]

    links = {(await ada.ask(SHOWN, id=id))["thumbnailUrl"] for _ in range(3)}
    async with a_client() as http:
        answer = await http.get(min(links))

    kept = re.fullmatch(r"private, max-age=(\d+), immutable", answer.headers["cache-control"])
    assert len(links) <= 2  # two where the clock has just passed from one step to the next
    assert kept
    assert int(kept[1]) >= 600 - 10
