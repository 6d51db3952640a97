"""The audit trail: who did what to whom, written in the transaction of what it tells."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from bioscope_gql.db import Connection, Database, Row
from bioscope_gql.policy import Viewer, Visit
from bioscope_gql.vocabulary import uuid7

PAGE = 500

WRITE = """
insert into audit_events
  (id, at, actor_kind, actor, action, subject_kind, subject, request_id, address, details)
values ($1, clock_timestamp(), $2, $3, $4, $5, $6, $7, $8, $9::jsonb)
"""
READ = f"""
select e.*, u.username from audit_events e left join users u on u.id = e.actor
where e.at >= $1 and e.at <= $2 and (e.at, e.id) > ($3, $4)
  and ($5::uuid is null or $5 in (e.actor, e.subject))
order by e.at, e.id limit {PAGE}
"""


async def record(
    tx: Connection,
    who: Viewer | Visit,
    action: str,
    subject: tuple[str, UUID] | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Note in the open transaction `tx` that `who` did something.

    `action` is a subject and a participle, e.g. ``dataset.shared``; `subject` a kind and an id, e.g.
    ``("dataset", id)``; `details` small JSON without secrets, nothing that somebody typed unchecked.
    A `Visit` stands for somebody who is not signed in; one without a request for the command line.
    """
    visit = who.visit if isinstance(who, Viewer) else who
    kind, id = subject or (None, None)
    await tx.execute(
        WRITE,
        uuid7(),
        _kind(who),
        who.id if isinstance(who, Viewer) else None,
        action,
        kind,
        id,
        visit.request_id,
        visit.address,
        orjson.dumps(details or {}, default=str).decode(),
    )


async def events(db: Database, since: datetime, until: datetime, user: UUID | None) -> AsyncIterator[Row]:
    """Everything from `since` to `until`, oldest first; with a `user` what they did or what befell them."""
    at, id = since, UUID(int=0)
    while rows := await db.rows(READ, since, until, at, id, user):
        for row in rows:
            yield row
        at, id = rows[-1]["at"], rows[-1]["id"]


def _kind(who: Viewer | Visit) -> str:
    if isinstance(who, Viewer):
        return "user" if who.is_person else "service"
    return "anonymous" if who.request_id else "command"
