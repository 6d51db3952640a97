"""What the nested list of 50 pictures costs the server, beside a hand-written handler of the same answer.

CPU time of the serving process per request, both measured in this run over the same tables:
the GraphQL endpoint with everything (token, limits, visibility, DataLoaders), and a Starlette handler that
reads the token, asks PostgreSQL once and writes the JSON. Then what it costs to know who asks and to show no
more than they may see, beyond the reads themselves.

    python bench/queries.py [REQUESTS]
"""

import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bioscope_gql import observability
from bioscope_gql.app import Application
from bioscope_gql.auth import keys
from bioscope_gql.commands import running
from bioscope_gql.embedded.stack import Stack
from bioscope_gql.migrations import forwards
from bioscope_gql.policy import Viewer
from bioscope_gql.replica import Replica
from bioscope_gql.resolvers import accounts, datasets, image_lists, paging
from bioscope_gql.services import Services, opened
from bioscope_gql.settings import App, Settings
from bioscope_gql.vocabulary import Role, uuid7

PICTURES = 50
WARM_UP = 50
QUERY = """
{ images(first: 50) { nodes {
  id filename width height createdAt
  dataset { id name } uploadedBy { id name } latestResult { label confidence }
} pageInfo { hasNextPage endCursor } } }
"""
SQL = """
select i.id, i.filename, i.width, i.height, i.created_at, d.id as dataset, d.name as dataset_name,
  u.id as uploader, u.username, r.label, r.confidence
from images i join datasets d on d.id = i.dataset left join users u on u.id = i.uploaded_by
left join lateral (select label, confidence from classification_results r where r.image = i.id
  order by created_at desc, id desc limit 1) r on true
where i.dataset = any(array(select id from datasets where owner = $1
  union all select dataset from dataset_grants where "user" = $1))
order by i.created_at desc, i.id desc limit 51
"""


class ByHand:
    """The same answer with nothing in between: a floor."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await request.body()
        viewer = await accounts.authenticate(self._services, request.headers.get("authorization"))
        rows = await self._services.db.rows(SQL, viewer.id if viewer else None)
        nodes = [
            {
                "id": str(row["id"]), "filename": row["filename"], "width": row["width"],
                "height": row["height"], "createdAt": row["created_at"],
                "dataset": {"id": str(row["dataset"]), "name": row["dataset_name"]},
                "uploadedBy": {"id": str(row["uploader"]), "name": row["username"]},
                "latestResult": {"label": row["label"], "confidence": row["confidence"]},
            }
            for row in rows[:50]
        ]  # fmt: skip
        page = {"hasNextPage": len(rows) > 50, "endCursor": nodes[-1]["id"]}
        body = orjson.dumps({"data": {"images": {"nodes": nodes, "pageInfo": page}}})
        await Response(body, media_type="application/json")(scope, receive, send)


async def measure(requests: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bioscope-bench-", dir="/tmp") as folder:
        data = Path(folder)
        async with Stack(data, {"unused": 1}, durable=False) as stack:
            await forwards(stack.dsn)
            keys.generate(data / "keys")
            settings = (
                Settings(app=App(log_level="error"))
                .embedded(dsn=stack.dsn, bootstrap_servers=stack.bootstrap_servers, data_dir=data)
                .at("http://127.0.0.1")
            )
            async with opened(settings) as services:
                token = await _filled(services)
                await _compare(services, token, requests, data)


async def _compare(services: Services, token: str, requests: int, data: Path) -> None:
    application: Any = Application(Replica(services), spool=data / "spool")
    ours = await _cost(application, token, requests)
    floor = await _cost(ByHand(services), token, requests)
    print(f"GraphQL, {PICTURES} pictures nested   {ours:6.2f} ms CPU per request")
    print(f"the same by hand             {floor:6.2f} ms CPU per request")
    print(f"ratio                        {ours / floor:6.1f}")
    await _rights(services, token, 10 * requests)


async def _rights(services: Services, token: str, times: int) -> None:
    """What it costs to know who asks and to show no more than they may see, beyond the reads themselves."""
    header = f"Bearer {token}"
    viewer = await accounts.authenticate(services, header)
    if viewer is None:
        raise RuntimeError("The token is good for nobody.")
    everybody = replace(viewer, role=Role.ADMIN)
    asked = paging.wish(50)
    read = partial(services.db.row, accounts.AUTHENTICATE, viewer.session, viewer.id)
    costs = await _medians(
        times,
        read,
        partial(accounts.authenticate, services, header),
        partial(paging.root_page, services.db, everybody, image_lists.LISTING, asked),
        partial(paging.root_page, services.db, viewer, image_lists.LISTING, asked),
    )
    bare, known, unnarrowed, narrowed = costs
    print(f"the read of who asks         {bare:6.3f} ms")
    print(f"authentication beyond it     {known - bare:6.3f} ms")
    print(f"a list of 50 for an admin    {unnarrowed:6.3f} ms")
    print(f"visibility beyond it         {narrowed - unnarrowed:6.3f} ms")
    print(f"rights beyond the one read   {known - bare + narrowed - unnarrowed:6.3f} ms per request")


async def _medians(times: int, *calls: Callable[[], Awaitable[object]]) -> list[float]:
    """Milliseconds that each takes, PostgreSQL's part included; in turns, so that noise meets all alike."""
    took: list[list[float]] = [[] for _ in calls]
    for turn in range(WARM_UP + times):
        for call, times_taken in zip(calls, took, strict=True):
            began = time.perf_counter()
            await call()
            if turn >= WARM_UP:
                times_taken.append(1000 * (time.perf_counter() - began))
    return [median(each) for each in took]


async def _filled(services: Services) -> str:
    """50 pictures with results, and the token of their owner."""
    row = await accounts.create(
        services, email="b@lab.example", username="bench", password="long enough for it", role=Role.ANALYST
    )
    viewer = Viewer(id=row["id"], role=Role.ANALYST)
    dataset = await datasets.create(services, viewer, name="bench", description=None)
    await _rows(services, dataset["id"], viewer.id)
    signed_in = await accounts.login(services, login="bench", password="long enough for it")
    return signed_in.access_token


async def _rows(services: Services, dataset: UUID, owner: UUID) -> None:
    db, model, run = services.db, uuid7(), uuid7()
    await db.execute("insert into models (id, name, version) values ($1, 'm', '1')", model)
    await db.execute(
        "insert into images (id, filename, content_type, file_size, sha256, storage_path, width, height,"
        " bit_depth, channels, frames, dataset, uploaded_by) select uuidv7(), n || '.png', 'image/png', 1,"
        " lpad(to_hex(n), 64, '0'), 'x', 640, 480, 8, 3, 1, $1, $2 from generate_series(1, $3::int) n",
        dataset, owner, PICTURES,
    )  # fmt: skip
    await db.execute(
        "insert into classifications (id, dataset, model, model_name, model_version, total, queued,"
        " succeeded, finished_at) values ($1, $2, $3, 'm', '1', $4::int, 0, $4, now())",
        run, dataset, model, PICTURES,
    )  # fmt: skip
    await db.execute(
        "with items as (insert into classification_items (id, classification, image, model, status)"
        " select uuidv7(), $1, id, $2, 'SUCCEEDED' from images returning id, image)"
        " insert into classification_results (id, item, classification, image, dataset, label, confidence,"
        " scores, model_name, model_version)"
        " select uuidv7(), id, $1, image, $3, 'neutrophil', 0.9, '[]', 'm', '1' from items",
        run, model, dataset,
    )  # fmt: skip
    await db.execute("analyze")


async def _cost(application: Any, token: str, requests: int) -> float:
    """Milliseconds of this process's CPU for each request, in process: no client's sockets are counted."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    body = orjson.dumps({"query": QUERY})
    ask = _Called(application, headers, body)
    for _ in range(WARM_UP):
        await ask()
    began = time.process_time()
    for _ in range(requests):
        await ask()
    return 1000 * (time.process_time() - began) / requests


class _Called:
    """One request straight into an ASGI application; the answer is thrown away once it is whole."""

    def __init__(self, application: Any, headers: dict[str, str], body: bytes) -> None:
        self._application, self._body = application, body
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._headers = [*raw, (b"content-length", str(len(body)).encode()), (b"host", b"127.0.0.1")]

    async def __call__(self) -> None:
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self._body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
            "scheme": "http", "path": "/graphql", "raw_path": b"/graphql", "query_string": b"",
            "root_path": "", "headers": list(self._headers), "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1), "state": {},
        }  # fmt: skip
        await self._application(scope, receive, send)
        if status != 200:
            raise RuntimeError(f"It answered {status}.")


if __name__ == "__main__":
    observability.configure("error")
    running.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
