"""The Kafka clients of a worker, made and, with a time limit, ended.

aiokafka itself, not FastStream's broker: a worker commits a prefix of what it holds, keeps polling while
every slot is busy and replaces its producer, none of which FastStream lets its user do.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
)
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from bioscope_gql.events.clients import PatientAssignor, bounded, unbroken
from bioscope_gql.worker.options import Options

__all__ = [
    "AIOKafkaConsumer",
    "AIOKafkaProducer",
    "ConsumerRebalanceListener",
    "ConsumerRecord",
    "KafkaError",
    "MessageSizeTooLargeError",
    "TopicPartition",
    "consumer",
    "producer",
]

_STOP_SECONDS = 2


@asynccontextmanager
async def producer(options: Options) -> AsyncIterator[AIOKafkaProducer]:
    """A connected producer that neither loses nor doubles a message while it lives."""
    made = AIOKafkaProducer(
        bootstrap_servers=options.bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        max_batch_size=131_072,
        request_timeout_ms=3_000 if options.development else 10_000,
        **options.security,
    )
    try:
        await made.start()
        yield made
    finally:
        # it would wait for unsent messages as long as an outage lasts
        await unbroken(_given_up(made, made._sender, made.client))  # noqa: SLF001 - nothing public does


@asynccontextmanager
async def consumer(
    options: Options, *, topic: str, group: str, listener: ConsumerRebalanceListener
) -> AsyncIterator[AIOKafkaConsumer]:
    """A connected consumer that reads a topic from the earliest and commits only when told to."""
    made = AIOKafkaConsumer(
        bootstrap_servers=options.bootstrap_servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        **_times(options),
        **options.security,
    )
    try:
        made.subscribe([topic], listener=listener)
        await made.start()
        yield made
    finally:
        await unbroken(_given_up(made, made._client))  # noqa: SLF001 - nothing public does


def _times(options: Options) -> dict[str, Any]:
    if not options.development:
        return {
            "session_timeout_ms": 6_000,
            "heartbeat_interval_ms": 500,
            "fetch_max_wait_ms": 500,
            "request_timeout_ms": 10_000,
        }
    # the embedded broker parks an empty fetch for its whole wait, and a rejoin for the whole session
    return {
        "session_timeout_ms": 1_500,
        "heartbeat_interval_ms": 300,
        "fetch_max_wait_ms": 5,
        "request_timeout_ms": 3_000,
        "partition_assignment_strategy": (PatientAssignor,),
    }


async def _given_up(client: Any, *parts: Any) -> None:
    """End a client; where its broker does not let it, end its parts: their connections would stay."""
    if not await bounded(client.stop(), _STOP_SECONDS):
        for part in parts:
            await bounded(part.close(), 1)
