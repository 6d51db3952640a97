"""Where a worker finds Kafka and the API, from `BIOSCOPE_*` variables and the command line (which wins)."""

import argparse
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioscope_gql.events.messages import Topics

_TRUE = frozenset({"1", "true", "yes", "on"})
_SECRETS = ("BIOSCOPE_KAFKA__SECURITY__PASSWORD", "BIOSCOPE_WORKER__CLIENT_SECRET")
_SASL = {
    "MECHANISM": ("sasl_mechanism", "SCRAM-SHA-512"),
    "USERNAME": ("sasl_plain_username", None),
    "PASSWORD": ("sasl_plain_password", None),
}
_TLS = ("CA_FILE", "CERT_FILE", "KEY_FILE")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How one worker process runs.

    `concurrency`: how many calls of the function may run at the same time.
    `development`: the broker is the embedded one, which forgets everything and needs short times.
    `security`: the aiokafka arguments for SASL and TLS.
    `stop_seconds`: how long work in hand may take once the worker was told to stop.
    `name`: unique per process; by default the model's name, the host and the process id.
    """

    bootstrap_servers: str
    topics: Topics = field(default_factory=Topics)
    concurrency: int = 1
    development: bool = False
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    api_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    stop_seconds: float = 30
    end_with_parent: bool = False
    name: str | None = None


def from_command_line(
    arguments: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    description: str = "A classifier worker of BioScope GQL.",
    concurrency: int = os.cpu_count() or 1,
) -> Options:
    """The options of a worker command; a missing or wrong one ends the process with a sentence.

    `concurrency` is for those who say nothing about it.
    """
    parser = argparse.ArgumentParser(description=description)
    given = _with_secrets(parser, os.environ if environment is None else environment)
    parser.add_argument(
        "--bootstrap-servers",
        default=given.get("BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS"),
        help="Kafka's addresses (BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS)",
    )
    parser.add_argument(
        "--concurrency",
        type=_positive,
        default=given.get("BIOSCOPE_WORKER__CONCURRENCY", str(concurrency)),
        help=f"calls of the model at the same time (BIOSCOPE_WORKER__CONCURRENCY; {concurrency})",
    )
    parser.add_argument(
        "--development",
        action="store_true",
        default=given.get("BIOSCOPE_WORKER__DEVELOPMENT", "").lower() in _TRUE,
        help="the broker is the embedded one (BIOSCOPE_WORKER__DEVELOPMENT)",
    )
    parser.add_argument(
        "--stop-seconds", type=float, default=30.0, help="time for work in hand after SIGTERM (30)"
    )
    parser.add_argument("--end-with-parent", action="store_true", help="stop when stdin closes")
    parsed = parser.parse_args(arguments)
    if not parsed.bootstrap_servers:
        parser.error("Say where Kafka is: set BIOSCOPE_KAFKA__BOOTSTRAP_SERVERS or give --bootstrap-servers.")
    return Options(
        bootstrap_servers=parsed.bootstrap_servers,
        topics=_topics(given),
        concurrency=parsed.concurrency,
        development=parsed.development,
        security=_certified(parser, given),
        api_url=given.get("BIOSCOPE_WORKER__API_URL"),
        client_id=given.get("BIOSCOPE_WORKER__CLIENT_ID"),
        client_secret=given.get("BIOSCOPE_WORKER__CLIENT_SECRET"),
        stop_seconds=parsed.stop_seconds,
        end_with_parent=parsed.end_with_parent,
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 upwards.")
    return int(text)


def _topics(given: Mapping[str, str]) -> Topics:
    prefix = "BIOSCOPE_KAFKA__TOPICS__"
    names = ("jobs", "results", "workers")
    return Topics(**{name: given[prefix + name.upper()] for name in names if prefix + name.upper() in given})


def _security(given: Mapping[str, str]) -> dict[str, Any]:
    told = {name: given.get(f"BIOSCOPE_KAFKA__SECURITY__{name}") for name in (*_SASL, *_TLS, "PROTOCOL")}
    protocol = (told["PROTOCOL"] or "PLAINTEXT").upper()
    found: dict[str, Any] = {"security_protocol": protocol}
    if protocol.startswith("SASL"):
        found |= {argument: told[name] or default for name, (argument, default) in _SASL.items()}
    if protocol.endswith("SSL"):
        found["ssl_context"] = context = ssl.create_default_context(cafile=told["CA_FILE"])
        if told["CERT_FILE"]:
            context.load_cert_chain(told["CERT_FILE"], told["KEY_FILE"])
    return found


def _certified(parser: argparse.ArgumentParser, given: Mapping[str, str]) -> dict[str, Any]:
    try:
        return _security(given)
    except OSError as error:
        parser.error(f"A file of BIOSCOPE_KAFKA__SECURITY__... can't be used: {error}.")


def _with_secrets(parser: argparse.ArgumentParser, given: Mapping[str, str]) -> dict[str, str]:
    """The variables, and the secrets for which a variable ending in _FILE names a file."""
    found = dict(given)
    for name in _SECRETS:
        if file := given.get(f"{name}_FILE"):
            try:
                found.setdefault(name, Path(file).read_text("utf-8").rstrip("\r\n"))
            except (OSError, ValueError) as error:
                parser.error(f"{name}_FILE names {file}, which can't be read: {error}.")
    return found
