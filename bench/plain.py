"""The same answers as Strawberry's documentation would have one write it.

Types with their fields, a DataLoader for each edge, Strawberry's own ASGI application, its caches
of parsed and of validated documents; the same tables, the same driver, the same token.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
import strawberry
from handwritten import MINE
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig

from bioscope_gql.db import Database, Row
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import accounts
from bioscope_gql.services import Services

BigInt = strawberry.scalar(int, name="BigInt", serialize=int, parse_value=int)


class Loaders:
    """One for each edge, made anew for each request."""

    def __init__(self, db: Database, viewer: Viewer) -> None:
        self.db, self.viewer = db, viewer
        these = "id = any($2::uuid[])"
        self.datasets = DataLoader(self._by_id(f"select * from datasets where {these} and id = {MINE}"))
        self.users = DataLoader(
            self._by_id("select * from users where id = any($2::uuid[]) and $1::uuid is not null")
        )
        self.devices = DataLoader(
            self._by_id("select * from devices where id = any($2::uuid[]) and $1::uuid is not null")
        )
        self.latest = DataLoader(
            self._by_id(
                f"select * from classification_results where id = any($2::uuid[]) and dataset = {MINE}"
            )
        )
        self.results = DataLoader(self._results)
        self.result_counts = DataLoader(self._result_counts)
        self.figures = DataLoader(self._figures)
        self.labels = DataLoader(self._labels)

    def _by_id(self, sql: str) -> Any:
        async def load(ids: list[UUID]) -> list[Row | None]:
            found = {row["id"]: row for row in await self.db.rows(sql, self.viewer.id, ids)}
            return [found.get(id) for id in ids]

        return load

    async def _grouped(self, sql: str, ids: list[UUID]) -> dict[UUID, list[Row]]:
        found: dict[UUID, list[Row]] = {id: [] for id in ids}
        for row in await self.db.rows(sql, self.viewer.id, ids):
            found[row["parent"]].append(row)
        return found

    async def _results(self, images: list[UUID]) -> list[list[Row]]:
        sql = (
            "select r.*, r.image as parent from unnest($2::uuid[]) as p(id) cross join lateral (select * from"
            f" classification_results where image = p.id and dataset = {MINE}"
            " order by created_at desc, id desc limit 20) r"
        )
        found = await self._grouped(sql, images)
        return [found[image] for image in images]

    async def _result_counts(self, images: list[UUID]) -> list[int]:
        sql = (
            "select image as parent, count(*) as count from classification_results"
            f" where image = any($2::uuid[]) and dataset = {MINE} group by 1"
        )
        found = await self._grouped(sql, images)
        return [found[image][0]["count"] if found[image] else 0 for image in images]

    async def _figures(self, datasets: list[UUID]) -> list[Row | None]:
        sql = (
            "select dataset as parent, count(*) as count, sum(file_size)::bigint as bytes from images"
            f" where dataset = any($2::uuid[]) and dataset = {MINE} group by 1"
        )
        found = await self._grouped(sql, datasets)
        return [found[id][0] if found[id] else None for id in datasets]

    async def _labels(self, datasets: list[UUID]) -> list[list[Row]]:
        sql = (
            "select dataset as parent, latest_label as label, count(*) as count,"
            " avg(latest_confidence) as average from images where dataset = any($2::uuid[])"
            f" and latest_label is not null and dataset = {MINE} group by 1, 2 order by 3 desc, 2"
        )
        found = await self._grouped(sql, datasets)
        return [found[id] for id in datasets]


Info = strawberry.Info[dict[str, Any], None]


def loaders(info: Info) -> Loaders:
    found: Loaders = info.context["loaders"]
    return found


@strawberry.type
class User:
    id: strawberry.ID
    username: str
    name: str
    email: str
    role: str

    @classmethod
    def of(cls, row: Row) -> "User":
        return cls(
            id=strawberry.ID(str(row["id"])), username=row["username"], name=row["username"],
            email=row["email"], role=row["role"],
        )  # fmt: skip


@strawberry.type
class Device:
    id: strawberry.ID
    name: str


@strawberry.type
class LabelCount:
    label: str
    count: int
    average_confidence: float


@strawberry.type
class Dataset:
    id: strawberry.ID
    name: str
    description: str | None
    created_at: datetime
    owner_id: strawberry.Private[UUID]

    @classmethod
    def of(cls, row: Row) -> "Dataset":
        return cls(
            id=strawberry.ID(str(row["id"])), name=row["name"], description=row["description"],
            created_at=row["created_at"], owner_id=row["owner"],
        )  # fmt: skip

    @strawberry.field
    async def owner(self, info: Info) -> User:
        return User.of(await loaders(info).users.load(self.owner_id))

    @strawberry.field
    async def image_count(self, info: Info) -> int:
        row = await loaders(info).figures.load(UUID(self.id))
        return row["count"] if row else 0

    @strawberry.field
    async def total_bytes(self, info: Info) -> BigInt:  # type: ignore[valid-type]
        row = await loaders(info).figures.load(UUID(self.id))
        return row["bytes"] if row else 0

    @strawberry.field
    async def label_counts(self, info: Info) -> list[LabelCount]:
        rows = await loaders(info).labels.load(UUID(self.id))
        return [LabelCount(label=r["label"], count=r["count"], average_confidence=r["average"]) for r in rows]


@strawberry.type
class Score:
    label: str
    confidence: float


@strawberry.type
class Result:
    id: strawberry.ID
    label: str
    confidence: float
    model_name: str
    model_version: str
    created_at: datetime
    scores_json: strawberry.Private[str]

    @classmethod
    def of(cls, row: Row) -> "Result":
        return cls(
            id=strawberry.ID(str(row["id"])), label=row["label"], confidence=row["confidence"],
            model_name=row["model_name"], model_version=row["model_version"], created_at=row["created_at"],
            scores_json=row["scores"],
        )  # fmt: skip

    @strawberry.field
    def scores(self) -> list[Score]:
        return [Score(**score) for score in orjson.loads(self.scores_json)]


@strawberry.type
class PageInfo:
    has_next_page: bool
    end_cursor: str | None


@strawberry.type
class ResultConnection:
    image: strawberry.Private[UUID]

    @strawberry.field
    async def nodes(self, info: Info) -> list[Result]:
        return [Result.of(row) for row in await loaders(info).results.load(self.image)]

    @strawberry.field
    async def total_count(self, info: Info) -> int:
        return await loaders(info).result_counts.load(self.image)


@strawberry.type
class Image:
    id: strawberry.ID
    filename: str
    content_type: str
    file_size: BigInt  # type: ignore[valid-type]
    sha256: str
    width: int
    height: int
    bit_depth: int
    channels: int
    frames: int
    captured_at: datetime | None
    created_at: datetime
    metadata: JSON
    file_metadata: JSON
    row: strawberry.Private[Row]

    @classmethod
    def of(cls, row: Row) -> "Image":
        return cls(
            id=strawberry.ID(str(row["id"])), filename=row["filename"], content_type=row["content_type"],
            file_size=row["file_size"], sha256=row["sha256"], width=row["width"], height=row["height"],
            bit_depth=row["bit_depth"], channels=row["channels"], frames=row["frames"],
            captured_at=row["captured_at"], created_at=row["created_at"],
            metadata=JSON(orjson.Fragment(row["metadata"])),
            file_metadata=JSON(orjson.Fragment(row["file_metadata"])), row=row,
        )  # fmt: skip

    @strawberry.field
    def analyzed(self) -> bool:
        return self.row["latest_result"] is not None

    @strawberry.field
    async def dataset(self, info: Info) -> Dataset:
        return Dataset.of(await loaders(info).datasets.load(self.row["dataset"]))

    @strawberry.field
    async def device(self, info: Info) -> Device | None:
        if self.row["device"] is None:
            return None
        row = await loaders(info).devices.load(self.row["device"])
        return Device(id=strawberry.ID(str(row["id"])), name=row["name"])

    @strawberry.field
    async def uploaded_by(self, info: Info) -> User | None:
        if self.row["uploaded_by"] is None:
            return None
        return User.of(await loaders(info).users.load(self.row["uploaded_by"]))

    @strawberry.field
    async def latest_result(self, info: Info) -> Result | None:
        if self.row["latest_result"] is None:
            return None
        return Result.of(await loaders(info).latest.load(self.row["latest_result"]))

    @strawberry.field
    def results(self, first: int = 20) -> ResultConnection:  # noqa: ARG002 - the page is one of 20
        return ResultConnection(image=self.row["id"])


@strawberry.type
class ImageConnection:
    nodes: list[Image]
    page_info: PageInfo


@strawberry.type
class DatasetConnection:
    nodes: list[Dataset]
    page_info: PageInfo


def page(rows: Sequence[Row], first: int) -> PageInfo:
    last = rows[min(first, len(rows)) - 1]
    cursor = base64.urlsafe_b64encode(f"{last['created_at'].isoformat()} {last['id']}".encode()).decode()
    return PageInfo(has_next_page=len(rows) > first, end_cursor=cursor)


@strawberry.type
class Query:
    @strawberry.field
    async def images(self, info: Info, first: int = 20) -> ImageConnection:
        mine = loaders(info)
        rows = await mine.db.rows(
            f"select * from images where dataset = {MINE} order by created_at desc, id desc limit $2",
            mine.viewer.id, first + 1,
        )  # fmt: skip
        return ImageConnection(nodes=[Image.of(row) for row in rows[:first]], page_info=page(rows, first))

    @strawberry.field
    async def image(self, info: Info, id: strawberry.ID) -> Image | None:
        mine = loaders(info)
        row = await mine.db.row(
            f"select * from images where id = $2 and dataset = {MINE}", mine.viewer.id, UUID(id)
        )
        return None if row is None else Image.of(row)

    @strawberry.field
    async def datasets(self, info: Info, first: int = 20) -> DatasetConnection:
        mine = loaders(info)
        rows = await mine.db.rows(
            f"select * from datasets where id = {MINE} order by created_at desc, id desc limit $2",
            mine.viewer.id, first + 1,
        )  # fmt: skip
        return DatasetConnection(nodes=[Dataset.of(row) for row in rows[:first]], page_info=page(rows, first))

    @strawberry.field
    async def me(self, info: Info) -> User | None:
        mine = loaders(info)
        row = await mine.db.row("select * from users where id = $1", mine.viewer.id)
        return None if row is None else User.of(row)


@strawberry.type
class NotFound:
    message: str


@strawberry.input
class UpdateDatasetInput:
    id: strawberry.ID
    description: str | None


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def update_dataset(
        self, info: Info, input: UpdateDatasetInput
    ) -> Annotated[Dataset | NotFound, strawberry.union("DatasetResult")]:
        mine = loaders(info)
        row = await mine.db.row(
            "update datasets set description = $3, updated_at = clock_timestamp()"
            f" where id = $2 and id = {MINE} returning *",
            mine.viewer.id, UUID(input.id), input.description,
        )  # fmt: skip
        return NotFound(message="There is no such dataset.") if row is None else Dataset.of(row)


class PlainStrawberry(GraphQL[dict[str, Any], None]):
    """Strawberry's own application over this schema."""

    def __init__(self, services: Services) -> None:
        self._services = services
        schema = strawberry.Schema(
            Query, Mutation, extensions=[ParserCache, ValidationCache], config=StrawberryConfig()
        )
        super().__init__(schema)

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> dict[str, Any]:
        viewer = await accounts.authenticate(self._services, request.headers.get("authorization"))
        if viewer is None:
            raise RuntimeError("The token is good for nobody.")
        return {"request": request, "response": response, "loaders": Loaders(self._services.db, viewer)}

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)
