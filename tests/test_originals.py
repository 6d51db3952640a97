"""The bytes of pictures for whoever brings a token, and links for classifiers of BioScopeAI Core."""

import asyncio
import base64
import hashlib
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from bioscope_gql import db
from bioscope_gql.events.messages import Topics
from bioscope_gql.services import Services
from bioscope_gql.storage.s3 import S3Options, S3Store
from bioscope_gql.transport.oauth import TokenEndpoint
from bioscope_gql.transport.originals import Originals
from bioscope_gql.worker.sdk import Options, Picture, Worker
from tests.clients import a_client
from tests.lab import PATIENCE_SECONDS, Lab, Person, Place, a_lab, a_picture
from tests.lab_machines import Machine, a_machine
from tests.test_images import one

SOME_ID = "00000000-0000-7000-8000-000000000000"


def original(id: str) -> str:
    return f"/images/{id}/original"


def download(id: str) -> str:
    return f"/api/images/{id}/download"


async def get(who: Person, path: str, *, method: str = "GET", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await who.lab.http.request(method, path, headers={**who.headers, **named})


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_person_gets_the_bytes_with_name_type_and_checksum(lab: Lab) -> None:
    ada, data = await lab.a_user(), a_picture(3)
    image = await one(ada, "血 1.png", data)
    answer = await get(ada, original(image["id"]))
    head = await get(ada, original(image["id"]), method="HEAD")
    sha256 = hashlib.sha256(data)

    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(data))
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"_ 1.png\"; filename*=UTF-8''%E8%A1%80%201.png"
    )
    assert answer.headers["etag"] == f'"{sha256.hexdigest()}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(sha256.digest()).decode()}:"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(data))


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=10-", 206, 10, None),
        ("bytes=-5", 206, -5, None),
        ("bytes=0-999999", 206, 0, None),
        ("bytes=5-1", 200, 0, None),
        ("bytes=0-1,3-4", 200, 0, None),
        ("lines=1-2", 200, 0, None),
    ],
)
async def test_a_part_of_the_bytes_can_be_had(
    lab: Lab, asked: str, status: int, start: int, end: int | None
) -> None:
    ada, data = await lab.a_user(), a_picture(3)
    image = await one(ada, data=data)
    answer = await get(ada, original(image["id"]), range=asked)

    assert (answer.status_code, answer.content) == (status, data[start:end])
    assert answer.headers["accept-ranges"] == "bytes"
    if status == 206:
        first = start if start >= 0 else len(data) + start
        last = first + len(answer.content) - 1
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(data)}"


async def test_what_a_client_has_already_is_not_sent_again(lab: Lab) -> None:
    ada, data = await lab.a_user(), a_picture(3)
    image = await one(ada, data=data)
    tag = (await get(ada, original(image["id"]))).headers["etag"]
    known = await get(ada, original(image["id"]), if_none_match=tag)
    resumed = await get(ada, original(image["id"]), range="bytes=4-", if_range=tag)
    restarted = await get(ada, original(image["id"]), range="bytes=4-", if_range='"another"')
    outside = await get(ada, original(image["id"]), range=f"bytes={len(data)}-")

    assert (known.status_code, known.content) == (304, b"")
    assert (resumed.status_code, resumed.content) == (206, data[4:])
    assert (restarted.status_code, restarted.content) == (200, data)
    assert (told(outside), outside.headers["content-range"]) == (
        (416, "RANGE_NOT_SATISFIABLE"),
        f"bytes */{len(data)}",
    )


async def test_absent_and_invisible_pictures_answer_alike(lab: Lab) -> None:
    ada, eve, guest, admin = [await make() for make in (lab.a_user, lab.a_user, lab.a_user, lab.an_admin)]
    dataset = await ada.a_dataset()
    id = (await ada.images(dataset, 1))[0]
    await lab.grant(dataset, guest, "VIEW")
    for path in (original, download):
        answers = [await get(eve, path(each)) for each in (id, SOME_ID, "nonsense", "%00")]
        assert [told(answer) for answer in answers] == [(404, "NOT_FOUND")] * 4
        assert len({answer.text for answer in answers}) == 1
        assert [(await get(who, path(id))).status_code for who in (ada, guest, admin)] == [200] * 3


@pytest.mark.parametrize("path", [original, download])
async def test_without_a_good_token_there_is_nothing(lab: Lab, path: Any) -> None:
    ada = await lab.a_user()
    id = (await ada.images(await ada.a_dataset(), 1))[0]
    forged = [None, "nonsense", "a.b.c", ada.token and ada.token[:-2]]
    answers = [await get(replace(ada, token=token), path(id)) for token in forged]
    basic = await lab.http.get(path(id), headers={"authorization": "Basic YTpi"})
    posted = await get(ada, path(id), method="POST")

    for answer in (*answers, basic):
        assert told(answer) == (401, "UNAUTHENTICATED")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["cache-control"] == "no-store"
    assert (told(posted), posted.headers["allow"]) == ((405, "METHOD_NOT_ALLOWED"), "GET, HEAD")


async def test_a_picture_whose_bytes_are_gone_is_not_found(lab: Lab) -> None:
    ada = await lab.a_user()
    id = (await ada.images(await ada.a_dataset(), 1))[0]
    key = await lab.db.value("select storage_path from images")
    await lab.services.store.delete([key])

    assert told(await get(ada, original(id))) == (404, "NOT_FOUND")


def routes_over(services: Services) -> httpx.AsyncClient:
    originals = Originals(services, origin_of=lambda _: "http://lab.example")
    app = Starlette(routes=[*originals.routes(), TokenEndpoint(services).route()])
    return a_client(transport=httpx.ASGITransport(app), base_url="http://lab.example")


async def test_while_the_store_is_away_the_answer_says_when_to_come_again(lab: Lab) -> None:
    ada = await lab.a_user()
    id = (await ada.images(await ada.a_dataset(), 1))[0]
    away = S3Options(
        endpoint="http://127.0.0.1:9",
        access_key="a",
        secret_key="b" * 8,
        bucket="pictures",
        region="us-east-1",
    )
    async with S3Store(away) as store, routes_over(lab.with_services(store=store)) as http:
        answer = await http.get(original(id), headers=ada.headers)

    assert (told(answer), answer.headers["retry-after"]) == ((503, "SERVICE_UNAVAILABLE"), "5")


async def test_while_the_database_is_away_the_answer_says_when_to_come_again(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_READ")
    async with db.connected(lab.place.dsn, pool_min=1, pool_max=1, statement_timeout_ms=1000) as database:
        pass
    form = {"grant_type": "client_credentials", "client_id": machine.client_id, "client_secret": "x"}
    async with routes_over(lab.with_services(db=database)) as http:
        answers = [await http.get(path(SOME_ID), headers=machine.headers) for path in (original, download)]
        token = await http.post("/oauth/token", data=form)

    assert [told(answer) for answer in answers] == [(503, "SERVICE_UNAVAILABLE")] * 2
    assert (token.status_code, token.json()["error"]) == (503, "temporarily_unavailable")
    assert {answer.headers["retry-after"] for answer in (*answers, token)} == {"5"}


async def test_a_machine_reads_pictures_in_flight_only_whatever_else_it_sees(lab: Lab) -> None:
    admin, ada = await lab.an_admin(), await lab.an_analyst()
    reader = await a_machine(lab, "IMAGES_READ", admin=admin)
    both = await a_machine(lab, "IMAGES_READ", "RESULTS_READ", admin=admin)
    others = await a_machine(lab, "RESULTS_READ", "IMAGES_WRITE", "DEVICES_HEARTBEAT", admin=admin)
    ids = await ada.images(await ada.a_dataset(), 2)
    async with lab.a_worker() as worker:
        await ada.run(target={"imageId": ids[0]})
        job = await worker.job()
        for path in (original, download):
            assert [(await get(who, path(ids[0]))).status_code for who in (reader, both)] == [200, 200]
            assert [told(await get(who, path(ids[1]))) for who in (reader, both)] == [(404, "NOT_FOUND")] * 2
            assert told(await get(others, path(ids[0]))) == (403, "SCOPE")
        assert (await get(reader, original(ids[0]))).content == f"picture {ids[0]}".encode()
        await worker.answer(job)
        await lab.until("select count(*) = 1 from classification_results")

    for path in (original, download):
        assert [told(await get(who, path(ids[0]))) for who in (reader, both)] == [(404, "NOT_FOUND")] * 2
    await reader.revoke()
    assert told(await get(reader, original(ids[0]))) == (401, "UNAUTHENTICATED")


def with_secret(machine: Machine) -> Machine:
    return replace(machine, token=f"{machine.client_id}.{machine.secret}")


async def test_a_classifier_of_the_old_system_shows_its_secret_where_it_gets_a_link_and_only_there(
    lab: Lab,
) -> None:
    ada = await lab.an_analyst()
    machine = await a_machine(lab, "IMAGES_READ")
    id = (await ada.images(await ada.a_dataset(), 1))[0]
    old = with_secret(machine)
    async with lab.a_worker() as worker:
        await ada.run(target={"imageId": id})
        await worker.job()
        answer = await get(old, download(id))
        elsewhere = await get(old, original(id))
        asked = await old.send("{ images { totalCount } }")
        wrong = [
            await get(replace(old, token=token), download(id))
            for token in (f"{machine.client_id}.", f"{machine.client_id}.x", f".{machine.secret}", ".")
        ]
        async with a_client() as anybody:
            fetched = await anybody.get(answer.json()["url"])
        await machine.revoke()
        revoked = await get(old, download(id))

    assert set(answer.json()) == {"url"}
    assert answer.headers["cache-control"] == "no-store"
    assert fetched.content == f"picture {id}".encode()
    assert told(elsewhere) == (401, "UNAUTHENTICATED")
    assert asked.json()["errors"][0]["extensions"]["reason"] == "INVALID"
    assert [told(each) for each in (*wrong, revoked)] == [(401, "UNAUTHENTICATED")] * 5


async def test_a_worker_of_the_sdk_fetches_originals_where_links_are_off(place: Place) -> None:
    settings = place.settings()
    settings = settings.model_copy(update={"s3": settings.s3.model_copy(update={"worker_links": False})})
    worker, seen, stop = Worker("linkless", "1", labels=["dark"]), dict[str, bytes](), asyncio.Event()

    @worker.classify
    async def classify(picture: Picture) -> dict[str, float]:
        seen[str(picture.image_id)] = picture.data
        return {"dark": 1.0}

    async with a_lab(place, settings) as lab:
        machine, ada = await a_machine(lab, "IMAGES_READ"), await lab.an_analyst()
        dataset = await ada.a_dataset()
        ids = await ada.images(dataset, 3)
        options = Options(
            bootstrap_servers=place.bootstrap_servers,
            topics=Topics(**settings.kafka.topics.model_dump()),
            development=place.embedded,
            api_url=lab.url,
            client_id=machine.client_id,
            client_secret=machine.secret,
        )
        working = asyncio.create_task(worker.run(options, stop))
        await lab.until("select count(*) = 1 from workers")
        last = await ada.finished(await ada.run_over(dataset))
        stop.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await working

        assert last["classification"]["status"] == "COMPLETED"
        assert seen == {id: f"picture {id}".encode() for id in ids}
        assert await lab.count("service_sessions") == 2
