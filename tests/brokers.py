"""Brokers to test with: the embedded one, and a real Kafka where the environment names it.

BIOSCOPE_TEST_KAFKA is the address of one that services/kafka.sh started, e.g. 127.0.0.1:29092: only such a
one can be frozen. Tests that kill a broker start one more, on a port of its own.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import NodeNotReadyError

from bioscope_gql.embedded.kafka import Broker

START_SECONDS = 20
KAFKA = "BIOSCOPE_TEST_KAFKA"
SCRIPT = Path(__file__).parents[1] / "services" / "kafka.sh"


def real_kafka() -> str | None:
    """Where the real one is, if the tests are to use it."""
    return os.environ.get(KAFKA) or None


def needs_real_kafka() -> str:
    address = real_kafka()
    if address is None:
        pytest.skip(f"{KAFKA} names no Kafka: `make test-services` starts one and runs this.")
    return address


class RealBroker:
    """A Kafka of services/kafka.sh, on the port of its address."""

    def __init__(self, address: str, topics: Mapping[str, int] | None = None) -> None:
        self.bootstrap_servers = address
        self._topics = topics or {}
        self._stopped: int | None = None

    async def start(self) -> None:
        """Return once it serves, and has all topics."""
        await asyncio.to_thread(self._script, "start")
        if self._topics:
            await make_topics(self.bootstrap_servers, self._topics)

    async def stop(self) -> None:
        """Leave it running: others use it too."""
        self.resume()

    async def wipe(self) -> None:
        """End it, and forget all that it knows."""
        self.resume()
        await asyncio.to_thread(self._script, "wipe")

    def pause(self) -> None:
        """An outage: connections stay open and nobody answers."""
        self._stopped = self._pid()
        os.kill(self._stopped, signal.SIGSTOP)

    def resume(self) -> None:
        if self._stopped is not None:
            os.kill(self._stopped, signal.SIGCONT)
            self._stopped = None

    def kill(self) -> None:
        """An outage: nobody listens any more."""
        os.kill(self._pid(), signal.SIGKILL)

    def _pid(self) -> int:
        return int(self._script("pid"))

    def _script(self, command: str) -> str:
        port = self.bootstrap_servers.rpartition(":")[2]
        ran = subprocess.run(
            [str(SCRIPT), command],
            env=os.environ | {"KAFKA_PORT": port},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, f"kafka.sh {command}: {ran.stderr or ran.stdout}"
        return ran.stdout


def a_broker(topics: Mapping[str, int], log_dir: Path) -> Broker | RealBroker:
    """The one to test with, to be started: it then has these topics, with so many partitions."""
    address = real_kafka()
    return Broker(topics, log_dir) if address is None else RealBroker(address, topics)


async def make_topics(address: str, topics: Mapping[str, int]) -> None:
    wanted = [NewTopic(name, count, 1) for name, count in topics.items()]
    async with asyncio.timeout(START_SECONDS):
        while not await _made(address, wanted):
            await asyncio.sleep(0.1)


async def remove_topics(address: str, prefix: str) -> None:
    """A real broker that kept the topics of every test would run out of memory."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(prefix)])
    finally:
        await admin.close()


async def _made(address: str, wanted: Sequence[NewTopic]) -> bool:
    """A broker that was frozen or started a moment ago may have no controller yet, or not name itself."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        try:
            if (await admin.describe_cluster())["controller_id"] < 0:
                return False
        except NodeNotReadyError:
            return False
        answer = await admin.create_topics(wanted)
    finally:
        await admin.close()
    assert [code for _, code, *_ in answer.topic_errors] == [0] * len(wanted)
    return True
