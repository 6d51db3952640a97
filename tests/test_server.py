"""What a server tells about itself over HTTP: health, readiness, keys, request ids; and whom it answers."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from bioscope_gql import __version__
from bioscope_gql.auth.keys import Keys
from tests.lab import PATIENCE_SECONDS, Lab, Place, a_lab

FRONTEND = "https://lab.example"
WELL = {name: {"status": "ok"} for name in ("database", "kafka", "store", "dispatch", "results")}


@pytest.fixture
async def lab_with_a_frontend(place: Place) -> AsyncIterator[Lab]:
    async with a_lab(place, place.settings(cors_origins=(FRONTEND,))) as made:
        yield made


async def preflight(lab: Lab, origin: str) -> httpx.Response:
    return await lab.http.options(
        "/graphql",
        headers={
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        },
    )


async def healthy(lab: Lab) -> httpx.Response:
    """The answer of /health once all is well. Nothing rings when it is."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (answer := await lab.http.get("/health")).json()["status"] != "ok":
            await asyncio.sleep(0.02)
    return answer


async def test_health_names_the_parts_and_says_nothing_of_the_inside(lab: Lab) -> None:
    answer = await healthy(lab)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {"status": "ok", "version": __version__, "parts": WELL}


async def test_a_server_that_stops_is_alive_but_not_ready(lab: Lab) -> None:
    await healthy(lab)
    assert (await lab.http.get("/health/ready")).json() == {"status": "ready"}

    lab.replica.stopping = True

    refused = await lab.http.get("/health/ready")
    assert (refused.status_code, refused.json()) == (503, {"status": "not ready"})
    assert (await lab.http.get("/health/live")).status_code == 200


async def test_the_keys_that_tokens_are_checked_with_are_public_and_only_those(lab: Lab) -> None:
    answer = await lab.http.get("/.well-known/jwks.json")

    assert answer.status_code == 200
    assert answer.json() == Keys.load(lab.services.settings.auth.keys).jwks()
    (key,) = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


@pytest.mark.parametrize("path", ["/health", "/graphql?query={__typename}", "/graphql?query={", "/nothing"])
async def test_every_answer_has_an_id_of_its_own_and_no_caller_chooses_it(lab: Lab, path: str) -> None:
    answers = [await lab.http.get(path, headers={"x-request-id": "chosen-by-me"}) for _ in range(2)]

    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert "chosen-by-me" not in ids


async def test_what_is_not_there_is_told_in_json_with_where_to_look(lab: Lab) -> None:
    answer = await lab.http.get("/admin.php")

    assert answer.status_code == 404
    assert answer.json() == {
        "errors": [
            {
                "message": "There is nothing at /admin.php. The API is at /graphql, its health at /health.",
                "extensions": {"code": "NOT_FOUND"},
            }
        ]
    }


async def test_pages_of_the_origins_that_are_set_may_call_with_credentials(lab_with_a_frontend: Lab) -> None:
    lab = lab_with_a_frontend
    allowed = await preflight(lab, FRONTEND)

    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == FRONTEND
    assert allowed.headers["access-control-allow-credentials"] == "true"

    answer = await lab.http.get("/graphql?query={__typename}", headers={"origin": FRONTEND})
    assert answer.headers["access-control-allow-origin"] == FRONTEND
    assert "x-request-id" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "https://lab.example.evil.example", "null"])
async def test_pages_of_other_origins_are_allowed_nothing(lab_with_a_frontend: Lab, origin: str) -> None:
    lab = lab_with_a_frontend
    refused = await preflight(lab, origin)
    answer = await lab.http.get("/graphql?query={__typename}", headers={"origin": origin})

    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    assert "access-control-allow-origin" not in answer.headers


async def test_without_such_a_setting_no_origin_is_allowed(lab: Lab) -> None:
    answer = await preflight(lab, FRONTEND)

    assert not [name for name in answer.headers if name.startswith("access-control-")]
