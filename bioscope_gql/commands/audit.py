"""``bioscope audit [--since T] [--user U]``: prints the audit trail, oldest first, a line for each event."""

import argparse
from datetime import UTC, datetime
from uuid import UUID

from bioscope_gql.commands import running
from bioscope_gql.commands.reaching import reached
from bioscope_gql.db import Database, Row
from bioscope_gql.errors import NotFound
from bioscope_gql.resolvers import audit, words
from bioscope_gql.services import database_of
from bioscope_gql.settings import Settings

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def run(args: argparse.Namespace, settings: Settings) -> int:
    found = reached(args, settings)
    found.require("database")
    return running.run(_print(found, args.since or BEGINNING, args.user))


async def _print(settings: Settings, since: datetime, user: str | None) -> int:
    async with database_of(settings) as database:
        id = None if user is None else await _id_of(database, user)
        async for event in audit.events(database, since, datetime.now(UTC), id):
            print(line_of(event))
    return 0


async def _id_of(database: Database, user: str) -> UUID:
    """By id, e-mail or username; the id also of an account that is gone.

    Raises:
        NotFound: there is none.
    """
    if (id := words.read_id(user)) is not None:
        return id
    key = words.key(user)
    found: UUID | None = await database.value(
        "select id from users where email_key = $1 or username_key = $1"
        " order by (email_key = $1) desc limit 1",
        key,
    )
    if found is None:
        raise NotFound(f"There is no account {user!r}. Name it by id, e-mail or username.")
    return found


def line_of(event: Row) -> str:
    """When, who, what, to whom, how it came in, and what else is known."""
    who = event["username"] or (str(event["actor"]) if event["actor"] else event["actor_kind"])
    subject = f"{event['subject_kind']}:{event['subject']}" if event["subject"] else "-"
    when = event["at"].strftime("%Y-%m-%dT%H:%M:%SZ")
    came = f"{event['address'] or '-'} {event['request_id'] or '-'}"
    return f"{when} {who} {event['action']} {subject} {came} {event['details']}"
