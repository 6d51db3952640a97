"""What Piccolo can't say of accounts: an audit trail that nobody rewrites, indexes, counts that need no log."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-25T09:00:01:000000"
VERSION = "1.38.0"
DESCRIPTION = "append-only audit trail, indexes"

FOLDED = "lower(regexp_replace(normalize(%s, nfkd), '[\u0300-\u036f]', '', 'g'))"
"""Nearly what the server writes from now on, for accounts that are there already."""

INDEXES = {
    "users_by_username": "users (username, id)",
    "users_by_words": "users using gin (search_text gin_trgm_ops)",
    "audit_events_by_time": "audit_events (at desc, id desc)",
    "rate_limits_by_end": "rate_limits (ends_at)",
}

REFUSE = """
create function audit_events_refuse() returns trigger language plpgsql as $$
begin
  raise exception 'The audit trail is append-only: its rows are neither changed nor deleted.'
    using errcode = 'insufficient_privilege';
end $$
"""

FORWARDS = [
    f"update users set search_text = {FOLDED % 'username'}, search_email = {FOLDED % 'email'}",
    "alter table rate_limits set unlogged",
    *(f"create index {name} on {body}" for name, body in INDEXES.items()),
    REFUSE,
    "create trigger audit_events_append_only before update or delete on audit_events"
    " for each row execute function audit_events_refuse()",
    "create trigger audit_events_not_emptied before truncate on audit_events"
    " for each statement execute function audit_events_refuse()",
]
BACKWARDS = [
    "drop trigger audit_events_not_emptied on audit_events",
    "drop trigger audit_events_append_only on audit_events",
    "drop function audit_events_refuse()",
    *(f"drop index {name}" for name in INDEXES),
    "alter table rate_limits set logged",
]


class Database(Table):
    """A table of no rows, through which Piccolo sends raw statements in the migration's transaction."""


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="bioscope", description=DESCRIPTION)

    async def run() -> None:
        for statement in FORWARDS:
            await Database.raw(statement)

    async def run_backwards() -> None:
        for statement in BACKWARDS:
            await Database.raw(statement)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
