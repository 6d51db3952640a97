"""Who may do what: the permission matrix as one table, every cell tried through the GraphQL endpoint.

`ok` is done; `-` is NotFound, or null in a query; any other word is the code of the refusal. Whatever is
refused leaves the database and the store as they were.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import pytest

from bioscope_gql.vocabulary import uuid7
from tests.lab import PASSWORD, Lab, Person, Refused, a_picture
from tests.lab_machines import Machine, a_machine, grant_to

TABLE = """
                         | USER                              | ANALYST                           | ADMIN |anon
                         | none   VIEW   CONTR  MANAGE owner | none   VIEW   CONTR  MANAGE owner | none  |
own profile              | ok     ok     ok     ok     ok    | ok     ok     ok     ok     ok    | ok    | -
change own name          | ok     ok     ok     ok     ok    | ok     ok     ok     ok     ok    | ok    | out
change own password      | ok     ok     ok     ok     ok    | ok     ok     ok     ok     ok    | ok    | out
create a dataset         | ok     ok     ok     ok     ok    | ok     ok     ok     ok     ok    | ok    | out
see the dataset          | -      ok     ok     ok     ok    | -      ok     ok     ok     ok    | ok    | out
see a picture            | -      ok     ok     ok     ok    | -      ok     ok     ok     ok    | ok    | out
see a run                | -      ok     ok     ok     ok    | -      ok     ok     ok     ok    | ok    | out
see a result             | -      ok     ok     ok     ok    | -      ok     ok     ok     ok    | ok    | out
see anything by its id   | -      ok     ok     ok     ok    | -      ok     ok     ok     ok    | ok    | out
upload pictures          | -      ACCESS ok     ok     ok    | -      ACCESS ok     ok     ok    | ok    | out
edit a picture           | -      ACCESS ok     ok     ok    | -      ACCESS ok     ok     ok    | ok    | out
delete pictures          | -      ACCESS ACCESS ok     ok    | -      ACCESS ACCESS ok     ok    | ok    | out
edit the dataset         | -      ACCESS ACCESS ok     ok    | -      ACCESS ACCESS ok     ok    | ok    | out
share the dataset        | -      ACCESS ACCESS ok     ok    | -      ACCESS ACCESS ok     ok    | ok    | out
take the owner's grant   | -      ACCESS ACCESS taken  taken | -      ACCESS ACCESS taken  taken | taken | out
take another's grant     | -      -      -      ok     ok    | -      -      -      ok     ok    | ok    | out
hand the dataset over    | -      ACCESS ACCESS ACCESS ok    | -      ACCESS ACCESS ACCESS ok    | ok    | out
delete the dataset       | -      ACCESS ACCESS ok     ok    | -      ACCESS ACCESS ok     ok    | ok    | out
run a model              | -      ROLE   ROLE   ROLE   ROLE  | -      ACCESS ok     ok     ok    | ok    | out
cancel another's run     | -      ROLE   ROLE   ROLE   ROLE  | -      ACCESS ACCESS ok     ok    | ok    | out
cancel one's own run     | -      ROLE   ROLE   ROLE   ROLE  | -      ACCESS ok     ok     ok    | ok    | out
retry a run              | -      ROLE   ROLE   ROLE   ROLE  | -      ACCESS ok     ok     ok    | ok    | out
delete another's run     | -      ROLE   ROLE   ROLE   ROLE  | -      ACCESS ACCESS ok     ok    | ok    | out
delete one's own run     | -      ROLE   ROLE   ROLE   ROLE  | -      ACCESS ok     ok     ok    | ok    | out
see the devices          | ok     ok     ok     ok     ok    | ok     ok     ok     ok     ok    | ok    | out
create a device          | ROLE   ROLE   ROLE   ROLE   ROLE  | ROLE   ROLE   ROLE   ROLE   ROLE  | ok    | out
edit a device            | ROLE   ROLE   ROLE   ROLE   ROLE  | ROLE   ROLE   ROLE   ROLE   ROLE  | ok    | out
retire a device          | ROLE   ROLE   ROLE   ROLE   ROLE  | ROLE   ROLE   ROLE   ROLE   ROLE  | ok    | out
send a heartbeat         | ROLE   ROLE   ROLE   ROLE   ROLE  | ROLE   ROLE   ROLE   ROLE   ROLE  | ok    | out
change a role            | ROLE   ROLE   ROLE   ROLE   ROLE  | ROLE   ROLE   ROLE   ROLE   ROLE  | ok    | out
make an account          | ROLE   ROLE   ROLE   ROLE   ROLE  | ROLE   ROLE   ROLE   ROLE   ROLE  | ok    | out
reset a password         | ROLE   ROLE   ROLE   ROLE   ROLE  | ROLE   ROLE   ROLE   ROLE   ROLE  | ok    | out
make a service account   | ROLE   ROLE   ROLE   ROLE   ROLE  | ROLE   ROLE   ROLE   ROLE   ROLE  | ok    | out
list service accounts    | no     no     no     no     no    | no     no     no     no     no    | ok    | out
revoke a service account | ROLE   ROLE   ROLE   ROLE   ROLE  | ROLE   ROLE   ROLE   ROLE   ROLE  | ok    | out
list dead letters        | no     no     no     no     no    | no     no     no     no     no    | ok    | out
replay a dead letter     | ROLE   ROLE   ROLE   ROLE   ROLE  | ROLE   ROLE   ROLE   ROLE   ROLE  | ok    | out
"""
MACHINES = """
                         | machine
                         | READ   WRITE  BEAT   RESULTS
own profile              | -      -      -      -
change own name          | SCOPE  SCOPE  SCOPE  SCOPE
change own password      | SCOPE  SCOPE  SCOPE  SCOPE
create a dataset         | SCOPE  SCOPE  SCOPE  SCOPE
see the dataset          | no     no     no     no
see a picture            | -      no     no     ok
see a run                | no     no     no     ok
see a result             | no     no     no     ok
see anything by its id   | -      -      -      ok
upload pictures          | SCOPE  ok     SCOPE  SCOPE
edit a picture           | SCOPE  SCOPE  SCOPE  SCOPE
delete pictures          | SCOPE  SCOPE  SCOPE  SCOPE
edit the dataset         | SCOPE  SCOPE  SCOPE  SCOPE
share the dataset        | SCOPE  SCOPE  SCOPE  SCOPE
take the owner's grant   | SCOPE  SCOPE  SCOPE  SCOPE
take another's grant     | SCOPE  SCOPE  SCOPE  SCOPE
hand the dataset over    | SCOPE  SCOPE  SCOPE  SCOPE
delete the dataset       | SCOPE  SCOPE  SCOPE  SCOPE
run a model              | SCOPE  SCOPE  SCOPE  SCOPE
cancel another's run     | SCOPE  SCOPE  SCOPE  SCOPE
cancel one's own run     | SCOPE  SCOPE  SCOPE  SCOPE
retry a run              | SCOPE  SCOPE  SCOPE  SCOPE
delete another's run     | SCOPE  SCOPE  SCOPE  SCOPE
delete one's own run     | SCOPE  SCOPE  SCOPE  SCOPE
see the devices          | no     no     no     no
create a device          | SCOPE  SCOPE  SCOPE  SCOPE
edit a device            | SCOPE  SCOPE  SCOPE  SCOPE
retire a device          | SCOPE  SCOPE  SCOPE  SCOPE
send a heartbeat         | SCOPE  SCOPE  ok     SCOPE
change a role            | SCOPE  SCOPE  SCOPE  SCOPE
make an account          | SCOPE  SCOPE  SCOPE  SCOPE
reset a password         | SCOPE  SCOPE  SCOPE  SCOPE
make a service account   | SCOPE  SCOPE  SCOPE  SCOPE
list service accounts    | no     no     no     no
revoke a service account | SCOPE  SCOPE  SCOPE  SCOPE
list dead letters        | no     no     no     no
replay a dead letter     | SCOPE  SCOPE  SCOPE  SCOPE
"""
CODES = {"-": "NOT_FOUND", "out": "UNAUTHENTICATED", "no": "FORBIDDEN", "taken": "CONFLICT"}
LEVELS = {"VIEW": "VIEW", "CONTR": "CONTRIBUTE", "MANAGE": "MANAGE"}
SCOPES = {
    "READ": "IMAGES_READ",
    "WRITE": "IMAGES_WRITE",
    "BEAT": "DEVICES_HEARTBEAT",
    "RESULTS": "RESULTS_READ",
}
"""What a machine holds; the one that may upload has been let into the dataset."""

ASKED = {
    "own profile": "{ me { id } }",
    "change own name": 'mutation { updateProfile(input: {username: "$new"}) @said }',
    "change own password": (
        'mutation { changePassword(input: {currentPassword: "$password", newPassword: "$password"}) @said }'
    ),
    "create a dataset": 'mutation { createDataset(input: {name: "new"}) @said }',
    "see the dataset": '{ dataset(id: "$dataset") { id } }',
    "see a picture": '{ image(id: "$image") { id } }',
    "see a run": '{ classification(id: "$ended") { id } }',
    "see a result": '{ classificationResult(id: "$result") { id } }',
    "see anything by its id": '{ node(id: "$image") { id } }',
    "upload pictures": (
        'mutation ($files: [Upload!]!) { uploadImages(input: {datasetId: "$dataset", files: $files}) @said }'
    ),
    "edit a picture": 'mutation { updateImage(input: {id: "$image", filename: "new"}) @said }',
    "delete pictures": 'mutation { deleteImages(ids: ["$image"]) @said }',
    "edit the dataset": 'mutation { updateDataset(input: {id: "$dataset", name: "new"}) @said }',
    "share the dataset": (
        'mutation { shareDataset(input: {datasetId: "$dataset", to: {userId: "$other"}, level: VIEW}) @said }'
    ),
    "take the owner's grant": 'mutation { revokeDatasetGrant(id: "$owners") @said }',
    "take another's grant": 'mutation { revokeDatasetGrant(id: "$grant") @said }',
    "hand the dataset over": (
        'mutation { transferDataset(input: {id: "$dataset", to: {userId: "$other"}}) @said }'
    ),
    "delete the dataset": 'mutation { deleteDataset(id: "$dataset") @said }',
    "run a model": 'mutation { runClassification(input: {target: {datasetId: "$dataset"}}) @said }',
    "cancel another's run": 'mutation { cancelClassification(id: "$open") @said }',
    "cancel one's own run": 'mutation { cancelClassification(id: "$own_open") @said }',
    "retry a run": 'mutation { retryClassification(id: "$ended") @said }',
    "delete another's run": 'mutation { deleteClassification(id: "$ended") @said }',
    "delete one's own run": 'mutation { deleteClassification(id: "$own_ended") @said }',
    "see the devices": "{ devices { totalCount } }",
    "create a device": 'mutation { createDevice(input: {name: "$new", deviceType: "microscope"}) @said }',
    "edit a device": 'mutation { updateDevice(input: {id: "$device", location: "here"}) @said }',
    "retire a device": 'mutation { retireDevice(id: "$device") @said }',
    "send a heartbeat": 'mutation { deviceHeartbeat(input: {deviceId: "$device"}) @said }',
    "change a role": 'mutation { updateUser(input: {id: "$other", role: ANALYST}) @said }',
    "make an account": (
        'mutation { createUser(input: {email: "$new@lab.example", username: "$new"}) @said }'
    ),
    "reset a password": 'mutation { resetPassword(userId: "$other") @said }',
    "make a service account": (
        'mutation { createServiceAccount(input: {name: "$new", scopes: [IMAGES_READ]}) @said }'
    ),
    "list service accounts": "{ serviceAccounts { totalCount } }",
    "revoke a service account": 'mutation { revokeServiceAccount(id: "$machine") @said }',
    "list dead letters": "{ deadLetters { totalCount } }",
    "replay a dead letter": 'mutation { replayDeadLetter(id: "$letter") @said }',
}
SAID = "{ __typename ... on Problem { code message } }"


@dataclass(frozen=True)
class Column:
    """Who asks: a role, and what they hold in the dataset."""

    role: str
    holds: str

    @property
    def name(self) -> str:
        return f"{self.role} {self.holds}".strip()

    @property
    def is_machine(self) -> bool:
        return self.role == "machine"


def read(table: str) -> tuple[list[Column], dict[str, list[str]]]:
    """The columns, and the words of each row."""
    first, second, *rows = (line.split("|") for line in table.strip("\n").splitlines())
    columns = [
        Column(role.strip(), holds)
        for role, held in zip(first[1:], second[1:], strict=True)
        for holds in held.split() or [""]
    ]
    return columns, {name.strip(): " ".join(words).split() for name, *words in rows}


PEOPLE, OF_PEOPLE = read(TABLE)
MACHINE, OF_MACHINES = read(MACHINES)
COLUMNS = [*PEOPLE, *MACHINE]
ROWS = {name: [*words, *OF_MACHINES[name]] for name, words in OF_PEOPLE.items()}


def test_every_row_says_a_word_for_everybody_and_how_it_is_asked() -> None:
    assert set(ROWS) == set(ASKED)
    assert {len(words) for words in ROWS.values()} == {len(COLUMNS)} == {16}


def scopes_of(column: Column) -> list[str]:
    return [SCOPES[column.holds]] if column.holds in SCOPES else []


@pytest.mark.parametrize("row", ROWS)
async def test_everybody_may_do_what_the_table_says_and_a_refusal_changes_nothing(lab: Lab, row: str) -> None:
    landlord, other = await lab.a_user(), await lab.a_user()
    people = {
        "USER": await lab.a_user(), "ANALYST": await lab.an_analyst(), "ADMIN": await lab.an_admin(),
        "anon": lab.nobody,
    }  # fmt: skip
    machines = {
        column.holds: await a_machine(lab, *scopes_of(column)) for column in COLUMNS if column.is_machine
    }
    told, meant = {}, {}
    for column, word in zip(COLUMNS, ROWS[row], strict=True):
        person = machines[column.holds] if column.is_machine else people[column.role]
        ids = await a_case(lab, landlord, other, person, column.holds)
        # What an allowed deletion before left behind is removed meanwhile.
        await lab.until("select count(*) = 0 from object_deletions")
        before = await lab.dump()
        told[column.name] = await outcome(person, row, ids)
        meant[column.name] = CODES.get(word, word)
        if told[column.name] != "ok":
            assert await lab.dump() == before, column

    assert told == meant


async def outcome(person: Person, row: str, ids: Mapping[str, str]) -> str:
    """`ok`, or the code of what was said instead; null is as good as NOT_FOUND."""
    query = ASKED[row].replace("@said", SAID)
    for name in sorted(ids, key=len, reverse=True):
        query = query.replace(f"${name}", ids[name])
    try:
        if "$files" in query:
            response = await person.post_files(query, [("a.png", a_picture(uuid7().int % 60_000))])
            body = response.json()
            if body.get("errors"):
                raise Refused(response.status_code, body["errors"])
            [answer] = body["data"].values()
        else:
            answer = await person.ask(query)
    except Refused as refused:
        [code] = refused.codes
        return code
    return "NOT_FOUND" if answer is None else answer.get("code", "ok")


async def a_case(lab: Lab, landlord: Person, other: Person, person: Person, holds: str) -> dict[str, str]:
    """A dataset in which the person holds what the column says, with a picture, runs, a result and a guest;
    a device, a machine and a dead letter. The ids of all, and a word that is new each time."""
    names = ("dataset", "result", "device", "machine", "letter", "grant", "model")
    new = {name: uuid7() for name in names}
    runs = {"ended": landlord, "open": landlord, "own_ended": person, "own_open": person}
    made = {name: uuid7() for name in runs}
    owner = person if holds == "owner" else landlord
    db, dataset = lab.db, new["dataset"]
    await db.execute(
        "insert into datasets (id, name, owner) values ($1, 'case', $2)", dataset, UUID(owner.id)
    )
    await db.execute(
        'insert into dataset_grants (id, dataset, "user", level) values ($1, $2, $3, $4)',
        new["grant"], dataset, UUID(other.id), "VIEW",
    )  # fmt: skip
    if (level := LEVELS.get(holds)) is not None:
        await lab.grant(str(dataset), person, level)
    if isinstance(person, Machine) and holds == "WRITE":
        await grant_to(lab, str(dataset), person, "CONTRIBUTE")
    [image] = await lab.pictures(str(dataset), landlord.id, 1)
    model = await db.value(
        "insert into models (id, name, version) values ($1, 'teller', '1')"
        " on conflict (name, version) do update set version = excluded.version returning id", new["model"],
    )  # fmt: skip
    for name, maker in runs.items():
        is_open, item = name.endswith("open"), uuid7()
        await db.execute(
            "insert into classifications (id, dataset, model, model_name, model_version, total, queued,"
            " failed, created_by, finished_at) values ($1, $2, $3, 'teller', '1', 1, $4::int, 1 - $4, $5,"
            " case $4 when 0 then now() end)",
            made[name], dataset, model, int(is_open),
            None if isinstance(maker, Machine) or not maker.id else UUID(maker.id),
        )  # fmt: skip
        await db.execute(
            "insert into classification_items (id, classification, image, model, status, error_code,"
            " finished_at) values ($1, $2, $3, $4, $5::text, case $5 when 'FAILED' then 'BROKEN' end,"
            " case $5 when 'FAILED' then now() end)",
            item, made[name], UUID(image), model, "QUEUED" if is_open else "FAILED",
        )  # fmt: skip
    await db.execute(
        "insert into classification_results (id, item, classification, image, dataset, label, confidence,"
        " scores, model_name, model_version) select $1, id, classification, image, $2, 'dark', 0.5, '[]',"
        " 'teller', '1' from classification_items where classification = $3", new["result"], dataset,
        made["ended"],
    )  # fmt: skip
    await db.execute(
        "insert into devices (id, name, name_key, device_type)"
        " values ($1::uuid, $1::uuid::text, $1::uuid::text, 'microscope')", new["device"],
    )  # fmt: skip
    await db.execute(
        "insert into service_accounts (id, name, client_id, hashed_secret, scopes)"
        " values ($1::uuid, $1::uuid::text, $1::uuid::text, 'x', '{}')", new["machine"],
    )  # fmt: skip
    result = {
        "image_id": image, "classification_id": str(made["open"]), "label": "dark", "confidence": 0.5,
        "model_name": "teller",
    }  # fmt: skip
    await db.execute(
        'insert into dead_letters (id, topic, partition, "offset", reason, payload)'
        " select $1, 'results', 0, count(*), 'UNREADABLE', $2 from dead_letters",
        new["letter"], json.dumps(result),
    )  # fmt: skip
    owners = await db.value(
        'select id from dataset_grants where dataset = $1 and "user" = $2', dataset, UUID(owner.id)
    )
    ids = {name: str(id) for name, id in {**new, **made, "owners": owners}.items()}
    return {
        **ids, "image": image, "other": other.id, "new": f"n{uuid7().hex}", "password": PASSWORD,
    }  # fmt: skip
