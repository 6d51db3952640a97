"""Accounts: who may have one, who gets in, and what a token is worth from one request to the next."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bioscope_gql.auth import keys
from bioscope_gql.auth.keys import Keys
from bioscope_gql.auth.tokens import Tokens
from bioscope_gql.settings import Settings
from bioscope_gql.vocabulary import uuid7
from tests.lab import PASSWORD, Lab, Person, Place, Refused, a_lab

TOKENS = """{
  __typename
  ... on AuthTokens { accessToken tokenType expiresAt user { id username name email role status } }
  ... on Problem { code message }
  ... on InvalidInput { fields { code path message } }
}"""
REGISTER = f"mutation ($input: RegisterInput!) {{ register(input: $input) {TOKENS} }}"
LOGIN = f"mutation ($input: LoginInput!) {{ login(input: $input) {TOKENS} }}"
UPDATE = """
mutation ($input: UpdateUserInput!) {
  updateUser(input: $input) {
    __typename
    ... on User { id role status }
    ... on Problem { code message }
    ... on NotFound { ids }
    ... on InvalidInput { fields { code path } }
  }
}
"""
ME = "{ me { username email role status } }"
DISABLE = "update users set status = 'DISABLED' where id = $1::uuid"
ENDINGS = (
    'update login_sessions set ended_at = clock_timestamp() where "user" = $1::uuid',
    'update login_sessions set expires_at = clock_timestamp() where "user" = $1::uuid',
    'delete from login_sessions where "user" = $1::uuid',
    "delete from users where id = $1::uuid",
    DISABLE,
)
"""What ends a session before its token has expired."""

MAY_MANAGE = 'mutation { updateUser(input: {id: "none"}) { __typename } }'
"""An admin is told that there is none of this id, others that they may not."""


LIGATURE = "\ufdfa"
"""One character whose compatibility form has eighteen."""

IMPOSSIBLE: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"password": "seven 7"}, {"password": "TOO_SHORT"}),
    ({"password": ""}, {"password": "TOO_SHORT"}),
    ({"password": "long" * 257}, {"password": "TOO_LONG"}),
    ({"password": "a word\0and more"}, {"password": "FORBIDDEN_CHARACTERS"}),
    ({"password": "Password123"}, {"password": "TOO_COMMON"}),
    ({"password": "ADA@lab.example"}, {"password": "TOO_COMMON"}),
    ({"email": "ada"}, {"email": "INVALID_EMAIL"}),
    ({"email": ""}, {"email": "INVALID_EMAIL"}),
    ({"email": "ada lovelace@lab.example"}, {"email": "INVALID_EMAIL"}),
    ({"email": "ada@lab@example"}, {"email": "INVALID_EMAIL"}),
    ({"email": "ada\0@lab.example"}, {"email": "INVALID_EMAIL"}),
    ({"email": "ada\u200b@lab.example"}, {"email": "INVALID_EMAIL"}),
    ({"email": f"ada@{'lab.' * 80}example"}, {"email": "INVALID_EMAIL"}),
    ({"email": f"{LIGATURE * 60}@lab.example"}, {"email": "INVALID_EMAIL"}),
    ({"username": " \t "}, {"username": "TOO_SHORT"}),
    ({"username": "a" * 65}, {"username": "TOO_LONG"}),
    ({"username": LIGATURE * 64}, {"username": "TOO_LONG"}),
    ({"username": "ada\0"}, {"username": "FORBIDDEN_CHARACTERS"}),
    ({"username": "a\u202eda"}, {"username": "FORBIDDEN_CHARACTERS"}),
    ({"username": "a\u200dda"}, {"username": "FORBIDDEN_CHARACTERS"}),
    ({"email": "x", "username": "", "password": "x"}, {
        "email": "INVALID_EMAIL", "username": "TOO_SHORT", "password": "TOO_SHORT",
    }),
]  # fmt: skip
"""What somebody may try to register as, and what is wrong with it."""


async def register(lab: Lab, **changes: str) -> Any:
    sent = {"email": "ada@lab.example", "username": "ada", "password": PASSWORD, **changes}
    return await lab.nobody.ask(REGISTER, input=sent)


async def login(lab: Lab, name: str, password: str = PASSWORD) -> Any:
    return await lab.nobody.ask(LOGIN, input={"login": name, "password": password})


async def reason(person: Person, query: str = ME) -> str:
    """Why a token does not hold."""
    with pytest.raises(Refused) as refused:
        await person.ask(query)
    assert (refused.value.status, refused.value.codes) == (200, ["UNAUTHENTICATED"])
    told: str = refused.value.errors[0]["extensions"]["reason"]
    return told


def changed(settings: Settings, **auth: Any) -> Settings:
    return settings.model_copy(update={"auth": settings.auth.model_copy(update=auth)})


@pytest.fixture
async def closed(place: Place) -> AsyncIterator[Lab]:
    """A laboratory where nobody can register."""
    async with a_lab(place, changed(place.settings(), registration="closed")) as made:
        yield made


async def test_who_registers_is_signed_in_as_a_user(lab: Lab) -> None:
    made = await register(lab, email=" Ada@Lab.Example ", username=" Ada ")
    ada = Person(lab, "Ada", made["accessToken"])

    assert made["tokenType"] == "Bearer"
    assert made["user"] == {
        "id": made["user"]["id"], "username": "Ada", "name": "Ada", "email": "Ada@Lab.Example",
        "role": "USER", "status": "ACTIVE",
    }  # fmt: skip
    assert await ada.ask(ME) == {
        "username": "Ada", "email": "Ada@Lab.Example", "role": "USER", "status": "ACTIVE",
    }  # fmt: skip
    assert await lab.db.value("select hashed_password from users") != PASSWORD


async def test_where_registration_is_closed_nobody_registers(closed: Lab) -> None:
    before = await closed.dump()
    answer = await register(closed)
    told = await closed.nobody.ask("{ server { registrationOpen } }")

    assert (answer["__typename"], answer["code"]) == ("Forbidden", "REGISTRATION_CLOSED")
    assert told == {"registrationOpen": False}
    assert await closed.dump() == before


async def test_what_can_not_be_an_account_is_told_field_by_field(lab: Lab) -> None:
    before = await lab.dump()
    answers = [await register(lab, **changes) for changes, _ in IMPOSSIBLE]

    assert {(each["__typename"], each["code"]) for each in answers} == {("InvalidInput", "INVALID_INPUT")}
    told = [{field["path"][0]: field["code"] for field in each["fields"]} for each in answers]
    assert list(zip([changes for changes, _ in IMPOSSIBLE], told, strict=True)) == IMPOSSIBLE
    assert await lab.dump() == before


async def test_an_email_is_taken_however_it_is_written(lab: Lab) -> None:
    await register(lab)
    before = await lab.dump()
    written = ["ada@lab.example", "ADA@LAB.EXAMPLE", "\uff41da@lab.example", " ada@lab.example"]
    answers = [await register(lab, email=email, username="another") for email in written]

    assert {(each["__typename"], each["code"]) for each in answers} == {("Conflict", "EMAIL_TAKEN")}
    assert await lab.dump() == before


async def test_a_username_is_taken_however_it_is_written(lab: Lab) -> None:
    for number, name in enumerate(("ada", "Stra\u00dfe", "\u00e9va")):
        await register(lab, username=name, email=f"{number}@lab.example")
    before = await lab.dump()
    written = ["ADA", "\uff41\uff44\uff41", " ada ", "STRASSE", "e\u0301VA"]
    answers = [await register(lab, username=name, email="other@lab.example") for name in written]

    assert {(each["__typename"], each["code"]) for each in answers} == {("Conflict", "USERNAME_TAKEN")}
    assert await lab.dump() == before


async def test_of_two_who_want_one_name_at_once_one_gets_it(lab: Lab) -> None:
    answers = await asyncio.gather(*(register(lab, email=f"{n}@lab.example") for n in range(4)))

    assert sorted(each["__typename"] for each in answers) == [
        "AuthTokens",
        "Conflict",
        "Conflict",
        "Conflict",
    ]
    assert (await lab.count("users"), await lab.count("login_sessions")) == (1, 1)


async def test_one_signs_in_by_email_or_username_in_any_case(lab: Lab) -> None:
    made = await register(lab)
    written = ["ada", "ADA", "ada@lab.example", " Ada@Lab.Example ", "\uff41da"]
    signed_in = [await login(lab, name) for name in written]

    assert [each["user"] for each in signed_in] == [made["user"]] * len(written)
    assert len({made["accessToken"], *(each["accessToken"] for each in signed_in)}) == len(written) + 1


async def test_a_wrong_password_and_an_unknown_account_answer_alike_and_start_nothing(lab: Lab) -> None:
    await register(lab)
    before = await lab.dump()
    answers = [
        await login(lab, "ada", "a wrong password"),
        await login(lab, "nobody"),
        await login(lab, ""),
        await login(lab, "ada\0"),
        await login(lab, "a" * 10_000),
        await login(lab, "ada", PASSWORD + "\0"),
        await login(lab, "ada", ""),
        await login(lab, "ada", PASSWORD.upper()),
    ]

    assert answers == [answers[0]] * len(answers)
    assert (answers[0]["__typename"], answers[0]["code"]) == ("InvalidCredentials", "INVALID_CREDENTIALS")
    assert await lab.dump() == before


async def test_who_takes_the_email_of_another_as_a_username_gets_nowhere_with_it(lab: Lab) -> None:
    await register(lab, username="bob@lab.example", password="the password of eve")
    bob = await register(lab, email="bob@lab.example", username="bob")

    assert (await login(lab, "bob@lab.example"))["user"] == bob["user"]
    assert (await login(lab, "bob@lab.example", "the password of eve"))["__typename"] == "InvalidCredentials"


async def test_a_disabled_account_neither_signs_in_nor_goes_on(lab: Lab) -> None:
    ada = await lab.an_analyst()
    assert (await ada.ask(ME))["username"] == ada.username
    await lab.db.execute(DISABLE, ada.id)
    before = await lab.dump()

    assert await reason(ada) == "REVOKED"
    answer = await login(lab, ada.username)
    assert (answer["__typename"], answer["code"]) == ("InvalidCredentials", "INVALID_CREDENTIALS")
    assert await lab.dump() == before


async def test_a_token_without_its_session_is_revoked_at_the_next_request(lab: Lab) -> None:
    bob = await lab.a_user()
    for ending in ENDINGS:
        ada = await lab.a_user()
        assert (await ada.ask(ME))["username"] == ada.username
        await lab.db.execute(ending, ada.id)

        assert await reason(ada) == "REVOKED"
        assert await reason(ada, "{ datasets { nodes { id } } }") == "REVOKED"
    assert (await bob.ask(ME))["username"] == bob.username


async def test_nobody_is_nobody(lab: Lab) -> None:
    assert await lab.nobody.ask("{ me { id } }") is None
    assert await reason(lab.nobody, "{ me { id } datasets { nodes { id } } }") == "MISSING"


async def test_a_token_that_does_not_hold_is_told_why(lab: Lab) -> None:
    ada = await lab.a_user()
    settings = lab.services.settings.auth
    session = await lab.db.value('select id from login_sessions where "user" = $1::uuid', ada.id)
    user = await lab.db.value("select id from users where id = $1::uuid", ada.id)
    keys.generate(lab.place.folder / "others")
    theirs = Keys.load([lab.place.folder / "others" / "signing.pem"])
    ours = Keys.load(settings.keys)

    def issued(
        by: Keys, *, issuer: str = settings.issuer, audience: str = settings.audience, then: int = 0
    ) -> str:
        tokens = Tokens(by, issuer, audience, 900, clock=lambda: time.time() - then)
        return tokens.issue(user, session)[0]

    good = issued(ours)
    assert (await Person(lab, token=good).ask(ME))["username"] == ada.username
    head, body, signature = good.split(".")
    reasons = {
        "old": await reason(Person(lab, token=issued(ours, then=1000))),
        "of a stranger": await reason(Person(lab, token=issued(theirs))),
        "of another issuer": await reason(Person(lab, token=issued(ours, issuer="elsewhere"))),
        "for another audience": await reason(Person(lab, token=issued(ours, audience="elsewhere"))),
        "unsigned": await reason(Person(lab, token=f"{head}.{body}.")),
        "altered": await reason(Person(lab, token=f"{head}.{body[:-4]}AAAA.{signature}")),
        "nonsense": await reason(Person(lab, token="nonsense")),
        "long": await reason(Person(lab, token="x" * 5000)),
        "of another's session": await reason(
            Person(lab, token=lab.services.tokens.issue(uuid7(), session)[0])
        ),
    }

    assert reasons == {
        "old": "EXPIRED", "of a stranger": "INVALID", "of another issuer": "INVALID",
        "for another audience": "INVALID", "unsigned": "INVALID", "altered": "INVALID", "nonsense": "INVALID",
        "long": "INVALID", "of another's session": "REVOKED",
    }  # fmt: skip


async def test_another_header_than_a_bearers_is_invalid(lab: Lab) -> None:
    ada = await lab.a_user()
    for header in ("Basic YWRhOmFkYQ==", "Bearer", "nonsense", str(ada.token)):
        headers = {"authorization": header, "accept": "application/graphql-response+json"}
        answer = await lab.http.post("/graphql", json={"query": ME}, headers=headers)

        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED", "reason": "INVALID"}


async def test_signing_in_does_not_look_at_a_broken_token(lab: Lab) -> None:
    await register(lab)
    broken = Person(lab, token="nonsense")
    signed_in = await broken.ask(LOGIN, input={"login": "ada", "password": PASSWORD})

    assert signed_in["__typename"] == "AuthTokens"


async def test_answers_with_tokens_are_not_kept_by_caches(lab: Lab) -> None:
    answer: httpx.Response = await lab.nobody.send(
        REGISTER, input={"email": "ada@lab.example", "username": "ada", "password": PASSWORD}
    )
    assert answer.headers["cache-control"] == "no-store"


async def test_an_admin_changes_a_role_and_the_very_next_request_knows(lab: Lab) -> None:
    root, uma = await lab.an_admin(), await lab.a_user()
    assert (await uma.ask(MAY_MANAGE))["__typename"] == "Forbidden"

    made = await root.ask(UPDATE, input={"id": uma.id, "role": "ADMIN"})
    assert made == {"__typename": "User", "id": uma.id, "role": "ADMIN", "status": "ACTIVE"}
    assert (await uma.ask(ME))["role"] == "ADMIN"
    assert (await uma.ask(MAY_MANAGE))["__typename"] == "NotFound"

    await root.ask(UPDATE, input={"id": uma.id, "role": "USER"})
    assert (await uma.ask(MAY_MANAGE))["__typename"] == "Forbidden"


async def test_what_is_left_out_of_a_change_stays_and_null_is_no_role(lab: Lab) -> None:
    root, ann = await lab.an_admin(), await lab.an_analyst()
    made = await root.ask(UPDATE, input={"id": ann.id})
    before = await lab.dump()
    null = await root.ask(UPDATE, input={"id": ann.id, "role": None})

    assert (made["__typename"], made["role"]) == ("User", "ANALYST")
    assert (null["__typename"], null["fields"]) == ("InvalidInput", [{"code": "NULL", "path": ["role"]}])
    assert await lab.dump() == before


async def test_only_admins_change_accounts_be_it_their_own(lab: Lab) -> None:
    await lab.an_admin()
    ann, uma = await lab.an_analyst(), await lab.a_user()
    before = await lab.dump()
    answers = [
        await person.ask(UPDATE, input={"id": id, "role": "ADMIN"})
        for person, id in ((ann, ann.id), (uma, ann.id), (uma, uma.id), (ann, "none"))
    ]

    assert {(each["__typename"], each["code"]) for each in answers} == {("Forbidden", "ROLE")}
    assert await lab.dump() == before


async def test_an_account_that_is_not_there_is_not_found(lab: Lab) -> None:
    root = await lab.an_admin()
    before = await lab.dump()
    answers = [
        await root.ask(UPDATE, input={"id": id, "role": "USER"}) for id in (str(uuid7()), "none", "", "\0")
    ]

    assert {each["__typename"] for each in answers} == {"NotFound"}
    assert [each["ids"] for each in answers][1:2] == [["none"]]
    assert await lab.dump() == before


async def test_the_last_admin_stays_one(lab: Lab) -> None:
    root = await lab.an_admin()
    former = await lab.an_admin()
    await lab.db.execute(DISABLE, former.id)
    before = await lab.dump()
    answer = await root.ask(UPDATE, input={"id": root.id, "role": "ANALYST"})

    assert (answer["__typename"], answer["code"]) == ("Conflict", "LAST_ADMIN")
    assert await lab.dump() == before

    await lab.an_admin()
    assert (await root.ask(UPDATE, input={"id": root.id, "role": "ANALYST"}))["role"] == "ANALYST"
    assert (await root.ask(MAY_MANAGE))["__typename"] == "Forbidden"


async def test_an_email_is_for_oneself_and_for_admins(lab: Lab) -> None:
    ada, bob, root = await lab.an_analyst(), await lab.an_analyst(), await lab.an_admin()
    dataset = await ada.a_dataset()
    await lab.grant(dataset, bob, "VIEW")
    query = "query ($id: ID!) { dataset(id: $id) { owner { username email } } }"
    seen = [(await person.ask(query, id=dataset))["owner"]["email"] for person in (ada, bob, root)]

    assert seen == ["analyst1@lab.example", None, "analyst1@lab.example"]
