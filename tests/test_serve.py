"""`bioscope serve` as a process, on servers that others run: how it starts, bears faults and stops."""

import asyncio
import itertools
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bioscope_gql import migrations
from bioscope_gql.commands.serving import FINISH_SECONDS
from tests.conftest import Services
from tests.folders import a_folder
from tests.grounds import a_ground, variables
from tests.lab import Place, a_picture
from tests.lab_documents import RUN, UPLOAD
from tests.processes import LIMIT_SECONDS, Server, bioscope, serving

pytestmark = pytest.mark.timeout(180)

NUMBERS = itertools.count()
A_DATASET = 'mutation { createDataset(input: {name: "smears"}) { ... on Dataset { id } } }'
IMAGE_COUNT = "query ($id: ID!) { dataset(id: $id) { imageCount } }"
ME = "{ me { username } }"
WATCH = "subscription ($id: ID!) { classificationUpdated(id: $id) { cursor } }"
MODEL = {"name": "teller", "version": "1.0.0"}
PARTS = {"database": "ok", "kafka": "ok", "store": "ok", "dispatch": "ok", "results": "ok"}


@pytest.fixture
async def empty(shared: Services, place: Place) -> AsyncIterator[Place]:
    """A place whose database was never migrated."""
    name = f"new_{os.getpid()}_{next(NUMBERS)}"
    admin = await asyncpg.connect(shared.dsn_of("postgres"))
    try:
        await admin.execute(f"create database {name} template template0")
        yield Place(shared.dsn_of(name), place.bootstrap_servers, place.folder, name, embedded=place.embedded)
        await admin.execute(f"drop database {name} with (force)")
    finally:
        await admin.close()


@asynccontextmanager
async def a_watcher(server: Server, run: str, token: str) -> AsyncIterator[ClientConnection]:
    """A socket with a subscription to a run, which was told its state."""
    address = server.url.replace("http", "ws") + "/graphql"
    async with connect(address, subprotocols=["graphql-transport-ws"]) as opened:  # type: ignore[list-item]
        payload = {"authorization": f"Bearer {token}"}
        await opened.send(json.dumps({"type": "connection_init", "payload": payload}))
        assert json.loads(await opened.recv())["type"] == "connection_ack"
        watch = {"query": WATCH, "variables": {"id": run}}
        await opened.send(json.dumps({"id": "1", "type": "subscribe", "payload": watch}))
        assert json.loads(await opened.recv())["type"] == "next"
        yield opened


async def execute(place: Place, sql: str) -> str:
    """What PostgreSQL says it did."""
    connection = await asyncpg.connect(place.dsn)
    try:
        return await connection.execute(sql)
    finally:
        await connection.close()


async def close_code(opened: ClientConnection) -> int | None:
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                await opened.recv()
    except ConnectionClosed:
        return opened.close_code


class HalfUpload:
    """A multipart request on a connection of its own, of which one half was sent."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, second_half: bytes
    ) -> None:
        self._reader, self._writer, self._second_half = reader, writer, second_half

    @classmethod
    @asynccontextmanager
    async def begun(cls, server: Server, dataset: str, token: str) -> AsyncIterator["HalfUpload"]:
        operations = json.dumps({"query": UPLOAD, "variables": {"dataset": dataset, "files": [None]}})
        named = [("operations", operations), ("map", '{"0": ["variables.files.0"]}')]
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in named
        ]
        head = '--b\r\nContent-Disposition: form-data; name="0"; filename="smear.png"\r\n\r\n'
        picture = a_picture(1)
        body = "".join([*parts, head]).encode() + picture + b"\r\n--b--\r\n"
        half = len(body) - len(picture)
        where = urlsplit(server.url)
        headers = [
            "POST /graphql HTTP/1.1",
            f"host: {where.netloc}",
            "content-type: multipart/form-data; boundary=b",
            f"content-length: {len(body)}",
            f"authorization: Bearer {token}",
            "graphql-require-preflight: 1",
            "connection: close",
        ]
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write("\r\n".join([*headers, "", ""]).encode() + body[:half])
        await writer.drain()
        try:
            yield cls(reader, writer, body[half:])
        finally:
            writer.close()

    async def go_on(self) -> None:
        self._writer.write(self._second_half)
        await self._writer.drain()

    async def answer(self) -> tuple[str, str]:
        """Status line and body; both empty if the server hung up."""
        async with asyncio.timeout(LIMIT_SECONDS):
            text = (await self._reader.read()).decode()
        return text.partition("\r\n")[0], text.partition("\r\n\r\n")[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_answers_and_a_signal_ends_it_in_good_order(place: Place, number: signal.Signals) -> None:
    async with serving(place.folder, "serve", **variables(place)) as server:
        assert await server.until_health("ok") == PARTS
        assert (await server.get("/health/ready")).json() == {"status": "ready"}
        token = await server.register()
        assert await server.ask(ME, token) == {"username": "clara"}

        assert await server.stop(number) == 0
        assert '"level": "error"' not in server.log.read_text()


async def test_serve_refuses_a_database_that_was_not_migrated_and_leaves_it_alone(empty: Place) -> None:
    done = await bioscope(empty.folder, "serve", "--port", "0", **variables(empty))

    assert (done.code, done.out) == (78, "")
    lacking = len(migrations.known())
    assert done.said == [
        f"The database lacks {lacking} migrations: run `bioscope migrate`, or serve with --migrate."
    ]
    assert await migrations.missing(empty.dsn) == migrations.known()


async def test_two_replicas_that_start_at_once_and_migrate_both_serve(empty: Place) -> None:
    settings = variables(empty)
    async with asyncio.TaskGroup() as group:
        starts = [serving(empty.folder, "serve", "--migrate", **settings) for _ in range(2)]
        tasks = [group.create_task(start.__aenter__()) for start in starts]
    try:
        for task in tasks:
            assert await task.result().ask("{ __typename }") == "Query"
            assert await task.result().stop() == 0
    finally:
        for start in starts:
            await start.__aexit__(None, None, None)
    assert await migrations.missing(empty.dsn) == []


async def test_a_stop_ends_sockets_with_1012_and_lets_an_upload_finish(place: Place) -> None:
    settings = variables(place, BIOSCOPE_KAFKA__STATIC_MODELS=json.dumps([MODEL]))
    async with serving(place.folder, "serve", **settings) as server:
        token = await server.register()
        await execute(place, "update users set role = 'ANALYST'")
        dataset = (await server.ask(A_DATASET, token))["id"]
        await server.upload(dataset, a_picture(), token)
        run = (await server.ask(RUN, token, input={"target": {"datasetId": dataset}}))["id"]
        async with (
            a_watcher(server, run, token) as opened,
            HalfUpload.begun(server, dataset, token) as upload,
        ):
            server.send_signal(signal.SIGTERM)
            assert await close_code(opened) == 1012

            await upload.go_on()
            status, body = await upload.answer()
        assert status == "HTTP/1.1 200 OK"
        assert '"UploadedImage"' in body

        assert await server.ended() == 0
    assert await execute(place, "select from images") == "SELECT 2"


async def test_a_stop_does_not_wait_for_ever_for_an_upload_that_stands_still(place: Place) -> None:
    async with serving(place.folder, "serve", **variables(place)) as server:
        token = await server.register()
        dataset = (await server.ask(A_DATASET, token))["id"]
        async with HalfUpload.begun(server, dataset, token) as upload:
            assert await server.ask(IMAGE_COUNT, token, id=dataset) == {"imageCount": 0}
            server.send_signal(signal.SIGTERM)

            async with asyncio.timeout(FINISH_SECONDS + 10):
                assert await server.ended() == 0
            assert (await upload.answer())[0] != "HTTP/1.1 200 OK"
    assert [path for path in (place.folder / "files").rglob("*") if path.suffix in (".png", ".webp")] == []


async def test_a_port_that_is_taken_is_refused_with_a_sentence(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await bioscope(place.folder, "serve", "--port", str(port), **variables(place))

    assert (done.code, done.out) == (78, "")
    assert done.said == [
        f"The address 127.0.0.1, port {port} can't be listened on (Address already in use): "
        "choose another --port."
    ]


@pytest.mark.parametrize(
    "command", ["serve --port 0", "migrate", "create-admin --email a@b.c --username a --password-stdin"]
)
async def test_a_database_that_does_not_answer_is_told_in_a_sentence_without_its_password(
    place: Place, command: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    dsn = f"postgresql://bioscope:s3cret-word@127.0.0.1:{port}/bioscope"

    done = await bioscope(
        place.folder, *command.split(), stdin="long enough for it\n",
        **variables(place, BIOSCOPE_DATABASE__DSN=dsn),
    )  # fmt: skip

    assert (done.code, done.out) == (78, "")
    assert len(done.said) == 1
    assert done.said[0].startswith("The database of database.dsn can't be used (")
    assert done.said[0].endswith("): check its address, account and password.")
    assert "s3cret-word" not in done.err


async def test_a_postgresql_that_is_too_old_is_refused(place: Place) -> None:
    async with an_old_postgresql() as dsn:
        done = await bioscope(place.folder, "migrate", **variables(place, BIOSCOPE_DATABASE__DSN=dsn))

    assert (done.code, done.out) == (78, "")
    assert done.said == ["PostgreSQL 17 is too old: BioScope needs 18 or newer. Upgrade the server."]


@asynccontextmanager
async def an_old_postgresql() -> AsyncIterator[str]:
    """As much of one as a client sees before its first statement."""

    def message(kind: bytes, content: bytes) -> bytes:
        return kind + (len(content) + 4).to_bytes(4, "big") + content

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
        writer.write(message(b"R", bytes(4)))
        for name, value in (("server_version", "17.6"), ("client_encoding", "UTF8")):
            writer.write(message(b"S", f"{name}\0{value}\0".encode()))
        writer.write(message(b"Z", b"I"))
        await writer.drain()
        await reader.readexactly(5)  # that it goes
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"postgresql://bioscope@127.0.0.1:{port}/bioscope?sslmode=disable"


async def test_serve_bears_a_broker_and_a_database_that_go_and_come_back() -> None:
    with a_folder() as folder:
        async with a_ground(folder) as ground, serving(folder, "serve", **variables(ground.place)) as server:
            assert await server.until_health("ok") == PARTS
            token = await server.register()

            ground.broker.pause()
            assert (await server.until_health("degraded"))["kafka"] == "down"
            assert (await server.get("/health")).status_code == 200
            assert (await server.get("/health/ready")).status_code == 200
            assert await server.ask(ME, token) == {"username": "clara"}

            ground.broker.resume()
            assert await server.until_health("ok") == PARTS

            await ground.postgres.stop()
            assert (await server.until_health("down"))["database"] == "down"
            assert (await server.get("/health")).status_code == 503
            assert (await server.get("/health/ready")).status_code == 503
            assert (await server.get("/health/live")).status_code == 200
            refused = await server.post(ME, token)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert [e["extensions"]["code"] for e in refused.json()["errors"]] == ["SERVICE_UNAVAILABLE"]

            await ground.restart_postgres()
            assert await server.until_health("ok") == PARTS
            assert await server.ask(ME, token) == {"username": "clara"}
            assert await server.stop() == 0


async def test_serve_starts_and_stops_while_kafka_is_away(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    settings = variables(place, BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{port}")

    async with serving(place.folder, "serve", **settings) as server:
        assert (await server.until_health("degraded"))["kafka"] == "down"
        assert (await server.get("/health/ready")).status_code == 200
        assert await server.stop() == 0
