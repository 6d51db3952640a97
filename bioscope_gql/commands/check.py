"""``bioscope check``: tries every part and says of each what works."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from bioscope_gql import migrations
from bioscope_gql.auth.keys import Keys
from bioscope_gql.commands import running
from bioscope_gql.commands.migrate import dsn_of
from bioscope_gql.commands.reaching import reached
from bioscope_gql.errors import ConfigurationError, Problem
from bioscope_gql.events import security
from bioscope_gql.services import database_of
from bioscope_gql.settings import Settings
from bioscope_gql.storage.opening import store_of

PART_SECONDS = 15

Part = Callable[[Settings], Awaitable[str]]


def run(args: argparse.Namespace, settings: Settings) -> int:
    if args.store:
        raise Problem("Comparing store and table is not there yet: `bioscope check` without --store works.")
    return running.run(_check(reached(args, settings)))


async def _check(settings: Settings) -> int:
    failed = 0
    parts: dict[str, Part] = {"database": _database, "kafka": _kafka, "store": _store, "keys": _keys}
    for name, part in parts.items():
        try:
            async with asyncio.timeout(PART_SECONDS):
                said = await part(settings)
        except TimeoutError:
            failed, said = 1, f"FAILED  no answer within {PART_SECONDS} seconds."
        except ConfigurationError as error:
            failed, said = 1, "FAILED  " + " ".join(error.problems)
        except Exception as error:
            failed, said = 1, f"FAILED  {error or type(error).__name__}"
        print(f"{name:<9} {said}", flush=True)
    return failed


async def _database(settings: Settings) -> str:
    settings.require("database")
    async with database_of(settings) as database:
        version = await database.value("show server_version")
    missing = await migrations.missing(dsn_of(settings))
    if missing:
        raise ConfigurationError([f"PostgreSQL {version} lacks {len(missing)} migrations: run `bioscope migrate`."])
    return f"ok      PostgreSQL {version}, up to date"


async def _kafka(settings: Settings) -> str:
    from aiokafka.admin import AIOKafkaAdminClient

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
    finally:
        await admin.close()
    wanted = {topic for topic in kafka.topics.model_dump().values() if "{model}" not in topic}
    absent = sorted(wanted - there)
    if absent and not kafka.create_topics:
        raise ConfigurationError([f"Kafka answers, and lacks the topics {', '.join(absent)}: make them."])
    made = f"; `serve` will make {', '.join(absent)}" if absent else ""
    return f"ok      {', '.join(kafka.bootstrap_servers)}{made}"


async def _store(settings: Settings) -> str:
    settings.require("store")
    async with store_of(settings.s3) as store:
        await store.check()
    where = settings.s3.directory or f"{settings.s3.endpoint}, bucket {settings.s3.bucket}"
    return f"ok      {where}"


async def _keys(settings: Settings) -> str:
    settings.require("keys")
    keys = Keys.load(settings.auth.keys)
    return f"ok      {keys.signing.kid} signs with {keys.signing.algorithm}; {len(list(keys))} in all"
