"""What travels over Kafka. Fields are only ever added, never renamed.

Everything read here was written by somebody else, so reading is strict and bounded: a message is
either exactly what the contract says or `Unreadable` with a reason for a person.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar
from uuid import UUID

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    computed_field,
)
from pydantic.alias_generators import to_camel

MAX_BYTES = 256 * 1024
MAX_DETAILS_BYTES = 64 * 1024
MAX_DEPTH = 32
MAX_REASON_LENGTH = 2000
VERSION = 1
SEED_VERSION = 0

_INT32 = 2**31 - 1
_INT64 = 2**63 - 1


@dataclass(eq=False)
class Unreadable(Exception):
    """A message that breaks the contract; `reason` says how, in words for whoever wrote it."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, kw_only=True)
class Topics:
    """Where messages travel. `jobs` may contain ``{model}``: then each model has a topic of its own."""

    jobs: str = "bioscope.classification.jobs"
    results: str = "bioscope.classification.results"
    dead_letters: str = "bioscope.classification.results.dlq"
    workers: str = "bioscope.workers"
    signals: str = "bioscope.signals"

    def jobs_of(self, model: str) -> str:
        """The topic that carries this model's jobs."""
        return self.jobs.replace("{model}", model)


def _sorted_scores(scores: tuple["Score", ...]) -> tuple["Score", ...]:
    return tuple(sorted(scores, key=lambda score: -score.confidence))


def _bounded_details(details: dict[str, Any]) -> dict[str, Any]:
    if len(orjson.dumps(details)) > MAX_DETAILS_BYTES:
        raise ValueError(f"details may take at most {MAX_DETAILS_BYTES // 1024} KiB")
    return details


def _whole(number: object) -> object:
    return round(number) if isinstance(number, float) else number


def _cut(text: str) -> str:
    return text[:MAX_REASON_LENGTH]


_PLAIN = r"^[^\x00-\x1f\x7f-\x9f]*$"
Id = Annotated[UUID, Field(strict=False)]
Time = Annotated[AwareDatetime, Field(strict=False)]
Attempt = Annotated[int, Field(ge=1, le=_INT32)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Label = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_PLAIN)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PLAIN)]
Digest = Annotated[str, StringConstraints(max_length=100, pattern=r"^sha256:[0-9a-f]{64}$")]
ErrorCode = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
Confidence = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Details = Annotated[dict[str, Any], AfterValidator(_bounded_details)]


class Message(BaseModel):
    """camelCase on the wire, unknown fields ignored, values never coerced."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        protected_namespaces=(),
    )


class ModelRef(Message):
    """A model is a name and a version."""

    name: Name
    version: Name


class JobImage(Message):
    """The picture to classify. Without `url` the worker asks the API for it, with its own account."""

    url: Annotated[str, StringConstraints(max_length=8192)] | None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    content_type: Word
    file_size: Annotated[int, Field(ge=1, le=_INT64)]
    width: Annotated[int, Field(ge=1, le=_INT32)] | None
    height: Annotated[int, Field(ge=1, le=_INT32)] | None


class Job(Message):
    """One picture for one model, to be answered before `deadline`."""

    v: Literal[1] = 1
    item_id: Id
    attempt: Attempt
    classification_id: Id
    image_id: Id
    dataset_id: Id
    model: ModelRef
    image: JobImage
    lease_seconds: Annotated[int | float, Field(gt=0, le=86_400)]
    deadline: Time
    requested_at: Time

    # classifiers written for BioScopeAI Core read these four
    @computed_field(alias="classification_id")  # type: ignore[prop-decorator]
    @property
    def seed_classification_id(self) -> UUID:
        return self.classification_id

    @computed_field(alias="image_id")  # type: ignore[prop-decorator]
    @property
    def seed_image_id(self) -> UUID:
        return self.image_id

    @computed_field(alias="dataset_id")  # type: ignore[prop-decorator]
    @property
    def seed_dataset_id(self) -> UUID:
        return self.dataset_id

    @computed_field(alias="model_name")  # type: ignore[prop-decorator]
    @property
    def seed_model_name(self) -> str:
        return self.model.name

    @property
    def headers(self) -> dict[str, str]:
        """What lets a worker pass over other models' jobs without decoding them."""
        return {
            "model": self.model.name,
            "model-version": self.model.version,
            "attempt": str(self.attempt),
        }


class WorkerRef(Message):
    """Who answers; the name is unique per process."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PLAIN)]
    version: Word | None = None


class Score(Message):
    """How sure the model is of one label."""

    label: Label
    confidence: Confidence


class Measurement(Message):
    """A number with a name, such as an area or a count."""

    name: Word
    value: Annotated[float, Field(allow_inf_nan=False)]
    unit: Annotated[str, StringConstraints(max_length=50, pattern=_PLAIN)] | None = None


class AnsweringModel(Message):
    """The model that answered. Another name or version than the one asked for fails the item."""

    name: Word
    version: Word
    digest: Digest | None = None


class Failure(Message):
    """Why there is no prediction. A retryable one queues the item again while tries are left.

    A message of more than 2,000 characters is cut, not refused: it may be a traceback.
    """

    code: ErrorCode
    message: Annotated[str, AfterValidator(_cut)] = ""
    retryable: bool = False


class Started(Message):
    """The item is being worked on; every one of these renews its lease."""

    v: Literal[1] = 1
    item_id: Id
    attempt: Attempt
    status: Literal["started"] = "started"
    worker: WorkerRef


class Ok(Message):
    """A prediction. `scores` are best first, whatever order they came in."""

    v: Literal[1] = 1
    item_id: Id
    attempt: Attempt
    status: Literal["ok"] = "ok"
    scores: Annotated[
        tuple[Score, ...],
        Field(strict=False, min_length=1, max_length=1000),
        AfterValidator(_sorted_scores),
    ]
    model: AnsweringModel
    worker: WorkerRef
    duration_ms: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=_INT32)] | None = None
    details: Details | None = None
    measurements: Annotated[tuple[Measurement, ...], Field(strict=False, max_length=100)] = ()

    @property
    def label(self) -> str:
        return self.scores[0].label

    @property
    def confidence(self) -> float:
        return self.scores[0].confidence


class Failed(Message):
    """The worker could not classify the picture."""

    v: Literal[1] = 1
    item_id: Id
    attempt: Attempt
    status: Literal["error"] = "error"
    error: Failure
    worker: WorkerRef


class SeedResult(Message):
    """Version 0: the flat message of BioScopeAI Core, matched by run and picture, whatever the attempt."""

    model_config = ConfigDict(alias_generator=None)

    image_id: Id
    classification_id: Id
    label: Label
    confidence: Confidence
    model_name: Word


class ServedModel(ModelRef):
    """A model as its worker announces it."""

    description: Annotated[str, StringConstraints(max_length=2000)] | None = None
    labels: Annotated[tuple[Label, ...], Field(strict=False, max_length=1000)] = ()
    content_types: Annotated[tuple[Word, ...], Field(strict=False, max_length=50)] = ()
    digest: Digest | None = None


class Announcement(Message):
    """Who is there, with which models. Sent at the start, every 10 s, and with `down` on a clean stop."""

    v: Literal[1] = 1
    worker: WorkerRef
    status: Literal["up", "down"]
    models: Annotated[tuple[ServedModel, ...], Field(strict=False, max_length=100)] = ()
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 1


class Signal(Message):
    """A hint that something changed, never the truth: receivers read the database."""

    v: Literal[1] = 1
    kind: Literal["classification"] = "classification"
    id: Id
    dataset_id: Id
    version: Annotated[int, Field(ge=0, le=_INT64)]


Result: TypeAlias = Annotated[Started | Ok | Failed, Field(discriminator="status")]

_RESULTS: dict[str, type[Started] | type[Ok] | type[Failed]] = {
    "started": Started,
    "ok": Ok,
    "error": Failed,
}
_M = TypeVar("_M", bound=Message)


def parse_result(raw: bytes) -> Started | Ok | Failed | SeedResult:
    """Read an answer of a worker.

    Raises:
        Unreadable: it is not what the contract says.
    """
    data = _decode(raw)
    if data.get("v", SEED_VERSION) is SEED_VERSION:
        return _validate(SeedResult, data)
    _require_version(data)
    status = data.get("status")
    kind = _RESULTS.get(status) if isinstance(status, str) else None
    if kind is None:
        raise Unreadable('status must be "started", "ok" or "error".')
    return _validate(kind, data)


def parse(kind: type[_M], raw: bytes) -> _M:
    """Read a message of one kind: a job, an announcement, a signal. Raises `Unreadable`."""
    data = _decode(raw)
    _require_version(data)
    return _validate(kind, data)


def encode(message: Message) -> bytes:
    """The message as it travels. Optional fields without a value are left out, but a job's `url` never is."""
    return message.__pydantic_serializer__.to_json(
        message, by_alias=True, exclude_none=not isinstance(message, Job)
    )


def _decode(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        raise Unreadable(f"It has {len(raw):,} bytes; a message may have {MAX_BYTES:,}.")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"It is not JSON in UTF-8: {error}.") from error
    if not isinstance(data, dict):
        raise Unreadable("It is not a JSON object.")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_deeper(data, MAX_DEPTH):
        raise Unreadable(f"It is nested deeper than {MAX_DEPTH} levels.")
    if b"\\u0000" in raw and _has_nul(data):
        raise Unreadable("It contains the character NUL, which can't be stored.")
    return data


def _require_version(data: dict[str, Any]) -> None:
    version = data.get("v")
    if type(version) is not int or version != VERSION:
        raise Unreadable(f"v must be {VERSION}: other versions are not known here.")


def _validate(kind: type[_M], data: dict[str, Any]) -> _M:
    try:
        return kind.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        shown = error.errors(include_url=False, include_context=False, include_input=False)[:3]
        reasons = (f"{'.'.join(map(str, item['loc'])) or kind.__name__}: {item['msg']}" for item in shown)
        raise Unreadable("; ".join(reasons) + ".") from error


def _inner(containers: Iterable[Any]) -> list[Any]:
    """The values one level down."""
    found: list[Any] = []
    for container in containers:
        found.extend(container.values() if isinstance(container, dict) else container)
    return found


def _is_deeper(data: dict[str, Any], levels: int) -> bool:
    level: list[Any] = [data]
    for _ in range(levels):
        level = [value for value in _inner(level) if isinstance(value, dict | list)]
        if not level:
            return False
    return True


def _has_nul(data: dict[str, Any]) -> bool:
    level: list[Any] = [data]
    while level:
        values = _inner(level)
        keys = (key for container in level if isinstance(container, dict) for key in container)
        if any("\0" in text for text in (*keys, *(value for value in values if isinstance(value, str)))):
            return True
        level = [value for value in values if isinstance(value, dict | list)]
    return False
