"""Limits: how often something may be tried, by whom, and from which address."""

import asyncio
import json
from typing import Any

import pytest

from bioscope_gql.transport.addresses import client_address
from tests.lab import PASSWORD, Lab, Place, a_lab, a_picture
from tests.lab_worker import MODEL
from tests.people import AUTH, LOGIN, login, outcome, refresh

REGISTER = f"mutation ($input: RegisterInput!) {{ register(input: $input) {AUTH} }}"
LIMITED = ("RateLimited", "RATE_LIMITED")
WRONG = ("InvalidCredentials", "INVALID_CREDENTIALS")


def aliased(name: str, count: int) -> str:
    one = f'login(input: {{login: "{name}", password: "wrong"}}) {{ __typename }}'
    return "mutation { " + " ".join(f"a{n}: {one}" for n in range(count)) + " }"


async def hits(lab: Lab) -> int:
    return int(await lab.db.value("select coalesce(sum(hits), 0) from rate_limits"))


async def over(lab: Lab) -> None:
    """Time passes, until every window is over."""
    await lab.db.execute("update rate_limits set ends_at = clock_timestamp()")


async def test_logins_of_an_account_are_limited_however_its_name_is_written_and_not_for_ever(
    lab: Lab,
) -> None:
    ada, bob = await lab.a_user(), await lab.a_user()
    names = (ada.username, ada.username.upper(), f" {ada.username} ", ada.username, ada.username)
    told = [await login(lab, name, "wrong") for name in names * 4]
    assert [outcome(each) for each in told] == [WRONG] * 19 + [LIMITED]  # one by the laboratory itself
    limited = await login(lab, ada.username)
    assert outcome(limited) == LIMITED
    assert 0 < limited["retryAfterSeconds"] <= 300
    assert limited["message"] == (
        "There were too many attempts to sign in to this account."
        f" Try again in {limited['retryAfterSeconds']} seconds."
    )
    assert (await login(lab, bob.username))["__typename"] == "AuthTokens"

    await over(lab)
    assert (await login(lab, ada.username))["__typename"] == "AuthTokens"


async def test_unknown_accounts_are_limited_just_the_same(lab: Lab) -> None:
    told = [await login(lab, "nobody at all") for _ in range(22)]
    assert [outcome(each) for each in told] == [WRONG] * 20 + [LIMITED] * 2


async def test_a_limited_account_starts_no_session_and_hashes_nothing(lab: Lab) -> None:
    ada = await lab.a_user()
    for _ in range(20):
        await login(lab, ada.username, "wrong")
    before = await lab.dump()
    assert outcome(await login(lab, ada.username)) == LIMITED
    assert await lab.dump() == before


async def test_a_hundred_aliased_logins_count_as_a_hundred(lab: Lab) -> None:
    told: list[str] = []
    for _ in range(4):
        answer = await lab.nobody.ask(aliased("ada", 25))
        told += [each["__typename"] for each in answer.values()]
    assert (told.count("InvalidCredentials"), told.count("RateLimited")) == (20, 80)


async def test_a_hundred_logins_over_one_socket_count_as_a_hundred(lab: Lab) -> None:
    told: list[str] = []
    async with lab.nobody.socket() as socket, asyncio.timeout(30):
        for number in range(4):
            payload = {"query": aliased("ada", 25)}
            await socket.send(json.dumps({"id": str(number), "type": "subscribe", "payload": payload}))
        while len(told) < 100:
            message = json.loads(await socket.recv())
            if message["type"] == "next":
                told += [each["__typename"] for each in message["payload"]["data"].values()]
    assert (told.count("InvalidCredentials"), told.count("RateLimited")) == (20, 80)


async def test_replicas_share_the_count(lab: Lab) -> None:
    async with lab.another_replica() as other:
        told = [await login(replica, "ada") for _ in range(11) for replica in (lab, other)]
    assert [outcome(each) for each in told] == [WRONG] * 20 + [LIMITED] * 2


async def test_an_address_is_limited_before_it_can_use_up_an_account(place: Place) -> None:
    async with a_lab(place, place.settings(limits={"logins_per_address": 3}), connected=False) as lab:
        told = [await login(lab, f"nobody {n}") for n in range(3)]
        assert [outcome(each) for each in told] == [WRONG] * 3
        before = await lab.count("rate_limits")
        limited = await login(lab, "ada")
        assert outcome(limited) == LIMITED
        assert "from your address" in limited["message"]
        assert await lab.count("rate_limits") == before


async def test_no_login_stands_in_the_counts_and_old_ones_go(lab: Lab) -> None:
    await login(lab, "ada lovelace")
    rows = await lab.db.rows("select t::text from rate_limits t")
    assert len(rows) == 2
    assert "ada" not in str(rows)
    await lab.db.execute("update rate_limits set ends_at = ends_at - interval '2 hours'")
    await login(lab, "another")
    assert await lab.count("rate_limits") == 2


@pytest.mark.parametrize(("proxies", "refused"), [(0, True), (1, False)])
async def test_forged_forwarding_headers_change_nothing(place: Place, proxies: int, refused: bool) -> None:
    settings = place.settings(limits={"logins_per_address": 3}, trusted_proxies=proxies)
    async with a_lab(place, settings, connected=False) as lab:
        body = {"query": LOGIN, "variables": {"input": {"login": "nobody", "password": "wrong"}}}
        told = []
        for number in range(5):
            headers = {"x-forwarded-for": f"10.0.0.{number}", "forwarded": f"for=10.0.1.{number}"}
            response = await lab.http.post("/graphql", json=body, headers=headers)
            told.append(outcome(response.json()["data"]["login"]))
        assert (LIMITED in told) is refused
        # What stands left of the address that our proxy saw was written by the client.
        told = []
        for number in range(5):
            headers = {"x-forwarded-for": f"10.1.0.{number}, 192.0.2.7"}
            response = await lab.http.post("/graphql", json=body, headers=headers)
            told.append(outcome(response.json()["data"]["login"]))
        assert LIMITED in told


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        ([], 0, "198.51.100.1"), (["10.0.0.1"], 0, "198.51.100.1"), ([], 1, "198.51.100.1"),
        (["10.0.0.1"], 1, "10.0.0.1"), (["6.6.6.6, 10.0.0.1"], 1, "10.0.0.1"),
        (["6.6.6.6", "10.0.0.1"], 1, "10.0.0.1"), (["6.6.6.6, 10.0.0.1, 10.0.0.2"], 2, "10.0.0.1"),
        (["10.0.0.1"], 2, "10.0.0.1"), (["nonsense"], 1, "198.51.100.1"), (["10.0.0.1:4711"], 1, "10.0.0.1"),
        (["[2001:db8::1]:4711"], 1, "2001:db8::1"), (["2001:DB8::1"], 1, "2001:db8::1"),
        (["::ffff:10.0.0.1"], 1, "10.0.0.1"), ([", ,"], 1, "198.51.100.1"),
    ],
)  # fmt: skip
def test_the_address_is_what_the_outermost_proxy_of_ours_saw(
    forwarded: list[str], proxies: int, address: str
) -> None:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    scope: dict[str, Any] = {"type": "http", "client": ("198.51.100.1", 5000), "headers": headers}
    assert client_address(scope, trusted_proxies=proxies) == address


async def test_registrations_of_an_address_are_limited(place: Place) -> None:
    async with a_lab(place, place.settings(limits={"registrations_per_hour": 2}), connected=False) as lab:

        async def register(number: int) -> Any:
            sent = {"email": f"{number}@lab.example", "username": f"n{number}", "password": PASSWORD}
            return await lab.nobody.ask(REGISTER, input=sent)

        assert [(await register(n))["__typename"] for n in range(2)] == ["AuthTokens"] * 2
        before = await lab.dump()
        limited = await register(2)
        assert outcome(limited) == LIMITED
        assert 3500 < limited["retryAfterSeconds"] <= 3600
        assert await lab.dump() == before


async def test_uploads_and_runs_of_a_person_are_limited_and_a_repeat_with_a_key_is_free(place: Place) -> None:
    few = place.settings(limits={"uploads_per_minute": 2, "runs_per_minute": 2})
    async with a_lab(place, few) as lab, lab.a_worker():
        ada, bob = await lab.an_analyst(), await lab.an_analyst()
        dataset = await ada.a_dataset()
        for number in range(2):
            await ada.upload(dataset, [("a.png", a_picture(number))])
        before = await lab.dump()
        limited = await ada.upload(dataset, [("a.png", a_picture(9))])
        assert limited["__typename"] == "RateLimited"
        assert await lab.dump() == before
        others = await bob.a_dataset()
        assert (await bob.upload(others, [("a.png", a_picture(9))]))["__typename"] == "UploadReport"

        target = {"target": {"datasetId": dataset}, "modelName": MODEL["name"]}
        told = [await ada.run(**target, idempotencyKey="k") for _ in range(5)]
        assert len({each["id"] for each in told}) == 1
        told = [await ada.run(**target), await ada.run(**target)]
        assert [each["__typename"] for each in told] == ["Classification", "RateLimited"]
        assert (await ada.run(**target, idempotencyKey="k"))["__typename"] == "Classification"


async def test_refreshing_is_not_counted(lab: Lab) -> None:
    ada = await lab.a_user()
    token = (await login(lab, ada.username))["refreshToken"]
    counted = await hits(lab)
    for _ in range(30):
        token = (await refresh(lab, token))["refreshToken"]
    assert await hits(lab) == counted
