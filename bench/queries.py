"""What queries cost the server, beside a handler written by hand and beside plain Strawberry.

CPU time of the serving process per request, all three in turns in this run over the same tables: the whole
of BioScope's endpoint, five handlers that ask PostgreSQL and write JSON (`handwritten.py`), and Strawberry's
own application with DataLoaders (`plain.py`). All three give the same answers, which is looked at first.

All three read the token, look its session up (the same function, one statement) and show only what the
caller may see. BioScope alone gives each request an id and a line in the log (which is off here), counts and
times it for /metrics, bounds the body, the depth of its JSON, the size and cost of the operation and the time
it takes, asks at each mutation whether it is allowed and within one transaction (five statements instead of
plain's two), and masks errors. Plain selects whole rows, but reads both figures of a dataset's pictures by
hand at once; it has edges, limits of pages and filters only as far as these questions need them.

Garbage is looked for as in `bioscope serve` (docs/why/0026), which spares all three.

A statement costs each of them the same, most of it in the kernel: about half of Q4 and W1 is that, on all
sides. Then what it costs to know who asks and to show no more than they may see, beyond the reads themselves.

    python bench/queries.py [REQUESTS]
"""

import gc
import os
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from asgi_call import Called
from handwritten import ByHand
from plain import PlainStrawberry
from questions import Ground, Question, prepare

from bioscope_gql import observability
from bioscope_gql.app import Application
from bioscope_gql.auth import keys
from bioscope_gql.cli import COLLECT_AFTER
from bioscope_gql.commands import running
from bioscope_gql.embedded.stack import Stack
from bioscope_gql.migrations import forwards
from bioscope_gql.replica import Replica
from bioscope_gql.resolvers import accounts, image_lists, paging
from bioscope_gql.services import Services, opened
from bioscope_gql.settings import App, Settings
from bioscope_gql.vocabulary import Role

ROUNDS = 9
WARM_UP = 20


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
                ground = await prepare(services)
                await _compare(services, ground, requests, data)
                await _rights(services, ground.token, 10 * requests)


async def _compare(services: Services, ground: Ground, requests: int, data: Path) -> None:
    ours: Any = Application(Replica(services), spool=data / "spool")
    applications = (ours, ByHand(services), PlainStrawberry(services))
    gc.freeze()
    print(f"ms of CPU per request; load of this machine {os.getloadavg()[0]:.1f}")
    print(f"{'':32}{'BioScope':>10}{'by hand':>10}{'plain':>10}{'of hand':>10}{'of plain':>10}")
    for question in ground.questions():
        calls = [Called(each, ground.token, question.query, question.variables) for each in applications]
        await _refuse_differences(question, calls)
        mine, hand, plain = await _costs(calls, max(1, requests // ROUNDS))
        name = f"{question.name} {question.about}"
        print(f"{name:32}{mine:10.2f}{hand:10.2f}{plain:10.2f}{mine / hand:9.1f}x{mine / plain:9.2f}x")


async def _refuse_differences(question: Question, calls: list[Called]) -> None:
    """
    Raises:
        RuntimeError: they don't give the same answer (but for cursors, and for how UTC is written).
    """
    answers = [_comparable(await call()) for call in calls]
    if any(answer != answers[0] for answer in answers):
        raise RuntimeError(f"{question.name} has several answers: {[str(each)[:1500] for each in answers]}")


def _comparable(answer: bytes) -> Any:
    text = re.sub(r'"endCursor":"[^"]*"', '"endCursor":"..."', answer.decode())
    said = orjson.loads(re.sub(r'(T[0-9:.]+)\+00:00"', r'\1Z"', text))
    return {name: value for name, value in said.items() if name != "extensions"}


async def _costs(calls: list[Called], requests: int) -> list[float]:
    """Milliseconds of this process's CPU for each; in turns, the median of the rounds."""
    rounds: list[list[float]] = [[] for _ in calls]
    for call in calls:
        await call.seconds(WARM_UP)
    for _ in range(ROUNDS):
        for call, taken in zip(calls, rounds, strict=True):
            began = time.process_time()
            await call.seconds(requests)
            taken.append(1000 * (time.process_time() - began) / requests)
    return [median(each) for each in rounds]


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


if __name__ == "__main__":
    gc.set_threshold(*COLLECT_AFTER)
    observability.configure("error")
    running.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
