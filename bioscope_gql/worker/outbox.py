"""Answers on their way to the broker."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from bioscope_gql.events.clients import OUTAGES
from bioscope_gql.worker.kafka import (
    AIOKafkaProducer,
    KafkaError,
    MessageSizeTooLargeError,
    producer,
)
from bioscope_gql.worker.options import Options

NO_HEADERS: Mapping[str, bytes] = MappingProxyType({})

_RETRY_SECONDS = 0.5
_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Message:
    topic: str
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]
    confirmed: "asyncio.Future[None]"


class Outbox:
    """Keeps each message until the broker has confirmed it, through outages and new producers.

    Messages go out in the order in which they were posted, pipelined; after an outage some may arrive twice.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._waiting: deque[_Message] = deque()
        self._sent: dict[_Message, None] = {}
        self._posted = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._reachable = True

    def post(
        self, topic: str, key: bytes, value: bytes, headers: Mapping[str, bytes] = NO_HEADERS
    ) -> "asyncio.Future[None]":
        """Take a message. The future ends when the broker has it, or with MessageSizeTooLargeError."""
        message = _Message(topic, key, value, headers, asyncio.get_running_loop().create_future())
        self._waiting.append(message)
        self._posted.set()
        self._empty.clear()
        return message.confirmed

    async def flush(self, *, seconds: float) -> bool:
        """Wait until the broker has everything; say whether it has."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Send for ever; a broker that is away is waited for, a producer that went bad is replaced."""
        while True:
            try:
                async with producer(self._options) as made:
                    self._reachable = True
                    await self._send_all(made)
            except OUTAGES as error:
                level = logging.WARNING if self._reachable else logging.DEBUG
                _log.log(level, "Answers wait for Kafka, trying again: %s", error or type(error).__name__)
                self._reachable = False
            self._waiting = deque([*self._sent, *self._waiting])
            self._sent.clear()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _send_all(self, made: AIOKafkaProducer) -> None:
        """Send what is posted until a delivery fails; then raise its error."""
        broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            while True:
                if self._waiting:
                    await self._send(made, self._waiting.popleft(), broken)
                else:
                    self._posted.clear()
                    await self._posted.wait()
                if broken.done():
                    return broken.result()
        finally:
            if not broken.cancel():
                broken.exception()

    async def _send(self, made: AIOKafkaProducer, message: _Message, broken: "asyncio.Future[None]") -> None:
        self._sent[message] = None
        try:
            delivery = await made.send(
                message.topic, message.value, key=message.key, headers=list(message.headers.items())
            )
        except MessageSizeTooLargeError as error:
            self._settle(message, error)
        else:
            delivery.add_done_callback(partial(self._delivered, message, broken))

    def _delivered(
        self, message: _Message, broken: "asyncio.Future[None]", delivery: "asyncio.Future[object]"
    ) -> None:
        if broken.done():  # this producer is given up; what it had goes out again with the next
            return
        error = KafkaError("the send was cancelled") if delivery.cancelled() else delivery.exception()
        if error is None or isinstance(error, MessageSizeTooLargeError):
            self._settle(message, error)
        if error is not None:
            # an idempotent producer whose batch failed gets OutOfOrderSequenceNumber ever after
            broken.set_exception(error)
            self._posted.set()

    def _settle(self, message: _Message, error: BaseException | None) -> None:
        del self._sent[message]
        if error is None:
            message.confirmed.set_result(None)
        else:
            message.confirmed.set_exception(error)
        if not self._sent and not self._waiting:
            self._empty.set()
