"""What a worker says about a picture, in the words of the contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bioscope_gql.events.messages import (
    MAX_BYTES,
    MAX_REASON_LENGTH,
    AnsweringModel,
    Failed,
    Failure,
    Job,
    Measurement,
    Ok,
    Score,
    Started,
    Unreadable,
    WorkerRef,
    encode,
    parse_result,
)

WORKER_FAILED = "WORKER_FAILED"
INVALID_PREDICTION = "INVALID_PREDICTION"

Scores = Mapping[str, float] | Sequence[tuple[str, float]]


class WorkerError(Exception):
    """Why there is no prediction for a picture; people see `code` and `message` at the item.

    `code` is upper snake case, e.g. ``OUT_OF_FOCUS``, the message a whole sentence, cut after 2,000
    characters. With `retryable` the picture is tried again, by any worker, while it has tries left.

    Raises:
        ValueError: the contract has no such code.
    """

    def __init__(self, code: str, message: str, retryable: bool = False) -> None:
        super().__init__(code, message, retryable)
        self.failure = Failure(code=code, message=_storable(message), retryable=retryable)

    @property
    def code(self) -> str:
        return self.failure.code

    @property
    def retryable(self) -> bool:
        return self.failure.retryable

    def __str__(self) -> str:
        return self.failure.message


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model found in a picture.

    Args:
        scores: how sure it is of each label, 0 to 1, in any order; 1 to 1,000 of them. The best one
            becomes the result's label.
        details: whatever else it has to tell, as JSON of at most 64 KiB.
        measurements: at most 100 numbers with names and units.
    """

    scores: Scores
    details: Mapping[str, Any] | None = None
    measurements: Sequence[Measurement] = ()


class Answers:
    """Writes the messages of one worker process about its one model."""

    def __init__(self, worker: WorkerRef, model: AnsweringModel) -> None:
        self._worker = worker
        self._model = model

    def started(self, job: Job) -> bytes:
        return encode(Started(item_id=job.item_id, attempt=job.attempt, worker=self._worker))

    def failed(self, job: Job, error: WorkerError) -> bytes:
        failed = Failed(item_id=job.item_id, attempt=job.attempt, error=error.failure, worker=self._worker)
        return encode(failed)

    def ok(self, job: Job, found: object, duration_ms: float) -> bytes:
        """The message for what the classify function returned.

        Raises:
            WorkerError: INVALID_PREDICTION, it is nothing that the contract can carry.
        """
        prediction = _prediction(found)
        try:
            answer = encode(self._message(job, prediction, duration_ms))
            if len(answer) > MAX_BYTES or prediction.details is not None:
                parse_result(answer)  # its reader is strict: what it refuses here, it would refuse there
        except (ValueError, TypeError, Unreadable) as error:
            raise WorkerError(
                INVALID_PREDICTION, f"What the model returned is no valid prediction: {_reason(error)}"
            ) from error
        return answer

    def _message(self, job: Job, prediction: Prediction, duration_ms: float) -> Ok:
        scores = prediction.scores
        pairs = scores.items() if isinstance(scores, Mapping) else scores
        return Ok(
            item_id=job.item_id,
            attempt=job.attempt,
            # float(): also what numpy and torch call a number
            scores=tuple(Score(label=label, confidence=float(confidence)) for label, confidence in pairs),
            model=self._model,
            worker=self._worker,
            duration_ms=round(duration_ms),
            details=None if prediction.details is None else dict(prediction.details),
            measurements=tuple(prediction.measurements),
        )


def from_exception(error: Exception) -> WorkerError:
    """The answer for an error that the classify function did not foresee: trying again would not help."""
    return WorkerError(WORKER_FAILED, f"{type(error).__name__}: {error}")


def _prediction(found: object) -> Prediction:
    if isinstance(found, Prediction):
        return found
    if isinstance(found, Mapping):
        return Prediction(found)
    raise WorkerError(
        INVALID_PREDICTION,
        f"The classify function returned {type(found).__name__}: "
        "it must return a Prediction, or a mapping of labels to confidences.",
    )


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    shown = error.errors(include_url=False, include_context=False, include_input=False)[:3]
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in shown) + "."


def _storable(text: str) -> str:
    """Without what JSON or the database refuses."""
    cut = text[:MAX_REASON_LENGTH].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return cut.encode("utf-8", "replace").decode("utf-8")
