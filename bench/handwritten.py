"""The same answers by hand: the token is read, PostgreSQL is asked, JSON is written. A floor."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import orjson
from questions import Q1, Q2, Q3, Q4, W1
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bioscope_gql.db import Database
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import accounts
from bioscope_gql.services import Services

Json = dict[str, Any]

MINE = """any(array(select id from datasets where owner = $1
  union all select dataset from dataset_grants where "user" = $1))"""

PICTURES = f"""
select i.id, i.filename, i.width, i.height, i.created_at, d.id as dataset, d.name as dataset_name,
  u.id as uploader, u.username, r.label, r.confidence
from images i join datasets d on d.id = i.dataset left join users u on u.id = i.uploaded_by
left join classification_results r on r.id = i.latest_result
where i.dataset = {MINE} order by i.created_at desc, i.id desc limit 51
"""
PICTURE = f"""
select i.id, i.filename, i.content_type, i.file_size, i.sha256, i.width, i.height, i.bit_depth, i.channels,
  i.frames, i.captured_at, i.created_at, i.metadata, i.file_metadata, d.id as dataset,
  d.name as dataset_name, v.id as device, v.name as device_name, u.id as uploader, u.username,
  r.id as result, r.label, r.confidence, r.scores
from images i join datasets d on d.id = i.dataset left join users u on u.id = i.uploaded_by
left join devices v on v.id = i.device left join classification_results r on r.id = i.latest_result
where i.id = $2 and i.dataset = {MINE}
"""
RESULTS = f"""
select id, label, confidence, model_name, model_version, created_at, count(*) over () as total
from classification_results where image = $2 and dataset = {MINE} order by created_at desc, id desc limit 20
"""
DATASETS = f"""
select d.id, d.name, d.description, d.created_at, u.id as owner, u.username, i.count, i.bytes, l.labels
from datasets d join users u on u.id = d.owner
left join lateral (select count(*) as count, sum(file_size)::bigint as bytes from images
  where dataset = d.id) i on true
left join lateral (select json_agg(json_build_object('label', label, 'count', count,
    'averageConfidence', average) order by count desc, label) as labels
  from (select latest_label as label, count(*) as count, avg(latest_confidence) as average from images
    where dataset = d.id and latest_label is not null group by 1) n) l on true
where d.id = {MINE} order by d.created_at desc, d.id desc limit 21
"""
ME = "select id, username, email, role from users where id = $1"
CHANGE = f"""
update datasets set description = $3, updated_at = clock_timestamp() where id = $2 and id = {MINE}
returning id, name, description
"""


def named(id: UUID | None, name: str) -> Json | None:
    return None if id is None else {"id": id, "name": name}


async def pictures(db: Database, viewer: Viewer, _said: Json) -> Json:
    rows = await db.rows(PICTURES, viewer.id)
    nodes = [
        {
            "id": row["id"], "filename": row["filename"], "width": row["width"], "height": row["height"],
            "createdAt": row["created_at"], "dataset": named(row["dataset"], row["dataset_name"]),
            "uploadedBy": named(row["uploader"], row["username"]),
            "latestResult": {"label": row["label"], "confidence": row["confidence"]},
        }
        for row in rows[:50]
    ]  # fmt: skip
    page = {"hasNextPage": len(rows) > 50, "endCursor": str(nodes[-1]["id"])}
    return {"images": {"nodes": nodes, "pageInfo": page}}


async def picture(db: Database, viewer: Viewer, said: Json) -> Json:
    id = UUID(said["id"])
    row = await db.row(PICTURE, viewer.id, id)
    if row is None:
        return {"image": None}
    results = await db.rows(RESULTS, viewer.id, id)
    shown = {
        "id": row["id"], "filename": row["filename"], "contentType": row["content_type"],
        "fileSize": row["file_size"], "sha256": row["sha256"], "width": row["width"],
        "height": row["height"], "bitDepth": row["bit_depth"], "channels": row["channels"],
        "frames": row["frames"], "capturedAt": row["captured_at"], "createdAt": row["created_at"],
        "metadata": orjson.Fragment(row["metadata"]), "fileMetadata": orjson.Fragment(row["file_metadata"]),
        "analyzed": row["result"] is not None, "dataset": named(row["dataset"], row["dataset_name"]),
        "device": named(row["device"], row["device_name"]),
        "uploadedBy": named(row["uploader"], row["username"]),
        "latestResult": {
            "id": row["result"], "label": row["label"], "confidence": row["confidence"],
            "scores": orjson.Fragment(row["scores"]),
        },
        "results": {
            "totalCount": results[0]["total"] if results else 0,
            "nodes": [
                {
                    "id": each["id"], "label": each["label"], "confidence": each["confidence"],
                    "modelName": each["model_name"], "modelVersion": each["model_version"],
                    "createdAt": each["created_at"],
                }
                for each in results
            ],
        },
    }  # fmt: skip
    return {"image": shown}


async def datasets(db: Database, viewer: Viewer, _said: Json) -> Json:
    rows = await db.rows(DATASETS, viewer.id)
    nodes = [
        {
            "id": row["id"], "name": row["name"], "description": row["description"],
            "createdAt": row["created_at"], "imageCount": row["count"], "totalBytes": row["bytes"] or 0,
            "owner": named(row["owner"], row["username"]),
            "labelCounts": orjson.Fragment(row["labels"] or "[]"),
        }
        for row in rows[:20]
    ]  # fmt: skip
    page = {"hasNextPage": len(rows) > 20, "endCursor": str(nodes[-1]["id"])}
    return {"datasets": {"nodes": nodes, "pageInfo": page}}


async def me(db: Database, viewer: Viewer, _said: Json) -> Json:
    row = await db.row(ME, viewer.id)
    return {"me": row and dict(row)}


async def change(db: Database, viewer: Viewer, said: Json) -> Json:
    row = await db.row(CHANGE, viewer.id, UUID(said["id"]), said["text"])
    return {"updateDataset": {"__typename": "Dataset", **row} if row else {"__typename": "NotFound"}}


HANDLERS: dict[str, Callable[[Database, Viewer, Json], Awaitable[Json]]] = {
    Q1: pictures,
    Q2: picture,
    Q3: datasets,
    Q4: me,
    W1: change,
}


class ByHand:
    """An ASGI application of five handlers; which one, the text of the query says."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        sent = orjson.loads(await request.body())
        viewer = await accounts.authenticate(self._services, request.headers.get("authorization"))
        if viewer is None:
            raise RuntimeError("The token is good for nobody.")
        answer = await HANDLERS[sent["query"]](self._services.db, viewer, sent["variables"])
        # asyncpg has a UUID of its own, which orjson does not know
        body = orjson.dumps({"data": answer}, default=str, option=orjson.OPT_UTC_Z)
        await Response(body, media_type="application/json")(scope, receive, send)
