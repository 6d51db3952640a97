"""Machines' accounts: made, listed, revoked, and what their tokens are worth."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab import Lab, Refused
from tests.lab_machines import CREATE, REVOKE, a_machine, token_for

LIST = """
{ serviceAccounts { totalCount nodes { id name clientId scopes createdAt lastUsedAt expiresAt revokedAt } } }
"""


async def test_an_admin_makes_an_account_whose_secret_is_shown_once_and_stored_as_a_hash(lab: Lab) -> None:
    admin = await lab.an_admin()
    later = "2100-01-01T00:00:00Z"
    made = await admin.ask(
        CREATE,
        input={
            "name": " gpu box ",
            "scopes": ["RESULTS_READ", "IMAGES_READ", "IMAGES_READ"],
            "expiresAt": later,
        },
    )
    listed = await admin.ask(LIST)
    row = await lab.db.row("select t::text as text, t.* from service_accounts t")

    account = made["serviceAccount"]
    assert account == {
        "id": account["id"], "name": "gpu box", "clientId": made["clientId"],
        "createdAt": account["createdAt"],
        "scopes": ["IMAGES_READ", "RESULTS_READ"], "lastUsedAt": None, "expiresAt": later, "revokedAt": None,
    }  # fmt: skip
    assert listed == {"totalCount": 1, "nodes": [account]}
    assert row is not None
    assert made["clientSecret"] not in row["text"]
    assert (len(row["hashed_secret"]), str(row["created_by"])) == (64, admin.id)
    assert len(made["clientSecret"]) == 43


@pytest.mark.parametrize("who", ["a_user", "an_analyst"])
async def test_only_admins_make_list_and_revoke_accounts(lab: Lab, who: str) -> None:
    machine = await a_machine(lab, "IMAGES_READ")
    person = await getattr(lab, who)()
    before = await lab.dump()
    made = await person.ask(CREATE, input={"name": "mine", "scopes": ["IMAGES_READ"]})
    revoked = await person.ask(REVOKE, id=machine.id)
    with pytest.raises(Refused) as refused:
        await person.ask(LIST)
    with pytest.raises(Refused) as nobody:
        await lab.nobody.ask(LIST)

    assert [(each["__typename"], each["code"]) for each in (made, revoked)] == [("Forbidden", "ROLE")] * 2
    assert refused.value.codes == ["FORBIDDEN"]
    assert nobody.value.codes == ["UNAUTHENTICATED"]
    assert await lab.dump() == before


@pytest.mark.parametrize(
    ("given", "code", "path"),
    [
        ({"name": "  "}, "TOO_SHORT", ["name"]),
        ({"name": "x" * 101}, "TOO_LONG", ["name"]),
        ({"name": "a\u0000b"}, "FORBIDDEN_CHARACTERS", ["name"]),
        ({"scopes": []}, "TOO_FEW", ["scopes"]),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "OUT_OF_RANGE", ["expiresAt"]),
    ],
)
async def test_an_account_that_can_not_be_is_refused(
    lab: Lab, given: dict[str, object], code: str, path: list[str]
) -> None:
    admin = await lab.an_admin()
    before = await lab.dump()
    made = await admin.ask(CREATE, input={"name": "box", "scopes": ["IMAGES_READ"], **given})

    assert (made["__typename"], made["fields"]) == ("InvalidInput", [{"code": code, "path": path}])
    assert await lab.dump() == before


async def test_a_name_is_given_once_even_when_its_account_was_revoked(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_READ", name="box")
    await machine.revoke()
    assert machine.admin is not None
    again = await machine.admin.ask(CREATE, input={"name": "box", "scopes": ["IMAGES_READ"]})

    assert (again["__typename"], again["code"]) == ("Conflict", "NAME_TAKEN")
    assert await lab.count("service_accounts") == 1


async def test_a_revoked_account_is_refused_at_its_very_next_request_on_every_replica(lab: Lab) -> None:
    async with lab.another_replica() as other:
        machine = await a_machine(lab, "RESULTS_READ")
        assert await machine.at(other).ask("{ images { totalCount } }") == {"totalCount": 0}
        revoked = await machine.revoke()
        answers = [await each.send("{ images { totalCount } }") for each in (machine, machine.at(other))]
        asked = await token_for(other, machine.client_id, machine.secret)
        again = await machine.revoke()

    for answer in answers:
        error = answer.json()["errors"][0]
        assert error["extensions"] == {"code": "UNAUTHENTICATED", "reason": "REVOKED"}
    assert (asked.status_code, asked.json()["error"]) == (401, "invalid_client")
    assert revoked["id"] == machine.id
    assert again == revoked
    assert await lab.count("service_sessions") == 0


async def test_revoking_nothing_is_not_found(lab: Lab) -> None:
    admin = await lab.an_admin()
    for id in ("nonsense", "00000000-0000-7000-8000-000000000000", admin.id):
        assert await admin.ask(REVOKE, id=id) == {"__typename": "NotFound", "code": "NOT_FOUND", "ids": [id]}


async def test_the_sockets_of_a_revoked_account_are_closed_within_five_seconds(lab: Lab) -> None:
    machine = await a_machine(lab, "RESULTS_READ")
    async with machine.socket() as socket:
        query = {"query": "{ images { totalCount } }"}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": query}))
        assert json.loads(await socket.recv())["payload"]["data"] == {"images": {"totalCount": 0}}
        await machine.revoke()
        async with asyncio.timeout(5):
            await socket.wait_closed()

    assert socket.close_code == 4401


async def test_an_account_that_has_expired_is_refused_though_its_token_has_not(lab: Lab) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    machine = await a_machine(lab, "RESULTS_READ", expiresAt=soon)
    told = (await token_for(lab, machine.client_id, machine.secret)).json()
    await lab.db.execute("update service_accounts set expires_at = clock_timestamp() - interval '1 second'")
    with pytest.raises(Refused) as refused:
        await machine.ask("{ images { totalCount } }")
    asked = await token_for(lab, machine.client_id, machine.secret)

    assert 290 <= told["expires_in"] <= 300
    assert refused.value.errors[0]["extensions"]["reason"] == "REVOKED"
    assert asked.json()["error"] == "invalid_client"


async def test_it_is_told_when_an_account_was_last_used(lab: Lab) -> None:
    before = datetime.now(UTC)
    machine = await a_machine(lab, "IMAGES_READ")
    assert machine.admin is not None
    node = (await machine.admin.ask(LIST))["nodes"][0]

    assert before <= datetime.fromisoformat(node["lastUsedAt"]) <= datetime.now(UTC)


async def test_tokens_that_have_expired_leave_nothing_behind(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_READ")
    await lab.db.execute("update service_sessions set expires_at = clock_timestamp()")
    await machine.fresh_token()

    assert await lab.count("service_sessions") == 1


async def test_a_token_of_one_kind_is_worth_nothing_as_the_other(lab: Lab) -> None:
    machine, ada = await a_machine(lab, "RESULTS_READ"), await lab.a_user()
    session = await lab.db.value("select id from service_sessions")
    login = await lab.db.value('select id from login_sessions where "user" = $1::uuid', ada.id)
    account = await lab.db.value("select id from service_accounts")
    user = await lab.db.value("select id from users where id = $1::uuid", ada.id)
    tokens = lab.services.tokens
    forged = [tokens.issue(account, session, "user"), tokens.issue(user, login, "service")]
    for token, _ in forged:
        machine.token = token
        with pytest.raises(Refused) as refused:
            await machine.ask("{ images { totalCount } }")
        assert refused.value.errors[0]["extensions"]["reason"] == "REVOKED"
