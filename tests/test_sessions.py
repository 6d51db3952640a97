"""Sessions: how they go on, for how long, and what ends them."""

import asyncio
import json
import re
import time
from typing import Any

import pytest

from bioscope_gql.auth.keys import Keys
from bioscope_gql.auth.tokens import Tokens
from tests.lab import PASSWORD, Lab, Person, Place, Refused, a_lab
from tests.people import (
    LOGIN,
    LOGOUT,
    ME,
    REFRESH,
    REFRESH_BY_COOKIE,
    REVOKE,
    SESSIONS,
    UPDATE,
    at_grace,
    by_cookie,
    login,
    outcome,
    refresh,
    signed_in,
)

ENDED = ("InvalidCredentials", "SESSION_ENDED")
OPAQUE = re.compile(r"[A-Za-z0-9_-]{43}")
WAIT = "subscription { classificationsUpdated { classification { id } } }"
CLOSE_SECONDS = 5.0


async def someone(lab: Lab) -> tuple[Person, str]:
    """A person who has just signed in, and their refresh token."""
    made = await lab.a_user()
    told = await login(lab, made.username)
    return signed_in(lab, told), told["refreshToken"]


async def reason(person: Person) -> str:
    with pytest.raises(Refused) as refused:
        await person.ask("{ datasets { nodes { id } } }")
    assert refused.value.codes == ["UNAUTHENTICATED"]
    told: str = refused.value.errors[0]["extensions"]["reason"]
    return told


async def test_a_refresh_token_gives_the_next_of_the_same_session_and_is_kept_as_a_hash(lab: Lab) -> None:
    ada, first = await someone(lab)
    second = await refresh(lab, first)

    assert second["__typename"] == "AuthTokens"
    assert second["user"] == {"id": ada.id, "username": ada.username, "role": "USER"}
    assert OPAQUE.fullmatch(first)
    assert OPAQUE.fullmatch(second["refreshToken"])
    assert second["refreshToken"] != first
    assert (await signed_in(lab, second).ask(ME)) == {"username": ada.username}
    mine = await lab.db.value('select count(*) from login_sessions where "user" = $1::uuid', ada.id)
    assert mine == 2  # one of the laboratory's own, one of this test
    stored = json.dumps(await lab.dump())
    assert first not in stored
    assert second["refreshToken"] not in stored


async def test_a_session_lives_on_with_every_refresh_but_not_beyond_its_last_day(lab: Lab) -> None:
    _, token = await someone(lab)
    ages = (
        "select extract(day from expires_at - clock_timestamp()), extract(day from expires_at - created_at)"
    )
    session = await lab.db.value("select id from login_sessions order by id desc limit 1")
    await lab.db.execute(
        "update login_sessions set created_at = created_at - interval '70 days',"
        " expires_at = clock_timestamp() + interval '1 day' where id = $1", session,
    )  # fmt: skip
    told = await refresh(lab, token)
    left, whole = await lab.db.row(f"{ages} from login_sessions where id = $1", session)  # type: ignore[misc]
    assert (int(left), int(whole)) == (19, 90)

    await lab.db.execute("update login_sessions set expires_at = clock_timestamp() where id = $1", session)
    before = await lab.dump()
    assert outcome(await refresh(lab, told["refreshToken"])) == ENDED
    assert await reason(signed_in(lab, told)) == "REVOKED"
    assert await lab.dump() == before


async def test_what_is_no_refresh_token_of_ours_ends_nothing(lab: Lab) -> None:
    ada, token = await someone(lab)
    before = await lab.dump()
    tried = ["", "nonsense", "\0", "x" * 100_000, str(ada.token), token[:-1], f"{token} ", token.swapcase()]
    answers = [await refresh(lab, each) for each in tried]

    assert [outcome(each) for each in answers] == [ENDED] * len(tried)
    assert outcome(await refresh(lab, None)) == ENDED
    assert await lab.dump() == before
    assert (await refresh(lab, token))["__typename"] == "AuthTokens"


async def test_a_refresh_token_is_no_access_token(lab: Lab) -> None:
    _, token = await someone(lab)
    assert await reason(Person(lab, token=token)) == "INVALID"


async def test_two_tabs_that_wake_together_both_go_on(lab: Lab) -> None:
    ada, token = await someone(lab)
    answers = await asyncio.gather(*(refresh(lab, token) for _ in range(2)))
    assert [each["__typename"] for each in answers] == ["AuthTokens"] * 2
    assert answers[0]["refreshToken"] != answers[1]["refreshToken"]

    later = [await refresh(lab, each["refreshToken"]) for each in answers]
    assert [each["user"]["id"] for each in later] == [ada.id] * 2


async def test_the_grace_ends_once_the_successor_was_used_and_then_the_whole_session_ends(lab: Lab) -> None:
    ada, first = await someone(lab)
    second = await refresh(lab, first)
    third = await refresh(lab, second["refreshToken"])
    assert outcome(await refresh(lab, first)) == ENDED

    assert outcome(await refresh(lab, third["refreshToken"])) == ENDED
    for told in (second, third):
        assert await reason(signed_in(lab, told)) == "REVOKED"
    session = await lab.db.row("select ended_at, end_reason from login_sessions order by id desc limit 1")
    assert session is not None
    assert session["end_reason"] == "REUSED"
    noted = await lab.db.rows("select subject, actor_kind from audit_events where action = 'session.reused'")
    assert [(str(row["subject"]), row["actor_kind"]) for row in noted] == [(ada.id, "anonymous")]
    assert await lab.db.value("select count(*) from login_sessions where ended_at is null") == 1


async def test_the_grace_is_short(lab: Lab) -> None:
    _, first = await someone(lab)
    second = await refresh(lab, first)
    await lab.db.execute("update refresh_tokens set used_at = used_at - interval '11 seconds'")

    assert outcome(await refresh(lab, first)) == ENDED
    assert outcome(await refresh(lab, second["refreshToken"])) == ENDED


async def test_without_grace_ten_refreshes_of_one_token_at_two_replicas_have_at_most_one_winner(
    place: Place, lab: Lab
) -> None:
    strict = at_grace(lab, 0)
    async with a_lab(place, strict, connected=False) as one, a_lab(place, strict, connected=False) as other:
        for _ in range(5):
            ada, token = await someone(one)
            answers = await asyncio.gather(
                *(refresh(replica, token) for _ in range(5) for replica in (one, other))
            )
            winners = [each for each in answers if each["__typename"] == "AuthTokens"]
            assert len(winners) <= 1
            for each in winners:
                assert await reason(signed_in(one, each)) == "REVOKED"
                assert outcome(await refresh(other, each["refreshToken"])) == ENDED
            assert await reason(ada) == "REVOKED"


async def test_with_the_default_grace_two_tabs_at_two_replicas_both_go_on(lab: Lab) -> None:
    async with lab.another_replica() as other:
        _, token = await someone(lab)
        answers = await asyncio.gather(refresh(lab, token), refresh(other, token))
        later = [
            await refresh(replica, each["refreshToken"])
            for replica, each in zip((other, lab), answers, strict=True)
        ]
    assert [each["__typename"] for each in [*answers, *later]] == ["AuthTokens"] * 4


async def test_signing_out_ends_the_session_and_only_it(lab: Lab) -> None:
    ada, token = await someone(lab)
    other = signed_in(lab, await login(lab, ada.username))

    assert await ada.ask(LOGOUT) == {"__typename": "SignedOut", "ok": True}
    assert await reason(ada) == "REVOKED"
    assert outcome(await refresh(lab, token)) == ENDED
    assert await other.ask(ME) == {"username": ada.username}
    assert outcome(await lab.nobody.ask(LOGOUT)) == ("NotFound", "NOT_FOUND")


async def test_an_expired_token_is_good_for_signing_out_and_nothing_else(lab: Lab) -> None:
    ada, token = await someone(lab)
    session = await lab.db.value("select id from login_sessions order by id desc limit 1")
    auth = lab.services.settings.auth
    tokens = Tokens(Keys.load(auth.keys), auth.issuer, auth.audience, 900, clock=lambda: time.time() - 1000)
    user = await lab.db.value('select "user" from login_sessions where id = $1', session)
    old = Person(lab, ada.username, tokens.issue(user, session)[0])

    assert await reason(old) == "EXPIRED"
    assert await old.ask(LOGOUT) == {"__typename": "SignedOut", "ok": True}
    assert outcome(await refresh(lab, token)) == ENDED


async def test_my_sessions_are_mine_alone_newest_first_and_one_is_current(lab: Lab) -> None:
    ada, _ = await someone(lab)
    root = await lab.an_admin()
    mine = (await ada.ask(SESSIONS))["sessions"]
    assert [each["current"] for each in mine] == [True, False]
    assert mine[0]["id"] > mine[1]["id"]
    assert mine[0]["userAgent"].startswith("python-httpx/")

    seen = await root.ask("query ($id: ID!) { user(id: $id) { username sessions { id } } }", id=ada.id)
    assert seen == {"username": ada.username, "sessions": None}


async def test_a_session_is_revoked_by_whose_it_is_at_the_very_next_request_of_any_replica(lab: Lab) -> None:
    ada, token = await someone(lab)
    eve = await lab.an_admin()
    current, other = [each["id"] for each in (await ada.ask(SESSIONS))["sessions"]]
    before = await lab.dump()
    for asked in (other, "nonsense"):
        assert await eve.ask(REVOKE, id=asked) == {
            "__typename": "NotFound",
            "code": "NOT_FOUND",
            "ids": [asked],
        }
    assert await lab.dump() == before

    async with lab.another_replica() as replica:
        elsewhere = ada.at(replica)
        assert await elsewhere.ask(ME) == {"username": ada.username}
        assert (await ada.ask(REVOKE, id=other))["__typename"] == "SignedOut"
        assert (await ada.ask(REVOKE, id=other))["__typename"] == "NotFound"
        assert await elsewhere.ask(ME) == {"username": ada.username}
        assert (await ada.ask(REVOKE, id=current))["__typename"] == "SignedOut"
        assert await reason(elsewhere) == "REVOKED"
        assert outcome(await refresh(replica, token)) == ENDED


@pytest.mark.parametrize(("ending", "code"), [("disable", 4401), ("revoke", 4401), ("promote", 4403)])
async def test_an_open_socket_ends_within_five_seconds_of_its_rights(
    lab: Lab, ending: str, code: int
) -> None:
    root = await lab.an_admin()
    ada, token = await someone(lab)
    async with lab.another_replica() as replica, ada.at(replica).socket() as socket:
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": WAIT}}))
        began = asyncio.get_running_loop().time()
        if ending == "disable":
            await root.ask(UPDATE, input={"id": ada.id, "status": "DISABLED"})
        elif ending == "promote":
            await root.ask(UPDATE, input={"id": ada.id, "role": "ANALYST"})
        else:
            session = next(each for each in (await ada.ask(SESSIONS))["sessions"] if each["current"])
            await ada.ask(REVOKE, id=session["id"])
        if ending != "promote":
            assert await reason(ada) == "REVOKED"
            assert outcome(await refresh(lab, token)) == ENDED
        async with asyncio.timeout(CLOSE_SECONDS * 2):
            await socket.wait_closed()
        took = asyncio.get_running_loop().time() - began

    assert socket.close_code == code
    assert took < CLOSE_SECONDS


# The cookie


def cookie_of(response: Any) -> str:
    headers: list[str] = response.headers.get_list("set-cookie")
    assert len(headers) == 1, headers
    return headers[0]


async def signed_in_by_browser(lab: Lab) -> str:
    ada = await lab.a_user()
    response = await lab.nobody.send(LOGIN, input={"login": ada.username, "password": PASSWORD})
    token: str = response.json()["data"]["login"]["refreshToken"]
    assert cookie_of(response) == (
        f"bioscope_refresh={token}; Max-Age=2592000; Path=/graphql; HttpOnly; SameSite=Strict"
    )
    return token


async def test_the_cookie_refreshes_and_carries_the_new_token_alone(lab: Lab) -> None:
    token = await signed_in_by_browser(lab)
    response = await by_cookie(lab, REFRESH_BY_COOKIE, token)
    told = response.json()["data"]["refreshSession"]

    assert (told["__typename"], told["refreshToken"]) == ("AuthTokens", None)
    following = cookie_of(response).partition(";")[0].removeprefix("bioscope_refresh=")
    assert OPAQUE.fullmatch(following)
    assert following != token
    assert following not in response.text
    assert response.headers["cache-control"] == "no-store"


async def test_the_cookie_signs_out_and_goes(lab: Lab) -> None:
    token = await signed_in_by_browser(lab)
    response = await by_cookie(lab, LOGOUT, token)

    assert response.json()["data"]["logout"] == {"__typename": "SignedOut", "ok": True}
    assert cookie_of(response).startswith("bioscope_refresh=; Max-Age=0; Path=/graphql; HttpOnly;")
    assert outcome(await refresh(lab, token)) == ENDED


async def test_no_other_operation_looks_at_the_cookie(lab: Lab) -> None:
    token = await signed_in_by_browser(lab)
    assert (await by_cookie(lab, ME, token)).json()["data"] == {"me": None}
    refused = (await by_cookie(lab, "{ datasets { nodes { id } } }", token)).json()
    assert refused["errors"][0]["extensions"]["reason"] == "MISSING"


async def test_the_cookie_of_a_foreign_page_counts_for_nothing(lab: Lab) -> None:
    token = await signed_in_by_browser(lab)
    before = await lab.dump()
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        response = await by_cookie(lab, REFRESH_BY_COOKIE, token, headers={"origin": origin})
        assert outcome(response.json()["data"]["refreshSession"]) == ENDED
        response = await by_cookie(lab, LOGOUT, token, headers={"origin": origin})
        assert outcome(response.json()["data"]["logout"]) == ("NotFound", "NOT_FOUND")
    assert await lab.dump() == before

    response = await by_cookie(lab, REFRESH_BY_COOKIE, token, headers={"origin": lab.url})
    assert response.json()["data"]["refreshSession"]["__typename"] == "AuthTokens"


async def test_a_token_in_the_body_wins_over_the_cookie_and_is_answered_in_the_body(lab: Lab) -> None:
    token = await signed_in_by_browser(lab)
    response = await lab.http.post(
        "/graphql",
        json={"query": REFRESH, "variables": {"token": token}},
        headers={"cookie": "bioscope_refresh=nonsense", "authorization": "Bearer nonsense"},
    )
    told = response.json()["data"]["refreshSession"]

    assert told["__typename"] == "AuthTokens"
    assert cookie_of(response).startswith(f"bioscope_refresh={told['refreshToken']}; ")


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("http://localhost:8000", False), ("http://[::1]", False), ("https://127.0.0.1", True),
        ("https://lab.example", True), ("http://lab.example", True), ("http://127.0.0.1.evil.example", True),
    ],
)  # fmt: skip
async def test_the_cookie_is_secure_but_for_plain_http_on_loopback(
    place: Place, url: str, secure: bool
) -> None:
    async with a_lab(place, place.settings(public_url=url), connected=False) as lab:
        ada = await lab.a_user()
        response = await lab.nobody.send(LOGIN, input={"login": ada.username, "password": PASSWORD})
        assert ("; Secure" in cookie_of(response)) is secure
