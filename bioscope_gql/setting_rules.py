"""What settings must be together: nothing that is needed missing, nothing against each other."""

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bioscope_gql.settings import Settings

Need = Literal["database", "kafka", "store", "keys"]
Place = tuple[str, ...]

SERVE: tuple[Need, ...] = ("database", "kafka", "store", "keys")

_EXAMPLES = {
    ("database", "dsn"): "postgresql://bioscope:password@localhost:5432/bioscope",
    ("kafka", "bootstrap_servers"): "localhost:9092",
    ("s3", "endpoint"): "http://localhost:9000, or s3.directory for a folder",
    ("s3", "bucket"): "bioscope",
    ("app", "public_url"): "https://bioscope.lab.example; links to pictures in s3.directory need it",
    ("auth", "keys"): "/etc/bioscope/signing.pem, made by: openssl ecparam -name prime256v1 -genkey -noout",
}


def missing(settings: "Settings", needs: Sequence[Need], ignored: Collection[Place] = ()) -> list[str]:
    """One sentence for each setting that `needs` ask for and nobody gave."""
    return [_absent(place) for place in _wanted(settings, needs) if place not in ignored]


def _absent(place: Place) -> str:
    example = f", e.g. {_EXAMPLES[place]}" if place in _EXAMPLES else ""
    name = ".".join(place)
    return f"{name} is missing: set it in bioscope.yaml or as BIOSCOPE_{'__'.join(place).upper()}{example}."


def _wanted(settings: "Settings", needs: Sequence[Need]) -> Iterator[Place]:
    if "database" in needs and settings.database.dsn is None:
        yield "database", "dsn"
    if "kafka" in needs and not settings.kafka.bootstrap_servers:
        yield "kafka", "bootstrap_servers"
    if "store" in needs:
        yield from _store(settings)
    if "keys" in needs and not settings.auth.keys:
        yield "auth", "keys"


def _store(settings: "Settings") -> Iterator[Place]:
    if settings.s3.directory is not None:
        if settings.app.public_url is None:
            yield "app", "public_url"
        return
    for name in ("endpoint", "access_key", "secret_key", "bucket"):
        if getattr(settings.s3, name) is None:
            yield "s3", name


def contradictions(settings: "Settings", ignored: Collection[Place] = ()) -> list[str]:
    """One sentence for each pair of settings that can't both hold; those over `ignored` are passed over."""
    return [
        sentence
        for places, sentence in _contradictions(settings)
        if not any(place in ignored for place in places)
    ]


def _contradictions(settings: "Settings") -> Iterator[tuple[tuple[Place, ...], str]]:
    database, s3, worker, limits = settings.database, settings.s3, settings.worker, settings.limits
    if database.pool_min > database.pool_max:
        yield (
            (("database", "pool_min"), ("database", "pool_max")),
            f"database.pool_min ({database.pool_min}) must not exceed pool_max ({database.pool_max}).",
        )
    if s3.directory is not None and s3.endpoint is not None:
        yield (
            (("s3", "directory"), ("s3", "endpoint")),
            "s3.directory and s3.endpoint exclude each other: keep one of them.",
        )
    if (worker.client_id is None) != (worker.client_secret is None):
        yield (
            (("worker", "client_id"), ("worker", "client_secret")),
            "worker.client_id and worker.client_secret belong together: set both or none.",
        )
    if limits.password_min_length > limits.password_max_length:
        yield (
            (("limits", "password_min_length"), ("limits", "password_max_length")),
            "limits.password_min_length must not exceed limits.password_max_length.",
        )
    if limits.upload_request_bytes < limits.file_bytes:
        yield (
            (("limits", "upload_request_bytes"), ("limits", "file_bytes")),
            "limits.upload_request_bytes must not be smaller than limits.file_bytes: no such file would fit.",
        )
    yield from _kafka(settings)


def _kafka(settings: "Settings") -> Iterator[tuple[tuple[Place, ...], str]]:
    security = settings.kafka.security
    above = ("kafka", "security")
    if security.protocol.startswith("SASL"):
        for name in ("username", "password"):
            if getattr(security, name) is None:
                yield ((*above, name),), f"kafka.security.{name} is missing: {security.protocol} needs it."
    if (security.cert_file is None) != (security.key_file is None):
        yield (
            ((*above, "cert_file"), (*above, "key_file")),
            "kafka.security.cert_file and kafka.security.key_file belong together: set both or none.",
        )
    for (one, topic), (other, same) in combinations(settings.kafka.topics.model_dump().items(), 2):
        if topic == same:
            yield (
                (("kafka", "topics", one), ("kafka", "topics", other)),
                f"kafka.topics.{one} and kafka.topics.{other} are both {topic}: each needs its own.",
            )
