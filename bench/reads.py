"""How long each list, order, filter, search and figure takes, at the size of years and at a hundredth of it.

    python bench/reads.py LARGE SMALL [ONLY THOSE NAMED SO]

Both are directories that `bench/data.py` made. For an admin, who sees everything, and for an analyst who
sees some thirty datasets: p50 in milliseconds of the default page; then with `totalCount`. Ends with 1 when
one is above its limit, or the grid costs more than 1.3 times what it costs in the small one.
"""

import statistics
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asgi_call import Called

from bioscope_gql import observability
from bioscope_gql.app import Application
from bioscope_gql.auth import keys
from bioscope_gql.commands import running
from bioscope_gql.db import Database, certain
from bioscope_gql.embedded.stack import Stack
from bioscope_gql.migrations import forwards
from bioscope_gql.replica import Replica
from bioscope_gql.resolvers import accounts
from bioscope_gql.services import opened
from bioscope_gql.settings import App, Settings
from bioscope_gql.vocabulary import Role

TIMES, WARM_UP = 11, 3
MOST_MS, MOST_COUNTING_MS, MOST_RATIO = 50.0, 250.0, 1.3
SPAN = "select min(created_at), min(created_at) + age(max(created_at), min(created_at)) / 2 from images"
PASSWORD = "long enough for it"  # noqa: S105 - of a laboratory that nobody has
GRID = """
{ images(first: 50) { nodes {
  id filename width height createdAt thumbnailUrl
  dataset { id name } uploadedBy { id name } latestResult { label confidence }
} pageInfo { hasNextPage endCursor } } }
"""
ROWS = {
    "images": "id filename",
    "classifications": "id status",
    "classificationResults": "id label",
    "datasets": "id name",
}
TYPES = {
    "images": ("ImageFilter", "ImageOrder"),
    "classifications": ("ClassificationFilter", "ClassificationOrder"),
    "classificationResults": ("ClassificationResultFilter", "ClassificationResultOrder"),
    "datasets": ("DatasetFilter", "DatasetOrder"),
}
ORDERS = {
    "images": ["CREATED_AT", "CAPTURED_AT", "FILENAME", "FILE_SIZE", "CONFIDENCE"],
    "classifications": ["CREATED_AT", "UPDATED_AT"],
    "classificationResults": ["CREATED_AT", "CONFIDENCE"],
    "datasets": ["CREATED_AT", "NAME"],
}

Json = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """A query with a name that a reader understands."""

    name: str
    query: str
    variables: Mapping[str, Any]
    counting: bool = False


def a_list(root: str, name: str, filter: Json, order: Json | None = None, *, counting: bool) -> Question:
    filter_type, order_type = TYPES[root]
    selection = "totalCount" if counting else f"nodes {{ {ROWS[root]} }} pageInfo {{ endCursor }}"
    query = (
        f"query ($filter: {filter_type}, $order: {order_type})"
        f" {{ {root}(filter: $filter, orderBy: $order) {{ {selection} }} }}"
    )
    return Question(f"{root} {name}", query, {"filter": filter, "order": order}, counting)


async def filters(db: Database) -> dict[str, dict[str, Json]]:
    """A filter of each kind: some that most rows pass, some that few do, some that none does."""
    dataset = await db.value("select dataset from images group by 1 order by count(*) desc limit 1")
    device = await db.value("select device from images limit 1")
    uploader = await db.value("select uploaded_by from images limit 1")
    result = certain(await db.row("select image, classification from classification_results limit 1"))
    image, run = str(result["image"]), str(result["classification"])
    filename = await db.value("select filename from images order by id offset 2345 limit 1")
    times = await db.rows(SPAN)
    ((start, middle),) = times
    first, half = start.isoformat(), middle.isoformat()
    smears, old = {"modelName": "smears"}, {"modelName": "smears", "modelVersion": "1.0.0"}
    verdicts: dict[str, Json] = {
        "label common": {"label": ["neutrophil"]},
        "label rare": {"label": ["blast"]},
        "label unknown": {"label": ["nothing"]},
        "labels": {"label": ["blast", "platelet"]},
        "doubtful": {"confidenceAtMost": 0.2},
        "sure": {"confidenceAtLeast": 0.9999},
        "label and confidence": {"label": ["basophil"], "confidenceAtMost": 0.1},
    }
    images: dict[str, Json] = {
        "all": {},
        "search rare": {"search": filename.split("_")[1].split(".")[0]},
        "search common": {"search": "smear"},
        "search none": {"search": "zebrafish"},
        "search prefix": {"search": "Kö"},
        "datasetId": {"datasetId": str(dataset)},
        "deviceId": {"deviceId": str(device)},
        "uploadedById": {"uploadedById": str(uploader)},
        "contentType": {"contentType": "image/png"},
        "contentType rare": {"contentType": "image/bmp"},
        "contentType none": {"contentType": "image/webp"},
        "createdBefore": {"createdBefore": half},
        "createdBefore none": {"createdBefore": first},
        "capturedBefore": {"capturedBefore": half},
        "capturedBefore few": {"capturedBefore": first},
        "analyzed": {"analyzed": True},
        "not analyzed": {"analyzed": False},
        "not analyzed by a model": {"analyzed": False, "modelName": "cells"},
        "not analyzed by none": {"analyzed": True, "modelName": "nobody"},
        **verdicts,
        **{f"{name} of a model": each | smears for name, each in verdicts.items()},
        **{f"{name} of a version": each | old for name, each in verdicts.items()},
        **{f"{name} in a dataset": each | {"datasetId": str(dataset)} for name, each in verdicts.items()},
        "doubtful of a model in a dataset": {"confidenceAtMost": 0.2, "datasetId": str(dataset)} | smears,
    }
    results: dict[str, Json] = {
        "all": {},
        "imageId": {"imageId": image},
        "classificationId": {"classificationId": run},
        "datasetId": {"datasetId": str(dataset)},
        "modelName": smears,
        "modelVersion": old,
        "modelName none": {"modelName": "nobody"},
        "createdBefore": {"createdBefore": half},
        **verdicts,
        **{f"{name} of a model": each | smears for name, each in verdicts.items()},
    }
    runs: dict[str, Json] = {
        "all": {},
        "status": {"status": ["COMPLETED"]},
        "status none": {"status": ["FAILED", "PARTIAL"]},
        "datasetId": {"datasetId": str(dataset)},
        "imageId": {"imageId": image},
        "createdById": {"createdById": str(uploader)},
        "modelName": smears,
        "modelVersion": old,
        "createdBefore": {"createdBefore": half},
    }
    found = {"images": images, "classificationResults": results, "classifications": runs}
    return found | {
        "datasets": {"all": {}, "search": {"search": "koln 2"}, "ownerId": {"ownerId": str(uploader)}}
    }


def questions(filters: Mapping[str, Mapping[str, Json]]) -> Iterator[Question]:
    """Everything that is measured."""
    for root, kinds in filters.items():
        for name, filter in kinds.items():
            yield a_list(root, name, filter, counting=False)
            yield a_list(root, f"{name}, counted", filter, counting=True)
        for field in ORDERS[root]:
            for direction in ("ASC", "DESC"):
                order = {"field": field, "direction": direction}
                yield a_list(root, f"by {field} {direction}", {}, order, counting=False)
                dataset = filters["images"]["datasetId"]
                if root != "datasets":
                    yield a_list(root, f"by {field} {direction} in a dataset", dataset, order, counting=False)
    for name in ("label common", "doubtful", "not analyzed by a model"):
        for direction in ("ASC", "DESC"):
            filter = {"modelName": "smears"} | filters["images"][name]
            order = {"field": "CONFIDENCE", "direction": direction}
            yield a_list("images", f"by CONFIDENCE {direction}, {name}", filter, order, counting=False)
    labels = "label count averageConfidence"
    figures = f"resultCount averageConfidence labels {{ {labels} }} timeline {{ at count }}"
    figures = f"imageCount {figures} statuses {{ count }}"
    window = "query ($since: DateTime, $bucket: TimeBucket!)"
    month, year = ((datetime.now(UTC) - timedelta(days=days)).isoformat() for days in (30, 365))
    for name, variables in (
        ("of a day", {"bucket": "HOUR"}),
        ("of a month", {"bucket": "DAY", "since": month}),
        ("of a year", {"bucket": "WEEK", "since": year}),
    ):
        query = f"{window} {{ statistics(since: $since, bucket: $bucket) {{ {figures} }} }}"
        yield Question(f"statistics {name}", query, variables, counting=name != "of a day")
    one = {"id": filters["images"]["datasetId"]["datasetId"]}
    for name, field in (
        ("labelCounts", f"labelCounts {{ {labels} }}"),
        ("labelCounts of a model", f'labelCounts(modelName: "smears") {{ {labels} }}'),
        ("imageCount", "imageCount totalBytes"),
    ):
        yield Question(
            f"largest dataset {name}", f"query ($id: ID!) {{ dataset(id: $id) {{ {field} }} }}", one
        )
        yield Question(f"20 datasets {name}", f"{{ datasets {{ nodes {{ {field} }} }} }}", {})
    yield Question("grid", GRID, {})


@asynccontextmanager
async def laboratory(directory: Path) -> AsyncIterator[tuple[Any, Database, dict[str, str]]]:
    """The application over a database that is there, and tokens of an admin and of an analyst."""
    async with Stack(directory, {"unused": 1}, durable=False) as stack:
        await forwards(stack.dsn)
        keys.generate(directory / "keys")
        settings = (
            Settings(app=App(log_level="error"))
            .embedded(dsn=stack.dsn, bootstrap_servers=stack.bootstrap_servers, data_dir=directory)
            .at("http://127.0.0.1")
        )
        async with opened(settings) as services:
            tokens = {}
            for name, role in (("admin", Role.ADMIN), ("analyst", Role.ANALYST)):
                login = f"bench-{name}"
                if not await services.db.value("select count(*) from users where username = $1", login):
                    row = await accounts.create(
                        services, email=f"{login}@lab.example", username=login, password=PASSWORD, role=role
                    )
                    await services.db.execute(
                        'insert into dataset_grants (id, dataset, "user", level)'
                        " select uuidv7(), d.id, $1, 'VIEW' from datasets d"
                        " where substring(d.name from '[0-9]+$')::int % 33 = 0",
                        row["id"],
                    )
                signed_in = await accounts.login(services, login=login, password=PASSWORD)
                tokens[name] = signed_in.access_token
            yield Application(Replica(services), spool=directory / "spool"), services.db, tokens


async def p50(application: Any, token: str, question: Question) -> float:
    call = Called(application, token, question.query, question.variables)
    await call.seconds(WARM_UP)
    return 1000 * statistics.median(await call.seconds(TIMES))


async def measure(large: Path, small: Path, only: str) -> bool:
    failed = False
    grids = {}
    async with laboratory(large) as (application, db, tokens):
        for question in questions(await filters(db)):
            if only not in question.name:
                continue
            limit = MOST_COUNTING_MS if question.counting else MOST_MS
            taken = {who: await p50(application, token, question) for who, token in tokens.items()}
            mark = "  <- too slow" if max(taken.values()) > limit else ""
            failed = failed or bool(mark)
            print(f"{question.name:60}", *(f"{each:8.1f}" for each in taken.values()), mark, flush=True)
            if question.name == "grid":
                grids = taken
    async with laboratory(small) as (application, db, tokens):
        for who, token in tokens.items():
            if who in grids:
                ratio = grids[who] / await p50(application, token, Question("grid", GRID, {}))
                print(f"grid, {who}: {ratio:.2f} times what it costs in the small one")
                failed = failed or ratio > MOST_RATIO
    return not failed


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("python bench/reads.py LARGE SMALL [ONLY THOSE NAMED SO]")
    observability.configure("error")
    passed = running.run(measure(Path(sys.argv[1]), Path(sys.argv[2]), "".join(sys.argv[3:4])))
    sys.exit(0 if passed else 1)
