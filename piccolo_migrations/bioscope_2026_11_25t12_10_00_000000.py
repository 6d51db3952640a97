"""What pictures show of results that are there already, and the indexes of orders and filters.

Indexes are named <table>_by_<order>, and serve both directions. Of a column that may be null they hold the
rows with a value and those without in the order in which a list takes them, one part after the other.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-25T12:10:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "newest results on their pictures, indexes of lists"

LATEST = """
update images i set latest_result = n.id, latest_label = n.label, latest_confidence = n.confidence,
  latest_at = n.created_at
from (
  select distinct on (image) image, id, label, confidence, created_at from classification_results
  order by image, created_at desc, id desc) n
where i.id = n.image
"""

INDEXES = {
    "images_by_captured": "images (captured_at, id)",
    "images_by_filename": "images (filename, id)",
    "images_by_size": "images (file_size, id)",
    "images_by_type": "images (content_type, created_at desc, id desc)",
    "images_by_confidence": "images (latest_confidence, id)",
    "images_by_dataset_confidence": "images (dataset, latest_confidence, id)",
    "images_by_label": "images (latest_label, created_at desc, id desc)",
    "images_by_dataset_label": (
        "images (dataset, latest_label, created_at desc, id desc) include (latest_confidence)"
    ),
    "images_unjudged": "images (created_at desc, id desc) where latest_confidence is null",
    "images_unjudged_by_dataset": (
        "images (dataset, created_at desc, id desc) where latest_confidence is null"
    ),
    "classifications_by_updated": "classifications (updated_at desc, id desc)",
    "classifications_by_dataset_updated": "classifications (dataset, updated_at desc, id desc)",
    "classifications_by_status": "classifications (status, created_at desc, id desc)",
    "classifications_by_model_name": "classifications (model_name, created_at desc, id desc)",
    "classification_results_by_confidence": "classification_results (confidence, id)",
    "classification_results_by_dataset_confidence": "classification_results (dataset, confidence, id)",
    "classification_results_by_label": "classification_results (label, created_at desc, id desc)",
    "classification_results_by_model": "classification_results (model_name, created_at desc, id desc)",
    "classification_results_by_dataset_label": (
        "classification_results (dataset, label, created_at desc, id desc)"
    ),
    "classification_results_by_model_confidence": "classification_results (model_name, confidence, image)",
    "classification_results_by_dataset_model": (
        "classification_results (dataset, model_name, confidence, image)"
    ),
}


class Database(Table):
    """A table of no rows, through which Piccolo sends raw statements in the migration's transaction."""


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="bioscope", description=DESCRIPTION)

    async def run() -> None:
        for statement in [LATEST, *(f"create index {name} on {body}" for name, body in INDEXES.items())]:
            await Database.raw(statement)

    async def run_backwards() -> None:
        for name in INDEXES:
            await Database.raw(f"drop index {name}")

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
