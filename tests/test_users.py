"""People: made by admins, found by others, changed by themselves."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bioscope_gql.auth.passwords import Passwords
from tests.lab import CHEAP, PASSWORD, Lab, Person, Refused
from tests.people import (
    CHANGE,
    CREATE,
    ME,
    PROFILE,
    RESET,
    SET_PASSWORD,
    UPDATE,
    login,
    outcome,
    refresh,
    signed_in,
)

NEW = "quite another staple"
NAMES = """
query ($f: UserFilter, $o: UserOrder) {
  users(filter: $f, orderBy: $o) { totalCount nodes { username } }
}
"""
USELESS = ("InvalidCredentials", "INVALID_CREDENTIALS")
ADA = {"email": "ada@lab.example", "username": "ada"}


async def reason(person: Person) -> str:
    with pytest.raises(Refused) as refused:
        await person.ask(ME)
    told: str = refused.value.errors[0]["extensions"]["reason"]
    return told


async def set_password(lab: Lab, token: str, password: str = NEW) -> Any:
    return await lab.nobody.ask(SET_PASSWORD, input={"token": token, "newPassword": password})


async def actions(lab: Lab) -> list[str]:
    rows = await lab.db.rows("select action from audit_events order by at, id")
    return [row["action"] for row in rows]


# Links


async def test_a_new_account_has_no_password_until_its_link_is_used_and_that_works_once(lab: Lab) -> None:
    root = await lab.an_admin()
    made = await root.ask(CREATE, input={**ADA, "role": "ANALYST"})
    assert made["user"] == {**made["user"], "username": "ada", "role": "ANALYST", "status": "ACTIVE"}
    assert outcome(await login(lab, "ada", "")) == USELESS
    left = await lab.db.value("select extract(epoch from expires_at - clock_timestamp()) from password_links")
    assert 71.9 < float(left) / 3600 <= 72
    assert made["token"] not in str(await lab.dump())

    told = await set_password(lab, made["token"])
    assert told["user"] == {"id": made["user"]["id"], "username": "ada", "role": "ANALYST"}
    assert await signed_in(lab, told).ask(ME) == {"username": "ada"}
    assert (await login(lab, "ada", NEW))["user"]["id"] == made["user"]["id"]
    before = await lab.dump()
    assert outcome(await set_password(lab, made["token"], "yet another staple")) == USELESS
    assert await lab.dump() == before


async def test_a_refused_password_does_not_use_the_link_up(lab: Lab) -> None:
    root = await lab.an_admin()
    made = await root.ask(CREATE, input=ADA)
    before = await lab.dump()
    for password, code in (
        ("seven 7", "TOO_SHORT"),
        ("Ada@lab.example", "TOO_COMMON"),
        ("iloveyou1", "TOO_COMMON"),
    ):
        told = await set_password(lab, made["token"], password)
        assert told["fields"] == [{"code": code, "path": ["newPassword"]}]
    assert await lab.dump() == before
    assert (await set_password(lab, made["token"]))["__typename"] == "AuthTokens"


async def test_of_two_who_use_a_link_at_once_one_does(lab: Lab) -> None:
    root = await lab.an_admin()
    made = await root.ask(CREATE, input=ADA)
    answers = await asyncio.gather(*(set_password(lab, made["token"], f"{NEW} {n}") for n in range(4)))
    assert sorted(each["__typename"] for each in answers) == ["AuthTokens", *["InvalidCredentials"] * 3]


async def test_a_link_that_is_old_replaced_unknown_or_of_a_disabled_account_is_useless(lab: Lab) -> None:
    root = await lab.an_admin()
    made = await root.ask(CREATE, input=ADA)
    again = await root.ask(RESET, id=made["user"]["id"])
    tried = [made["token"], "", "\0", "x" * 10_000]
    assert [outcome(await set_password(lab, each)) for each in tried] == [USELESS] * 4

    await root.ask(UPDATE, input={"id": made["user"]["id"], "status": "DISABLED"})
    assert outcome(await set_password(lab, again["token"])) == USELESS
    await root.ask(UPDATE, input={"id": made["user"]["id"], "status": "ACTIVE"})
    await lab.db.execute("update password_links set expires_at = clock_timestamp()")
    assert outcome(await set_password(lab, again["token"])) == USELESS


async def test_a_reset_ends_the_sessions_and_the_old_password(lab: Lab) -> None:
    root, ada = await lab.an_admin(), await lab.a_user()
    token = (await login(lab, ada.username))["refreshToken"]
    made = await root.ask(RESET, id=ada.id)

    assert await reason(ada) == "REVOKED"
    assert outcome(await refresh(lab, token)) == ("InvalidCredentials", "SESSION_ENDED")
    assert outcome(await login(lab, ada.username)) == USELESS
    assert (await set_password(lab, made["token"]))["user"]["id"] == ada.id
    assert (await login(lab, ada.username, NEW))["__typename"] == "AuthTokens"


async def test_only_admins_make_accounts_and_links(lab: Lab) -> None:
    root = await lab.an_admin()
    people = [await lab.a_user(), await lab.an_analyst()]
    before = await lab.dump()
    for person in people:
        assert outcome(await person.ask(CREATE, input=ADA)) == ("Forbidden", "ROLE")
        assert outcome(await person.ask(RESET, id=root.id)) == ("Forbidden", "ROLE")
    assert outcome(await root.ask(RESET, id="nonsense")) == ("NotFound", "NOT_FOUND")
    wrong = await root.ask(CREATE, input={"email": "ada", "username": "a\u00a0b"})
    assert [each["code"] for each in wrong["fields"]] == ["INVALID_EMAIL", "FORBIDDEN_CHARACTERS"]
    taken = await root.ask(CREATE, input={"email": "new@lab.example", "username": root.username.upper()})
    assert outcome(taken) == ("Conflict", "USERNAME_TAKEN")
    assert await lab.dump() == before


# One's own account


async def test_a_changed_password_ends_every_other_session_and_keeps_this_one(lab: Lab) -> None:
    ada = await lab.a_user()
    other = await login(lab, ada.username)
    changed = await ada.ask(CHANGE, input={"currentPassword": PASSWORD, "newPassword": NEW})

    assert changed == {
        "__typename": "User", "id": ada.id, "username": ada.username, "email": f"{ada.username}@lab.example",
        "role": "USER", "status": "ACTIVE",
    }  # fmt: skip
    assert await ada.ask(ME) == {"username": ada.username}
    assert await reason(signed_in(lab, other)) == "REVOKED"
    assert outcome(await refresh(lab, other["refreshToken"])) == ("InvalidCredentials", "SESSION_ENDED")
    assert outcome(await login(lab, ada.username)) == USELESS
    assert (await login(lab, ada.username, NEW))["__typename"] == "AuthTokens"


async def test_a_password_is_not_changed_without_the_old_one_or_to_a_bad_one(lab: Lab) -> None:
    ada = await lab.a_user()
    before = await lab.dump()
    for current in ("wrong", PASSWORD + " ", PASSWORD + "x" * 2000, ""):
        told = await ada.ask(CHANGE, input={"currentPassword": current, "newPassword": NEW})
        assert outcome(told) == USELESS
    for new, code in (
        ("seven 7", "TOO_SHORT"),
        ("x\0" * 8, "FORBIDDEN_CHARACTERS"),
        ("baseball", "TOO_COMMON"),
    ):
        told = await ada.ask(CHANGE, input={"currentPassword": PASSWORD, "newPassword": new})
        assert told["fields"] == [{"code": code, "path": ["newPassword"]}]
    assert await lab.dump() == before


async def test_guessing_the_current_password_is_limited(lab: Lab) -> None:
    ada = await lab.a_user()
    for _ in range(20):
        assert outcome(await ada.ask(CHANGE, input={"currentPassword": "no", "newPassword": NEW})) == USELESS
    with pytest.raises(Refused) as refused:
        await ada.ask(CHANGE, input={"currentPassword": PASSWORD, "newPassword": NEW})
    assert refused.value.codes == ["RATE_LIMITED"]
    assert 0 < refused.value.errors[0]["extensions"]["retryAfterSeconds"] <= 300


async def test_a_password_is_never_trimmed(lab: Lab) -> None:
    ada = await lab.a_user()
    spaced = "  two blanks around  "
    await ada.ask(CHANGE, input={"currentPassword": PASSWORD, "newPassword": spaced})
    assert outcome(await login(lab, ada.username, spaced.strip())) == USELESS
    assert (await login(lab, ada.username, spaced))["__typename"] == "AuthTokens"


async def test_one_changes_ones_own_names_and_signs_in_by_them(lab: Lab) -> None:
    ada, bob = await lab.a_user(), await lab.a_user()
    told = await ada.ask(PROFILE, input={"username": " \u00c9va ", "email": "Eva@Lab.Example"})
    assert (told["username"], told["email"]) == ("\u00c9va", "Eva@Lab.Example")
    assert (await login(lab, "e\u0301VA"))["user"]["id"] == ada.id

    before = await lab.dump()
    refusals: list[tuple[dict[str, Any], tuple[str, str]]] = [
        ({"username": bob.username.upper()}, ("Conflict", "USERNAME_TAKEN")),
        ({"email": f"{bob.username}@LAB.example"}, ("Conflict", "EMAIL_TAKEN")),
        ({"username": None}, ("InvalidInput", "INVALID_INPUT")),
        ({"email": None, "username": "fine"}, ("InvalidInput", "INVALID_INPUT")),
        ({"username": "e\u200bva"}, ("InvalidInput", "INVALID_INPUT")),
    ]
    for sent, expected in refusals:
        assert outcome(await ada.ask(PROFILE, input=sent)) == expected
    assert await lab.dump() == before


LOOK_ALIKES = (
    "a\u00a0b",
    "a\u3000b",
    "a\u2003b",
    "a  b",
    "a\u3164b",
    "a\u2800b",
    "a\ufe0fb",
    "a\u034fb",
    "a\u00adb",
)


async def test_names_that_look_the_same_by_their_blanks_are_refused(lab: Lab) -> None:
    ada = await lab.a_user()
    before = await lab.dump()
    for name in LOOK_ALIKES:
        told = await ada.ask(PROFILE, input={"username": name})
        assert told["fields"] == [{"code": "FORBIDDEN_CHARACTERS", "path": ["username"]}], ascii(name)
    assert await lab.dump() == before


async def test_a_hash_of_other_parameters_is_renewed_when_its_owner_signs_in(lab: Lab) -> None:
    ada = await lab.a_user()
    other = replace(CHEAP, time_cost=2)
    kept = "select hashed_password from users where id = $1::uuid"
    old = await Passwords(other).hash(PASSWORD)
    await lab.db.execute("update users set hashed_password = $2 where id = $1::uuid", ada.id, old)

    assert outcome(await login(lab, ada.username, "wrong")) == USELESS
    assert await lab.db.value(kept, ada.id) == old
    assert (await login(lab, ada.username))["__typename"] == "AuthTokens"
    renewed = await lab.db.value(kept, ada.id)
    assert ("t=2" in old, "t=1" in renewed) == (True, True)
    assert (await login(lab, ada.username))["__typename"] == "AuthTokens"
    assert await lab.db.value(kept, ada.id) == renewed


# Found and listed


async def test_admins_see_everybody_and_others_those_they_share_a_dataset_with(lab: Lab) -> None:
    root, ada, bob, eve = [await lab.an_admin(), *[await lab.a_user() for _ in range(3)]]
    await lab.grant(await ada.a_dataset(), bob, "VIEW")

    async def seen(person: Person) -> set[str]:
        page = await person.ask(NAMES)
        assert page["totalCount"] == len(page["nodes"])
        return {node["username"] for node in page["nodes"]}

    everybody = {each.username for each in (root, ada, bob, eve)}
    assert [await seen(each) for each in (root, ada, bob, eve)] == [
        everybody, {ada.username, bob.username}, {ada.username, bob.username}, {eve.username},
    ]  # fmt: skip
    one = "query ($id: ID!) { user(id: $id) { username email } }"
    assert await bob.ask(one, id=ada.id) == {"username": ada.username, "email": None}
    assert await root.ask(one, id=ada.id) == {
        "username": ada.username,
        "email": f"{ada.username}@lab.example",
    }
    assert [await eve.ask(one, id=id) for id in (ada.id, "nonsense")] == [None, None]


async def test_people_are_searched_by_username_and_only_by_admins_by_email(lab: Lab) -> None:
    root, ada, bob = await lab.an_admin(), await lab.a_user(), await lab.a_user()
    await lab.grant(await ada.a_dataset(), bob, "VIEW")
    await ada.ask(PROFILE, input={"username": "J\u00f3zefa", "email": "secret-name@lab.example"})

    async def found(person: Person, **f: Any) -> list[str]:
        page = await person.ask(NAMES, f=f, o={"field": "USERNAME", "direction": "ASC"})
        return [node["username"] for node in page["nodes"]]

    assert await found(bob, search="OZEF") == await found(root, search="j\u00f3zef") == ["J\u00f3zefa"]
    assert await found(root, search="secret-name") == ["J\u00f3zefa"]
    assert await found(bob, search="secret-name") == await found(bob, search="lab.example") == []
    assert await found(root, role="ADMIN") == [root.username]
    assert await found(root, status="DISABLED") == []
    assert await found(root) == sorted(["J\u00f3zefa", bob.username, root.username])


# Changed by admins


async def test_a_disabled_account_is_out_at_once_and_back_only_by_signing_in_again(lab: Lab) -> None:
    root, ada = await lab.an_admin(), await lab.a_user()
    token = (await login(lab, ada.username))["refreshToken"]
    async with lab.another_replica() as other:
        assert await ada.at(other).ask(ME) == {"username": ada.username}
        told = await root.ask(UPDATE, input={"id": ada.id, "status": "DISABLED"})
        assert (told["__typename"], told["status"]) == ("User", "DISABLED")
        assert await reason(ada.at(other)) == "REVOKED"
        assert outcome(await refresh(other, token)) == ("InvalidCredentials", "SESSION_ENDED")
    await root.ask(UPDATE, input={"id": ada.id, "status": "ACTIVE"})
    assert await reason(ada) == "REVOKED"
    assert (await login(lab, ada.username))["__typename"] == "AuthTokens"


async def test_the_last_active_admin_stays_one(lab: Lab) -> None:
    root, other = await lab.an_admin(), await lab.an_admin()
    await root.ask(UPDATE, input={"id": other.id, "status": "DISABLED"})
    before = await lab.dump()
    for change in ({"status": "DISABLED"}, {"role": "USER"}):
        told = await root.ask(UPDATE, input={"id": root.id, **change})
        assert outcome(told) == ("Conflict", "LAST_ADMIN")
    told = await root.ask(UPDATE, input={"id": root.id, "status": None})
    assert told["fields"] == [{"code": "NULL", "path": ["status"]}]
    assert await lab.dump() == before


# The audit trail


async def test_every_change_of_an_account_stands_in_the_audit_trail(lab: Lab) -> None:
    root = await lab.an_admin()
    made = await root.ask(CREATE, input=ADA)
    told = await set_password(lab, made["token"])
    ada = signed_in(lab, told)
    await login(lab, "ada", "wrong")
    await ada.ask(PROFILE, input={"username": "eva"})
    response = await root.send(UPDATE, input={"id": ada.id, "role": "ANALYST"})
    await ada.ask(CHANGE, input={"currentPassword": NEW, "newPassword": PASSWORD})
    await root.ask(RESET, id=ada.id)
    await root.ask(UPDATE, input={"id": ada.id, "status": "DISABLED"})

    assert await actions(lab) == [
        "account.created", "session.started", "account.created", "password.set", "login.refused",
        "account.profile_changed", "account.role_changed", "password.changed", "password.reset",
        "account.status_changed",
    ]  # fmt: skip
    row = await lab.db.row("select * from audit_events where action = 'account.role_changed'")
    assert row is not None
    assert (row["actor_kind"], str(row["actor"])) == ("user", root.id)
    assert (row["subject_kind"], str(row["subject"])) == ("user", ada.id)
    assert row["details"] == '{"to": "ANALYST", "from": "USER"}'
    assert row["request_id"] == response.headers["x-request-id"]
    assert row["address"] == "127.0.0.1"
    trail = str(await lab.db.rows("select t::text from audit_events t"))
    for secret in (made["token"], NEW, PASSWORD, "wrong"):
        assert secret not in trail


@pytest.mark.parametrize(
    "statement",
    ["update audit_events set action = 'nothing'", "delete from audit_events", "truncate audit_events"],
)
async def test_nobody_rewrites_the_audit_trail(lab: Lab, statement: str) -> None:
    await lab.a_user()
    before = await lab.dump()
    with pytest.raises(Exception, match="append-only"):
        await lab.db.execute(statement)
    assert await lab.dump() == before
