"""Uploads that are cut, killed or stalled by their store: rows have their objects, objects their rows.

BIOSCOPE_TEST_LONG=1 cuts fifty uploads and kills ten servers, instead of a few.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from bioscope_gql.services import Services
from bioscope_gql.storage import janitor
from bioscope_gql.storage.comparison import Comparison
from bioscope_gql.storage.folder import DRAFTS
from tests.clients import a_client
from tests.folders import a_folder
from tests.grounds import variables
from tests.lab import PATIENCE_SECONDS, Lab, Place, a_lab, a_picture, services_of
from tests.lab_documents import UPLOAD
from tests.processes import serving
from tests.stores import a_minio, settings_of

LONG = bool(os.environ.get("BIOSCOPE_TEST_LONG"))
CUTS, KILLS = (50, 10) if LONG else (6, 2)
SEED = random.randrange(10**9)
NO_GRACE = timedelta(0)
PICTURES = [(f"{number}.png", a_picture(number, (640, 480))) for number in range(4)]


def an_upload(dataset: str) -> tuple[dict[str, str], bytes]:
    """Headers and body of a multipart request."""
    request = httpx.Request(
        "POST",
        "http://lab/graphql",
        data={
            "operations": json.dumps(
                {"query": UPLOAD, "variables": {"dataset": dataset, "files": [None] * len(PICTURES)}}
            ),
            "map": json.dumps({str(n): [f"variables.files.{n}"] for n in range(len(PICTURES))}),
        },
        files=[(str(n), picture) for n, picture in enumerate(PICTURES)],
        headers={"graphql-require-preflight": "1"},
    )
    return dict(request.headers), request.read()


async def cleaned(services: Services) -> Comparison:
    """What differs once the janitor has been, all time-outs being over."""
    await services.db.execute("update object_deletions set due_at = now()")
    await janitor.work_off(services.db, services.store)
    found = await janitor.tidy(services.db, services.store, grace=NO_GRACE)
    assert await services.db.value("select count(*) from object_deletions") == 0
    return found


def files_below(*folders: Path) -> list[str]:
    return sorted(
        f"{place}/{name}" for folder in folders for place, _, names in os.walk(folder) for name in names
    )


def open_below(folder: Path) -> list[str]:
    """What this process holds open there, files without a name among them."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed by another thread just now
            found.append(os.readlink(link))
    return [place for place in found if place.startswith(f"{folder}/")]


def sockets_of(port: int) -> int:
    """How many connections the server on that port has open."""
    return sum(socket.laddr.port == port for socket in psutil.Process().net_connections("tcp"))


async def test_an_upload_that_is_cut_anywhere_leaves_nothing_that_does_not_belong(lab: Lab) -> None:
    anna = await lab.an_analyst()
    dataset = await anna.a_dataset()
    await anna.upload(dataset, [("first.png", a_picture(99))])
    headers, body = an_upload(dataset)
    lines = [f"{name}: {value}" for name, value in {**headers, **anna.headers}.items()]
    head = "\r\n".join(["POST /graphql HTTP/1.1", *lines, "", ""]).encode()
    dice, spool = random.Random(SEED), lab.place.folder / "spool"
    port = int(lab.url.rpartition(":")[2])
    before = sockets_of(port)
    for _ in range(CUTS):
        cut = dice.randrange(len(head) + len(body))
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((head + body)[:cut])
        await writer.drain()
        writer.transport.abort()

    async with asyncio.timeout(PATIENCE_SECONDS):
        while files_below(spool) or open_below(spool) or sockets_of(port) > before:
            await asyncio.sleep(0.02)
    found = await cleaned(lab.services)

    assert (found.differs, found.examples) == (False, {}), SEED
    assert found.objects == 4 * found.pictures
    assert list(spool.iterdir()) == []


async def test_a_server_that_is_killed_while_it_takes_pictures_leaves_nothing_that_does_not_belong(
    place: Place,
) -> None:
    if place.s3 is not None:
        pytest.skip("`serve` uses the disk here.")
    settings = variables(place, BIOSCOPE_APP__LOG_LEVEL="warning", TMPDIR=str(place.folder / "tmp"))
    (place.folder / "tmp").mkdir()
    dice = random.Random(SEED)
    token = ""
    for _ in range(KILLS):
        async with serving(place.folder, "serve", **settings) as server:
            token = token or await server.register()
            ask = 'mutation { createDataset(input: {name: "d"}) { ... on Dataset { id } } }'
            dataset = (await server.ask(ask, token))["id"]
            headers, body = an_upload(dataset)
            async with a_client(base_url=server.url, timeout=20) as http:
                sent = asyncio.create_task(
                    http.post(
                        "/graphql", content=body, headers={**headers, "authorization": f"Bearer {token}"}
                    )
                )
                await asyncio.wait([sent], timeout=dice.uniform(0.02, 0.5))
                server.send_signal(signal.SIGKILL)
                await asyncio.wait([sent])
                sent.exception()
            await server.ended()

    async with serving(place.folder, "serve", **settings) as server:
        temporary = [path.name for path in (place.folder / "tmp").glob("bioscope-serve-*")]
        await server.stop()
    async with services_of(place) as services:
        drafts = place.folder / "files" / DRAFTS
        drafts.mkdir(parents=True, exist_ok=True)  # killed early enough, it never wrote one
        for draft in drafts.iterdir():
            os.utime(draft, (0, 0))
        found = await cleaned(services)

    assert (found.differs, found.examples) == (False, {}), SEED
    assert found.objects == 4 * found.pictures
    assert len(temporary) == 1
    assert list((place.folder / "tmp").iterdir()) == []
    assert list(drafts.iterdir()) == []


async def test_a_store_that_stands_still_during_an_upload_leaves_nothing_once_it_goes_on(
    place: Place,
) -> None:
    with a_folder() as data, a_minio(data) as minio:
        await minio.start()
        async with a_lab(replace(place, s3=settings_of(minio.options))) as lab:
            anna = await lab.an_analyst()
            dataset = await anna.a_dataset()
            await anna.upload(dataset, [("first.png", a_picture(99))])
            minio.signal(signal.SIGSTOP)
            try:
                async with a_client(base_url=lab.url, timeout=60) as http:
                    headers, body = an_upload(dataset)
                    began = asyncio.get_running_loop().time()
                    answer = await http.post("/graphql", content=body, headers={**headers, **anna.headers})
                    took = asyncio.get_running_loop().time() - began
            finally:
                minio.signal(signal.SIGCONT)
            files = answer.json()["data"]["uploadImages"]["files"]
            found = await cleaned(lab.services)

            assert [file["code"] for file in files] == ["STORAGE_UNAVAILABLE"] * len(PICTURES)
            assert took < 30
            assert (found.differs, found.objects, found.pictures) == (False, 4, 1)
