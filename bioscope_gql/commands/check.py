"""``bioscope check``: tries every part and says of each what works."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from bioscope_gql import migrations
from bioscope_gql.auth.keys import Keys
from bioscope_gql.commands import differences, running
from bioscope_gql.commands.migrate import dsn_of
from bioscope_gql.commands.reaching import reached
from bioscope_gql.errors import ConfigurationError
from bioscope_gql.events import security
from bioscope_gql.services import database_of
from bioscope_gql.settings import Settings
from bioscope_gql.storage.opening import store_of

PART_SECONDS = 15

Part = Callable[[Settings], Awaitable[str]]


def run(args: argparse.Namespace, settings: Settings) -> int:
    settings = reached(args, settings)
    return running.run(differences.show(settings) if args.store else _check(settings))


async def _check(settings: Settings) -> int:
    parts: dict[str, Part] = {"database": _database, "kafka": _kafka, "store": _store, "keys": _keys}
    outcomes = await asyncio.gather(
        *(_tried(part, settings) for part in parts.values()), return_exceptions=True
    )
    for name, outcome in zip(parts, outcomes, strict=True):
        said = f"FAILED  {_reason(outcome)}" if isinstance(outcome, BaseException) else f"ok      {outcome}"
        print(f"{name:<9} {said}")
    return int(any(isinstance(outcome, BaseException) for outcome in outcomes))


async def _tried(part: Part, settings: Settings) -> str:
    async with asyncio.timeout(PART_SECONDS):
        return await part(settings)


def _reason(error: BaseException) -> str:
    """Why a part does not work, in a sentence."""
    if isinstance(error, ConfigurationError):
        return " ".join(error.problems)
    if isinstance(error, TimeoutError) and not str(error):
        return f"It did not answer within {PART_SECONDS} seconds: check its address."
    return str(error) or type(error).__name__


async def _database(settings: Settings) -> str:
    settings.require("database")
    async with database_of(settings) as database:
        version = await database.value("show server_version")
    missing = await migrations.missing(dsn_of(settings))
    if missing:
        raise ConfigurationError(
            [f"PostgreSQL {version} lacks {len(missing)} migrations: run `bioscope migrate`."]
        )
    return f"PostgreSQL {version}, up to date"


async def _kafka(settings: Settings) -> str:
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    settings.require("kafka")
    kafka = settings.kafka
    admin = AIOKafkaAdminClient(
        bootstrap_servers=list(kafka.bootstrap_servers),
        request_timeout_ms=5_000,
        **security.arguments(kafka.security),
    )
    try:
        await admin.start()
        there = set(await admin.list_topics())
    except (KafkaError, OSError) as error:
        reason = (str(error) or type(error).__name__).rstrip(".")
        raise ConfigurationError(
            [f"Kafka does not answer ({reason}): check kafka.bootstrap_servers and kafka.security."]
        ) from error
    finally:
        await admin.close()
    wanted = {topic for topic in kafka.topics.model_dump().values() if "{model}" not in topic}
    absent = sorted(wanted - there)
    if absent and not kafka.create_topics:
        raise ConfigurationError([f"Kafka answers, and lacks the topics {', '.join(absent)}: make them."])
    made = f"; `serve` will make {', '.join(absent)}" if absent else ""
    return f"{', '.join(kafka.bootstrap_servers)}{made}"


async def _store(settings: Settings) -> str:
    settings.require("store")
    async with store_of(settings.s3) as store:
        await store.check()
    where = settings.s3.directory or f"{settings.s3.endpoint}, bucket {settings.s3.bucket}"
    return str(where)


async def _keys(settings: Settings) -> str:
    settings.require("keys")
    keys = Keys.load(settings.auth.keys)
    return f"{keys.signing.kid} signs with {keys.signing.algorithm}; {len(list(keys))} in all"
