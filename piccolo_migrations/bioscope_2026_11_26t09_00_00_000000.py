"""Figures over results come from an index alone: two indexes of theirs carry what is counted.

No index more than before: each takes the place of one that ordered rows alike and held nothing else.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-26T09:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "figures over results from an index alone"

INDEXES = {
    "classification_results_by_created": "(created_at desc, id desc)",
    "classification_results_by_model": "(model_name, created_at desc, id desc)",
}
COUNTED = "include (label, confidence, dataset)"


class Database(Table):
    """A table of no rows, through which Piccolo sends raw statements in the migration's transaction."""


async def _make(carrying: str) -> None:
    for name, columns in INDEXES.items():
        await Database.raw(f"drop index {name}")
        await Database.raw(f"create index {name} on classification_results {columns} {carrying}")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="bioscope", description=DESCRIPTION)

    async def run() -> None:
        await _make(COUNTED)

    async def run_backwards() -> None:
        await _make("")

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
