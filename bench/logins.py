"""What signing in costs: whether unknown accounts can be told by the time, and what others feel of it.

Passwords are hashed with the real parameters. Three comparisons, both sides of each measured in this run:
a wrong password for a known and an unknown account; a small query by itself and beside 50 logins at once;
the memory of the process before and at its peak.

    python bench/logins.py [TRIES]
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

import httpx
import psutil

from bioscope_gql import observability
from bioscope_gql.app import Application
from bioscope_gql.auth import keys
from bioscope_gql.commands import running
from bioscope_gql.embedded.stack import Stack
from bioscope_gql.migrations import forwards
from bioscope_gql.replica import Replica
from bioscope_gql.resolvers import accounts
from bioscope_gql.services import opened
from bioscope_gql.settings import App, Limits, Settings
from bioscope_gql.vocabulary import Role

AT_ONCE = 50
LOGIN = "mutation ($l: String!, $p: String!) { login(input: {login: $l, password: $p}) { __typename } }"
QUERY = "{ datasets { nodes { id name } } }"
PASSWORD = "long enough for it"  # noqa: S105 - of an account that lives for a minute
NO_LIMIT = 1_000_000


async def measure(tries: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bioscope-bench-", dir="/tmp") as folder:
        data = Path(folder)
        async with Stack(data, {"unused": 1}, durable=False) as stack:
            await forwards(stack.dsn)
            keys.generate(data / "keys")
            limits = Limits(logins_per_account=NO_LIMIT, logins_per_address=NO_LIMIT)
            settings = Settings(app=App(log_level="error"), limits=limits).embedded(
                dsn=stack.dsn, bootstrap_servers=stack.bootstrap_servers, data_dir=data
            )
            async with opened(settings.at("http://127.0.0.1")) as services:
                await accounts.create(
                    services, email="b@lab.example", username="bench", password=PASSWORD, role=Role.USER
                )
                token = (await accounts.login(services, login="bench", password=PASSWORD)).access_token
                application = Application(Replica(services), spool=data / "spool")
                transport = httpx.ASGITransport(application)
                async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
                    door = Door(http, token)
                    await _timing(door, tries)
                    await _beside(door, limits.password_hashes)


class Door:
    """Requests to the server, and how many seconds each took."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http, self._headers = http, {"authorization": f"Bearer {token}"}

    async def login(self, name: str, password: str = "a wrong password") -> float:  # noqa: S107 - wrong
        return await self._post({"query": LOGIN, "variables": {"l": name, "p": password}})

    async def query(self) -> float:
        return await self._post({"query": QUERY})

    async def _post(self, body: object) -> float:
        began = time.perf_counter()
        response = await self._http.post("/graphql", json=body, headers=self._headers, timeout=60)
        if "errors" in response.json():
            raise RuntimeError(response.text)
        return time.perf_counter() - began


async def _timing(door: Door, tries: int) -> None:
    took: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for number in range(tries):
        # In turns, or whatever follows upon the other would always be the same one.
        for is_known in (number % 2 == 0, number % 2 == 1):
            began = time.process_time()
            seconds = await door.login("bench" if is_known else f"nobody {number}")
            took[is_known].append((seconds, time.process_time() - began))
    print(f"wrong password, medians of {tries}      known   unknown   difference")
    for name, place in (("by the clock", 0), ("by the CPU, on a busy machine", 1)):
        known, unknown = (1000 * median(each[place] for each in took[is_known]) for is_known in (True, False))
        print(f"{name:<30}  {known:6.1f}    {unknown:6.1f}   {abs(known - unknown):6.1f} ms")


async def _beside(door: Door, at_once: int) -> None:
    process = psutil.Process()
    alone = [await door.query() for _ in range(500)]
    before = peak = process.memory_info().rss
    logins = asyncio.gather(*(door.login("bench", PASSWORD) for _ in range(AT_ONCE)))
    beside = []
    while not logins.done():
        beside.append(await door.query())
        peak = max(peak, process.memory_info().rss)
    await logins
    print(f"a query alone                    {_p99(alone):7.1f} ms (p99 of {len(alone)})")
    print(f"beside {AT_ONCE} logins at once         {_p99(beside):7.1f} ms (p99 of {len(beside)})")
    taken = (peak - before) / (1 << 20)
    print(f"memory for hashing               {taken:7.1f} MiB ({at_once} x 64 are allowed)")


def _p99(seconds: Sequence[float]) -> float:
    """In milliseconds."""
    return 1000 * quantiles(seconds, n=100)[98]


if __name__ == "__main__":
    observability.configure("error")
    running.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
