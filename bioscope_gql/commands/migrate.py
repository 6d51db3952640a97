"""``bioscope migrate [--check]``: brings the database to this version."""

import argparse

import asyncpg

from bioscope_gql import migrations
from bioscope_gql.commands import running
from bioscope_gql.commands.reaching import reached
from bioscope_gql.errors import ConfigurationError
from bioscope_gql.settings import Settings


def run(args: argparse.Namespace, settings: Settings) -> int:
    return running.run(_migrate(dsn_of(reached(args, settings)), check=args.check))


def dsn_of(settings: Settings) -> str:
    settings.require("database")
    if settings.database.dsn is None:
        raise ConfigurationError(["database.dsn is missing."])
    return settings.database.dsn.get_secret_value()


async def _migrate(dsn: str, *, check: bool) -> int:
    try:
        missing = await migrations.missing(dsn)
        if check:
            print(f"The database lacks {len(missing)} migrations." if missing else "The database is up to date.")
            return 1 if missing else 0
        done = await migrations.forwards(dsn) if missing else []
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise ConfigurationError(
            [f"The database of database.dsn can't be used ({error}): check its address, account and password."]
        ) from error
    for name in done:
        print(f"Done: {name}")
    print("The database is up to date.")
    return 0
