"""``bioscope migrate [--check]``: brings the database to this version."""

import argparse

from bioscope_gql import db, migrations
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
    with db.reaching():
        missing = await migrations.missing(dsn) if check else []
        done = [] if check else await migrations.forwards(dsn)
    if missing:
        print(f"The database lacks {len(missing)} migrations: run `bioscope migrate`.")
        return 1
    for name in done:
        print(f"Done: {name}")
    print("The database is up to date.")
    return 0
