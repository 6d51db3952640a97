"""Where the time of an operation went, across Kafka: spans, if `app.traces_endpoint` says where to send them.

A trace begins with a GraphQL operation. A run keeps the place that it has in one (`classifications.trace`):
whichever replica hands out its jobs goes on with it; jobs carry it as the Kafka header `traceparent`, workers
give it back with their answers. Without the setting nothing of this is loaded, kept or sent.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, TypeAlias

from bioscope_gql.errors import ConfigurationError

Headers: TypeAlias = Iterable[tuple[str, bytes]]
"""As they come from Kafka."""

TRACEPARENT = "traceparent"
"""Of W3C Trace Context: the name of the header, over HTTP and over Kafka."""


class Span(Protocol):
    """Something that has begun."""

    def end(self, code: str) -> None:
        """It is over; `code` is OK, or says what went wrong."""


class Tracing(Protocol):
    """What the rest of the program tells about its work."""

    def begin(self, name: str, carried: str | None) -> Span:
        """An operation begins in this task, as part of the caller's trace where one was `carried` here."""

    def current(self) -> str | None:
        """The place of this task's operation in its trace; None outside of one."""

    def sent(self, topic: str, item: str, place: str | None) -> Mapping[str, str]:
        """A job of a run with this place in a trace is about to be sent: the headers that it carries."""

    def received(self, topic: str, item: str, headers: Headers, status: str) -> None:
        """An answer with this status came, and was dealt with."""


class Untraced:
    """Keeps nothing and sends nothing."""

    def begin(self, name: str, carried: str | None) -> Span:  # noqa: ARG002 - as Tracing says
        return self

    def end(self, code: str) -> None:
        """Nothing had begun."""

    def current(self) -> str | None:
        return None

    def sent(self, topic: str, item: str, place: str | None) -> Mapping[str, str]:  # noqa: ARG002
        return {}

    def received(self, topic: str, item: str, headers: Headers, status: str) -> None:
        """Nobody is told."""


@asynccontextmanager
async def opened(endpoint: str | None) -> AsyncIterator[Tracing]:
    """What sends spans to an endpoint of OTLP over HTTP; what is on its way is sent before it closes.

    Raises:
        ConfigurationError: the packages for it are not installed.
    """
    if endpoint is None:
        yield Untraced()
        return
    try:
        from bioscope_gql import otel
    except ImportError as error:
        raise ConfigurationError(
            ["app.traces_endpoint needs OpenTelemetry: install bioscope-gql[otel], or leave the setting out."]
        ) from error
    async with otel.exporting(endpoint) as traces:
        yield traces
