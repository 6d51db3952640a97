"""Where the time of the line goes: how long the server waits in each stage, summed up over all calls."""

import functools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bioscope_gql.events import results as reading
from bioscope_gql.events.broker import Link
from bioscope_gql.resolvers import classifications, items, results

STAGES: dict[str, tuple[Any, str]] = {
    "order: the run and its items": (classifications, "run"),
    "dispatch: what may go": (items, "demands"),
    "dispatch: lease": (items, "take"),
    "dispatch: publish": (Link, "send"),
    "results: parse": (reading, "parse_result"),
    "results: record": (results, "record"),
}


class Stages:
    """`seconds` by stage. Stages overlap where they wait, so their sum may exceed the time that went by."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def clear(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def told(self, whole: float) -> Iterator[str]:
        for name, seconds in self.seconds.items():
            yield f"  {name:<30} {seconds:>6.2f} s   {100 * seconds / whole:>4.0f} %"


@contextmanager
def watched() -> Iterator[Stages]:
    """Every call of a stage is timed while the block lasts."""
    stages = Stages()
    before = [(owner, name, getattr(owner, name)) for owner, name in STAGES.values()]
    for stage, (owner, name, function) in zip(STAGES, before, strict=True):
        setattr(owner, name, _timed(stages, stage, function))
    try:
        yield stages
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def _timed(stages: Stages, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        answer = function(*args, **kwargs)
        if not isinstance(answer, Awaitable):
            stages.seconds[stage] += time.perf_counter() - began
            return answer
        return _awaited(stages, stage, began, answer)

    return call


async def _awaited(stages: Stages, stage: str, began: float, answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    finally:
        stages.seconds[stage] += time.perf_counter() - began
