"""What queries cost: a number of statements that does not grow with the number of rows."""

from typing import Any

import pytest
from graphql import get_named_type

from bioscope_gql.schema import schema
from bioscope_gql.vocabulary import uuid7
from tests.lab import Lab, Person
from tests.lab_machines import a_machine
from tests.statements import heard

GRID = """
query ($first: Int!) {
  images(first: $first) { nodes {
    filename thumbnailUrl dataset { name } uploadedBy { id name } latestResult { label confidence }
  } }
}
"""
ONE = "00000000-0000-0000-0000-000000000000"

COSTS = {
    "server": ("{ server { version limits { bytesPerFile } } }", 1),
    "me": ("{ me { username email role } }", 1),
    "node": ("query ($image: ID!) { node(id: $image) { id ... on Image { filename } } }", 3),
    "nodes": (
        "query ($dataset: ID!, $image: ID!, $run: ID!) {"
        " nodes(ids: [$dataset, $image, $run, $image]) { id } one: node(id: $image) { id } }", 5
    ),
    "user": ("query ($user: ID!) { user(id: $user) { username email role } }", 2),
    "users": ("{ users { nodes { username email } pageInfo { hasNextPage } } }", 2),
    "dataset": ("query ($dataset: ID!) { dataset(id: $dataset) { name updatedAt } }", 2),
    "datasets": ("{ datasets { nodes { name } edges { cursor node { id } } pageInfo { endCursor } } }", 2),
    "image": ("query ($image: ID!) { image(id: $image) { filename sha256 downloadUrl thumbnailUrl } }", 2),
    "images": ("{ images { nodes { filename } edges { cursor node { id } } pageInfo { endCursor } } }", 2),
    "classification": ("query ($run: ID!) { classification(id: $run) { status progress { total } } }", 2),
    "classifications": ("{ classifications { nodes { status } pageInfo { hasNextPage } } }", 2),
    "classificationResult": (
        "query ($result: ID!) { classificationResult(id: $result) { label scores { label } } }", 2
    ),
    "classificationResults": ("{ classificationResults { nodes { label } pageInfo { hasNextPage } } }", 2),
    "model": ("query ($model: ID!) { model(id: $model) { name labels } }", 2),
    "models": ("{ models { nodes { name } pageInfo { hasNextPage } } }", 2),
    "device": ("query ($device: ID!) { device(id: $device) { name metadata } }", 2),
    "devices": ("{ devices { nodes { name } pageInfo { hasNextPage } } }", 2),
    "serviceAccounts": ("{ serviceAccounts { nodes { name scopes } pageInfo { hasNextPage } } }", 2),
    "statistics": (
        "{ statistics { imageCount resultCount labels { label } timeline { at } statuses { count } } }",
        4,
    ),
    "deadLetters": ("{ deadLetters { nodes { reason } pageInfo { hasNextPage } } }", 2),
}  # fmt: skip
"""A query of each root field and its statements; one of them reads who asks, and with it the answer to `me`.

A node takes one that finds its table; then each type that was found takes one."""

FOR_ADMINS = {"deadLetters", "serviceAccounts"}

EDGES = {
    "User.sessions": ("{ me { sessions { id current } } }", 2),
    "Dataset.owner": ("{ datasets { nodes { owner { name } } } }", 3),
    "Dataset.access": ("{ datasets { nodes { access } } }", 3),
    "Dataset.grants": ("{ datasets { nodes { grants { level } } } }", 3),
    "DatasetGrant.user": ("{ datasets { nodes { grants { user { name } } } } }", 4),
    "DatasetGrant.serviceAccount": ("{ datasets { nodes { grants { serviceAccount { name } } } } }", 4),
    "Dataset.imageCount": ("{ datasets { nodes { imageCount } } }", 3),
    "Dataset.totalBytes": ("{ datasets { nodes { totalBytes } } }", 3),
    "Dataset.imageCount and totalBytes": ("{ datasets { nodes { imageCount totalBytes } } }", 3),
    "Progress.etaSeconds and waitingForWorker": (
        "{ classifications { nodes { progress { etaSeconds waitingForWorker } } } }", 3
    ),
    "Dataset.images": ("{ datasets { nodes { images { nodes { id } pageInfo { endCursor } } } } }", 3),
    "Dataset.images.totalCount": ("{ datasets { nodes { images { totalCount } } } }", 3),
    "Dataset.classifications": ("{ datasets { nodes { classifications { nodes { id } } } } }", 3),
    "Image.dataset": ("{ images { nodes { dataset { name } } } }", 3),
    "Image.device": ("{ images { nodes { device { name } } } }", 3),
    "Device.status": ("{ devices { nodes { status } } }", 3),
    "Device.images": ("{ devices { nodes { images { nodes { id } } } } }", 3),
    "Device.images.totalCount": ("{ devices { nodes { images { totalCount } } } }", 3),
    "Image.uploadedBy": ("{ images { nodes { uploadedBy { name } } } }", 3),
    "Image.latestResult": ("{ images { nodes { latestResult { label } } } }", 3),
    "Image.latestResult of a model": (
        '{ images { nodes { latestResult(modelName: "teller") { label } } } }', 3
    ),
    "Dataset.labelCounts": ("{ datasets { nodes { labelCounts { label count averageConfidence } } } }", 3),
    "Dataset.labelCounts of a model": (
        '{ datasets { nodes { labelCounts(modelName: "teller") { label } } } }', 3
    ),
    "Image.results": ("{ images { nodes { results { nodes { label } } } } }", 3),
    "Classification.image": ("{ classifications { nodes { image { id } } } }", 2),
    "Classification.dataset": ("{ classifications { nodes { dataset { id } } } }", 3),
    "Classification.createdBy": ("{ classifications { nodes { createdBy { name } } } }", 3),
    "Classification.items": ("{ classifications { nodes { items { nodes { status } } } } }", 3),
    "Classification.results": ("{ classifications { nodes { results { nodes { label } } } } }", 3),
    "ClassificationItem.image": (
        "{ classifications { nodes { items { nodes { image { id } } } } } }", 4
    ),
    "ClassificationItem.result": (
        "{ classifications { nodes { items { nodes { result { label } } } } } }", 4
    ),
    "ClassificationItem.classification": (
        "{ classifications { nodes { items { nodes { classification { id } } } } } }", 4
    ),
    "ClassificationResult.image": ("{ classificationResults { nodes { image { id } } } }", 3),
    "ClassificationResult.classification": (
        "{ classificationResults { nodes { classification { id } } } }", 3
    ),
    "Model.liveWorkers": ("{ models { nodes { liveWorkers } } }", 3),
    "Model.queuedItems": ("{ models { nodes { queuedItems } } }", 3),
}  # fmt: skip
"""A query of each edge, from several rows at once, and its statements, when others own them."""


async def classified(lab: Lab, *, datasets: int, images: int) -> tuple[Person, dict[str, Any]]:
    """Somebody with datasets of so many pictures, each of which has a result; and an id of each kind."""
    ada = await lab.an_analyst()
    ids: dict[str, Any] = {}
    async with lab.a_worker() as worker:
        for _ in range(datasets):
            ids["dataset"] = await ada.a_dataset()
            ids["image"] = (await ada.images(ids["dataset"], images))[0]
            ids["run"] = await ada.run_over(ids["dataset"])
            for _ in range(images):
                await worker.answer(await worker.job())
            await ada.finished(ids["run"])
    for number in range(datasets):
        ids["device"] = str(uuid7())
        await lab.db.execute(
            "insert into devices (id, name, name_key, device_type) values ($1::uuid, $2, $2, 'brightfield')",
            ids["device"], f"axio {number}",
        )  # fmt: skip
    await lab.db.execute("update images set device = $1::uuid", ids["device"])
    await lab.db.execute(
        "with machine as (insert into service_accounts (id, name, client_id, hashed_secret, scopes)"
        " values (uuidv7(), 'm', 'm', 'x', '{}') returning id)"
        " insert into dataset_grants (id, dataset, service_account, level)"
        " select uuidv7(), d.id, m.id, 'VIEW' from machine m, datasets d"
    )
    found = await ada.ask("{ classificationResults { nodes { id } } models { nodes { id } } }")
    ids["result"] = found["classificationResults"]["nodes"][0]["id"]
    ids["user"] = ada.id
    ids["model"] = found["models"]["nodes"][0]["id"]
    return ada, ids


async def a_reader(lab: Lab, level: str = "VIEW") -> Person:
    """Somebody else who may see all that there is."""
    bob = await lab.an_analyst()
    for row in await lab.db.rows("select id from datasets"):
        await lab.grant(str(row["id"]), bob, level)
    return bob


async def cost_of(lab: Lab, person: Person, query: str, **variables: Any) -> int:
    """How many statements a query takes; the second time, when connections know their types."""
    await person.ask(query, **variables)
    async with heard(lab.db) as statements:
        response = await person.send(query, **variables)
    assert "errors" not in response.json(), response.text
    return len(statements.of(response))


def test_every_root_field_of_a_query_has_its_number_here() -> None:
    query = schema()._schema.query_type
    assert query is not None
    assert set(COSTS) == set(query.fields)


async def test_every_root_field_takes_one_statement_and_the_one_that_reads_who_asks(lab: Lab) -> None:
    ada, ids = await classified(lab, datasets=2, images=2)
    admin = await lab.an_admin()
    await a_machine(lab, "IMAGES_READ", admin=admin)
    ids["user"] = (await a_reader(lab)).id
    costs = {}
    for name, (query, _) in COSTS.items():
        used = {key: value for key, value in ids.items() if f"${key}:" in query}
        who = admin if name in FOR_ADMINS else ada
        costs[name] = await cost_of(lab, who, query, **used)

    assert costs == {name: cost for name, (_, cost) in COSTS.items()}


async def test_every_edge_takes_one_statement_however_many_rows_it_starts_from(lab: Lab) -> None:
    await classified(lab, datasets=3, images=3)
    bob = await a_reader(lab, "MANAGE")

    costs = {name: await cost_of(lab, bob, query) for name, (query, _) in EDGES.items()}

    assert costs == {name: cost for name, (_, cost) in EDGES.items()}


def test_no_edge_is_without_its_number_here() -> None:
    types = schema()._schema.type_map
    runs = ("Classification", "ClassificationItem", "ClassificationResult")
    shown = ("Dataset", "DatasetGrant", "Device", "Image", *runs)
    edges = {
        f"{name}.{field}"
        for name in shown
        for field, made in types[name].fields.items()  # type: ignore[attr-defined]
        if get_named_type(made.type).name
        in {*shown, "User", "Actor", *(f"{each}Connection" for each in shown)}
    }
    assert edges - set(EDGES) == set()


async def test_pictures_of_people_and_machines_name_both_by_one_statement_each(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=4)
    machine = await a_machine(lab, "IMAGES_WRITE")
    half = "(select id from images order by id limit 2)"
    await lab.db.execute(
        f"update images set uploaded_by = null, uploaded_by_machine = $1::uuid where id in {half}", machine.id
    )
    query = "{ images { nodes { uploadedBy { __typename name } } } }"

    kinds = [node["uploadedBy"]["__typename"] for node in (await ada.ask(query))["nodes"]]
    assert sorted(kinds) == ["ServiceAccount", "ServiceAccount", "User", "User"]
    assert await cost_of(lab, await a_reader(lab), query) == 4
    assert await cost_of(lab, ada, query) == 3  # of whoever asks the account is known


async def test_a_machine_costs_one_statement_too_to_know_who_asks(lab: Lab) -> None:
    machine = await a_machine(lab, "RESULTS_READ")
    assert await cost_of(lab, machine, "{ images { nodes { id } } }") == 2


async def test_a_grid_of_pictures_costs_five_statements_be_it_fifty_or_five(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=50)

    response = await ada.send(GRID, first=50)
    nodes = response.json()["data"]["images"]["nodes"]
    assert len(nodes) == 50
    assert {node["latestResult"]["label"] for node in nodes} == {"dark"}
    assert {node["dataset"]["name"] for node in nodes} == {"smears"}
    assert {node["uploadedBy"]["name"] for node in nodes} == {"analyst1"}
    bob = await a_reader(lab)
    assert [await cost_of(lab, bob, GRID, first=first) for first in (5, 50)] == [5, 5]
    assert await cost_of(lab, ada, GRID, first=50) == 4  # she uploaded them herself


async def test_the_rows_of_a_list_are_read_once_whatever_is_asked_of_it(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=2)
    query = "{ a: images { nodes { id } } b: images { edges { cursor } pageInfo { endCursor } } }"
    nested = "{ datasets { nodes { images { nodes { id } edges { cursor } pageInfo { hasNextPage } } } } }"

    assert [await cost_of(lab, ada, each) for each in (query, nested)] == [2, 3]


@pytest.mark.parametrize("name", ["datasets", "images", "classifications", "classificationResults", "models"])
async def test_nothing_is_counted_unless_it_is_asked_for(lab: Lab, name: str) -> None:
    ada, _ = await classified(lab, datasets=1, images=1)
    async with heard(lab.db) as statements:
        without = await ada.send(f"{{ {name} {{ nodes {{ id }} }} }}")
        asked = await ada.send(f"{{ {name} {{ nodes {{ id }} totalCount }} }}")
        only = await ada.send(f"{{ {name} {{ totalCount }} }}")

    assert asked.json()["data"][name]["totalCount"] == 1
    counting = [["count(" in each for each in statements.of(r)] for r in (without, asked, only)]
    assert [sum(each) for each in counting] == [0, 1, 1]
    assert [len(each) for each in counting] == [2, 3, 2]


async def test_nobody_costs_nothing(lab: Lab) -> None:
    assert await cost_of(lab, lab.nobody, "{ server { version } me { id } }") == 0


async def test_refused_operations_read_no_more_than_who_asks(lab: Lab) -> None:
    ada = await lab.an_analyst()
    async with heard(lab.db) as statements:
        nobody = await lab.nobody.send("{ images { nodes { id } } }")
        stranger = await ada.at(lab).send("{ images(first: 0) { nodes { id } } }")

    assert [len(statements.of(each)) for each in (nobody, stranger)] == [0, 1]
