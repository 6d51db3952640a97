"""What one process counts, for Prometheus. Made once with its services; nothing of it is global."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Labels: TypeAlias = tuple[str, ...]

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
COSTS = (0, 1, 10, 100, 1_000, 10_000, 50_000)


class Metrics:
    """Counters that whoever does the work raises, and gauges that are set when somebody asks.

    No label is a client's own word: operations go by their root field, or there would be no end of them.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=False)
        self.operations = Counter(
            "bioscope_operations", "GraphQL operations answered, by root field and code.",
            ["kind", "field", "code"], registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "bioscope_operation_seconds", "Seconds that queries and mutations took.",
            ["kind", "field"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.cost = Histogram(
            "bioscope_operation_cost", "Objects that operations could have brought.",
            buckets=COSTS, registry=registry,
        )  # fmt: skip
        self.overloads = Counter(
            "bioscope_requests_refused_by_load", "Requests answered with 503 for there were too many.",
            registry=registry,
        )  # fmt: skip
        self.jobs = Counter(
            "bioscope_jobs_dispatched", "Jobs handed out to workers.", ["model"], registry=registry
        )
        self.answers = Counter(
            "bioscope_answers", "Answers of workers, by what became of them.", ["outcome"], registry=registry
        )
        self.uploads = Counter(
            "bioscope_uploads", "Files that were sent, by what became of them.", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self.intake_seconds = Histogram(
            "bioscope_intake_seconds", "Seconds until a file was examined and stored, or refused.",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._gauges: dict[str, Gauge] = {}

    def set(self, name: str, text: str, values: Mapping[Labels, float], labels: Iterable[str] = ()) -> None:
        """Make a gauge say these values, each under its labels, and no others."""
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = Gauge(name, text, list(labels), registry=self._registry)
        gauge.clear()
        for label_values, value in values.items():
            (gauge.labels(*label_values) if label_values else gauge).set(value)

    def text(self) -> bytes:
        """All of it in the text format of Prometheus."""
        return generate_latest(self._registry)
