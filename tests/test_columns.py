"""Only the columns that an operation shows are selected, and it answers as if all were."""

import re
from typing import Any
from uuid import UUID

import pytest
import strawberry
from graphql import OperationDefinitionNode, parse

from bioscope_gql import tables
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers.paging import EVERYTHING, Shown, open_columns, table_columns
from bioscope_gql.schema import define, direct, reads, schema
from bioscope_gql.schema.context import Context
from bioscope_gql.schema.views import View
from bioscope_gql.transport.executor import ViewExecutor
from bioscope_gql.vocabulary import Role
from tests.lab import Lab, Person
from tests.statements import heard
from tests.test_executor import IMAGES, RESULTS, executed, steady, written
from tests.test_queries import COSTS, EDGES, FOR_ADMINS, a_reader, classified

SELECTED = re.compile(r't\."(\w+)"')
COLUMNS = r'select ((?:t\."\w+", )*t\."\w+")'
LIST = re.compile(COLUMNS + r"(?:, \S+ as order_value)? from (?:\w+ r, )?(\w+) t")
FOUND = re.compile(COLUMNS + r", k\.order_value from \(.+?\) k cross join lateral \(select \* from (\w+) t")
"""Rows whose ids were found first."""

Columns = dict[str, list[str]]


def selected(statements: list[str]) -> Columns:
    """What was selected of each table, by statements that read each table once."""
    found: Columns = {}
    for columns, table in (
        each for sql in statements for pattern in (LIST, FOUND) for each in pattern.findall(sql)
    ):
        names = SELECTED.findall(columns)
        assert found.setdefault(table, names) == names
    return found


async def columns_of(lab: Lab, person: Person, query: str, **variables: Any) -> Columns:
    async with heard(lab.db) as statements:
        response = await person.send(query, **variables)
    assert "errors" not in response.json(), response.text
    return selected(statements.of(response))


def shown_by(query: str, variables: dict[str, Any]) -> Shown:
    """As the transport finds it out."""
    document = parse(query)
    [operation] = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return reads.reads(schema()._schema, document, operation).of(variables)


async def test_a_list_selects_what_is_asked_of_its_rows_and_the_keys_of_what_they_point_to(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=2)

    assert await columns_of(lab, ada, "{ images { nodes { filename } } }") == {"images": ["id", "filename"]}
    assert await columns_of(
        lab, ada, "{ images { nodes { width thumbnailUrl dataset { name } latestResult { label } } } }"
    ) == {
        "images": ["id", "storage_path", "width", "dataset", "latest_result"],
        "datasets": ["id", "name"],
        "classification_results": ["id", "label"],
    }
    assert await columns_of(lab, ada, "{ images { edges { node { fileMetadata pixelSize { x } } } } }") == {
        "images": ["id", "pixel_size_x", "pixel_size_y", "file_metadata"]
    }


async def test_a_page_that_shows_no_row_selects_what_its_cursors_are_made_of(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=2)

    for order in ("CREATED_AT", "FILE_SIZE", "CONFIDENCE"):
        query = f"{{ images(first: 1, orderBy: {{field: {order}}}) {{ pageInfo {{ endCursor }} }} }}"
        assert await columns_of(lab, ada, query) == {"images": ["id"]}
    nested = "{ datasets { nodes { images(first: 1) { edges { cursor } } } } }"
    assert await columns_of(lab, ada, nested) == {"datasets": ["id"], "images": ["id"]}


@pytest.mark.parametrize("order", ["CREATED_AT", "CAPTURED_AT", "FILENAME", "FILE_SIZE", "CONFIDENCE"])
async def test_pages_go_on_where_they_ended_though_what_orders_them_is_not_asked_for(
    lab: Lab, order: str
) -> None:
    ada, _ = await classified(lab, datasets=1, images=3)
    query = (
        "query ($after: String, $by: ImageOrderField!) { images(first: 1, after: $after,"
        " orderBy: {field: $by, direction: ASC}) { nodes { id } pageInfo { endCursor hasNextPage } } }"
    )
    whole = "query ($by: ImageOrderField!) { images(orderBy: {field: $by, direction: ASC}) { nodes { id } } }"

    found, after, goes_on = [], None, True
    while goes_on:
        page = await ada.ask(query, after=after, by=order)
        found += page["nodes"]
        after, goes_on = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert found == (await ada.ask(whole, by=order))["nodes"]
    assert len(found) == 3


async def test_edges_select_what_is_asked_and_the_key_that_they_are_found_by(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=1)

    assert await columns_of(
        lab,
        ada,
        "{ datasets { nodes { grants { level } images { nodes { results { nodes { label } } } } } } }",
    ) == {
        "datasets": ["id"],
        "dataset_grants": ["id", "dataset", "level"],
        "images": ["id"],
        "classification_results": ["id", "label"],
    }
    asked = "progress { fraction } items { nodes { result { scores { label } } } }"
    assert await columns_of(lab, ada, f"{{ classifications {{ nodes {{ {asked} }} }} }}") == {
        "classifications": ["id", "total", "succeeded", "failed", "cancelled"],
        "classification_items": ["id"],
        "classification_results": ["id", "item", "scores"],
    }  # fmt: skip


async def test_a_read_by_id_selects_what_is_asked_whatever_way_it_is_found(lab: Lab) -> None:
    ada, ids = await classified(lab, datasets=1, images=1)
    run, image = ids["run"], ids["image"]

    one = "query ($id: ID!) { image(id: $id) { filename downloadUrl analyzed } }"
    assert await columns_of(lab, ada, one, id=image) == {
        "images": ["id", "filename", "content_type", "sha256", "storage_path", "latest_result"]
    }
    any_of_them = "query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on Image { sha256 } } }"
    assert await columns_of(lab, ada, any_of_them, ids=[run, image]) == {
        "images": ["id", "sha256"],
        "classifications": ["id"],
    }
    another = "query ($id: ID!) { user(id: $id) { role } }"
    assert await columns_of(lab, ada, another, id=(await a_reader(lab)).id) == {"users": ["id", "role"]}


async def test_what_is_asked_through_fragments_interfaces_and_other_names_is_selected(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=1)
    query = """
    { images { nodes { ...Seen who: uploadedBy { ...Named } } } }
    fragment Seen on Node { id ... on Image { said: metadata } ... on Dataset { description } }
    fragment Named on Actor { id name ... on User { role } }
    """

    assert await columns_of(lab, await a_reader(lab), query) == {
        "images": ["id", "metadata", "uploaded_by", "uploaded_by_machine"],
        "users": ["id", "username", "role"],
    }
    [node] = (await ada.ask(query))["nodes"]
    assert (node["said"], node["who"]["name"], node["who"]["role"]) == ({}, ada.username, "ANALYST")


async def test_what_directives_leave_out_is_not_selected(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=1)
    query = """
    query ($more: Boolean! = false, $less: Boolean!) { images { nodes {
      filename metadata @skip(if: true) sha256 @include(if: false)
      ... @include(if: $more) { fileMetadata width @skip(if: $less) }
      ...Named @skip(if: $less)
    } } }
    fragment Named on Image { device { name } }
    """

    named = {"images": ["id", "filename", "device"], "devices": ["id", "name"]}
    assert await columns_of(lab, ada, query, less=False) == named
    assert await columns_of(lab, ada, query, less=True) == {"images": ["id", "filename"]}
    more = {"images": ["id", "filename", "file_metadata"]}
    assert await columns_of(lab, ada, query, less=True, more=True) == more
    both = {**named, "images": ["id", "filename", "width", "file_metadata", "device"]}
    assert await columns_of(lab, ada, query, less=False, more=True) == both


async def test_one_loader_serves_two_places_that_ask_for_different_columns(lab: Lab) -> None:
    ada, ids = await classified(lab, datasets=1, images=1)
    query = """
    query ($id: ID!) {
      a: images { nodes { dataset { name } } } b: images { nodes { dataset { createdAt } } }
      image(id: $id) { filename } node(id: $id) { ... on Image { width dataset { description } } }
    }
    """

    async with heard(lab.db) as statements:
        response = await ada.send(query, id=ids["image"])

    assert selected(statements.of(response)) == {
        "images": ["id", "filename", "width", "dataset"],
        "datasets": ["id", "name", "description", "created_at"],
    }
    assert len(statements.of(response)) == 5  # who asks, the list, the image, its kind, the dataset
    data = response.json()["data"]
    assert data["a"]["nodes"][0]["dataset"] == {"name": "smears"}
    assert data["b"]["nodes"][0]["dataset"]["createdAt"]
    assert data["image"]["filename"]
    assert data["node"]["dataset"] == {"description": None}


async def test_a_mutation_selects_everything_of_its_row_and_what_is_asked_of_others(lab: Lab) -> None:
    ada, ids = await classified(lab, datasets=1, images=1)
    query = """
    mutation ($id: ID!) { updateImage(input: {id: $id, metadata: {stain: "giemsa"}}) {
      ... on Image { metadata dataset { name } }
    } }
    """

    async with heard(lab.db) as statements:
        response = await ada.send(query, id=ids["image"])

    assert response.json()["data"]["updateImage"] == {
        "metadata": {"stain": "giemsa"},
        "dataset": {"name": "smears"},
    }
    assert f"returning {table_columns(tables.Image, 't')}" in " ".join(statements.of(response))
    assert 'select t."id", t."name" from datasets t' in " ".join(statements.of(response))


async def test_every_query_answers_the_same_as_if_everything_were_selected(lab: Lab) -> None:
    ada, ids = await classified(lab, datasets=2, images=3)
    queries = {name: query for name, (query, _) in (COSTS | EDGES).items()}
    different = []
    for name, query in (queries | {"results": RESULTS, "images": IMAGES}).items():
        variables = {key: value for key, value in ids.items() if f"${key}:" in query}
        viewer = Viewer(id=UUID(ada.id), role=Role.ADMIN if name in FOR_ADMINS else Role.ANALYST)
        answers = [
            await executed(ViewExecutor, Context(lab.services, viewer, shown=shown), query, variables)
            for shown in (shown_by(query, variables), EVERYTHING)
        ]
        narrowed, whole = (steady(written(each)) for each in answers)
        if narrowed != whole or answers[0].errors:
            different.append(name)

    assert different == []


@pytest.mark.parametrize("field", ["filename", "capturedAt", "analyzed", "device { name }"])
async def test_a_row_that_lacks_what_a_field_shows_is_an_error_and_never_null(lab: Lab, field: str) -> None:
    ada, _ = await classified(lab, datasets=1, images=1)
    viewer = Viewer(id=UUID(ada.id), role=Role.ANALYST)
    for query in ("{ images { nodes { %s } } }", "{ images { edges { node { %s } } } }"):
        context = Context(lab.services, viewer, shown={tables.Image: frozenset()})
        result = await executed(ViewExecutor, context, query % field, {})

        [error] = result.errors
        assert isinstance(error.original_error, KeyError | AttributeError), error


def test_a_field_that_does_not_say_what_it_reads_has_the_whole_row_read() -> None:
    @define.type
    class Scope(View, table=tables.Device):
        name: str

        @define.field
        def about(self) -> str:
            """Whatever it likes."""
            return str(self.row["location"])

    @strawberry.type
    class Query:
        @define.field
        def shown(self) -> Scope:
            """One."""
            return Scope.of({})  # type: ignore[arg-type]

    made = strawberry.Schema(Query)
    direct.mark(made)
    reads.mark(made)

    def columns(query: str) -> Shown:
        document = parse(query)
        [operation] = document.definitions
        assert isinstance(operation, OperationDefinitionNode)
        return reads.reads(made._schema, document, operation).of({})

    assert columns("{ shown { name } }") == {tables.Device: {"name"}}
    assert columns("{ shown { name about } }") == {tables.Device: set(open_columns(tables.Device))}


def test_a_field_that_reads_what_there_is_not_or_what_is_never_shown_is_told_at_the_start() -> None:
    for column in ("colour", "name_key"):

        @define.type
        class Scope(View, table=tables.Device):
            @define.reading(column)
            def about(self) -> str:
                """Something."""
                return ""

        made = strawberry.Schema(query=Scope)
        direct.mark(made)
        with pytest.raises(TypeError, match=f"Scope.about reads \\['{column}'\\]"):
            reads.mark(made)


def test_the_same_columns_are_the_same_text_in_whatever_order_they_were_asked_for() -> None:
    texts = {
        table_columns(tables.Image, "t", shown_by(f"{{ images {{ nodes {{ {fields} }} }} }}", {}))
        for fields in ("width filename", "filename width", "a: filename ... on Image { width filename }")
    }
    assert texts == {'t."id", t."filename", t."width"'}
