"""The broker's process: librdkafka's mock cluster, reached through ctypes. Keeps nothing; development only.

    python -m bioscope_gql.embedded.broker [--library FILE] [TOPIC=PARTITIONS ...]

One line of JSON on standard output says where it listens and under which pid. It ends when standard input
closes, and on SIGTERM and SIGINT. It imports nothing heavy: of confluent_kafka it needs the library only.
"""

import argparse
import ctypes
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

_PATTERNS = (
    "confluent_kafka.libs/librdkafka-*.so*",
    "confluent_kafka/.dylibs/librdkafka*.dylib",
    "confluent_kafka.libs/librdkafka*.dll",
)
_PRODUCER = 0
_ERROR_BYTES = 512
_SETTINGS = {"client.id": "bioscope-development", "test.mock.num.brokers": "1", "log_level": "3"}


def find_library() -> Path:
    """Where the confluent-kafka wheel keeps librdkafka.

    Raises:
        FileNotFoundError: the package is not installed, or not as a wheel.
    """
    package = importlib.util.find_spec("confluent_kafka")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent.parent
        for pattern in _PATTERNS:
            for found in folder.glob(pattern):
                return found
    raise FileNotFoundError("librdkafka was not found: install the confluent-kafka wheel.")


class MockCluster:
    """One broker on a free port of 127.0.0.1."""

    def __init__(self, library: Path, topics: Mapping[str, int]) -> None:
        self._rd = _declared(ctypes.CDLL(str(library)))
        self._handle = self._client()
        cluster = self._rd.rd_kafka_handle_mock_cluster(self._handle)
        # A real broker's habit of waiting 3 s for more members makes no sense with a handful of them.
        self._rd.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
        for name, partitions in topics.items():
            if self._rd.rd_kafka_mock_topic_create(cluster, name.encode(), partitions, 1):
                raise ValueError(f"The topic {name} with {partitions} partitions was refused.")
        self.bootstrap_servers: str = self._rd.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def close(self) -> None:
        self._rd.rd_kafka_destroy(self._handle)

    def _client(self) -> int:
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        settings = self._rd.rd_kafka_conf_new()
        for name, value in _SETTINGS.items():
            if self._rd.rd_kafka_conf_set(settings, name.encode(), value.encode(), error, _ERROR_BYTES):
                raise ValueError(error.value.decode())
        handle: int | None = self._rd.rd_kafka_new(_PRODUCER, settings, error, _ERROR_BYTES)
        if not handle:
            raise RuntimeError(error.value.decode())
        return handle


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    signatures = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, size]),
        "rd_kafka_new": (pointer, [number, pointer, text, size]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_handle_mock_cluster": (pointer, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _topic(text: str) -> tuple[str, int]:
    name, _, partitions = text.rpartition("=")
    if not partitions.isdecimal() or int(partitions) < 1:
        # The library would end the process without a word.
        raise argparse.ArgumentTypeError(f"the topic {name} needs one partition or more, not {partitions}")
    return name, int(partitions)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bioscope_gql.embedded.broker")
    parser.add_argument("--library", type=Path)
    parser.add_argument("topics", type=_topic, nargs="*", metavar="TOPIC=PARTITIONS")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    cluster = MockCluster(options.library or find_library(), dict(options.topics))
    try:
        print(json.dumps({"bootstrap_servers": cluster.bootstrap_servers, "pid": os.getpid()}), flush=True)
        while os.read(sys.stdin.fileno(), 1024):
            pass
    finally:
        cluster.close()


if __name__ == "__main__":
    main()
