"""Pictures: what becomes of every file that is sent, and the links that lead to its bytes."""

import asyncio
import hashlib
import json
from typing import Any

import pytest
from PIL import Image

from bioscope_gql.vocabulary import uuid7
from tests.lab import Lab, Person, Place, Refused, a_lab, a_picture
from tests.lab_documents import UPLOAD
from tests.pictures import saved

JPEG, PNG, TIFF = (saved(Image.new("RGB", (20, 10), (90, 20, 9)), kind) for kind in ("JPEG", "PNG", "TIFF"))
BROKEN = a_picture(77)[:60]
METADATA = (
    "query ($id: ID!) { image(id: $id) { metadata filename fileSize uploadedBy { id } dataset { id } } }"
)


def kinds(report: Any) -> list[str]:
    return [file.get("code", file["__typename"]) for file in report["files"]]


async def one(person: Person, name: str = "cell.png", data: bytes = PNG, **more: Any) -> Any:
    """A picture that was taken into a new dataset."""
    report = await person.upload(await person.a_dataset(), [(name, data)], **more)
    assert kinds(report) == ["UploadedImage"], report
    return report["files"][0]["image"]


async def refused(lab: Lab, person: Person, dataset: str, files: Any = None, **more: Any) -> Any:
    """What an upload answers, having stored nothing."""
    before = await lab.dump()
    answer = await person.upload(dataset, files or [("cell.png", PNG)], **more)
    assert await lab.dump() == before
    return answer


async def test_pictures_of_several_kinds_are_taken_in_the_order_sent(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    sent = [("c.jpg", JPEG), ("a.png", PNG), ("b.tif", TIFF)]
    report = await ada.upload(dataset, sent)

    assert report["dataset"] == {"id": dataset, "imageCount": 3}
    assert kinds(report) == ["UploadedImage"] * 3
    shown = [{key: value for key, value in file["image"].items() if key != "id"} for file in report["files"]]
    assert shown == [
        {
            "filename": name,
            "contentType": kind,
            "width": 20,
            "height": 10,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for (name, data), kind in zip(sent, ("image/jpeg", "image/png", "image/tiff"), strict=True)
    ]
    stored = [blob.key async for blob in lab.services.store.list("")]
    ids = sorted(file["image"]["id"] for file in report["files"])
    assert stored == [
        *(f"images/{dataset}/{id}" for id in ids),
        *(f"thumbnails/{dataset}/{id}/{size}.webp" for id in ids for size in ("large", "medium", "small")),
    ]


async def test_the_bytes_decide_what_a_file_is_not_its_name(lab: Lab) -> None:
    ada = await lab.a_user()
    image = await one(ada, "cell.jpg", PNG)
    assert (image["filename"], image["contentType"]) == ("cell.jpg", "image/png")


async def test_bytes_that_the_dataset_holds_are_not_kept_twice(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset, other = await ada.a_dataset(), await ada.a_dataset()
    first = await ada.upload(dataset, [("one.png", PNG), ("two.png", PNG), ("three.png", PNG)])
    before = await lab.dump()
    again = await ada.upload(dataset, [("new.png", PNG)])
    assert await lab.dump() == before
    elsewhere = await ada.upload(other, [("one.png", PNG)])

    id = first["files"][0]["image"]["id"]
    assert kinds(first) == ["UploadedImage", "DuplicateImage", "DuplicateImage"]
    assert [file["filename"] for file in first["files"]] == ["one.png", "two.png", "three.png"]
    assert [file["image"]["id"] for file in first["files"]] == [id] * 3
    assert (kinds(again), again["files"][0]["image"]["id"]) == (["DuplicateImage"], id)
    assert kinds(elsewhere) == ["UploadedImage"]
    assert elsewhere["files"][0]["image"]["id"] != id


async def test_of_the_same_bytes_sent_at_once_one_copy_is_kept(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    reports = await asyncio.gather(*(ada.upload(dataset, [(f"{n}.png", PNG)]) for n in range(4)))

    assert sorted(kind for each in reports for kind in kinds(each)) == [
        *["DuplicateImage"] * 3,
        "UploadedImage",
    ]
    assert len({each["files"][0]["image"]["id"] for each in reports}) == 1
    assert await lab.count("images") == 1
    await lab.until("select count(*) = 0 from object_deletions")  # the others' bytes go right after
    assert len([blob async for blob in lab.services.store.list("")]) == 4


async def test_a_bad_file_does_not_concern_its_neighbours(lab: Lab) -> None:
    ada = await lab.a_user()
    files = [
        ("a.png", PNG), ("broken.png", BROKEN), ("empty.png", b""),
        ("page.html", b"<html><script>x</script>"),
        ("b.png", a_picture(1)), ("also empty.png", b""),
    ]  # fmt: skip
    report = await ada.upload(await ada.a_dataset(), files)

    assert kinds(report) == [
        "UploadedImage", "CORRUPT", "EMPTY", "UNSUPPORTED_FORMAT", "UploadedImage", "EMPTY",
    ]  # fmt: skip
    assert [file["filename"] for file in report["files"]] == [name for name, _ in files]
    assert all(file["message"].endswith(".") for file in report["files"] if "message" in file)
    assert report["dataset"]["imageCount"] == await lab.count("images") == 2
    assert len([blob async for blob in lab.services.store.list("")]) == 8


async def test_a_file_over_the_limit_is_told_so_and_the_others_are_taken(place: Place) -> None:
    limits = {"file_bytes": 2000, "tiled_file_bytes": 3000, "pixels": 1000}
    async with a_lab(place, place.settings(limits=limits)) as lab:
        ada = await lab.a_user()
        files = [
            ("large.png", PNG + b"x" * 2000), ("fits.png", PNG), ("large.tif", TIFF + b"x" * 3000),
            ("large.png", PNG + b"x" * 2000), ("wide.png", a_picture(1, (40, 30))),
        ]  # fmt: skip
        report = await ada.upload(await ada.a_dataset(), files)

        assert kinds(report) == ["TOO_LARGE", "UploadedImage", "TOO_LARGE", "TOO_LARGE", "TOO_MANY_PIXELS"]
        assert await lab.count("images") == 1


async def test_a_request_over_the_limit_is_refused_and_nothing_of_it_kept(place: Place) -> None:
    async with a_lab(place, place.settings(limits={"upload_request_bytes": 4000})) as lab:
        ada = await lab.a_user()
        dataset = await ada.a_dataset()
        before = await lab.dump()
        answer = await ada.post_files(UPLOAD, [("a.png", PNG), ("b.png", b"x" * 4000)], dataset=dataset)

        assert (answer.status_code, "data" in answer.json()) == (413, False)
        assert await lab.dump() == before
        assert list((place.folder / "spool").glob("*")) == []


async def test_a_request_with_more_files_than_allowed_is_refused(place: Place) -> None:
    async with a_lab(place, place.settings(limits={"upload_files": 2})) as lab:
        ada = await lab.a_user()
        dataset = await ada.a_dataset()
        before = await lab.dump()
        answer = await ada.post_files(UPLOAD, [(f"{n}.png", a_picture(n)) for n in range(3)], dataset=dataset)

        assert answer.status_code == 400
        assert await lab.dump() == before


async def test_without_a_token_an_upload_is_refused_before_its_body_is_read(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    before = await lab.dump()
    answer = await lab.nobody.post_files(UPLOAD, [("a.png", PNG)], dataset=dataset)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]) == (
        401,
        {"code": "UNAUTHENTICATED", "reason": "MISSING"},
    )
    # Of this body only the head is sent; the answer comes all the same.
    reader, writer = await asyncio.open_connection("127.0.0.1", int(lab.url.rpartition(":")[2]))
    writer.write(
        b"POST /graphql HTTP/1.1\r\nHost: lab\r\nContent-Length: 1000000\r\nGraphQL-Require-Preflight: 1\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    await writer.wait_closed()
    assert await lab.dump() == before


async def test_without_the_preflight_header_an_upload_is_refused(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    before = await lab.dump()
    operations = json.dumps({"query": UPLOAD, "variables": {"dataset": dataset, "files": [None]}})
    answer = await lab.http.post(
        "/graphql",
        data={"operations": operations, "map": json.dumps({"0": ["variables.files.0"]})},
        files=[("0", ("a.png", PNG))],
        headers=ada.headers,
    )

    assert answer.status_code == 400
    assert "GraphQL-Require-Preflight" in answer.json()["errors"][0]["message"]
    assert await lab.dump() == before


async def test_metadata_is_kept_as_it_was_sent(lab: Lab) -> None:
    ada = await lab.a_user()
    metadata = {
        "stain": "Giemsa №1 👩‍🔬", "n": [1, 2.5, None, True], "escaped": "\\u0000", "": {"deep": [{}]},
    }  # fmt: skip
    image = await one(ada, metadata=metadata)
    plain = await one(ada, metadata=None)
    found = await ada.ask(METADATA, id=image["id"])

    assert found["metadata"] == metadata
    assert (found["fileSize"], found["uploadedBy"]["id"]) == (len(PNG), ada.id)
    assert (await ada.ask(METADATA, id=plain["id"]))["metadata"] == {}


async def test_metadata_is_an_object_within_bounds(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    nested: Any = "leaf"
    for _ in range(8):
        nested = {"a": nested}
    fitting = {"a": "x" * (16 * 1024 - 8)}
    impossible: list[tuple[Any, str]] = [
        ([], "OUT_OF_RANGE"), ("text", "OUT_OF_RANGE"), (5, "OUT_OF_RANGE"),
        ({"a": nested}, "OUT_OF_RANGE"), ({"a": "x" * (16 * 1024 - 7)}, "TOO_LONG"),
        ({"a": "ы" * 8200}, "TOO_LONG"), ({"a": ["b\0"]}, "FORBIDDEN_CHARACTERS"),
        ({"a\0": 1}, "FORBIDDEN_CHARACTERS"),
    ]  # fmt: skip
    told = []
    for metadata, _ in impossible:
        answer = await refused(lab, ada, dataset, metadata=metadata)
        assert answer["__typename"] == "InvalidInput", metadata
        told.append((metadata, answer["fields"][0]["code"]))
        assert answer["fields"][0]["path"] == ["metadata"]

    assert told == impossible
    for number, metadata in enumerate((fitting, nested)):
        report = await ada.upload(dataset, [("a.png", a_picture(number))], metadata=metadata)
        assert (await ada.ask(METADATA, id=report["files"][0]["image"]["id"]))["metadata"] == metadata


async def test_numbers_that_json_can_not_hold_are_no_metadata(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    before = await lab.dump()
    for number, code in (
        ("1e400", "OUT_OF_RANGE"),
        ("123456789012345678901234567890", "FORBIDDEN_CHARACTERS"),
    ):
        query = UPLOAD.replace(", $metadata: JSON", "").replace("$metadata", f"{{a: {number}}}")
        answer = (await ada.post_files(query, [("a.png", PNG)], dataset=dataset)).json()["data"][
            "uploadImages"
        ]
        assert (answer["__typename"], answer["fields"][0]["code"]) == ("InvalidInput", code)
    assert await lab.dump() == before


async def test_file_names_are_cleaned_and_never_refused(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    names = {
        "../../etc/passwd": "passwd",
        "C:\\scope\\cell 1.png": "cell 1.png",
        "/": "unnamed",
        "..": "unnamed",
        "血液涂片.png": "血液涂片.png",
        "🔬 👩‍🔬.png": "🔬 👩‍🔬.png",
        "exe\u202egnp.png": "exegnp.png",
        "x" * 5000 + ".png": "x" * 251 + ".png",
        "y" * 5000: "y" * 255,
        "z." + "long" * 300: ("z." + "long" * 300)[:255],
        "it's (1) & co.png": "it's (1) & co.png",
        "próbka krwi №1 [ß].jpg": "próbka krwi №1 [ß].jpg",
    }
    report = await ada.upload(dataset, [(name, a_picture(n)) for n, name in enumerate(names)])

    assert [file["filename"] for file in report["files"]] == list(names.values())
    assert [file["image"]["filename"] for file in report["files"]] == list(names.values())
    assert [len(each["filename"]) <= 255 for each in report["files"]] == [True] * len(names)
    found = await ada.ask('{ images(filter: {search: "PROBKA"}) { nodes { filename } } }')
    assert found["nodes"] == [{"filename": "próbka krwi №1 [ß].jpg"}]


async def test_while_the_store_is_away_nothing_is_recorded_and_each_file_told_so(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    folder = lab.services.settings.s3.directory
    assert folder is not None
    aside = folder.rename(folder.with_name("aside"))
    folder.write_bytes(b"where the folder was")
    report = await ada.upload(dataset, [("a.png", PNG), ("empty.png", b""), ("b.png", a_picture(1))])

    assert kinds(report) == ["STORAGE_UNAVAILABLE", "EMPTY", "STORAGE_UNAVAILABLE"]
    assert report["files"][0]["message"].startswith("The picture store does not answer")
    assert await lab.count("images") == 0
    folder.unlink()
    aside.rename(folder)
    assert kinds(await ada.upload(dataset, [("a.png", PNG)])) == ["UploadedImage"]


async def test_an_upload_needs_a_dataset_that_one_may_fill(lab: Lab) -> None:
    ada, bob = await lab.a_user(), await lab.a_user()
    dataset = await ada.a_dataset()
    for id in (dataset, str(uuid7()), "none", "\0"):
        answer = await refused(lab, bob, id)
        assert (answer["__typename"], answer["ids"]) == ("NotFound", [id])

    await lab.grant(dataset, bob, "VIEW")
    answer = await refused(lab, bob, dataset)
    assert (answer["__typename"], answer["code"]) == ("Forbidden", "ACCESS")

    await lab.grant(dataset, bob, "CONTRIBUTE")
    report = await bob.upload(dataset, [("cell.png", PNG)])
    assert kinds(report) == ["UploadedImage"]
    found = await ada.ask(METADATA, id=report["files"][0]["image"]["id"])
    assert found["uploadedBy"] == {"id": bob.id}


async def test_an_upload_without_files_or_with_an_unknown_device_is_refused(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    before = await lab.dump()
    none = await ada.ask(UPLOAD, dataset=dataset, files=[])
    assert (none["__typename"], none["fields"]) == ("InvalidInput", [{"code": "TOO_FEW", "path": ["files"]}])
    for device in (str(uuid7()), "none"):
        query = UPLOAD.replace("datasetId: $dataset", f'datasetId: $dataset, deviceId: "{device}"')
        answer = (await ada.post_files(query, [("a.png", PNG)], dataset=dataset)).json()["data"][
            "uploadImages"
        ]
        assert (answer["__typename"], answer["ids"]) == ("NotFound", [device])
    assert await lab.dump() == before


async def test_what_is_no_file_is_no_upload(lab: Lab) -> None:
    ada = await lab.a_user()
    dataset = await ada.a_dataset()
    before = await lab.dump()
    for files in (["text"], [None], [{"path": "/etc/passwd"}], "text"):
        with pytest.raises(Refused) as wrong:
            await ada.ask(UPLOAD, dataset=dataset, files=files)
        assert wrong.value.codes == ["BAD_USER_INPUT"]
    assert await lab.dump() == before


async def test_pictures_are_filtered_by_what_is_known_of_them(lab: Lab) -> None:
    ada, bob = await lab.a_user(), await lab.a_user()
    dataset, other = await ada.a_dataset(), await ada.a_dataset()
    await lab.grant(other, bob, "CONTRIBUTE")
    await ada.upload(dataset, [("Red Cell.png", PNG), ("blue.jpg", JPEG)])
    await bob.upload(other, [("50%_off.tif", TIFF)])
    await lab.db.execute("update images set created_at = '2026-01-02T03:04:05Z' where filename = 'blue.jpg'")
    await lab.db.execute("update images set captured_at = '2025-05-05T05:05:05Z' where filename = 'blue.jpg'")

    async def names(**filter: Any) -> list[str]:
        query = "query ($filter: ImageFilter) { images(filter: $filter) { nodes { filename } totalCount } }"
        found = await ada.ask(query, filter=filter)
        assert found["totalCount"] == len(found["nodes"])
        return sorted(node["filename"] for node in found["nodes"])

    everything = ["50%_off.tif", "Red Cell.png", "blue.jpg"]
    assert await names() == await names(search=None, datasetId=None, createdAfter=None) == everything
    assert await names(datasetId=dataset) == ["Red Cell.png", "blue.jpg"]
    assert await names(uploadedById=bob.id) == ["50%_off.tif"]
    assert await names(contentType="image/jpeg") == ["blue.jpg"]
    assert await names(search="d cel") == ["Red Cell.png"]
    assert await names(search="%_o") == ["50%_off.tif"]
    assert await names(createdBefore="2026-01-02T03:04:05Z") == []
    assert await names(createdBefore="2026-01-02T03:04:05.000001Z") == ["blue.jpg"]
    assert await names(createdAfter="2026-01-02T04:04:05+01:00", createdBefore="2026-01-03") == ["blue.jpg"]
    assert await names(capturedAfter="2025-05-05T05:05:05Z") == ["blue.jpg"]
    assert await names(capturedBefore="2025-05-05T05:05:05Z") == []
    assert await names(datasetId=other, contentType="image/png") == []
    for unknown in ("none", str(uuid7())):
        assert await names(datasetId=unknown) == await names(uploadedById=unknown) == []
        assert await names(deviceId=unknown) == await names(contentType=unknown + "\0") == []
    for time in ("yesterday", "", "0001-01-01T00:00:00+14:00", 5):
        with pytest.raises(Refused) as wrong:
            await names(createdAfter=time)
        assert wrong.value.codes == ["BAD_USER_INPUT"]
