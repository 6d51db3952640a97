"""A laboratory for tests: a real server, people who use it, and a worker to order about."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from argon2 import Parameters, Type
from argon2.profiles import RFC_9106_LOW_MEMORY
from PIL import Image
from websockets.asyncio.client import ClientConnection, connect

from bioscope_gql import services as services_module
from bioscope_gql import tables
from bioscope_gql.auth import keys
from bioscope_gql.auth.passwords import Passwords
from bioscope_gql.commands.serving import listen, served, url_of
from bioscope_gql.db import Database, Row
from bioscope_gql.replica import Replica
from bioscope_gql.resolvers import accounts
from bioscope_gql.services import Services
from bioscope_gql.settings import S3, App, Kafka, KafkaTopics, Limits, Settings
from bioscope_gql.storage.blobs import image_key
from bioscope_gql.vocabulary import Role, uuid7
from tests.clients import a_client
from tests.lab_documents import RUN, UPLOAD, WATCH
from tests.lab_worker import MODEL, TestWorker

Json = dict[str, Any]

PATIENCE_SECONDS = 20.0
PARTITIONS = 3
CHEAP = Parameters(
    type=Type.ID,
    version=RFC_9106_LOW_MEMORY.version,
    salt_len=16,
    hash_len=32,
    time_cost=1,
    memory_cost=64,
    parallelism=1,
)
"""Hashing as it is, but quick: what it costs has tests of its own."""

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Place:
    """A database, a broker and a folder that one test has for itself; `name` is part of its topics' names.

    `s3` is a bucket to keep pictures in instead of the folder; not `embedded`, the broker is a real Kafka.
    """

    dsn: str
    bootstrap_servers: str
    folder: Path
    name: str
    s3: S3 | None = None
    embedded: bool = True

    @property
    def store_variables(self) -> dict[str, str]:
        """Where the pictures are, for a command of its own."""
        if self.s3 is None or self.s3.secret_key is None:
            return {"BIOSCOPE_S3__DIRECTORY": str(self.folder / "files")}
        found = self.s3.model_dump(include={"endpoint", "access_key", "bucket"})
        secret = self.s3.secret_key.get_secret_value()
        return {
            f"BIOSCOPE_S3__{name.upper()}": value for name, value in (found | {"secret_key": secret}).items()
        }

    def settings(self, *, limits: Mapping[str, Any] | None = None, **app: Any) -> Settings:
        """Of an embedded stack or of real services, with topics and groups that nobody else has."""
        topics = KafkaTopics(
            jobs=f"{self.name}.jobs",
            results=f"{self.name}.results",
            dead_letters=f"{self.name}.dead",
            workers=f"{self.name}.workers",
            signals=f"{self.name}.signals",
        )
        settings = Settings(
            app=App(port=0, **app),
            kafka=Kafka(topics=topics, consumer_group=self.name),
            limits=Limits(**(limits or {})),
        )
        settings = settings.embedded(
            dsn=self.dsn, bootstrap_servers=self.bootstrap_servers, data_dir=self.folder
        )
        kafka = {"create_topics": not self.embedded, "topic_partitions": PARTITIONS}
        return settings.model_copy(
            update={"kafka": settings.kafka.model_copy(update=kafka), "s3": self.s3 or settings.s3}
        )


class Refused(Exception):
    """Top-level errors came."""

    def __init__(self, status: int, errors: Sequence[Json]) -> None:
        super().__init__(json.dumps([status, *errors]))
        self.status, self.errors = status, errors

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.errors]


@dataclass
class Person:
    """Somebody with an account, or nobody (without a token)."""

    lab: "Lab"
    username: str = ""
    token: str | None = None
    id: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    async def send(self, query: str, **variables: Any) -> httpx.Response:
        body = {"query": query, "variables": variables}
        return await self.lab.http.post("/graphql", json=body, headers=self.headers)

    async def ask(self, query: str, **variables: Any) -> Any:
        """The data of an operation; with one root field, what that holds."""
        return unwrapped(await self.send(query, **variables))

    def at(self, lab: "Lab") -> "Person":
        """The same person at another replica."""
        return replace(self, lab=lab)

    async def a_dataset(self, name: str = "smears") -> str:
        made = await self.ask(
            "mutation ($name: String!) { createDataset(input: {name: $name}) { ... on Dataset { id } } }",
            name=name,
        )
        id: str = made["id"]
        return id

    async def post_files(
        self, query: str, files: Sequence[tuple[str, bytes]], **variables: Any
    ) -> httpx.Response:
        """A multipart request; the files become the variable `files`."""
        operations = {"query": query, "variables": {**variables, "files": [None] * len(files)}}
        places = {str(place): [f"variables.files.{place}"] for place in range(len(files))}
        return await self.lab.http.post(
            "/graphql",
            data={"operations": json.dumps(operations), "map": json.dumps(places)},
            files=[(str(place), file) for place, file in enumerate(files)],
            headers={**self.headers, "graphql-require-preflight": "1"},
        )

    async def upload(self, dataset: str, files: Sequence[tuple[str, bytes]], **more: Any) -> Any:
        return unwrapped(await self.post_files(UPLOAD, files, dataset=dataset, **more))

    async def images(self, dataset: str, count: int) -> list[str]:
        """The ids of so many new pictures in a dataset, straight into the tables and the store."""
        return await self.lab.pictures(dataset, self.id, count)

    async def run(self, **run_input: Any) -> Any:
        return await self.ask(RUN, input=run_input)

    async def run_over(self, dataset: str) -> str:
        run = await self.run(target={"datasetId": dataset})
        assert run["__typename"] == "Classification", run
        id: str = run["id"]
        return id

    async def watch(self, run: str, after: str | None = None) -> AsyncGenerator[Json, None]:
        """The updates of a run, over a socket of its own, until it completes."""
        async with self.socket() as socket:
            payload = {"query": WATCH, "variables": {"id": run, "after": after}}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "complete":
                    return
                if message["type"] == "error":
                    raise Refused(0, message["payload"])
                if message["type"] == "next" and message["payload"].get("errors"):
                    raise Refused(0, message["payload"]["errors"])
                if message["type"] == "next":
                    yield message["payload"]["data"]["classificationUpdated"]

    async def finished(self, run: str) -> Json:
        """The last update of a run, once it has ended."""
        last: Json = {}
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for update in self.watch(run):
                last = update
        return last

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[ClientConnection]:
        address = self.lab.url.replace("http", "ws") + "/graphql"
        async with connect(address, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
            payload = {"authorization": f"Bearer {self.token}"} if self.token else {}
            await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            yield socket


def unwrapped(response: httpx.Response) -> Any:
    body = response.json()
    if body.get("errors"):
        raise Refused(response.status_code, body["errors"])
    data = body["data"]
    return next(iter(data.values())) if len(data) == 1 else data


def a_picture(number: int = 0, size: tuple[int, int] = (32, 24)) -> bytes:
    """A small PNG; another one for every number."""
    out = io.BytesIO()
    image = Image.new("RGB", size, (number % 256, number // 256 % 256, 90))
    image.save(out, "PNG")
    return out.getvalue()


@dataclass
class Lab:
    """A server that runs, and what a test orders about around it."""

    place: Place
    replica: Replica
    services: Services
    http: httpx.AsyncClient
    url: str
    people: int = 0

    @property
    def db(self) -> Database:
        return self.services.db

    @property
    def nobody(self) -> Person:
        return Person(self)

    async def a_user(self) -> Person:
        return await self._person(Role.USER)

    async def an_analyst(self) -> Person:
        return await self._person(Role.ANALYST)

    async def an_admin(self) -> Person:
        return await self._person(Role.ADMIN)

    async def _person(self, role: Role) -> Person:
        self.people += 1
        username = f"{role.value.lower()}{self.people}"
        row = await accounts.create(
            self.services, email=f"{username}@lab.example", username=username, password=PASSWORD, role=role
        )
        person = Person(self, username)
        signed_in = await person.ask(
            "mutation ($login: String!, $password: String!) {"
            " login(input: {login: $login, password: $password}) { ... on AuthTokens { accessToken } } }",
            login=username,
            password=PASSWORD,
        )
        return Person(self, username, signed_in["accessToken"], str(row["id"]))

    def with_services(self, **changes: Any) -> Services:
        return replace(self.services, **changes)

    @asynccontextmanager
    async def another_replica(self) -> AsyncIterator["Lab"]:
        """One more server on the same database, signals and store.

        It reads no results: two members of one group in one process are too much for the embedded broker.
        """
        settings = self.services.settings
        topics = settings.kafka.topics.model_copy(
            update={"results": f"{self.place.name}.unused", "workers": f"{self.place.name}.unheard"}
        )
        kafka = settings.kafka.model_copy(update={"topics": topics, "consumer_group": "another"})
        async with a_lab(self.place, settings.model_copy(update={"kafka": kafka})) as other:
            yield other

    async def grant(self, dataset: str, person: Person, level: str) -> None:
        """Access to a dataset, as its owner would give it."""
        await self.db.execute(
            'insert into dataset_grants (id, dataset, "user", level) values ($1, $2, $3, $4)'
            ' on conflict (dataset, "user") do update set level = excluded.level',
            uuid7(), UUID(dataset), UUID(person.id), level,
        )  # fmt: skip

    async def pictures(self, dataset: str, owner: str, count: int) -> list[str]:
        """Rows with small bytes in the store, as an upload leaves them, without what the intake costs."""
        ids, whose = [uuid7() for _ in range(count)], (UUID(dataset), UUID(owner))
        rows = []
        for number, id in enumerate(ids):
            data = f"picture {id}".encode()
            key = image_key(UUID(dataset), id)
            await self.services.store.put(key, data, content_type="image/png", sha256=None)
            digest = hashlib.sha256(data).hexdigest()
            rows.append((id, f"{number}.png", "image/png", len(data), digest, key, 8, 8, 8, 3, 1, *whose))
        await self.db.pool.copy_records_to_table(
            "images",
            records=rows,
            columns=[
                "id", "filename", "content_type", "file_size", "sha256", "storage_path", "width", "height",
                "bit_depth", "channels", "frames", "dataset", "uploaded_by",
            ],
        )  # fmt: skip
        return [str(id) for id in ids]

    @asynccontextmanager
    async def a_worker(self, **model: Any) -> AsyncIterator[TestWorker]:
        """A worker that has announced itself, and that answers what the test tells it to."""
        async with TestWorker.opened(
            self, {**MODEL, "labels": ["dark", "bright"], "contentTypes": [], **model}
        ) as w:
            yield w

    async def dispatched(self, count: int) -> list[Row]:
        """The items in flight, once there are so many."""
        await self.until(
            "select count(*) >= $1 from classification_items where lease_until is not null", count
        )
        return await self.db.rows("select * from classification_items where lease_until is not null")

    async def until(self, sql: str, *args: Any) -> None:
        """Wait until a statement gives something true. The database has no bell to wait for."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.db.value(sql, *args):
                await asyncio.sleep(0.01)

    async def count(self, table: str) -> int:
        found: int = await self.db.value(f"select count(*) from {table}")
        return found

    async def dump(self) -> dict[str, list[Any]]:
        """All that is stored, to be compared before and after: a refusal changes nothing."""
        found = {}
        for table in tables.ALL:
            if table is tables.RateLimit:  # refusals count too
                continue
            # A refused sign-in leaves its trace, and nothing else.
            but = "where action <> 'login.refused'" if table is tables.AuditEvent else ""
            rows = await self.db.rows(f"select t::text from {table._meta.tablename} t {but} order by t.id")
            found[table._meta.tablename] = [row[0] for row in rows]
        found["files"] = [blob.key async for blob in self.services.store.list("")]
        return found


@asynccontextmanager
async def services_of(place: Place) -> AsyncIterator[Services]:
    """What resolvers work with, and no server around it."""
    keys.generate(place.folder / "keys")
    async with services_module.opened(place.settings().at("http://127.0.0.1")) as opened:
        yield replace(opened, passwords=Passwords(CHEAP, at_once=4))


@asynccontextmanager
async def a_lab(
    place: Place, settings: Settings | None = None, *, connected: bool = True
) -> AsyncIterator[Lab]:
    """A server on a free port of loopback, in this process; unless told otherwise once it has found Kafka."""
    settings = settings or place.settings()
    keys.generate(place.folder / "keys")
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(listen(settings))
        url = url_of(listening)
        opened = await stack.enter_async_context(services_module.opened(settings.at(url)))
        services = replace(opened, passwords=Passwords(CHEAP, at_once=4))
        replica = await stack.enter_async_context(
            served(services, listening, spool=place.folder / "spool", development=place.embedded)
        )
        keeps_none = DefaultCookiePolicy(allowed_domains=[])  # one client stands for many people
        http = await stack.enter_async_context(
            a_client(base_url=url, timeout=PATIENCE_SECONDS, cookies=CookieJar(keeps_none))
        )
        if connected:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await replica.broker.connected.wait()
        yield Lab(place, replica, services, http, url)
