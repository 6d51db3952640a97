"""Uploads announce their bytes before they store them, and one object is one picture's.

`object_deletions.due_at` lets an upload that has not got its row yet stand in the queue of what is to be
removed. The indexes by path serve the comparison of the store with the table: object keys sort by their bytes.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.indexes import IndexMethod
from piccolo.table import Table

ID = "2026-11-25T14:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "uploads announce their bytes"

INDEXES = {
    "images_by_storage_path": 'unique index {name} on images (storage_path collate "C")',
    "object_deletions_by_path": 'index {name} on object_deletions (storage_path collate "C")',
}


class Database(Table):
    """A table of no rows, through which Piccolo sends raw statements in the migration's transaction."""


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="bioscope", description=DESCRIPTION)

    async def run() -> None:
        for name, body in INDEXES.items():
            await Database.raw(f"create {body.format(name=name)}")

    async def run_backwards() -> None:
        for name in INDEXES:
            await Database.raw(f"drop index {name}")

    manager.add_column(
        table_class_name="ObjectDeletion",
        tablename="object_deletions",
        column_name="due_at",
        db_column_name="due_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": True,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )
    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
