"""Three indexes carry what lists in their order compare, or counts in their order tell apart: no index more."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-26T10:20:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "times when pictures were taken, and versions, in indexes"

COLUMNS = {
    "images_by_created": "images (created_at desc, id desc)",
    "images_by_dataset": "images (dataset, created_at desc, id desc)",
    "classification_results_by_model": "classification_results (model_name, created_at desc, id desc)",
}
BEFORE = {"classification_results_by_model": "include (label, confidence, dataset)"}
CARRYING = {
    "images_by_created": "include (captured_at)",
    "images_by_dataset": "include (captured_at)",
    "classification_results_by_model": "include (label, confidence, dataset, model_version)",
}


class Database(Table):
    """A table of no rows, through which Piccolo sends raw statements in the migration's transaction."""


async def _make(carrying: dict[str, str]) -> None:
    for name, columns in COLUMNS.items():
        await Database.raw(f"drop index {name}")
        await Database.raw(f"create index {name} on {columns} {carrying.get(name, '')}")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="bioscope", description=DESCRIPTION)

    async def run() -> None:
        await _make(CARRYING)

    async def run_backwards() -> None:
        await _make(BEFORE)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
