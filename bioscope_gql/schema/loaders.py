"""Reading for many fields at once: who asks while others ask too shares one statement with them."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

Batch = Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]
"""Reads the answers to several keys, in their order."""

ABSENT: Any = object()
"""What `peek` says of a key that nobody has loaded."""


class _Round:
    """Keys that are read together. `done` says that they were, or why not."""

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.done.cancel()
        elif (error := task.exception()) is not None:
            self.done.set_exception(error)
            self.done.exception()  # looked at, so that nobody reports it as lost
        else:
            self.done.set_result(None)


class Loader:
    """Batches what is asked for within one turn of the event loop, and remembers the answers.

    When a field fails, graphql-core cancels its neighbours; waiting is shielded, so that none of them takes
    the answer from the others, up to the request itself. A round that failed fails for whoever asks for its
    keys.
    """

    def __init__(self, read: Batch, tasks: set[asyncio.Task[Any]], known: Mapping[Any, Any] | None) -> None:
        self._read, self._tasks = read, tasks
        self._rounds: dict[Hashable, _Round] = {}
        self._values: dict[Hashable, Any] = dict(known or {})
        self._open: _Round | None = None

    def peek(self, key: Any) -> Any:
        """The answer, if it is there already; otherwise `ABSENT`."""
        return self._values.get(key, ABSENT)

    async def load(self, key: Any) -> Any:
        """The answer. Raises what the statement raised."""
        if key not in self._values:
            await asyncio.shield(self._asked(key).done)
        return self._values[key]

    def request(self, keys: Iterable[Any]) -> set[asyncio.Future[None]]:
        """Have answers read that are not there yet; what has to be over before `peek` knows them all."""
        return {self._asked(key).done for key in keys if key not in self._values}

    def _asked(self, key: Any) -> _Round:
        found = self._rounds.get(key)
        if found is None or found.done.cancelled():
            if self._open is None:
                self._open = _Round()
                asyncio.get_running_loop().call_soon(self._begin, self._open)
            found = self._rounds[key] = self._open
            found.keys.append(key)
        return found

    def _begin(self, round: _Round) -> None:
        task = asyncio.get_running_loop().create_task(self._run(round))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(round.end)

    async def _run(self, round: _Round) -> None:
        self._open = None
        answers = await self._read(round.keys)
        for key, answer in zip(round.keys, answers, strict=True):
            self._values[key] = answer
