"""The owner of a dataset holds a grant like everybody else, and can't lose it.

So the list of a dataset's grants is the list of those who see it; who becomes the owner gets MANAGE, and
who was it keeps MANAGE.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-25T11:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "the owner's grant"

FORWARDS = (
    """
    create function datasets_owner_gets_grant() returns trigger language plpgsql as $$
    begin
      insert into dataset_grants (id, dataset, "user", level, granted_at)
      values (uuidv7(), new.id, new.owner, 'MANAGE', clock_timestamp())
      on conflict (dataset, "user") do update set level = excluded.level;
      return null;
    end $$
    """,
    """
    create function dataset_grants_owner_keeps_it() returns trigger language plpgsql as $$
    begin
      if (tg_op = 'DELETE' or (new.dataset, new."user", new.level) is distinct from
          (old.dataset, old."user", 'MANAGE'::varchar))
        and exists (select from datasets d where d.id = old.dataset and d.owner = old."user") then
        raise restrict_violation using
          message = 'The owner of a dataset keeps MANAGE.', constraint = 'dataset_grants_owner_keeps_it';
      end if;
      return case when tg_op = 'DELETE' then old else new end;
    end $$
    """,
    """
    insert into dataset_grants (id, dataset, "user", level, granted_at)
    select uuidv7(), id, owner, 'MANAGE', created_at from datasets
    on conflict (dataset, "user") do update set level = excluded.level
    """,
    """
    create trigger datasets_owner_gets_grant after insert or update of owner on datasets
    for each row execute function datasets_owner_gets_grant()
    """,
    """
    create trigger dataset_grants_owner_keeps_it before update or delete on dataset_grants
    for each row execute function dataset_grants_owner_keeps_it()
    """,
)
BACKWARDS = (
    "drop trigger dataset_grants_owner_keeps_it on dataset_grants",
    "drop trigger datasets_owner_gets_grant on datasets",
    "drop function dataset_grants_owner_keeps_it, datasets_owner_gets_grant",
    """
    delete from dataset_grants g using datasets d where d.id = g.dataset and d.owner = g."user"
    """,
)


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
