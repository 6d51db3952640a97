"""Results that are there already are marked, and five indexes carry what is compared and counted in their order.

Two of them hold only the newest results of each model and its versions. No index more than before: each takes
the place of one that ordered rows alike.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-26T10:10:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "newest results of each model, and what is compared, in indexes"

MARK = """
update classification_results r set newest_of_model = n.of_model, newest_of_version = n.of_version
from (
  select id, row_number() over (model order by created_at desc, id desc) = 1 as of_model,
    row_number() over (version order by created_at desc, id desc) = 1 as of_version
  from classification_results
  window model as (partition by image, model_name),
    version as (partition by image, model_name, model_version)) n
where r.id = n.id and (r.newest_of_model, r.newest_of_version) <> (n.of_model, n.of_version)
"""

BY_MODEL = "classification_results (model_name, created_at desc, id desc)"
BEFORE = {
    "images_by_created": "images (created_at desc, id desc)",
    "images_by_dataset": "images (dataset, created_at desc, id desc)",
    "classification_results_by_model": f"{BY_MODEL} include (label, confidence, dataset)",
    "classification_results_by_model_confidence": "classification_results (model_name, confidence, image)",
    "classification_results_by_dataset_model": (
        "classification_results (dataset, model_name, confidence, image)"
    ),
}
CARRYING = {
    "images_by_created": f"{BEFORE['images_by_created']} include (captured_at)",
    "images_by_dataset": f"{BEFORE['images_by_dataset']} include (captured_at)",
    "classification_results_by_model": f"{BY_MODEL} include (label, confidence, dataset, model_version)",
    "classification_results_by_model_confidence": (
        f"{BEFORE['classification_results_by_model_confidence']}"
        " include (label, dataset, model_version, newest_of_model) where newest_of_version"
    ),
    "classification_results_by_dataset_model": (
        f"{BEFORE['classification_results_by_dataset_model']}"
        " include (label, model_version, newest_of_model) where newest_of_version"
    ),
}


class Database(Table):
    """A table of no rows, through which Piccolo sends raw statements in the migration's transaction."""


async def _make(indexes: dict[str, str]) -> None:
    for name, body in indexes.items():
        await Database.raw(f"drop index {name}")
        await Database.raw(f"create index {name} on {body}")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="bioscope", description=DESCRIPTION)

    async def run() -> None:
        await Database.raw(MARK)
        await _make(CARRYING)

    async def run_backwards() -> None:
        await _make(BEFORE)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
