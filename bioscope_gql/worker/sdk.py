"""For classifiers in Python: name a model, say how it classifies a picture, run it.

    worker = Worker("brightness", "1.0.0", labels=["dark", "bright"])

    @worker.classify
    def classify(picture: Picture) -> dict[str, float]:
        ...

    if __name__ == "__main__":
        worker.main()

All around it is here: jobs come from Kafka, pictures are fetched and checked, answers are sent until the
broker has them, leases are renewed while a model takes its time, and a stop finishes what is in hand.
`examples/01_worker.py` is a whole one. Other languages: `asyncapi.yaml` says what travels.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NoReturn, TypeAlias, TypeVar

from bioscope_gql.events.messages import Measurement, ServedModel, WorkerRef
from bioscope_gql.vocabulary import CONTENT_TYPES
from bioscope_gql.worker import options as option_sources
from bioscope_gql.worker import process
from bioscope_gql.worker.answers import Prediction, WorkerError
from bioscope_gql.worker.batches import Batches
from bioscope_gql.worker.options import Options
from bioscope_gql.worker.pictures import Picture
from bioscope_gql.worker.shift import Shift
from bioscope_gql.worker.turns import MadeFor, Singly

__all__ = ["Measurement", "Options", "Picture", "Prediction", "Worker", "WorkerError"]

Found: TypeAlias = Prediction | Mapping[str, float]
Classify: TypeAlias = Callable[[Picture], Found | Awaitable[Found]]
FoundInBatch: TypeAlias = Sequence[Found | WorkerError]
ClassifyBatch: TypeAlias = Callable[[Sequence[Picture]], FoundInBatch | Awaitable[FoundInBatch]]
_F = TypeVar("_F", bound=Classify)
_B = TypeVar("_B", bound=ClassifyBatch)

_LEFT_UNFINISHED = 1
_LARGEST_BATCH = 500
_LONGEST_WAIT_MS = 60_000


class Worker:
    """One model, ready to take jobs.

    Args:
        name: the model's, letters, digits, dots, underscores and dashes; with `version` it is what runs
            ask for. A model that answers differently is another version.
        labels: all that it can answer, for people to see.
        content_types: what pictures it takes; others are never sent to it.
        description: a sentence or two for people.
        digest: ``sha256:`` and 64 hex digits over the weights. Workers of one name and version with
            different digests are not mixed: only those of the first count.

    Raises:
        pydantic.ValidationError: the contract has no such name, version, label or digest.
    """

    def __init__(
        self,
        name: str,
        version: str,
        *,
        labels: Sequence[str] = (),
        content_types: Sequence[str] = CONTENT_TYPES,
        description: str | None = None,
        digest: str | None = None,
    ) -> None:
        self._model = ServedModel(
            name=name,
            version=version,
            description=description,
            labels=tuple(labels),
            content_types=tuple(content_types),
            digest=digest,
        )
        self._turns: MadeFor | None = None
        self._usual_concurrency = os.cpu_count() or 1

    def classify(self, function: _F) -> _F:
        """Decorate the function that classifies one picture.

        It returns a `Prediction`, or a mapping of labels to confidences. An ordinary function runs in a
        thread, in as many at a time as `--concurrency` says, so it has to be thread-safe (or concurrency 1).
        An async function runs on the event loop, which it must not block: no leases would be renewed.

        To refuse a picture it raises `WorkerError`. Any other exception becomes WORKER_FAILED with its type
        and message and is not tried again, what the contract can't carry becomes INVALID_PREDICTION.
        """
        self._take(partial(Singly, function))
        return function

    def classify_batch(self, *, size: int = 16, wait_ms: float = 5) -> Callable[[_B], _B]:
        """Decorate the function that classifies up to `size` pictures (1 to 500) in one call.

        It gets a list, full or begun `wait_ms` before, and returns a list with a prediction for each
        picture, in their order; where there is none, a `WorkerError` in its place. A list of another length
        is INVALID_PREDICTION for all of them. When the function raises, it is called again with each picture
        alone, and what it raises then is that picture's answer: one bad picture does not spoil the others.

        Threads and async as for `classify`, but by default one call at a time: `--concurrency` counts calls.
        A picture's duration is its share of the call's. Up to 2 x `--concurrency` x `size` pictures are in
        memory at a time.

        Raises:
            ValueError: `size` or `wait_ms` is out of its range.
        """
        if not 1 <= size <= _LARGEST_BATCH:
            raise ValueError(f"A batch has 1 to {_LARGEST_BATCH} pictures: size can't be {size}.")
        if not 0 <= wait_ms <= _LONGEST_WAIT_MS:
            raise ValueError(f"A batch waits 0 to {_LONGEST_WAIT_MS} ms: wait_ms can't be {wait_ms}.")

        def decorate(function: _B) -> _B:
            self._take(partial(Batches, function, size=size, wait_seconds=wait_ms / 1000))
            self._usual_concurrency = 1
            return function

        return decorate

    async def run(self, options: Options, stop: asyncio.Event) -> bool:
        """Take jobs until `stop` is set; then finish what is in hand within `options.stop_seconds`.

        Then leave, and say whether everything in hand got its answer out. What did not comes again.
        """
        if self._turns is None:
            raise RuntimeError("The worker has nothing to do: decorate a function with @worker.classify.")
        name = options.name or f"{self._model.name}-{socket.gethostname()}-{os.getpid()}"
        worker = WorkerRef(name=name[:200], version=self._model.version)
        return await Shift(self._model, worker, self._turns, options).run(stop)

    def serve(self, options: Options) -> int:
        """Run until SIGTERM or SIGINT; return the exit code, 1 if something in hand was left unfinished."""
        process.quiet_libraries()
        with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
            return 0 if runner.run(self._until_told(options)) else _LEFT_UNFINISHED

    def main(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """Be the program: read the command line and `BIOSCOPE_*` variables, `serve`, exit."""
        description = self._model.description or f"The worker of {self._model.name} {self._model.version}."
        options = option_sources.from_command_line(
            arguments, description=description, concurrency=self._usual_concurrency
        )
        process.log_to_stderr()
        sys.exit(self.serve(options))

    def _take(self, turns: MadeFor) -> None:
        if self._turns is not None:
            raise RuntimeError("A worker has one function: decorate one with classify or classify_batch.")
        self._turns = turns

    async def _until_told(self, options: Options) -> bool:
        with process.stop_requests(end_with_parent=options.end_with_parent) as stop:
            return await self.run(options, stop)
