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
from typing import NoReturn, TypeAlias, TypeVar

from bioscope_gql.events.messages import Measurement, ServedModel, WorkerRef
from bioscope_gql.vocabulary import CONTENT_TYPES
from bioscope_gql.worker import options as option_sources
from bioscope_gql.worker import process
from bioscope_gql.worker.answers import Prediction, WorkerError
from bioscope_gql.worker.options import Options
from bioscope_gql.worker.pictures import Picture
from bioscope_gql.worker.shift import Shift

__all__ = ["Measurement", "Options", "Picture", "Prediction", "Worker", "WorkerError"]

Found: TypeAlias = Prediction | Mapping[str, float]
Classify: TypeAlias = Callable[[Picture], Found | Awaitable[Found]]
_F = TypeVar("_F", bound=Classify)

_LEFT_UNFINISHED = 1


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
        self._function: Classify | None = None

    def classify(self, function: _F) -> _F:
        """Decorate the function that classifies one picture.

        It returns a `Prediction`, or a mapping of labels to confidences. An ordinary function runs in a
        thread, in as many at a time as `--concurrency` says, so it has to be thread-safe (or concurrency 1).
        An async function runs on the event loop, which it must not block: no leases would be renewed.

        To refuse a picture it raises `WorkerError`. Any other exception becomes WORKER_FAILED with its type
        and message and is not tried again, what the contract can't carry becomes INVALID_PREDICTION.
        """
        self._function = function
        return function

    async def run(self, options: Options, stop: asyncio.Event) -> bool:
        """Take jobs until `stop` is set; then finish what is in hand within `options.stop_seconds`.

        Then leave, and say whether everything in hand got its answer out. What did not comes again.
        """
        if self._function is None:
            raise RuntimeError("The worker has nothing to do: decorate a function with @worker.classify.")
        name = options.name or f"{self._model.name}-{socket.gethostname()}-{os.getpid()}"
        worker = WorkerRef(name=name[:200], version=self._model.version)
        return await Shift(self._model, worker, self._function, options).run(stop)

    def serve(self, options: Options) -> int:
        """Run until SIGTERM or SIGINT; return the exit code, 1 if something in hand was left unfinished."""
        process.quiet_libraries()
        with asyncio.Runner() as runner:
            return 0 if runner.run(self._until_told(options)) else _LEFT_UNFINISHED

    def main(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """Be the program: read the command line and `BIOSCOPE_*` variables, `serve`, exit."""
        description = self._model.description or f"The worker of {self._model.name} {self._model.version}."
        options = option_sources.from_command_line(arguments, description=description)
        process.log_to_stderr()
        sys.exit(self.serve(options))

    async def _until_told(self, options: Options) -> bool:
        with process.stop_requests(end_with_parent=options.end_with_parent) as stop:
            return await self.run(options, stop)
