"""What is done to datasets, machines and devices stands in the audit trail, with who did it and whence."""

from typing import Any

import orjson

from tests.lab import Lab
from tests.lab_machines import a_machine, token_for
from tests.test_devices import a_device
from tests.test_grants import REVOKE as TAKE_BACK
from tests.test_grants import grant_of, share, transfer
from tests.test_lifecycle import change, delete_images
from tests.test_results import begun


async def trail(lab: Lab) -> list[tuple[str, str, Any]]:
    """What was done to anything but accounts and their sessions: the action, its subject's kind, details."""
    rows = await lab.db.rows(
        "select action, subject_kind, details, request_id, address, actor from audit_events"
        " where subject_kind is distinct from 'user' and subject_kind is distinct from 'session'"
        " order by at, id"
    )
    assert all(row["request_id"] and row["address"] == "127.0.0.1" for row in rows)
    assert all(row["actor"] for row in rows if row["action"] != "login.refused")
    return [(row["action"], row["subject_kind"], orjson.loads(row["details"])) for row in rows]


async def test_sharing_taking_back_and_handing_over_are_told(lab: Lab) -> None:
    ada, ben = await lab.a_user(), await lab.a_user()
    dataset = await ada.a_dataset()
    await share(ada, dataset, "VIEW", userId=ben.id)
    await share(ben, dataset, "MANAGE", userId=ben.id)  # which is refused
    await ada.ask(TAKE_BACK, id=await grant_of(ada, ben, dataset))
    await transfer(ada, dataset, username=ben.username)
    assert await trail(lab) == [
        ("dataset.shared", "dataset", {"to": ben.id, "level": "VIEW"}),
        ("dataset.unshared", "dataset", {"from": ben.id}),
        ("dataset.transferred", "dataset", {"from": ada.id, "to": ben.id}),
    ]


async def test_deletions_are_told(lab: Lab) -> None:
    async with lab.a_worker() as worker:
        ada, run, [job, other] = await begun(lab, worker, 2)
        for each in (job, other):
            await worker.answer(each)
        await ada.finished(run)
    await change(ada, "delete", run)
    await delete_images(ada, job["imageId"])
    await ada.ask("mutation ($id: ID!) { deleteDataset(id: $id) { __typename } }", id=job["datasetId"])
    assert await trail(lab) == [
        ("run.deleted", "classification", {"dataset": job["datasetId"]}),
        ("images.deleted", "dataset", {"images": [job["imageId"]]}),
        ("dataset.deleted", "dataset", {"name": "smears", "owner": ada.id}),
    ]


async def test_a_machine_is_told_of_from_its_making_to_its_end_without_its_secret(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_READ")
    assert (await token_for(lab, machine.client_id, "wrong")).status_code == 401
    await machine.revoke()
    await machine.revoke()
    told = await trail(lab)
    assert told == [
        ("machine.created", "service_account", {"scopes": ["IMAGES_READ"], "expires_at": None}),
        ("machine.signed_in", "service_account", {}),
        ("login.refused", None, {}),
        ("machine.revoked", "service_account", {}),
    ]
    assert machine.secret not in str(await lab.db.rows("select e::text from audit_events e"))


async def test_what_becomes_of_a_device_is_told_once(lab: Lab) -> None:
    admin = await lab.an_admin()
    device = await a_device(admin)
    for _ in range(2):
        await admin.ask("mutation ($id: ID!) { retireDevice(id: $id) { __typename } }", id=device["id"])
    assert [action for action, _, _ in await trail(lab)] == ["device.created", "device.retired"]


async def test_too_many_tries_for_a_token_are_refused_for_a_while(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_READ")
    most = lab.services.settings.limits.logins_per_account
    for _ in range(most - 1):
        assert (await token_for(lab, machine.client_id, "wrong")).status_code == 401
    refused = await token_for(lab, machine.client_id, machine.secret)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"] == "temporarily_unavailable"
