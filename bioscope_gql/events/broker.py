"""The connection to Kafka: made, watched, replaced when it went bad, and ended within a time limit.

FastStream makes and connects the clients. Its subscribers have no handlers here: a batch is applied,
committed to the database and only then acknowledged, and reading pauses while the database is away,
which needs a loop of our own (`consumer.py`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, Topic
from faststream.kafka.subscriber.usecase import BatchSubscriber
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from bioscope_gql.events import security, topics
from bioscope_gql.events.clients import OUTAGES, PatientAssignor, bounded, unbroken
from bioscope_gql.settings import Kafka, KafkaSecurity

RETRY_SECONDS = 1.0
PING_SECONDS = 2.0
PATIENCE_SECONDS = 120.0
"""An outage is left to the clients for so long: they come back by themselves, with what was not sent yet."""

STOP_SECONDS = 5.0
logger = structlog.get_logger()


class Link:
    """One connection to Kafka, from its start until it is given up."""

    def __init__(self, settings: Kafka, *, development: bool) -> None:
        self._settings, self._development = settings, development
        self._spoiled = asyncio.Event()
        self._broker = KafkaBroker(
            list(settings.bootstrap_servers),
            security=_security(settings.security),
            acks="all",
            enable_idempotence=True,
            allow_auto_create_topics=False,
            max_batch_size=131_072,
            request_timeout_ms=3_000 if development else 10_000,
            client_id="bioscope",
            logger=None,
        )

    def subscribe(self, topic: str, *, group: str | None) -> "Subscription":
        """A reader of a topic, to be made before the link opens.

        With a group it goes on where the group has committed; without one it reads what comes from now on.
        """
        subscriber = self._broker.subscriber(
            Topic(topic, declare=False),
            batch=True,
            group_id=group,
            auto_offset_reset="earliest" if group else "latest",
            ack_policy=AckPolicy.MANUAL,
            **_times(development=self._development),
        )
        return Subscription(subscriber)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connected while the block lasts; leaving it takes a few seconds at most."""
        try:
            if self._settings.create_topics:
                await topics.create_topics(self._settings, security.arguments(self._settings.security))
            await self._broker.start()
            yield
        finally:
            await unbroken(bounded(self._broker.stop(), STOP_SECONDS))

    async def send(
        self, topic: str, value: bytes, *, key: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Hand a message to the client. Whether the broker gets it, nobody waits for: a link that could not
        deliver one is given up.

        Raises:
            KafkaError: it was certainly not written.
        """
        sent: asyncio.Future[Any] = await self._broker.publish(
            value, topic, key=key, headers=dict(headers or {}), no_confirm=True
        )
        sent.add_done_callback(self._judge)

    async def gone(self, tell: Callable[[bool], None]) -> str:
        """Wait until this link is of no use any more, and say why; `tell` hears if the broker answers."""
        heard_at = time.monotonic()
        while not await self._is_spoiled(within=PING_SECONDS):
            answers = await self._broker.ping(PING_SECONDS)
            tell(answers)
            if answers:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > PATIENCE_SECONDS:
                return f"the broker has not answered for {PATIENCE_SECONDS:.0f} s"
        return "a message could not be delivered"

    async def _is_spoiled(self, *, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                return await self._spoiled.wait()
        except TimeoutError:
            return False

    def _judge(self, sent: "asyncio.Future[Any]") -> None:
        # An idempotent producer whose batch failed gets OutOfOrderSequenceNumber ever after.
        if sent.cancelled() or sent.exception() is not None:
            self._spoiled.set()


class Subscription:
    """What one subscriber reads, once its link is open."""

    def __init__(self, subscriber: BatchSubscriber) -> None:
        self._subscriber = subscriber

    @property
    def consumer(self) -> AIOKafkaConsumer:
        if self._subscriber.consumer is None:
            raise RuntimeError("A subscription is read while its link is open.")
        return self._subscriber.consumer


Reading = Callable[[Link], Coroutine[Any, Any, None]]
"""Subscribes on a link when it is called; what it returns reads, once the link is open, until cancelled."""


class Broker:
    """Keeps one link to Kafka open, and makes a new one whenever it went bad.

    Nobody waits for it: while there is none, or nobody answers at its other end, `link` is None and what
    there is to send stays where it is.
    """

    def __init__(self, settings: Kafka, *, development: bool) -> None:
        self._settings, self._development = settings, development
        self.link: Link | None = None
        self.connected = asyncio.Event()

    async def run(self, readings: Sequence[Reading]) -> None:
        """Serve until cancelled. What reads is ended before its link is."""
        said = ""
        while True:
            try:
                await self._serve(readings)
            except* OUTAGES as errors:
                reason = _reason(errors)
                if reason != said:
                    logger.warning("kafka_away", reason=reason, retry_seconds=RETRY_SECONDS)
                said = reason
            else:
                said = ""
            await asyncio.sleep(RETRY_SECONDS)

    async def _serve(self, readings: Sequence[Reading]) -> None:
        link = Link(self._settings, development=self._development)
        loops = [reading(link) for reading in readings]
        try:
            async with link.opened():
                logger.info("kafka_connected")
                self._offer(link)
                try:
                    await _first_of(
                        [link.gone(lambda answers: self._offer(link if answers else None)), *loops]
                    )
                finally:
                    self._offer(None)
        finally:
            for loop in loops:
                loop.close()

    def _offer(self, link: Link | None) -> None:
        if (link is None) != (self.link is None):
            logger.info("kafka_answers" if link else "kafka_does_not_answer")
        self.link = link
        if link is None:
            self.connected.clear()
        else:
            self.connected.set()


async def _first_of(parts: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """Run all until one ends, for whatever reason; then end the others, and say how the first one ended."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        logger.warning("kafka_link_given_up", reason=task.result())


def _reason(errors: BaseExceptionGroup[BaseException]) -> str:
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return f"{type(first).__name__}: {first}" if str(first) else type(first).__name__


def _times(*, development: bool) -> dict[str, Any]:
    if not development:
        return {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 500, "fetch_max_wait_ms": 500}
    # The embedded broker parks an empty fetch for its whole wait, and a rejoin for the whole session.
    return {
        "session_timeout_ms": 1_500,
        "heartbeat_interval_ms": 300,
        "fetch_max_wait_ms": 10,
        "partition_assignment_strategy": (PatientAssignor,),
    }


def _security(settings: KafkaSecurity) -> BaseSecurity:
    """The same as `security.arguments`, in FastStream's words."""
    told = security.arguments(settings)
    context = told.get("ssl_context")
    if not settings.protocol.startswith("SASL"):
        return BaseSecurity(ssl_context=context, use_ssl=context is not None)
    kinds = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    return kinds[settings.mechanism](
        username=told["sasl_plain_username"],
        password=told["sasl_plain_password"],
        ssl_context=context,
        use_ssl=context is not None,
    )
