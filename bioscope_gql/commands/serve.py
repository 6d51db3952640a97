"""``bioscope serve``: one replica against the configured PostgreSQL, Kafka and store."""

import argparse
import gc

from bioscope_gql import db, migrations
from bioscope_gql.commands import running
from bioscope_gql.commands.migrate import dsn_of
from bioscope_gql.commands.serving import listen, served, stop_signals, url_of
from bioscope_gql.commands.spool import spool_directory
from bioscope_gql.errors import ConfigurationError
from bioscope_gql.services import opened
from bioscope_gql.settings import Settings


def run(args: argparse.Namespace, settings: Settings) -> int:
    return running.run(_serve(settings, migrate=args.migrate))


async def _serve(settings: Settings, *, migrate: bool) -> int:
    await _bring_up_to_date(dsn_of(settings), migrate=migrate)
    with listen(settings) as listening, spool_directory() as spool:
        async with (
            stop_signals() as stopped,
            opened(settings) as services,
            served(services, listening, spool=spool),
        ):
            gc.freeze()  # what is there now stays: no collection need walk it
            print(f"Serving on {url_of(listening)}/graphql.", flush=True)
            await stopped.wait()
    return 0


async def _bring_up_to_date(dsn: str, *, migrate: bool) -> None:
    with db.reaching():
        if migrate:
            await migrations.forwards(dsn)
        missing = await migrations.missing(dsn)
    if missing:
        raise ConfigurationError(
            [
                f"The database lacks {len(missing)} migrations: "
                "run `bioscope migrate`, or serve with --migrate."
            ]
        )
