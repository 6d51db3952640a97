"""What the smaller lists take: filters, orders and pages, each with exactly the rows that they name."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from bioscope_gql.vocabulary import uuid7
from tests.lab import Lab, Person
from tests.lab_machines import a_machine
from tests.test_paging import all_pages
from tests.verdicts import a_run, a_verdict

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
INFO = "pageInfo { hasNextPage endCursor }"


async def a_mixed_run(lab: Lab, ada: Person) -> tuple[str, list[str]]:
    """A run over five pictures: two succeeded, two failed for different reasons, one was cancelled."""
    dataset = await ada.a_dataset()
    images = await ada.images(dataset, 5)
    run = await a_run(lab, dataset)
    for number, image in enumerate(images[:2]):
        await a_verdict(lab, run, image, "dark", 0.5 + number / 4, START + timedelta(minutes=number))
    for image, status, code in zip(
        images[2:],
        ("FAILED", "FAILED", "CANCELLED"),
        ("CORRUPT_IMAGE", "STALLED", None),
        strict=True,
    ):
        await lab.db.execute(
            "insert into classification_items (id, classification, image, model, status, error_code,"
            " error_message) select $1, id, $2, model, $3, $4::text, $4 from classifications where id = $5",
            uuid7(), UUID(image), status, code, UUID(run),
        )  # fmt: skip
    return run, images


async def test_items_of_a_run_are_filtered_by_status_and_error_and_paged(lab: Lab) -> None:
    ada = await lab.an_analyst()
    run, images = await a_mixed_run(lab, ada)
    query = (
        "query ($id: ID!, $filter: ClassificationItemFilter, $after: String, $first: Int) {"
        " classification(id: $id) { items(filter: $filter, after: $after, first: $first) {"
        f" nodes {{ image {{ id }} status }} totalCount {INFO} }} }} }}"
    )

    async def images_of(**filter: Any) -> set[str]:
        [nodes] = await all_pages(ada, query, "items", id=run, filter=filter)
        return {node["image"]["id"] for node in nodes}

    assert await images_of(status=["SUCCEEDED"]) == set(images[:2])
    assert await images_of(status=["FAILED"]) == set(images[2:4])
    assert await images_of(status=["CANCELLED", "SUCCEEDED"]) == {*images[:2], images[4]}
    assert await images_of(status=["RUNNING"]) == set()
    assert await images_of(errorCode=["STALLED"]) == {images[3]}
    assert await images_of(errorCode=["STALLED", "CORRUPT_IMAGE"]) == set(images[2:4])
    assert await images_of(errorCode=["NO_SUCH"], status=["FAILED"]) == set()
    pages = await all_pages(ada, query, "items", id=run, first=2)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {node["image"]["id"] for page in pages for node in page} == set(images)
    failed = await all_pages(ada, query, "items", id=run, first=1, filter={"status": ["FAILED"]})
    assert [node["status"] for page in failed for node in page] == ["FAILED", "FAILED"]


async def test_results_of_a_run_come_page_by_page_the_newest_first(lab: Lab) -> None:
    ada = await lab.an_analyst()
    run, _ = await a_mixed_run(lab, ada)
    query = (
        "query ($id: ID!, $after: String) { classification(id: $id) {"
        f" results(first: 1, after: $after) {{ nodes {{ confidence }} {INFO} }} }} }}"
    )

    pages = await all_pages(ada, query, "results", id=run)
    assert pages == [[{"confidence": 0.75}], [{"confidence": 0.5}]]


async def test_runs_of_a_dataset_are_ordered_as_asked_and_paged(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset, other = await ada.a_dataset(), await ada.a_dataset()
    runs = [await a_run(lab, dataset, at=START + timedelta(hours=hour)) for hour in range(3)]
    await a_run(lab, other)
    for minute, run in enumerate((runs[1], runs[2], runs[0])):
        await lab.db.execute(
            "update classifications set updated_at = $1 where id = $2",
            START + timedelta(days=1, minutes=minute), UUID(run),
        )  # fmt: skip
    query = (
        "query ($id: ID!, $order: ClassificationOrder, $after: String) { dataset(id: $id) {"
        f" classifications(first: 2, orderBy: $order, after: $after) {{ nodes {{ id }} {INFO} }} }} }}"
    )

    async def pages(field: str, direction: str) -> list[list[str]]:
        order = {"field": field, "direction": direction}
        found = await all_pages(ada, query, "classifications", id=dataset, order=order)
        return [[node["id"] for node in page] for page in found]

    assert await pages("CREATED_AT", "ASC") == [runs[:2], [runs[2]]]
    assert await pages("CREATED_AT", "DESC") == [[runs[2], runs[1]], [runs[0]]]
    assert await pages("UPDATED_AT", "ASC") == [[runs[1], runs[2]], [runs[0]]]
    assert await pages("UPDATED_AT", "DESC") == [[runs[0], runs[2]], [runs[1]]]


async def test_pictures_of_a_device_are_ordered_as_asked_and_paged(lab: Lab) -> None:
    ada, admin, stranger = await lab.an_analyst(), await lab.an_admin(), await lab.a_user()
    images = await ada.images(await ada.a_dataset(), 3)
    made = await admin.ask(
        'mutation { createDevice(input: {name: "scope", deviceType: "microscope"}) { ... on Device { id } } }'
    )
    for number, image in enumerate(images):
        await lab.db.execute(
            "update images set device = $1, filename = $2, file_size = $3 where id = $4",
            UUID(made["id"]), f"{'bca'[number]}.png", 1000 + number % 2, UUID(image),
        )  # fmt: skip
    query = (
        "query ($id: ID!, $order: ImageOrder, $after: String) { device(id: $id) {"
        f" images(first: 2, orderBy: $order, after: $after) {{ nodes {{ filename }} {INFO} }} }} }}"
    )

    async def names(person: Person, field: str, direction: str) -> list[list[str]]:
        order = {"field": field, "direction": direction}
        found = await all_pages(person, query, "images", id=made["id"], order=order)
        return [[node["filename"] for node in page] for page in found]

    assert await names(ada, "FILENAME", "ASC") == [["a.png", "b.png"], ["c.png"]]
    assert await names(ada, "FILENAME", "DESC") == [["c.png", "b.png"], ["a.png"]]
    largest_first = await names(ada, "FILE_SIZE", "DESC")
    assert (largest_first[0][0], [len(page) for page in largest_first]) == ("c.png", [2, 1])
    assert await names(stranger, "FILENAME", "ASC") == [[]]


async def test_models_are_those_that_are_live_or_not_and_come_page_by_page(lab: Lab) -> None:
    ada = await lab.an_analyst()
    for name in ("old", "older"):
        await a_run(lab, await ada.a_dataset(), name)
    query = (
        "query ($filter: ModelFilter, $after: String) {"
        " models(first: 2, filter: $filter, after: $after, orderBy: {field: NAME, direction: ASC}) {"
        f" nodes {{ name liveWorkers }} totalCount {INFO} }} }}"
    )

    async def names(**filter: Any) -> list[list[str]]:
        return [[node["name"] for node in page] for page in await all_pages(ada, query, filter=filter)]

    async with lab.a_worker() as worker:
        mine = worker.model["name"]
        in_order = sorted([mine, "old", "older"])
        assert await names() == [in_order[:2], in_order[2:]]
        assert await names(live=True) == [[mine]]
        assert await names(live=False) == [["old", "older"]]
        await worker.announce("down")
        assert await names(live=True) == [[]]
        assert await names(live=False) == [in_order[:2], in_order[2:]]


async def test_who_runs_the_server_pages_through_people_machines_and_dead_letters(lab: Lab) -> None:
    admin = await lab.an_admin()
    people = [admin.username, *[(await lab.a_user()).username for _ in range(2)]]
    machines = [await a_machine(lab, "IMAGES_READ", admin=admin) for _ in range(3)]
    for number in range(3):
        await lab.db.execute(
            'insert into dead_letters (id, topic, partition, "offset", reason, payload)'
            " values ($1, 'results', 0, $2, $3, '')",
            uuid7(), number, f"reason {number}",
        )  # fmt: skip

    async def paged(root: str, shown: str, more: str = "") -> list[list[str]]:
        query = (
            f"query ($after: String) {{ {root}(first: 2, after: $after{more})"
            f" {{ nodes {{ {shown} }} totalCount {INFO} }} }}"
        )
        return [[node[shown] for node in page] for page in await all_pages(admin, query)]

    by_name = ", orderBy: {field: USERNAME, direction: ASC}"
    in_order = sorted(people)
    assert await paged("users", "username", by_name) == [in_order[:2], in_order[2:]]
    assert await paged("deadLetters", "reason") == [["reason 2", "reason 1"], ["reason 0"]]
    newest_first = [machine.id for machine in reversed(machines)]
    assert await paged("serviceAccounts", "id") == [newest_first[:2], newest_first[2:]]
