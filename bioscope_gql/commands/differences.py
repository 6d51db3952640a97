"""``bioscope check --store``: shows where the store and the table differ, and changes nothing."""

from datetime import timedelta

from bioscope_gql import db, migrations
from bioscope_gql.commands.migrate import dsn_of
from bioscope_gql.errors import ConfigurationError, Problem
from bioscope_gql.services import database_of
from bioscope_gql.settings import Settings
from bioscope_gql.storage.blobs import StoreUnavailable
from bioscope_gql.storage.comparison import Comparison, compare
from bioscope_gql.storage.opening import store_of

WORDS = {
    "missing": "missing: a picture refers to them, and they are not there. Restore them from a backup.",
    "other_size": "of another size than their picture's row says: damaged. Restore them from a backup.",
    "orphans": "that no picture refers to: the janitor removes them after limits.janitor_grace_days.",
    "foreign": "that are not ours: nobody removes them.",
}


async def show(settings: Settings) -> int:
    """Print what differs: 1 if anything does.

    Raises:
        Problem: the store does not answer.
        ConfigurationError: a setting is missing, or the database can't be used or is not up to date.
    """
    settings.require("database", "store")
    with db.reaching():
        if await migrations.missing(dsn_of(settings)):
            raise ConfigurationError(["The database is not of this version: run `bioscope migrate`."])
    grace = timedelta(days=settings.limits.janitor_grace_days)
    as_it_is = settings.s3.model_copy(update={"create_bucket": False})
    async with database_of(settings) as database, store_of(as_it_is) as store:
        try:
            found = await compare(database, store, grace=grace)
        except StoreUnavailable as error:
            raise Problem(str(error)) from error
        waiting: int = await database.value("select count(*) from object_deletions")
    print("\n".join(_lines(found, waiting)))
    return int(found.differs)


def _lines(found: Comparison, waiting: int) -> list[str]:
    """What is there, then each kind of difference with some of its keys."""
    lines = [f"{found.objects:,} objects, {found.pictures:,} pictures."]
    if waiting:
        lines.append(f"{waiting:,} more are being uploaded, or wait to be removed.")
    for kind, meaning in WORDS.items():
        count: int = getattr(found, kind)
        if count:
            lines.append(f"{count:,} objects {meaning}")
            lines += [f"  {key}" for key in found.examples[kind]]
            left = count - len(found.examples[kind])
            lines += [f"  and {left:,} more"] if left else []
    return lines if found.differs else [*lines, "The store holds exactly what the table says."]
