"""`POST /oauth/token` to the letter of RFC 6749."""

import base64
from typing import Any

import httpx
import pytest

from tests.lab import Lab, Refused
from tests.lab_machines import a_machine, token_for

GRANT = {"grant_type": "client_credentials"}


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def assert_no_store(answer: httpx.Response) -> None:
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"] == "application/json"


async def test_a_token_comes_by_form_and_by_basic_authentication(lab: Lab) -> None:
    machine = await a_machine(lab, "RESULTS_READ", "IMAGES_READ")
    by_form = await token_for(lab, machine.client_id, machine.secret)
    by_header = await lab.http.post(
        "/oauth/token", data=GRANT, headers=basic(machine.client_id, machine.secret)
    )
    for answer in (by_form, by_header):
        told = answer.json()
        assert answer.status_code == 200
        assert_no_store(answer)
        assert (told["token_type"], told["scope"]) == ("Bearer", "IMAGES_READ RESULTS_READ")
        assert 889 <= told["expires_in"] <= 900
        assert set(told) == {"access_token", "token_type", "scope", "expires_in"}
        machine.token = told["access_token"]
        assert await machine.ask("{ classifications { totalCount } }") == {"totalCount": 0}


async def test_a_token_may_be_had_for_some_of_the_scopes_only(lab: Lab) -> None:
    machine = await a_machine(lab, "RESULTS_READ", "IMAGES_READ")
    narrow = await machine.fresh_token(scope="IMAGES_READ")
    with pytest.raises(Refused) as refused:
        await narrow.ask("{ classifications { totalCount } }")
    assert refused.value.codes == ["FORBIDDEN"]
    assert await narrow.ask("{ images { totalCount } }") == {"totalCount": 0}


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "wrong"}, 401, "invalid_client"),
        ({"client_id": "\u0000"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_id": None, "client_secret": None}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"scope": "RESULTS_READ"}, 400, "invalid_scope"),
        ({"scope": "IMAGES_READ RESULTS_READ"}, 400, "invalid_scope"),
        ({"scope": "images_read"}, 400, "invalid_scope"),
        ({"scope": "IMAGES_READ  IMAGES_READ"}, 400, "invalid_scope"),
        ({"grant_type": ["client_credentials", "client_credentials"]}, 400, "invalid_request"),
        ({"junk": "x" * 9000}, 413, "invalid_request"),
    ],
)
async def test_what_is_wrong_is_told_in_the_words_of_the_standard(
    lab: Lab, changes: dict[str, Any], status: int, error: str
) -> None:
    machine = await a_machine(lab, "IMAGES_READ")
    form = {**GRANT, "client_id": machine.client_id, "client_secret": machine.secret, **changes}
    before = await lab.dump()
    answer = await lab.http.post(
        "/oauth/token", data={name: value for name, value in form.items() if value is not None}
    )

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert set(answer.json()) == {"error", "error_description"}
    assert machine.secret not in answer.text
    assert_no_store(answer)
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Basic ")
    assert await lab.dump() == before


async def test_a_secret_may_stand_in_one_place_only_and_a_header_must_be_readable(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_READ")
    good = basic(machine.client_id, machine.secret)
    twice = await lab.http.post("/oauth/token", data={**GRANT, "client_secret": machine.secret}, headers=good)
    other = await lab.http.post("/oauth/token", data={**GRANT, "client_id": "other"}, headers=good)
    headers = [
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Bearer x",
        "Basic /w==",
    ]
    unread = [
        await lab.http.post("/oauth/token", data=GRANT, headers={"authorization": header})
        for header in headers
    ]

    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_request")
    assert [(each.status_code, each.json()["error"]) for each in (other, *unread)] == [
        (401, "invalid_client")
    ] * 6


async def test_only_a_form_by_post_is_taken(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_READ")
    sent = {**GRANT, "client_id": machine.client_id, "client_secret": machine.secret}
    got = await lab.http.get("/oauth/token", params=sent)
    json = await lab.http.post("/oauth/token", json=sent)
    in_url = await lab.http.post("/oauth/token", params=sent, data={"a": "b"})
    bytes = await lab.http.post(
        "/oauth/token", content=b"\xff\xfe=%ff", headers={"content-type": "application/x-www-form-urlencoded"}
    )

    assert (got.status_code, got.headers["allow"], got.json()["error"]) == (405, "POST", "invalid_request")
    assert (json.status_code, json.json()["error"]) == (415, "invalid_request")
    assert (in_url.status_code, in_url.json()["error"]) == (401, "invalid_client")
    assert (bytes.status_code, bytes.json()["error"]) == (400, "invalid_request")
