"""Sharing: who gets in, who sees who is in, who may put out whom, and whose it is."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from bioscope_gql.vocabulary import uuid7
from tests.lab import PATIENCE_SECONDS, Lab, Person, Refused
from tests.talk import Talk

GRANTED = """{
  __typename
  ... on Dataset { access owner { id } grants { id level user { id name } } }
  ... on Problem { code message }
  ... on NotFound { ids }
}"""
SHARE = f"mutation ($input: ShareDatasetInput!) {{ shareDataset(input: $input) {GRANTED} }}"
REVOKE = f"mutation ($id: ID!) {{ revokeDatasetGrant(id: $id) {GRANTED} }}"
TRANSFER = f"mutation ($input: TransferDatasetInput!) {{ transferDataset(input: $input) {GRANTED} }}"
GRANTS = "query ($id: ID!) { dataset(id: $id) { access grants { id level user { id } grantedAt } } }"


async def share(person: Person, dataset: str, level: str, **to: str) -> Any:
    return await person.ask(SHARE, input={"datasetId": dataset, "to": to, "level": level})


async def transfer(person: Person, dataset: str, **to: str) -> Any:
    return await person.ask(TRANSFER, input={"id": dataset, "to": to})


def levels(dataset: Any) -> dict[str, str]:
    """Who has which level, of a dataset as it was answered."""
    assert dataset["grants"] is not None, dataset
    return {grant["user"]["id"]: grant["level"] for grant in dataset["grants"]}


async def grant_of(person: Person, holder: Person, dataset: str) -> str:
    """The id of somebody's grant, as a person sees it."""
    found = await person.ask(GRANTS, id=dataset)
    [id] = [g["id"] for g in found["grants"] if g["user"] and g["user"]["id"] == holder.id]
    assert isinstance(id, str)
    return id


async def test_a_dataset_is_shared_by_id_and_by_exact_name_or_address_and_again_to_change_the_level(
    lab: Lab,
) -> None:
    uma, ben = await lab.a_user(), await lab.a_user()
    dataset = await uma.a_dataset()
    assert await ben.ask(GRANTS, id=dataset) is None

    told = [
        levels(await share(uma, dataset, level, **to))
        for level, to in (
            ("VIEW", {"username": f" {ben.username.upper()} "}),
            ("MANAGE", {"email": "USER2@Lab.Example"}),
            ("CONTRIBUTE", {"userId": ben.id}),
        )
    ]
    assert [each[ben.id] for each in told] == ["VIEW", "MANAGE", "CONTRIBUTE"]
    assert levels(await uma.ask(GRANTS, id=dataset)) == {uma.id: "MANAGE", ben.id: "CONTRIBUTE"}
    assert (await ben.ask(GRANTS, id=dataset))["access"] == "CONTRIBUTE"


@pytest.mark.parametrize(
    "to",
    [
        {"username": "user"}, {"username": "user2@lab.example"}, {"email": "user2"}, {"username": ""},
        {"email": "a\0b"}, {"userId": "nonsense"}, {"userId": str(uuid7())}, {"email": "%"},
    ],
)  # fmt: skip
async def test_whoever_is_not_there_is_not_found_and_nobody_gets_anything(
    lab: Lab, to: dict[str, str]
) -> None:
    uma = await lab.a_user()
    await lab.a_user()
    dataset = await uma.a_dataset()
    before = await lab.dump()
    shared, handed = await share(uma, dataset, "VIEW", **to), await transfer(uma, dataset, **to)

    assert [each["code"] for each in (shared, handed)] == ["NOT_FOUND", "NOT_FOUND"]
    assert shared["ids"] == handed["ids"] == ([to["userId"]] if "userId" in to else [])
    assert await lab.dump() == before


async def test_whoever_is_disabled_gets_nothing(lab: Lab) -> None:
    uma, ben = await lab.a_user(), await lab.a_user()
    dataset = await uma.a_dataset()
    await lab.db.execute("update users set status = 'DISABLED' where id = $1", UUID(ben.id))
    before = await lab.dump()

    assert (await share(uma, dataset, "VIEW", userId=ben.id))["code"] == "NOT_FOUND"
    assert (await transfer(uma, dataset, userId=ben.id))["code"] == "NOT_FOUND"
    assert await lab.dump() == before


async def test_a_machine_is_shared_with_but_can_not_own(lab: Lab) -> None:
    uma, machine = await lab.a_user(), await a_machine(lab)
    gone = await a_machine(lab, revoked=True)
    dataset = await uma.a_dataset()

    assert (await share(uma, dataset, "CONTRIBUTE", userId=machine))["__typename"] == "Dataset"
    assert (await share(uma, dataset, "VIEW", userId=gone))["code"] == "NOT_FOUND"
    assert (await transfer(uma, dataset, userId=machine))["code"] == "CONFLICT"
    granted = await lab.db.rows("select level from dataset_grants where service_account = $1", UUID(machine))
    assert [row["level"] for row in granted] == ["CONTRIBUTE"]


async def a_machine(lab: Lab, *, revoked: bool = False) -> str:
    id = uuid7()
    await lab.db.execute(
        "insert into service_accounts (id, name, client_id, hashed_secret, scopes, revoked_at)"
        " values ($1::uuid, $1::uuid::text, $1::uuid::text, 'x', '{}', case when $2 then now() end)",
        id,
        revoked,
    )
    return str(id)


async def test_who_manages_sees_all_grants_and_others_the_owners_and_their_own(lab: Lab) -> None:
    uma, vic, con, mia, admin = [await lab.a_user() for _ in range(4)] + [await lab.an_admin()]
    dataset = await uma.a_dataset()
    for person, level in ((vic, "VIEW"), (con, "CONTRIBUTE"), (mia, "MANAGE")):
        await share(uma, dataset, level, userId=person.id)

    everybody = {uma.id: "MANAGE", vic.id: "VIEW", con.id: "CONTRIBUTE", mia.id: "MANAGE"}
    seen = [levels(await each.ask(GRANTS, id=dataset)) for each in (uma, mia, admin, vic, con)]
    assert seen == [
        everybody, everybody, everybody,
        {uma.id: "MANAGE", vic.id: "VIEW"}, {uma.id: "MANAGE", con.id: "CONTRIBUTE"},
    ]  # fmt: skip


async def test_a_manager_takes_access_back_and_a_guest_gives_up_their_own_only(lab: Lab) -> None:
    uma, vic, con, mia = [await lab.a_user() for _ in range(4)]
    dataset = await uma.a_dataset()
    for person, level in ((vic, "VIEW"), (con, "CONTRIBUTE"), (mia, "MANAGE")):
        await share(uma, dataset, level, userId=person.id)
    grants = {each.id: await grant_of(uma, each, dataset) for each in (uma, vic, con, mia)}

    before = await lab.dump()
    refused = [
        (await who.ask(REVOKE, id=grants[whose.id]))["code"]
        for who, whose in ((vic, con), (con, uma), (mia, uma), (uma, uma))
    ]
    assert refused == ["NOT_FOUND", "ACCESS", "CONFLICT", "CONFLICT"]
    assert await lab.dump() == before

    given_up = await vic.ask(REVOKE, id=grants[vic.id])
    assert (given_up["__typename"], given_up["grants"]) == ("Dataset", [])
    assert await vic.ask(GRANTS, id=dataset) is None
    assert levels(await mia.ask(REVOKE, id=grants[con.id])) == {uma.id: "MANAGE", mia.id: "MANAGE"}
    assert (await con.ask(REVOKE, id=grants[con.id]))["code"] == "NOT_FOUND"


async def test_the_owner_can_not_be_locked_out(lab: Lab) -> None:
    uma, mia, admin = await lab.a_user(), await lab.a_user(), await lab.an_admin()
    dataset = await uma.a_dataset()
    await share(uma, dataset, "MANAGE", userId=mia.id)
    before = await lab.dump()

    for person in (uma, mia, admin):
        assert (await share(person, dataset, "VIEW", userId=uma.id))["code"] == "CONFLICT"
    for sql in (
        'delete from dataset_grants where "user" = $1',
        "update dataset_grants set level = 'VIEW' where \"user\" = $1",
        'update dataset_grants set "user" = null, service_account = null where "user" = $1',
    ):
        with pytest.raises(asyncpg.RestrictViolationError, match="keeps MANAGE"):
            await lab.db.execute(sql, UUID(uma.id))
    with pytest.raises(asyncpg.RestrictViolationError, match="datasets_owner_fkey"):
        await lab.db.execute("delete from users where id = $1", UUID(uma.id))
    assert await lab.dump() == before


async def test_a_dataset_is_handed_over_by_its_owner_or_an_admin_and_who_had_it_keeps_manage(
    lab: Lab,
) -> None:
    uma, ben, mia, admin = [await lab.a_user() for _ in range(3)] + [await lab.an_admin()]
    dataset = await uma.a_dataset()
    for person, level in ((ben, "VIEW"), (mia, "MANAGE")):
        await share(uma, dataset, level, userId=person.id)

    before = await lab.dump()
    refused = [await transfer(who, dataset, userId=who.id) for who in (ben, mia)]
    assert [each["code"] for each in refused] == ["ACCESS", "ACCESS"]
    assert (await transfer(uma, dataset, userId=uma.id))["owner"] == {"id": uma.id}
    assert await lab.dump() == before

    handed = await transfer(uma, dataset, username=ben.username)
    assert handed["owner"] == {"id": ben.id}
    assert levels(handed) == {uma.id: "MANAGE", ben.id: "MANAGE", mia.id: "MANAGE"}
    assert (await uma.ask(REVOKE, id=await grant_of(ben, ben, dataset)))["code"] == "CONFLICT"
    assert (await transfer(admin, dataset, userId=mia.id))["owner"] == {"id": mia.id}
    assert (await mia.ask(REVOKE, id=await grant_of(mia, uma, dataset)))["__typename"] == "Dataset"
    assert await uma.ask(GRANTS, id=dataset) is None


async def test_of_many_that_share_and_hand_over_at_once_each_leaves_one_owner_who_manages(lab: Lab) -> None:
    uma, ben, mia = [await lab.a_user() for _ in range(3)]
    dataset = await uma.a_dataset()
    await share(uma, dataset, "MANAGE", userId=mia.id)
    await asyncio.gather(
        *(share(mia, dataset, level, userId=ben.id) for level in ("VIEW", "MANAGE") for _ in range(4)),
        transfer(uma, dataset, userId=ben.id),
    )
    found = await ben.ask(GRANTS, id=dataset)
    assert levels(found) == {uma.id: "MANAGE", ben.id: "MANAGE", mia.id: "MANAGE"}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "on_another_replica"])
async def test_a_grant_taken_back_ends_what_is_watched_there_and_the_socket_stays(
    lab: Lab, elsewhere: bool
) -> None:
    ada, ben = await lab.an_analyst(), await lab.a_user()
    dataset = await ada.a_dataset()
    await ada.images(dataset, 1)
    await share(ada, dataset, "VIEW", userId=ben.id)
    async with lab.a_worker(), lab.another_replica() as other:
        run = await ada.run_over(dataset)
        at = ben.at(other) if elsewhere else ben
        own = ada.watch(run)
        assert (await anext(own))["classification"]["progress"]["total"] == 1
        updates = at.watch(run)
        await anext(updates)

        async with asyncio.timeout(5):
            await ada.ask(REVOKE, id=await grant_of(ada, ben, dataset))
            with pytest.raises(Refused) as ended:
                async for _ in updates:
                    pass
        await own.aclose()
    assert ended.value.codes == ["NOT_FOUND"]


async def test_after_a_grant_is_taken_back_the_same_socket_answers_other_things(lab: Lab) -> None:
    ada, ben = await lab.an_analyst(), await lab.a_user()
    dataset = await ada.a_dataset()
    await ada.images(dataset, 1)
    await share(ada, dataset, "VIEW", userId=ben.id)
    async with lab.a_worker(), ben.socket() as socket, asyncio.timeout(PATIENCE_SECONDS):
        run = await ada.run_over(dataset)
        talk = Talk(socket)
        query = f'subscription {{ classificationUpdated(id: "{run}") {{ cursor }} }}'
        await talk.subscribe(query)
        assert (await talk.hear())["type"] == "next"
        await ada.ask(REVOKE, id=await grant_of(ada, ben, dataset))
        heard = [await talk.hear()]
        while heard[-1]["type"] != "complete":
            heard.append(await talk.hear())
        await talk.subscribe("{ me { username } }", id="2")
        answer = await talk.hear()

    assert heard[-2]["payload"]["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    assert answer["payload"] == {"data": {"me": {"username": ben.username}}}
