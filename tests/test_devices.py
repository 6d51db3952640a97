"""Devices: made, changed, heard from, retired; and the pictures that came from them."""

import asyncio
from typing import Any

import pytest

from tests.lab import Lab, Person, a_picture
from tests.lab_machines import a_machine, grant_to

FIELDS = "id name deviceType location metadata status lastSeenAt createdAt"
ANSWER = f"""
  __typename
  ... on Device {{ {FIELDS} }}
  ... on Problem {{ code message }}
  ... on InvalidInput {{ fields {{ code path }} }}
  ... on NotFound {{ ids }}
"""
CREATE = f"mutation ($input: CreateDeviceInput!) {{ createDevice(input: $input) {{ {ANSWER} }} }}"
UPDATE = f"mutation ($input: UpdateDeviceInput!) {{ updateDevice(input: $input) {{ {ANSWER} }} }}"
RETIRE = f"mutation ($id: ID!) {{ retireDevice(id: $id) {{ {ANSWER} }} }}"
BEAT = f"mutation ($input: DeviceHeartbeatInput!) {{ deviceHeartbeat(input: $input) {{ {ANSWER} }} }}"
ONE = f"query ($id: ID!) {{ device(id: $id) {{ {FIELDS} }} }}"
LIST = """
query ($first: Int, $after: String, $filter: DeviceFilter, $orderBy: DeviceOrder) {
  devices(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {
    totalCount nodes { name } pageInfo { hasNextPage endCursor } } }
"""
UPLOAD = """
mutation ($dataset: ID!, $device: ID, $files: [Upload!]!) {
  uploadImages(input: {datasetId: $dataset, deviceId: $device, files: $files}) {
    __typename
    ... on UploadReport { files { ... on UploadedImage {
      image { id device { id name } uploadedBy { __typename id name } dataset { id name } } } } }
    ... on Problem { code }
    ... on NotFound { ids }
  }
}
"""


async def a_device(admin: Person, name: str = "Axio 1", **more: Any) -> Any:
    made = await admin.ask(CREATE, input={"name": name, "deviceType": "brightfield", **more})
    assert made["__typename"] == "Device", made
    return made


async def names(person: Person, **asked: Any) -> list[str]:
    return [node["name"] for node in (await person.ask(LIST, **asked))["nodes"]]


async def test_a_device_is_seen_by_everybody_who_signed_in(lab: Lab) -> None:
    admin, ada = await lab.an_admin(), await lab.a_user()
    made = await a_device(admin, " Axio 1 ", location="Room 3", metadata={"lens": "40x"})
    found = await ada.ask(ONE, id=made["id"])

    assert {"__typename": "Device", **found} == made
    assert (found["name"], found["deviceType"], found["location"]) == ("Axio 1", "brightfield", "Room 3")
    assert (found["status"], found["lastSeenAt"], found["metadata"]) == ("OFFLINE", None, {"lens": "40x"})
    assert await names(ada) == ["Axio 1"]
    assert await ada.ask(ONE, id="nonsense") is None
    assert (await lab.nobody.send(ONE, id=made["id"])).json()["errors"][0]["extensions"][
        "reason"
    ] == "MISSING"


async def test_what_was_sent_of_a_device_changes_and_the_rest_stays(lab: Lab) -> None:
    admin = await lab.an_admin()
    made = await a_device(admin, location="Room 3", metadata={"lens": "40x", "a": 1})
    changed = await admin.ask(UPDATE, input={"id": made["id"], "metadata": {"lens": "63x"}})
    cleared = await admin.ask(UPDATE, input={"id": made["id"], "location": None, "name": "Axio 2"})

    assert changed == {**made, "metadata": {"lens": "63x"}}
    assert cleared == {**changed, "location": None, "name": "Axio 2"}
    assert await names(admin, filter={"search": "AXIO 2"}) == ["Axio 2"]


@pytest.mark.parametrize("who", ["a_user", "an_analyst"])
async def test_only_admins_write_devices(lab: Lab, who: str) -> None:
    admin, person = await lab.an_admin(), await getattr(lab, who)()
    id = (await a_device(admin))["id"]
    before = await lab.dump()
    answers = [
        await person.ask(CREATE, input={"name": "mine", "deviceType": "x"}),
        await person.ask(UPDATE, input={"id": id, "name": "mine"}),
        await person.ask(RETIRE, id=id),
        await person.ask(BEAT, input={"deviceId": id}),
    ]

    assert [(each["__typename"], each["code"]) for each in answers] == [("Forbidden", "ROLE")] * 4
    assert await lab.dump() == before


async def test_a_name_is_given_once_whatever_its_case(lab: Lab) -> None:
    admin = await lab.an_admin()
    await a_device(admin)
    second = await a_device(admin, "Axio 2")
    before = await lab.dump()
    again = await admin.ask(CREATE, input={"name": "AXIO \uff11", "deviceType": "x"})
    renamed = await admin.ask(UPDATE, input={"id": second["id"], "name": "axio 1"})

    assert [(e["__typename"], e["code"]) for e in (again, renamed)] == [("Conflict", "DEVICE_NAME_TAKEN")] * 2
    assert await lab.dump() == before


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels - 1):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    ("given", "code", "path"),
    [
        ({"name": ""}, "TOO_SHORT", ["name"]),
        ({"name": "x" * 201}, "TOO_LONG", ["name"]),
        ({"name": "\ufdfa" * 100}, "TOO_LONG", ["name"]),
        ({"deviceType": "x" * 101}, "TOO_LONG", ["deviceType"]),
        ({"deviceType": " "}, "TOO_SHORT", ["deviceType"]),
        ({"location": "x" * 201}, "TOO_LONG", ["location"]),
        ({"location": "a\nb"}, "FORBIDDEN_CHARACTERS", ["location"]),
        ({"metadata": [1]}, "OUT_OF_RANGE", ["metadata"]),
        ({"metadata": {"a": "x" * 16_400}}, "TOO_LONG", ["metadata"]),
        ({"metadata": nested(9)}, "OUT_OF_RANGE", ["metadata"]),
        ({"metadata": {"a": "\u0000"}}, "FORBIDDEN_CHARACTERS", ["metadata"]),
    ],
)
async def test_a_device_that_can_not_be_is_refused(
    lab: Lab, given: dict[str, Any], code: str, path: list[str]
) -> None:
    admin = await lab.an_admin()
    id = (await a_device(admin, metadata=nested(8)))["id"]
    before = await lab.dump()
    made = await admin.ask(CREATE, input={"name": "new", "deviceType": "x", **given})
    changed = await admin.ask(UPDATE, input={"id": id, **given})

    for each in (made, changed):
        assert (each["__typename"], each["fields"]) == ("InvalidInput", [{"code": code, "path": path}])
    assert await lab.dump() == before


@pytest.mark.parametrize("field", ["name", "deviceType", "metadata"])
async def test_what_a_device_must_have_can_not_be_cleared(lab: Lab, field: str) -> None:
    admin = await lab.an_admin()
    id = (await a_device(admin))["id"]
    changed = await admin.ask(UPDATE, input={"id": id, field: None})

    assert changed["fields"] == [{"code": "NULL", "path": [field]}]


async def test_devices_that_are_not_there_are_not_found(lab: Lab) -> None:
    admin = await lab.an_admin()
    for id in ("nonsense", "00000000-0000-7000-8000-000000000000"):
        answers = [
            await admin.ask(UPDATE, input={"id": id, "name": "x"}),
            await admin.ask(RETIRE, id=id),
            await admin.ask(BEAT, input={"deviceId": id}),
        ]
        assert [(each["__typename"], each["ids"]) for each in answers] == [("NotFound", [id])] * 3


async def test_a_heartbeat_makes_a_device_online_and_merges_what_it_says(lab: Lab) -> None:
    admin = await lab.an_admin()
    box = await a_machine(lab, "DEVICES_HEARTBEAT", admin=admin)
    id = (await a_device(admin, metadata={"lens": "40x"}))["id"]
    first = await box.ask(BEAT, input={"deviceId": id, "metadata": {"lamp": 3, "firmware": "1.0"}})
    second = await box.ask(BEAT, input={"deviceId": id, "metadata": {"lamp": 4}})
    silent = await box.ask(BEAT, input={"deviceId": id})
    by_admin = await admin.ask(BEAT, input={"deviceId": id})

    assert first["metadata"] == {"lens": "40x", "heartbeat": {"lamp": 3, "firmware": "1.0"}}
    assert second["metadata"] == {"lens": "40x", "heartbeat": {"lamp": 4, "firmware": "1.0"}}
    assert silent["metadata"] == by_admin["metadata"] == second["metadata"]
    assert [each["status"] for each in (first, second, silent, by_admin)] == ["ONLINE"] * 4
    assert first["lastSeenAt"] < second["lastSeenAt"] < silent["lastSeenAt"] < by_admin["lastSeenAt"]

    await lab.db.execute("update devices set last_seen_at = clock_timestamp() - interval '61 seconds'")
    assert (await admin.ask(ONE, id=id))["status"] == "OFFLINE"


async def test_heartbeats_that_come_at_once_all_leave_their_mark(lab: Lab) -> None:
    admin = await lab.an_admin()
    id = (await a_device(admin))["id"]
    said = [{f"part{number}": number} for number in range(8)]
    await asyncio.gather(*(admin.ask(BEAT, input={"deviceId": id, "metadata": each}) for each in said))
    heard = (await admin.ask(ONE, id=id))["metadata"]["heartbeat"]

    assert heard == {f"part{number}": number for number in range(8)}


async def test_a_heartbeat_fits_into_the_bounds_of_metadata_or_changes_nothing(lab: Lab) -> None:
    admin = await lab.an_admin()
    id = (await a_device(admin, metadata={"a": "x" * 10_000, "heartbeat": "by hand"}))["id"]
    before = await lab.dump()
    for said, code in (
        ({"b": "x" * 7_000}, "TOO_LONG"),
        (nested(8), "OUT_OF_RANGE"),
        ("alive", "OUT_OF_RANGE"),
    ):
        answer = await admin.ask(BEAT, input={"deviceId": id, "metadata": said})
        assert answer["fields"] == [{"code": code, "path": ["metadata"]}]
    assert await lab.dump() == before

    heard = await admin.ask(BEAT, input={"deviceId": id, "metadata": nested(7)})
    assert heard["metadata"]["heartbeat"] == nested(7)


async def test_devices_are_filtered_ordered_and_paged(lab: Lab) -> None:
    admin = await lab.an_admin()
    ids = {}
    for name, location in (("Béta", "Room 1"), ("alpha", "Room 2"), ("gamma", None)):
        ids[name] = (await a_device(admin, name, location=location))["id"]
    await admin.ask(BEAT, input={"deviceId": ids["alpha"]})
    await admin.ask(RETIRE, id=ids["gamma"])
    await admin.ask(UPDATE, input={"id": ids["alpha"], "deviceType": "fluorescence"})
    page = await admin.ask(LIST, first=2)
    rest = await admin.ask(LIST, first=2, after=page["pageInfo"]["endCursor"])

    assert [node["name"] for node in page["nodes"] + rest["nodes"]] == ["gamma", "alpha", "Béta"]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (
        3, True, False,
    )  # fmt: skip
    by_name = await names(admin, orderBy={"field": "NAME", "direction": "ASC"})
    assert sorted(by_name) == sorted(ids)
    assert by_name == list(reversed(await names(admin, orderBy={"field": "NAME"})))
    for wanted, found in (
        ({"status": "ONLINE"}, ["alpha"]),
        ({"status": "OFFLINE"}, ["Béta"]),
        ({"status": "RETIRED"}, ["gamma"]),
        ({"search": "beta"}, ["Béta"]),
        ({"search": "room 2"}, ["alpha"]),
        ({"location": "Room 1"}, ["Béta"]),
        ({"deviceType": "fluorescence"}, ["alpha"]),
        ({"deviceType": "brightfield", "status": "ONLINE"}, []),
        ({"search": "%"}, []),
    ):
        assert await names(admin, filter=wanted) == found, wanted


async def test_the_pictures_of_a_device_stay_when_it_retires(lab: Lab) -> None:
    admin, ada, eve = await lab.an_admin(), await lab.a_user(), await lab.a_user()
    device = await a_device(admin)
    dataset = await ada.a_dataset()
    sent = await ada.post_files(UPLOAD, [("a.png", a_picture())], dataset=dataset, device=device["id"])
    image = sent.json()["data"]["uploadImages"]["files"][0]["image"]
    retired = await admin.ask(RETIRE, id=device["id"])
    again = await admin.ask(RETIRE, id=device["id"])
    beaten = await admin.ask(BEAT, input={"deviceId": device["id"]})
    query = "query ($id: ID!) { device(id: $id) { status images { totalCount nodes { id } } } }"

    assert image["device"] == {"id": device["id"], "name": "Axio 1"}
    assert image["uploadedBy"] == {"__typename": "User", "id": ada.id, "name": ada.username}
    assert retired == again
    assert beaten["status"] == "RETIRED"
    assert await ada.ask(query, id=device["id"]) == {
        "status": "RETIRED", "images": {"totalCount": 1, "nodes": [{"id": image["id"]}]},
    }  # fmt: skip
    assert (await eve.ask(query, id=device["id"]))["images"] == {"totalCount": 0, "nodes": []}


async def test_an_upload_may_name_a_device_and_none_that_is_not_there(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    answer = await ada.post_files(UPLOAD, [("a.png", a_picture())], dataset=dataset, device="nonsense")

    assert answer.json()["data"]["uploadImages"] == {
        "__typename": "NotFound", "code": "NOT_FOUND", "ids": ["nonsense"],
    }  # fmt: skip
    assert await lab.count("images") == 0


async def test_a_microscope_uploads_by_an_account_of_its_own(lab: Lab) -> None:
    admin, ada = await lab.an_admin(), await lab.a_user()
    device, dataset = await a_device(admin), await ada.a_dataset()
    box = await a_machine(lab, "IMAGES_WRITE", admin=admin)
    await grant_to(lab, dataset, box, "CONTRIBUTE")
    sent = await box.post_files(UPLOAD, [("a.png", a_picture())], dataset=dataset, device=device["id"])
    image = sent.json()["data"]["uploadImages"]["files"][0]["image"]
    by_box = "query ($id: ID!) { images(filter: {uploadedById: $id}) { nodes { id uploadedBy { name } } } }"

    assert image["uploadedBy"] == {"__typename": "ServiceAccount", "id": box.id, "name": box.username}
    assert image["dataset"] == {"id": dataset, "name": "smears"}
    assert await ada.ask(by_box, id=box.id) == {
        "nodes": [{"id": image["id"], "uploadedBy": {"name": box.username}}]
    }
    assert await ada.ask(by_box, id=ada.id) == {"nodes": []}
