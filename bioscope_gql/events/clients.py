"""What Kafka's clients need on both sides of the topics, in the server and in a worker."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError

OUTAGES = (KafkaError, OSError, TimeoutError)
"""What a client raises when its broker is away or refuses it; the answer is to wait and to try again."""

_log = logging.getLogger(__name__)


class PatientAssignor(RoundRobinPartitionAssignor):  # type: ignore[misc]
    """For groups on the embedded broker only: its coordinator ends a rebalance when the leader syncs, and
    refuses the followers that sync later. This gives them a head start."""

    @classmethod
    def assign(cls, cluster: Any, members: Any) -> Any:
        if len(members) > 1:
            time.sleep(0.15)
        return super().assign(cluster, members)


async def unbroken(ending: Awaitable[object]) -> None:
    """Await the end of a client to its own end, even when cancelled meanwhile: it is bounded."""
    task = asyncio.ensure_future(ending)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError


async def bounded(ending: Awaitable[object], seconds: float) -> bool:
    """Await the end of a client for at most `seconds`; say whether it ended well."""
    task = asyncio.ensure_future(ending)
    # aiokafka's stop can raise CancelledError though nobody cancelled: in a task of its own it stays there
    await asyncio.wait([task], timeout=seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=1)
        return False
    if task.cancelled():
        return False
    if error := task.exception():
        _log.info("A Kafka client did not end well: %s", error)
        return False
    return True
