"""Spans by OpenTelemetry. Imported only where `app.traces_endpoint` is set."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bioscope_gql import __version__
from bioscope_gql.tracing import TRACEPARENT, Headers, Span

EXPORT_SECONDS = 5
"""How long a batch may take to be sent; what can't be sent by then is lost, and nothing waits for it."""


@asynccontextmanager
async def exporting(endpoint: str) -> AsyncIterator["Traces"]:
    """Sends spans from a thread of its own, in batches, and the last of them when the block ends."""
    resource = Resource.create({"service.name": "bioscope-gql", "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Traces(provider)
    finally:
        # A collector that hangs is left behind: no thread of it keeps the process.
        last = threading.Thread(target=provider.shutdown, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, EXPORT_SECONDS)


class Traces:
    """Spans of one process. No span holds anything that a person wrote: names, ids and codes only."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("bioscope_gql", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, name: str, carried: str | None) -> Span:
        span = self._tracer.start_span(name, self._place(carried), kind=SpanKind.SERVER)
        # The task of an operation ends with it, and with the task this.
        context.attach(trace.set_span_in_context(span))
        return Begun(span)

    def current(self) -> str | None:
        span = trace.get_current_span()
        return self._header(span) if span.get_span_context().is_valid else None

    def sent(self, topic: str, item: str, place: str | None) -> Mapping[str, str]:
        if place is None:
            return {}
        span = self._message(f"send {topic}", self._place(place), SpanKind.PRODUCER, topic, item)
        header = self._header(span)
        span.end()
        return {TRACEPARENT: header}

    def received(self, topic: str, item: str, headers: Headers, status: str) -> None:
        carried = dict(headers).get(TRACEPARENT)
        if carried is None:
            return
        place = self._place(carried.decode("latin-1"))
        span = self._message(f"record {topic}", place, SpanKind.CONSUMER, topic, item)
        span.set_attribute("bioscope.answer", status)
        span.end()

    def _message(
        self, name: str, place: context.Context, kind: SpanKind, topic: str, item: str
    ) -> trace.Span:
        span = self._tracer.start_span(name, place, kind=kind)
        span.set_attributes(
            {"messaging.system": "kafka", "messaging.destination.name": topic, "bioscope.item": item}
        )
        return span

    def _place(self, carried: str | None) -> context.Context:
        """Of a header's value, whoever wrote it; one that is none begins a trace of its own."""
        return self._propagator.extract({TRACEPARENT: carried} if carried else {}, context.Context())

    def _header(self, span: trace.Span) -> str:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(span, context.Context()))
        return carrier[TRACEPARENT]


class Begun:
    """An operation on its way."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def end(self, code: str) -> None:
        self._span.set_attribute("bioscope.code", code)
        if code != "OK":
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
