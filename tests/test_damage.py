"""What has rotted on the disk is told, not served."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bioscope_gql.storage.links import LinkAltered, LinkSigner
from bioscope_gql.transport.verification import Verification
from tests.clients import a_client
from tests.lab import Lab, Person, a_picture
from tests.stores import SECRET
from tests.test_files import KEY, TEN, Site, a_site, problem

WHOLE = hashlib.sha256(TEN).hexdigest()
DAMAGED = (
    500,
    "DAMAGED",
    "This picture is damaged: its bytes are not those that were uploaded. "
    "Tell whoever runs the server, who can restore it from a backup.",
)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path / "files") as site:
        await site.put(TEN)
        yield site


async def test_bytes_of_the_right_checksum_are_served_whole_and_in_parts(site: Site) -> None:
    link = site.link("a.png", sha256=WHOLE)

    whole, part = await site.get(link), await site.get(link, range="bytes=3-5")

    assert (whole.status_code, whole.content) == (200, TEN)
    assert (part.status_code, part.content) == (206, b"345")


@pytest.mark.parametrize("range_", [None, "bytes=0-1"])
async def test_of_a_damaged_picture_no_byte_is_served(site: Site, range_: str | None) -> None:
    await site.put(b"0123x56789")
    answer = await site.get(site.link("a.png", sha256=WHOLE), **({"range": range_} if range_ else {}))

    assert problem(answer) == DAMAGED


async def test_a_picture_that_was_good_is_looked_at_again_once_its_file_changes(site: Site) -> None:
    link = site.link("a.png", sha256=WHOLE)
    before = await site.get(link)
    (site.root / KEY).write_bytes(b"0123x56789")
    damaged = await site.get(link)
    await site.put(TEN)
    restored = await site.get(link)

    assert (before.content, problem(damaged), restored.content) == (TEN, DAMAGED, TEN)


async def test_many_readers_of_a_picture_cost_one_reading_for_its_checksum(site: Site) -> None:
    readings: list[str] = []
    verification = Verification()

    async with site.store.open_file(KEY) as file:

        async def counted() -> str:
            readings.append(KEY)
            return await file.sha256()

        counting = replace(file, sha256=counted)
        outcomes = await asyncio.gather(*(verification.is_whole(counting, WHOLE) for _ in range(10)))

    assert (outcomes, readings) == ([True] * 10, [KEY])


def test_the_checksum_of_a_link_can_neither_be_changed_nor_taken_away() -> None:
    signer = LinkSigner(SECRET)
    link = signer.sign(KEY, expires=100, content_type="image/png", filename=None, sha256=WHOLE)
    path, _, query = link.partition("?")

    assert signer.verify(path, query, 1).sha256 == WHOLE
    for other in (query.replace(WHOLE, "0" * 64), query.replace(f"&sha={WHOLE}", "")):
        with pytest.raises(LinkAltered):
            signer.verify(path, other, 1)
    with pytest.raises(ValueError, match="is not a SHA-256"):
        signer.sign(KEY, expires=100, content_type="image/png", filename=None, sha256="x")


async def uploaded(lab: Lab) -> tuple[Person, str]:
    """Somebody, and the id of the picture that they uploaded."""
    if lab.place.s3 is not None:
        pytest.skip("An S3 server minds its own bytes.")
    ada = await lab.a_user()
    report = await ada.upload(await ada.a_dataset(), [("a.png", a_picture())])
    return ada, report["files"][0]["image"]["id"]


async def damage(lab: Lab) -> None:
    """Change the last byte of the only picture that there is."""
    path = await lab.db.value("select storage_path from images")
    root = lab.services.settings.s3.directory
    assert root is not None
    with (root / path).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")


async def test_the_download_of_a_damaged_picture_says_so(lab: Lab) -> None:
    ada, id = await uploaded(lab)
    found = await ada.ask("query ($id: ID!) { image(id: $id) { downloadUrl } }", id=id)
    await damage(lab)

    async with a_client() as http:
        answer = await http.get(found["downloadUrl"])

    assert problem(answer) == DAMAGED


async def test_of_a_damaged_original_no_byte_is_served_to_who_brings_a_token(lab: Lab) -> None:
    ada, id = await uploaded(lab)
    headers = {"authorization": f"Bearer {ada.token}"}
    whole = await lab.http.get(f"/images/{id}/original", headers=headers)
    await damage(lab)

    for range_ in ({}, {"range": "bytes=0-3"}):
        answer = await lab.http.get(f"/images/{id}/original", headers={**headers, **range_})
        assert problem(answer) == DAMAGED
    assert (whole.status_code, whole.content) == (200, a_picture())
