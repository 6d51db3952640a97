"""Traces, as a collector gets them: from an operation over Kafka and a worker to the result."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.crews import ROOT, a_crew, announced, ended
from tests.lab import Lab, Place, a_lab, a_picture

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ME = "{ me { username } }"


class Collector:
    """Takes spans by OTLP over HTTP, as a real one does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.endpoint = ""

    async def take(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        for resource in sent.resource_spans:
            self.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")

    def named(self, name: str) -> Span:
        """The only span of this name."""
        [span] = [span for span in self.spans if span.name == name]
        return span


def attributes(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    application = web.Application()
    application.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    collector.endpoint = f"http://{host}:{port}"
    yield collector
    await runner.cleanup()


async def asked(lab: Lab, **headers: str) -> None:
    answer = await lab.http.post("/graphql", json={"query": ME}, headers=headers)
    assert answer.json()["data"] == {"me": None}


async def test_one_trace_leads_from_the_operation_over_the_worker_to_the_result(
    place: Place, collector: Collector
) -> None:
    settings = place.settings(traces_endpoint=collector.endpoint)
    topics = settings.kafka.topics
    async with a_lab(place, settings) as lab:
        ada = await lab.an_analyst()
        dataset = await ada.a_dataset()
        await ada.upload(dataset, [("smear.png", a_picture())])
        async with a_crew(lab, ROOT / "examples" / "01_worker.py"):
            await announced(lab, "brightness")
            run = await ada.run(target={"datasetId": dataset}, modelName="brightness")
            assert await ended(lab, run["id"], 60) == "COMPLETED"
        item = await lab.db.value("select id::text from classification_items")

    operation = collector.named("mutation runClassification")
    sent = collector.named(f"send {topics.jobs}")
    # On a slow machine the worker also says that it has started.
    answers = [span for span in collector.spans if span.name == f"record {topics.results}"]
    [recorded] = [span for span in answers if attributes(span)["bioscope.answer"] == "ok"]
    assert {span.parent_span_id for span in answers} == {sent.span_id}
    assert {span.trace_id for span in (sent, recorded)} == {operation.trace_id}
    assert (sent.parent_span_id, recorded.parent_span_id) == (operation.span_id, sent.span_id)
    assert (operation.kind, sent.kind, recorded.kind) == (
        Span.SPAN_KIND_SERVER,
        Span.SPAN_KIND_PRODUCER,
        Span.SPAN_KIND_CONSUMER,
    )
    assert attributes(operation) == {"bioscope.code": "OK"}
    assert {attributes(span)["bioscope.item"] for span in (sent, recorded)} == {item}
    assert operation.start_time_unix_nano < sent.start_time_unix_nano < recorded.start_time_unix_nano
    assert collector.services == {"bioscope-gql"}


async def test_what_fails_is_marked_with_its_code(place: Place, collector: Collector) -> None:
    async with a_lab(place, place.settings(traces_endpoint=collector.endpoint)) as lab:
        answer = await lab.http.post("/graphql", json={"query": "{ datasets { nodes { id } } }"})
        assert answer.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    span = collector.named("query datasets")
    assert attributes(span) == {"bioscope.code": "UNAUTHENTICATED"}
    assert span.status.code == span.status.STATUS_CODE_ERROR


@pytest.mark.parametrize("proxies", [0, 1])
async def test_a_callers_own_trace_goes_on_only_from_behind_proxies_of_ours(
    place: Place, collector: Collector, proxies: int
) -> None:
    settings = place.settings(traces_endpoint=collector.endpoint, trusted_proxies=proxies)
    async with a_lab(place, settings) as lab:
        await asked(lab, traceparent=CALLER, **{"x-forwarded-for": "192.0.2.7"})
    span = collector.named("query me")
    goes_on = (span.trace_id.hex(), span.parent_span_id.hex()) == tuple(CALLER.split("-")[1:3])
    assert goes_on == bool(proxies)


async def test_operations_of_one_socket_or_connection_are_traces_of_their_own(
    place: Place, collector: Collector
) -> None:
    async with a_lab(place, place.settings(traces_endpoint=collector.endpoint)) as lab:
        for _ in range(3):
            await asked(lab)
    assert len({span.trace_id for span in collector.spans}) == 3
    assert {span.parent_span_id for span in collector.spans} == {b""}


async def test_without_the_setting_runs_keep_no_trace(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    await ada.images(dataset, 1)
    async with lab.a_worker() as worker:
        await ada.run_over(dataset)
        await worker.job()
    assert await lab.db.value("select trace is null from classifications")


def test_without_the_setting_nothing_of_opentelemetry_is_loaded(tmp_path: Path) -> None:
    """But for two names that FastStream looks for by itself, where they are installed."""
    program = (
        "import sys, bioscope_gql.app, bioscope_gql.replica, bioscope_gql.commands.serving\n"
        "theirs = {'opentelemetry', 'opentelemetry.semconv'}\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry') and name not in theirs])"
    )
    assert run(program, tmp_path) == "[]"


def test_where_its_packages_are_missing_a_sentence_says_what_to_do(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from bioscope_gql import errors, tracing\n"
        "async def main():\n"
        "    try:\n"
        "        async with tracing.opened('http://127.0.0.1:4318'): pass\n"
        "    except errors.ConfigurationError as error: print(*error.problems)\n"
        "asyncio.run(main())"
    )
    assert run(program, tmp_path) == (
        "app.traces_endpoint needs OpenTelemetry: install bioscope-gql[otel], or leave the setting out."
    )


def run(program: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


async def test_a_collector_that_is_away_holds_nobody_up(place: Place) -> None:
    async with a_lab(place, place.settings(traces_endpoint="http://127.0.0.1:9")) as lab:
        await asked(lab)
