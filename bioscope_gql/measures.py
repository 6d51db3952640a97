"""What is measured of a replica: operations as they end, and how things stand when /metrics is read."""

import time
from collections.abc import Callable

from graphql import OperationType

from bioscope_gql.db import is_away
from bioscope_gql.metrics import Labels, Metrics
from bioscope_gql.replica import Replica
from bioscope_gql.resolvers import figures
from bioscope_gql.services import Services
from bioscope_gql.tracing import TRACEPARENT
from bioscope_gql.transport.documents import Operation
from bioscope_gql.transport.execution import Answer, Call
from bioscope_gql.transport.http import GraphQLEndpoint


class Observer:
    """Counts operations as they end."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, call: Call, answer: Answer | None) -> None:
        code = "CLIENT_LEFT" if answer is None else next(iter(answer.codes), "OK")
        operation = call.operation
        if call.span is not None:
            call.span.end(code)
        if operation is None:
            self._metrics.operations.labels("unknown", "", code).inc()
            return
        kind, field = operation.kind.value, _field_of(operation)
        self._metrics.operations.labels(kind, field, code).inc()
        if operation.kind is not OperationType.SUBSCRIPTION:
            self._metrics.seconds.labels(kind, field).observe(time.perf_counter() - call.began)
        if answer is not None and answer.cost is not None:
            self._metrics.cost.observe(answer.cost["cost"])


def begin_traced(services: Services) -> Callable[[Call], None]:
    """Spans of operations. A caller's own trace goes on in them only from behind proxies of ours."""
    believes = services.settings.app.trusted_proxies > 0

    def begin(call: Call) -> None:
        operation = call.operation
        carried = call.connection.headers.get(TRACEPARENT) if believes else None
        if operation is not None:
            name = f"{operation.kind.value} {_field_of(operation)}"
            call.span = services.tracing.begin(name, carried)

    return begin


def _field_of(operation: Operation) -> str:
    """The root field that an operation goes by. Its name would be the client's own word."""
    fields = operation.root_fields
    return next(iter(fields)) if len(fields) == 1 else "several"


class Figures:
    """What /metrics tells of the moment: of this replica, and of the database while it answers."""

    def __init__(self, replica: Replica, endpoint: GraphQLEndpoint) -> None:
        self._replica, self._endpoint = replica, endpoint

    async def gather(self) -> None:
        metrics, replica = self._replica.services.metrics, self._replica
        here: dict[Labels, float] = {(name,): value for name, value in self._endpoint.crowd.items()}
        metrics.set("bioscope_here", "Requests at work, sockets, their operations, streams.", here, ["what"])
        duties: dict[Labels, float] = {(name,): float(is_well) for name, is_well in replica.duties.items()}
        metrics.set("bioscope_duty_is_well", "Whether a duty of this replica is at work.", duties, ["duty"])
        connected = float(replica.broker.link is not None)
        metrics.set("bioscope_kafka_connected", "Whether Kafka is connected.", {(): connected})
        behind = replica.results.backlog.behind
        metrics.set("bioscope_results_behind", "Answers of workers not dealt with.", {(): behind})
        try:
            await self._gather_stored(metrics)
        except Exception as error:
            if not is_away(error):
                raise

    async def _gather_stored(self, metrics: Metrics) -> None:
        db = self._replica.services.db
        models = await figures.per_model(db)
        for name, text in (
            ("queued", "Pictures that wait for a model."),
            ("in_flight", "Pictures that were handed out."),
            ("workers", "Live workers of a model."),
        ):
            metrics.set(f"bioscope_{name}", text, {(row["model"],): row[name] for row in models}, ["model"])
        totals = await figures.totals(db)
        metrics.set("bioscope_open_runs", "Runs that are not finished.", {(): totals["open_runs"]})
        metrics.set("bioscope_dead_letters", "Answers that nobody replayed.", {(): totals["dead_letters"]})
