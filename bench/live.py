"""What watching costs: messages, sockets, readers who stall, and how late an event of another replica is.

The server runs here, on an embedded stack, and the clients in a process of their own (watchers.py), so CPU
time and memory are the server's, sockets included. An event is a new version of a run.

    python bench/live.py [--stall-events N]
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from pipeline import Bench, a_folder

from bioscope_gql import migrations, observability
from bioscope_gql.auth import keys
from bioscope_gql.commands import running
from bioscope_gql.commands.serving import listen, served, url_of
from bioscope_gql.embedded.stack import Stack
from bioscope_gql.live.hub import Change
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import accounts, classifications
from bioscope_gql.resolvers.classifications import Order, Target
from bioscope_gql.services import Services, opened
from bioscope_gql.settings import App, Limits, Settings, StaticModel
from bioscope_gql.vocabulary import Role

QUERY = """subscription ($id: ID!) { classificationUpdated(id: $id) { cursor
  classification { id status progress { total queued running succeeded failed fraction } dataset { id name } }
  items { id status attempt } } }"""
LARGE = """subscription ($id: ID!) { classificationUpdated(id: $id) { cursor
  classification { id items(first: 100) { nodes { id status attempt image { id filename width height } } } }
  } }"""
PASSWORD = "long enough for it"  # noqa: S105 -- of an account that lives as long as this
MODEL = StaticModel(name="m", version="1")
IDLE, LEAVING, STALLED, OTHERS = 1000, 500, 20, 20
EVENT_SECONDS = 30.0


class Clients:
    """The other process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str, token: str) -> AsyncIterator["Clients"]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("watchers.py")),
            url.replace("http", "ws") + "/graphql", token,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26,
        )  # fmt: skip
        try:
            yield cls(process)
        finally:
            process.terminate()
            await process.wait()

    async def order(self, name: str, **arguments: Any) -> Any:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("There are no pipes.")
        self._process.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
        return json.loads(await self._process.stdout.readline())


def memory() -> float:
    """Of this process, in MB."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


def late(heard: Mapping[str, list[float]], told: Mapping[str, float]) -> list[float]:
    """How many milliseconds after its event each message came, the quickest first."""
    return sorted(
        1000 * (at - told[cursor]) for cursor, times in heard.items() if cursor in told for at in times
    )


def quantile(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))]


@dataclass
class Live:
    services: Services
    clients: Clients
    run: UUID

    async def event(self) -> tuple[str, float]:
        """Its cursor, and when it was committed."""
        row = await self.services.db.row(
            "update classifications set version = version + 1 where id = $1 returning version, dataset",
            self.run,
        )
        if row is None:
            raise RuntimeError("The run is gone.")
        now = time.monotonic()
        self.services.hub.tell(Change(self.run, row["dataset"], row["version"]))
        return str(row["version"]), now

    async def messages(self, watchers: int, events: int, *, apart: bool) -> None:
        await self.clients.order("watch", count=watchers, query=QUERY, id=str(self.run), apart=apart)
        await self.clients.order("take")
        told, heard = {}, 0
        began, cpu = time.monotonic(), time.process_time()
        delays: list[float] = []
        for _ in range(events):
            cursor, at = await self.event()
            told[cursor] = at
            got = 0
            while got < watchers:
                taken = await self.clients.order("take")
                delays += late(taken, told)
                got += sum(len(times) for times in taken.values())
            heard += got
        spent, took = time.process_time() - cpu, time.monotonic() - began
        who = "each its own document" if apart else "all alike"
        print(
            f"{watchers} watchers, {who:22} {1e6 * spent / heard:6.1f} us of CPU a message,"
            f" {heard / spent:7.0f} messages per second of CPU ({heard / took:.0f} with the clients' reading)"
        )
        await self.clients.order("leave")

    async def idle(self) -> None:
        await self.clients.order("idle", count=50)
        before = memory()
        await self.clients.order("idle", count=IDLE)
        print(f"{IDLE} idle sockets             {1000 * (memory() - before) / IDLE:6.1f} KB each")
        await self.clients.order("leave")

    async def leaving(self) -> None:
        """Twice: what the first round leaves is what Python keeps for the next."""
        for number in (1, 2):
            tasks, before = len(asyncio.all_tasks()), memory()
            await self.clients.order("watch", count=LEAVING, query=QUERY, id=str(self.run))
            most = len(asyncio.all_tasks())
            await self.clients.order("leave")
            async with asyncio.timeout(EVENT_SECONDS):
                while self.services.hub.watched or len(asyncio.all_tasks()) > tasks + 5:
                    await asyncio.sleep(0.05)
            left = len(asyncio.all_tasks())
            print(
                f"{LEAVING} subscribe and leave, {number}.     {tasks} tasks, {most} meanwhile, {left} after;"
                f" memory {memory() - before:+.1f} MB"
            )

    async def stalled(self, events: int) -> None:
        await self.clients.order("watch", count=OTHERS, query=QUERY, id=str(self.run))
        alone = await self._delays(events // 10)
        await self.clients.order("stall", count=STALLED, query=LARGE, id=str(self.run))
        before, most, delays = memory(), 0.0, []
        for _ in range(10):
            delays += await self._delays(events // 10)
            most = max(most, memory() - before)
        codes = await self.clients.order("read_to_the_end")
        beside = sorted(delays)
        print(
            f"{STALLED} stalled, {events} events      memory {most:+.1f} MB at most; others' p99"
            f" {quantile(alone, 0.99):.1f} ms alone, {quantile(beside, 0.99):.1f} ms beside them;"
            f" closed with { {code: codes.count(code) for code in codes} }"
        )
        await self.clients.order("leave")

    async def _delays(self, events: int) -> list[float]:
        await self.clients.order("take")
        told = {}
        for _ in range(events):
            cursor, at = await self.event()
            told[cursor] = at
            await asyncio.sleep(0.004)
        await asyncio.sleep(0.3)
        return late(await self.clients.order("take"), told)

    async def elsewhere(self, clients: Clients, events: int) -> None:
        """Committed here, heard by watchers of the other replica."""
        await clients.order("watch", count=OTHERS, query=QUERY, id=str(self.run))
        await clients.order("take")
        told = {}
        for _ in range(events):
            cursor, at = await self.event()
            told[cursor] = at
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)
        delays = late(await clients.order("take"), told)
        print(
            f"to another replica             p50 {quantile(delays, 0.5):.1f} ms, p99"
            f" {quantile(delays, 0.99):.1f} ms, {len(delays)} messages"
        )


@asynccontextmanager
async def replica(stack: Stack, data: Path, group: str) -> AsyncIterator[tuple[Services, str]]:
    """One that answers, and where."""
    async with AsyncExitStack() as running_here:
        settings = Settings(app=App(port=0, log_level="error"), limits=Limits(connections_per_account=10_000))
        listening = running_here.enter_context(listen(settings))
        settings = settings.embedded(
            dsn=stack.dsn, bootstrap_servers=stack.bootstrap_servers, data_dir=data
        ).at(url_of(listening))
        topics = settings.kafka.topics.model_copy(update={"results": f"{group}.unused"})
        changes = {"consumer_group": group, "static_models": (MODEL,), "topics": topics}
        settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update=changes)})
        services = await running_here.enter_async_context(opened(settings))
        await running_here.enter_async_context(
            served(services, listening, spool=data / "spool", development=True)
        )
        yield services, url_of(listening)


async def measure(stall_events: int) -> None:
    async with AsyncExitStack() as here:
        data = Path(here.enter_context(a_folder())) / "data"
        topics = Settings().kafka.topics.model_dump().values()
        stack = await here.enter_async_context(
            Stack(data, dict.fromkeys([*topics, "one.unused", "two.unused"], 1), durable=False)
        )
        await migrations.forwards(stack.dsn)
        keys.generate(data / "keys")
        services, url = await here.enter_async_context(replica(stack, data, "one"))
        row = await accounts.create(
            services, email="b@lab.example", username="bench", password=PASSWORD, role=Role.ANALYST
        )
        viewer = Viewer(id=row["id"], role=Role.ANALYST)
        token = (await accounts.login(services, login="bench", password=PASSWORD)).access_token
        dataset, _ = await Bench(services, viewer).dataset(100)
        run = await classifications.run(services, viewer, Order(Target(dataset=dataset), MODEL.name))
        clients = await here.enter_async_context(Clients.at(url, token))
        live = Live(services, clients, run["id"])
        await live.stalled(stall_events)  # before others leave free memory behind, which would hide its own
        await live.idle()
        await live.messages(500, 60, apart=False)
        await live.messages(500, 20, apart=True)
        await live.leaving()
        _, other = await here.enter_async_context(replica(stack, data, "two"))
        others = await here.enter_async_context(Clients.at(other, token))
        await live.elsewhere(others, 200)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stall-events", type=int, default=10_000)
    observability.configure("error")
    running.run(measure(parser.parse_args().stall_events))
