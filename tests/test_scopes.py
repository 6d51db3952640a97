"""What each scope of a service account reaches, and that nothing else does."""

from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
)

from bioscope_gql.schema import machines, schema
from bioscope_gql.vocabulary import ServiceScope
from tests.lab import Lab, Person, Refused, a_picture
from tests.lab_documents import UPLOAD
from tests.lab_machines import Machine, a_machine, grant_to
from tests.lab_worker import TestWorker

SOME_ID = "00000000-0000-7000-8000-000000000000"
EVERY = [scope.value for scope in ServiceScope]
WITHOUT_TOKEN = {"login", "register", "refreshSession", "setPassword"}
BEAT = """
mutation ($id: ID!) {
  deviceHeartbeat(input: {deviceId: $id}) { __typename ... on Problem { code } }
}
"""
SENT = """
mutation ($dataset: ID!, $files: [Upload!]!) {
  uploadImages(input: {datasetId: $dataset, files: $files}) {
    __typename
    ... on UploadReport { files { __typename filename
      ... on UploadedImage { image { id sha256 dataset { id name } } } } dataset { id name } }
    ... on Problem { code }
    ... on NotFound { ids }
  }
}
"""


async def refused(machine: Person, query: str, **variables: Any) -> list[tuple[str, str]]:
    """Code and reason of each error; nothing else was answered."""
    answer = (await machine.send(query, **variables)).json()
    assert "data" not in answer or not any((answer["data"] or {}).values()), answer
    return [(e["extensions"]["code"], e["extensions"].get("reason", "")) for e in answer["errors"]]


async def one_in_flight(lab: Lab, worker: TestWorker) -> tuple[Person, str, list[str], Any]:
    """An analyst's dataset of two pictures, the first of which a worker is at."""
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    images = await ada.images(dataset, 2)
    await ada.run(target={"imageId": images[0]})
    return ada, dataset, images, await worker.job()


async def test_images_read_reaches_pictures_in_flight_and_of_their_dataset_id_and_name(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_READ")
    image = "query ($id: ID!) { image(id: $id) { id sha256 downloadUrl dataset { id name } } }"
    images = "{ images { totalCount nodes { id } } }"
    async with lab.a_worker() as worker:
        assert await machine.ask(images) == {"totalCount": 0, "nodes": []}
        _, dataset, ids, job = await one_in_flight(lab, worker)
        seen, unseen = [await machine.ask(image, id=id) for id in ids]
        listed = await machine.ask(images)
        await worker.answer(job)
        await lab.until("select count(*) = 1 from classification_results")
        after = [await machine.ask(image, id=id) for id in ids], await machine.ask(images)

    assert (seen["id"], seen["dataset"]) == (ids[0], {"id": dataset, "name": "smears"})
    assert (await lab.http.get(seen["downloadUrl"])).content == f"picture {ids[0]}".encode()
    assert unseen is None
    assert listed == {"totalCount": 1, "nodes": [{"id": ids[0]}]}
    assert after == ([None, None], {"totalCount": 0, "nodes": []})


async def test_results_read_reaches_runs_results_and_facts_of_pictures_of_every_dataset(lab: Lab) -> None:
    machine = await a_machine(lab, "RESULTS_READ")
    async with lab.a_worker() as worker:
        ada, dataset, ids, job = await one_in_flight(lab, worker)
        await worker.answer(job)
        await lab.until("select count(*) = 1 from classification_results")
    found = await machine.ask("""
        { images { nodes { id filename dataset { id name } uploadedBy { name } latestResult { label } } }
          classifications { nodes { status createdBy { name } progress { total }
            items { nodes { status image { id } result { label } } } } }
          classificationResults { nodes { label image { id } classification { modelName } } } }""")
    run = await lab.db.value("select id from classifications")
    updates = [update["classification"]["status"] async for update in machine.watch(str(run))]

    assert {node["id"] for node in found["images"]["nodes"]} == set(ids)
    assert {node["dataset"]["id"] for node in found["images"]["nodes"]} == {dataset}
    assert {node["uploadedBy"]["name"] for node in found["images"]["nodes"]} == {ada.username}
    assert found["classifications"]["nodes"] == [
        {
            "status": "COMPLETED",
            "createdBy": {"name": ada.username},
            "progress": {"total": 1},
            "items": {
                "nodes": [{"status": "SUCCEEDED", "image": {"id": ids[0]}, "result": {"label": "dark"}}]
            },
        }
    ]
    assert found["classificationResults"]["nodes"] == [
        {"label": "dark", "image": {"id": ids[0]}, "classification": {"modelName": "teller"}}
    ]
    assert updates == ["COMPLETED"]


@pytest.mark.parametrize("scope", ["IMAGES_READ", "IMAGES_WRITE", "DEVICES_HEARTBEAT"])
async def test_scopes_together_reach_what_each_of_them_reaches(lab: Lab, scope: str) -> None:
    machine = await a_machine(lab, "RESULTS_READ", scope)
    async with lab.a_worker() as worker:
        _, dataset, ids, _ = await one_in_flight(lab, worker)
        found = await machine.ask("""
            { images { nodes { id dataset { id } } }
              classifications { nodes { dataset { id } image { id } } } }""")

    assert {node["id"] for node in found["images"]["nodes"]} == set(ids)
    assert {node["dataset"]["id"] for node in found["images"]["nodes"]} == {dataset}
    assert found["classifications"]["nodes"] == [{"dataset": {"id": dataset}, "image": {"id": ids[0]}}]


@pytest.mark.parametrize("scopes", [["RESULTS_READ"], ["RESULTS_READ", "IMAGES_READ"], EVERY])
@pytest.mark.parametrize("link", ["downloadUrl", "thumbnailUrl"])
async def test_who_sees_pictures_that_are_not_in_flight_gets_no_links(
    lab: Lab, scopes: list[str], link: str
) -> None:
    machine = await a_machine(lab, *scopes)
    assert await refused(machine, f"{{ images {{ nodes {{ {link} }} }} }}") == [("FORBIDDEN", "SCOPE")]


@pytest.mark.parametrize(
    ("scope", "query"),
    [
        ("IMAGES_READ", "{ images { nodes { results { totalCount } } } }"),
        ("IMAGES_READ", "{ images { nodes { latestResult { label } } } }"),
        ("IMAGES_READ", "{ images { nodes { dataset { description } } } }"),
        ("IMAGES_READ", "{ images { nodes { dataset { imageCount } } } }"),
        ("IMAGES_READ", "{ images { nodes { dataset { owner { name } } } } }"),
        ("IMAGES_READ", '{ images(filter: {search: "a"}) { totalCount } }'),
        ("IMAGES_READ", "{ classifications { totalCount } }"),
        ("RESULTS_READ", "{ images { nodes { dataset { images { totalCount } } } } }"),
        ("RESULTS_READ", "{ images { nodes { uploadedBy { ... on User { email } } } } }"),
        ("RESULTS_READ", "{ images { nodes { device { metadata } } } }"),
        ("RESULTS_READ", "{ datasets { totalCount } }"),
        ("RESULTS_READ", "{ server { version } devices { totalCount } }"),
        (
            "RESULTS_READ",
            "{ ...a } fragment a on Query { ...b } fragment b on Query { models { totalCount } }",
        ),
        ("RESULTS_READ", "query a { models { totalCount } }"),
        ("RESULTS_READ", "query ($no: Boolean = false) { models @include(if: $no) { totalCount } }"),
        ("IMAGES_WRITE", "{ images { totalCount } }"),
        ("DEVICES_HEARTBEAT", "{ devices { totalCount } }"),
        ("DEVICES_HEARTBEAT", "{ image(id: 1) { id } }"),
    ],
)
async def test_a_machine_may_not_select_what_its_scopes_are_not_for(lab: Lab, scope: str, query: str) -> None:
    machine = await a_machine(lab, scope)
    assert await refused(machine, query) == [("FORBIDDEN", "SCOPE")]


async def test_every_machine_may_ask_what_concerns_nobody(lab: Lab) -> None:
    for scope in EVERY:
        machine = await a_machine(lab, scope)
        asked = await machine.ask("{ __typename server { version limits { filesPerUpload } } me { id } }")
        assert (asked["server"]["limits"], asked["me"]) == ({"filesPerUpload": 100}, None)


def an_argument(of: GraphQLInputType) -> Any:
    """Some value of a type: enough of it to be valid."""
    if isinstance(of, GraphQLNonNull):
        return an_argument(of.of_type)
    if isinstance(of, GraphQLList):
        return [an_argument(of.of_type)]
    if isinstance(of, GraphQLEnumType):
        return next(iter(of.values))
    if isinstance(of, GraphQLInputObjectType):
        needed = {name: field for name, field in of.fields.items() if isinstance(field.type, GraphQLNonNull)}
        fields = needed or dict([next(iter(of.fields.items()))])
        return {name: an_argument(field.type) for name, field in fields.items()}
    return {"ID": SOME_ID, "DateTime": "2026-01-01T00:00:00Z", "Boolean": True, "Int": 1}.get(of.name, "x")


def an_operation(kind: str, name: str, root: GraphQLObjectType) -> tuple[str, dict[str, Any]]:
    field = root.fields[name]
    needed = {n: a.type for n, a in field.args.items() if isinstance(a.type, GraphQLNonNull)}
    declared = ", ".join(f"${each}: {of}" for each, of in needed.items())
    given = ", ".join(f"{each}: ${each}" for each in needed)
    below = " { __typename ... on Problem { code } }" if kind == "mutation" else " { __typename }"
    text = f"{kind}{f'({declared})' if declared else ''} {{ {name}{f'({given})' if given else ''}{below} }}"
    return text, {each: an_argument(of) for each, of in needed.items()}


async def test_no_other_mutation_is_for_machines_whatever_their_scopes(lab: Lab) -> None:
    root = schema()._schema.mutation_type
    assert root is not None
    machine = await a_machine(lab, *EVERY)
    before = await lab.dump()
    tried = set(root.fields) - WITHOUT_TOKEN - {"uploadImages", "deviceHeartbeat"}
    for name in sorted(tried):
        text, variables = an_operation("mutation", name, root)
        answers = [str(member) for member in get_named_type(root.fields[name].type).types]
        if "Forbidden" in answers:
            answer = await machine.ask(text, **variables)
            assert answer == {"__typename": "Forbidden", "code": "SCOPE"}, name
        else:
            assert await refused(machine, text, **variables) == [("FORBIDDEN", "SCOPE")], name

    assert len(tried) >= 15
    assert await lab.dump() == before


@pytest.mark.parametrize("scope", EVERY)
async def test_no_other_query_is_for_a_machine(lab: Lab, scope: str) -> None:
    root = schema()._schema.query_type
    assert root is not None
    machine = await a_machine(lab, scope)
    for_it = machines.ANY_SCOPE | machines.SELECTABLE[ServiceScope(scope)]
    tried = [name for name in root.fields if f"Query.{name}" not in for_it]
    for name in tried:
        text, variables = an_operation("query", name, root)
        assert await refused(machine, text, **variables) == [("FORBIDDEN", "SCOPE")], name

    assert len(tried) >= 8


@pytest.mark.parametrize("name", ["uploadImages", "deviceHeartbeat"])
async def test_uploads_and_heartbeats_take_the_scope_that_is_for_them(lab: Lab, name: str) -> None:
    needed = {"uploadImages": "IMAGES_WRITE", "deviceHeartbeat": "DEVICES_HEARTBEAT"}[name]
    machine = await a_machine(lab, *(scope for scope in EVERY if scope != needed))
    before = await lab.dump()
    if name == "uploadImages":
        sent = await machine.post_files(UPLOAD, [("a.png", a_picture())], dataset=SOME_ID)
        answer = sent.json()["data"][name]
    else:
        answer = await machine.ask(BEAT, id=SOME_ID)

    assert (answer["__typename"], answer["code"]) == ("Forbidden", "SCOPE")
    assert await lab.dump() == before


async def upload(machine: Machine, dataset: str) -> Any:
    answer = await machine.post_files(SENT, [("a.png", a_picture())], dataset=dataset)
    return answer.json()["data"]["uploadImages"]


async def test_images_write_uploads_into_datasets_granted_to_it_and_no_others(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_WRITE")
    ada = await lab.a_user()
    datasets = {level: await ada.a_dataset(level) for level in ("VIEW", "CONTRIBUTE", "MANAGE", "none")}
    for level in ("VIEW", "CONTRIBUTE", "MANAGE"):
        await grant_to(lab, datasets[level], machine, level)
    before = await lab.dump()
    absent = [await upload(machine, id) for id in (datasets["none"], SOME_ID, "nonsense")]
    viewed = await upload(machine, datasets["VIEW"])
    assert await lab.dump() == before
    for level in ("CONTRIBUTE", "MANAGE"):
        report = await upload(machine, datasets[level])
        assert report["dataset"] == {"id": datasets[level], "name": level}
        assert [file["__typename"] for file in report["files"]] == ["UploadedImage"]

    assert [(each["__typename"], each["ids"]) for each in absent] == [
        ("NotFound", [id]) for id in (datasets["none"], SOME_ID, "nonsense")
    ]
    assert (viewed["__typename"], viewed["code"]) == ("Forbidden", "ACCESS")
    assert await lab.count("images") == 2


async def test_a_machine_that_sees_all_datasets_uploads_into_granted_ones_only(lab: Lab) -> None:
    machine = await a_machine(lab, *EVERY)
    dataset = await (await lab.a_user()).a_dataset()
    before = await lab.dump()
    answer = await upload(machine, dataset)

    assert (answer["__typename"], answer["code"]) == ("Forbidden", "ACCESS")
    assert await lab.dump() == before


async def test_an_upload_that_asks_more_than_it_may_is_refused_before_its_files_are_read(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_WRITE")
    dataset = await (await lab.a_user()).a_dataset()
    await grant_to(lab, dataset, machine, "CONTRIBUTE")
    answer = await machine.post_files(UPLOAD, [("a.png", a_picture())], dataset=dataset)

    assert answer.json()["errors"][0]["extensions"] == {"code": "FORBIDDEN", "reason": "SCOPE"}
    assert await lab.count("images") == 0


async def test_a_machine_is_refused_over_a_socket_as_over_http(lab: Lab) -> None:
    machine = await a_machine(lab, "IMAGES_READ")
    run = SOME_ID
    with pytest.raises(Refused) as wrong:
        async for _ in machine.watch(run):
            pass
    assert wrong.value.codes == ["FORBIDDEN"]


def test_every_name_in_the_table_of_scopes_is_one_of_the_schema_or_of_the_contract() -> None:
    from tests.test_contract import CONTRACT, facts, printed

    known = facts(CONTRACT).keys() | printed().keys()
    named = machines.ANY_SCOPE.union(*machines.SELECTABLE.values(), machines.LINKS, machines.GUARDED)
    assert {name for name in named if name.removesuffix(".*") not in known} == set()
