"""The shortcuts of the executor: they answer what graphql-core answers, to the byte and to the error."""

import re
from typing import Any
from uuid import UUID

import orjson
import pytest
from graphql import DocumentNode, ExecutionResult, parse
from graphql.execution import execute
from graphql.execution.executor_throwing_on_incremental import ExecutorThrowingOnIncremental

from bioscope_gql.policy import Viewer
from bioscope_gql.schema import schema
from bioscope_gql.schema.context import Context
from bioscope_gql.transport.execution import IS_AWAITABLE
from bioscope_gql.transport.executor import ViewExecutor
from bioscope_gql.transport.plans import Plans
from bioscope_gql.vocabulary import Role
from tests.lab import Lab
from tests.test_queries import COSTS, EDGES, FOR_ADMINS, classified

RESULTS = """
{ classificationResults { nodes {
  id sure: confidence ...Seen @include(if: true) model: modelName @skip(if: true)
} } }
fragment Seen on ClassificationResult { image { filename device { name } dataset { owner { name email } } } }
"""
IMAGES = """
query ($model: String, $n: Int = 1) { images { nodes {
  __typename id a: latestResult(modelName: $model) { label } b: latestResult(modelName: "none") { label }
  device { name status } uploadedBy { __typename ... on User { username } }
  dataset { labelCounts { label count } grants { level user { name } } images(first: $n) { totalCount } }
} } }
"""


ODD = """
query ($size: ThumbnailSize!) {
  __typename
  images { __typename nodes {
    __typename dataset { name } a: thumbnailUrl(size: SMALL) b: thumbnailUrl(size: $size)
    now: downloadUrl(expiresIn: 0) uploadedBy { __typename ... on User { email sessions { current } } }
  } }
  classifications { nodes { items { nodes { status maxAttempts image { analyzed pixelSize { x } } } } } }
  models { nodes { labels contentTypes queuedItems } }
}
"""
"""Methods that are told who asks and what for, lists of leaves, and a link of a length that is refused."""

REFUSED = """
query ($size: ThumbnailSize) { images { nodes { thumbnailUrl(size: $size) latestResult { label } } } }
"""
"""Of a size that is null."""


async def answers(
    lab: Lab, viewer: Viewer, query: str, variables: dict[str, str]
) -> tuple[ExecutionResult, ExecutionResult]:
    """With the shortcuts and without."""
    first, second = [
        await executed(each, Context(lab.services, viewer), query, variables)
        for each in (ViewExecutor, ExecutorThrowingOnIncremental)
    ]
    return first, second


async def executed(
    how: type[ExecutorThrowingOnIncremental],
    context: Context,
    query: str | DocumentNode,
    variables: dict[str, Any],
    **options: Any,
) -> Any:
    result = execute(
        schema()._schema,
        parse(query) if isinstance(query, str) else query,
        context_value=context,
        variable_values=variables,
        executor_class=how,
        is_awaitable=IS_AWAITABLE,
        **options,
    )
    return await result if IS_AWAITABLE(result) else result


def written(result: ExecutionResult) -> bytes:
    """As bytes; errors in the order of their paths, for which comes first is anybody's guess."""
    errors = sorted((error.formatted for error in result.errors or ()), key=lambda each: str(each["path"]))
    return orjson.dumps([result.data, errors])


def steady(answer: bytes) -> bytes:
    """Without what differs from one second to the next: signatures of links."""
    return re.sub(rb'Url":"[^"]*"', b'Url":""', answer)


async def test_every_query_has_the_same_answer_to_the_byte(lab: Lab) -> None:
    ada, ids = await classified(lab, datasets=2, images=3)
    queries = {name: query for name, (query, _) in (COSTS | EDGES).items()}
    different = []
    for name, query in (queries | {"results": RESULTS, "images": IMAGES, "of m": IMAGES}).items():
        variables = {key: value for key, value in ids.items() if f"${key}:" in query}
        variables |= {"model": "teller"} if name == "of m" else {}
        role = Role.ADMIN if name in FOR_ADMINS else Role.ANALYST
        first, second = await answers(lab, Viewer(id=UUID(ada.id), role=role), query, variables)
        assert first.errors is None, name
        if steady(written(first)) != steady(written(second)):
            different.append(name)

    assert different == []


async def test_what_a_field_refuses_is_told_in_its_place_and_the_rest_is_answered(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=3)
    viewer = Viewer(id=UUID(ada.id), role=Role.ANALYST)

    first, second = await answers(lab, viewer, ODD, {"size": "LARGE"})

    assert [error.path for error in first.errors or ()] == [["images", "nodes", n, "now"] for n in range(3)]
    assert first.data is not None
    assert {node["dataset"]["name"] for node in first.data["images"]["nodes"]} == {"smears"}
    assert steady(written(first)) == steady(written(second))


async def test_an_operation_of_which_something_is_kept_answers_the_same_again(lab: Lab) -> None:
    ada, ids = await classified(lab, datasets=2, images=3)
    queries = {name: query for name, (query, _) in (COSTS | EDGES).items()}
    different = []
    for name, query in (queries | {"results": RESULTS, "images": IMAGES}).items():
        variables = {key: value for key, value in ids.items() if f"${key}:" in query}
        role = Role.ADMIN if name in FOR_ADMINS else Role.ANALYST
        viewer, document, plans = Viewer(id=UUID(ada.id), role=role), parse(query), Plans()
        first, again = [
            await executed(ViewExecutor, Context(lab.services, viewer), document, variables, plans=plans)
            for _ in range(2)
        ]
        if again.errors or steady(written(first)) != steady(written(again)):
            different.append(name)

    assert different == []


async def test_what_is_kept_of_an_operation_forgets_its_variables(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=1)
    query = """
    query ($n: Int, $model: String, $more: Boolean! = false) {
      images(first: $n) { nodes { latestResult(modelName: $model) { label } ...More @include(if: $more) } }
      __type(name: "Image") { name kind @include(if: $more) }
    }
    fragment More on Image { width }
    """
    latest = "latestResult(modelName: $model) { label }"
    arguments = f"query ($n: Int, $model: String) {{ images(first: $n) {{ nodes {{ {latest} }} }} }}"

    for each in (query, arguments):
        told = [
            (await ada.send(each, n=1, model=model)).json()["data"]["images"]["nodes"][0]["latestResult"]
            for model in ("teller", "nobody", None, "teller")
        ]
        assert told == [{"label": "dark"}, None, {"label": "dark"}, {"label": "dark"}]
        refused = (await ada.send(each, n=0)).json()["errors"]
        assert [error["path"] for error in refused] == [["images"]]
    sized = "query ($size: ThumbnailSize) { images { nodes { thumbnailUrl(size: $size) } } }"
    links = [
        (await ada.ask(sized, size=size))["nodes"][0]["thumbnailUrl"].split("?")[0]
        for size in ("SMALL", "LARGE", "SMALL")
    ]
    assert links[0] == links[2] != links[1]
    for more in (True, False, True):
        data = (await ada.send(query, n=1, more=more)).json()["data"]
        assert ("width" in data["images"]["nodes"][0], "kind" in data["__type"]) == (more, more)


async def test_an_argument_that_can_not_be_leaves_the_operation_as_quick_as_it_was(lab: Lab) -> None:
    ada, _ = await classified(lab, datasets=1, images=1)
    document, plans = parse(REFUSED), Plans()
    told = []
    for variables in ({"size": None}, {"size": "LARGE"}):
        context = Context(lab.services, Viewer(id=UUID(ada.id), role=Role.ANALYST))
        told.append(await executed(ViewExecutor, context, document, variables, plans=plans))

    assert [[error.path for error in each.errors or ()] for each in told] == [
        [["images", "nodes", 0, "thumbnailUrl"]],
        [],
    ]
    kept = [step for _, steps in plans.steps.values() for step in steps]
    assert {step.name: step.is_plain for step in kept} == {"images": True, "nodes": True, "label": True}


@pytest.mark.parametrize(
    ("damage", "query", "count"),
    [
        (
            "alter table classification_results drop constraint classification_results_confidence_valid;"
            " update classification_results set confidence = 'NaN'",
            RESULTS,
            1,
        ),
        ("alter table devices rename to gone", IMAGES, 3),
        ("alter table users rename to gone", RESULTS, 1),
    ],
)
async def test_what_fails_has_the_same_errors_in_the_same_places(
    lab: Lab, damage: str, query: str, count: int
) -> None:
    ada, _ = await classified(lab, datasets=1, images=3)
    await lab.db.execute(damage)

    first, second = await answers(lab, Viewer(id=UUID(ada.id), role=Role.ANALYST), query, {})

    assert len(second.errors or ()) == count
    assert written(first) == written(second)
