"""What Piccolo's tables can't say: the derived status, the commit cursor, and the indexes.

`status` becomes a generated column, so that no statement can set it and no bug can make it lie.
Indexes are named <table>_by_<order>; each serves a list order, a foreign key or the dispatcher.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-24T15:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "derived status, commit cursor, indexes"

STATUS = """
alter table classifications
  drop column status,
  add column changed_xid xid8 not null default pg_current_xact_id();
alter table classifications
  add column status varchar(16) not null generated always as (
    case
      when queued + running > 0 then
        case when started_at is null and succeeded + failed + cancelled = 0 then 'PENDING' else 'RUNNING' end
      when cancelled > 0 then 'CANCELLED'
      when failed = 0 then 'COMPLETED'
      when succeeded = 0 then 'FAILED'
      else 'PARTIAL'
    end) stored
"""

STATUS_BACK = """
alter table classifications drop column status, drop column changed_xid;
alter table classifications add column status varchar(16) not null default 'PENDING'
"""

INDEXES = {
    "users_by_created": "users (created_at desc, id desc)",
    "service_accounts_by_creator": "service_accounts (created_by)",
    "login_sessions_by_user": 'login_sessions ("user", id desc)',
    "refresh_tokens_by_session": "refresh_tokens (session)",
    "audit_events_by_actor": "audit_events (actor, id desc)",
    "audit_events_by_subject": "audit_events (subject, id desc)",
    "devices_by_created": "devices (created_at desc, id desc)",
    "devices_by_name": "devices (name, id)",
    "datasets_by_created": "datasets (created_at desc, id desc)",
    "datasets_by_owner": "datasets (owner, created_at desc, id desc)",
    "datasets_by_name": "datasets (name, id)",
    "datasets_by_words": "datasets using gin (search_text gin_trgm_ops)",
    "dataset_grants_by_user": 'dataset_grants ("user", dataset)',
    "dataset_grants_by_machine": "dataset_grants (service_account, dataset)",
    "dataset_grants_by_giver": "dataset_grants (granted_by)",
    "images_by_created": "images (created_at desc, id desc)",
    "images_by_dataset": "images (dataset, created_at desc, id desc)",
    "images_by_dataset_filename": "images (dataset, filename, id)",
    "images_by_dataset_size": "images (dataset, file_size, id)",
    "images_by_dataset_captured": "images (dataset, captured_at, id)",
    "images_by_device": "images (device, created_at desc, id desc)",
    "images_by_uploader": "images (uploaded_by, created_at desc, id desc)",
    "images_by_machine": "images (uploaded_by_machine)",
    "images_by_words": "images using gin (search_text gin_trgm_ops)",
    "workers_by_model": "workers (model)",
    "classifications_by_created": "classifications (created_at desc, id desc)",
    "classifications_by_dataset": "classifications (dataset, created_at desc, id desc)",
    "classifications_by_image": "classifications (image)",
    "classifications_by_creator": "classifications (created_by, created_at desc, id desc)",
    "classifications_by_model": "classifications (model)",
    "classifications_open": "classifications (model, priority desc, id) where finished_at is null",
    "classifications_by_change": "classifications (changed_xid)",
    "classification_items_by_version": "classification_items (classification, version, id)",
    "classification_items_by_image": "classification_items (image)",
    "classification_items_by_run": "classification_items (classification, id desc)",
    "classification_items_by_finish": "classification_items (model, finished_at)",
    "classification_items_queued": (
        "classification_items (classification, id) where status = 'QUEUED' and lease_until is null"
    ),
    "classification_items_in_flight": (
        "classification_items (model, classification) "
        "where lease_until is not null and status in ('QUEUED', 'RUNNING')"
    ),
    "classification_items_leased": (
        "classification_items (lease_until) where lease_until is not null and status in ('QUEUED', 'RUNNING')"
    ),
    "classification_results_by_created": "classification_results (created_at desc, id desc)",
    "classification_results_by_dataset": "classification_results (dataset, created_at desc, id desc)",
    "classification_results_by_run": "classification_results (classification, created_at desc, id desc)",
    "classification_results_by_image": "classification_results (image, created_at desc, id desc)",
    "idempotency_keys_by_created": "idempotency_keys (created_at)",
    "dead_letters_by_received": "dead_letters (received_at desc, id desc)",
}


class Database(Table):
    """A table of no rows, through which Piccolo sends raw statements in the migration's transaction."""


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="bioscope", description=DESCRIPTION)

    async def run() -> None:
        for statement in statements_forwards():
            await Database.raw(statement)

    async def run_backwards() -> None:
        for statement in statements_backwards():
            await Database.raw(statement)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager


def statements_forwards() -> list[str]:
    made = [f"create index {name} on {body}" for name, body in INDEXES.items()]
    return ["create extension if not exists pg_trgm", *STATUS.split(";"), *made]


def statements_backwards() -> list[str]:
    # The extension stays: it may have been there before us.
    return [*(f"drop index {name}" for name in INDEXES), *STATUS_BACK.split(";")]
