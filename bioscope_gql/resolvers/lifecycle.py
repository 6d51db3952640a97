"""What people do with a run that is there: end it, try it again, remove it."""

from uuid import UUID

from bioscope_gql import policy
from bioscope_gql.db import BULK_SECONDS, Args, Connection, Row, begin_bulk, certain
from bioscope_gql.errors import Conflict, NotFound, NothingToDo
from bioscope_gql.live.hub import Change
from bioscope_gql.policy import Action, Viewer
from bioscope_gql.resolvers import audit, newest, runs, words
from bioscope_gql.resolvers.classifications import COLUMNS
from bioscope_gql.services import Services
from bioscope_gql.vocabulary import AccessLevel

CANCEL = """
with changed as (
  update classification_items i set status = 'CANCELLED', lease_until = null,
    finished_at = clock_timestamp(), version = $2
  where i.classification = $1 and i.status in ('QUEUED', 'RUNNING')
  returning old.status as was)
select $1::uuid as classification, was, 'CANCELLED' as status, count(*) as count from changed group by was
"""

RETRY = """
with changed as (
  update classification_items i set status = 'QUEUED', attempt = i.attempt + 1, tries = 0, error_code = null,
    error_message = null, worker_name = null, queued_at = clock_timestamp(), dispatched_at = null,
    lease_until = null, started_at = null, finished_at = null, version = $2
  from images g, models m
  where i.classification = $1 and i.status in ('FAILED', 'CANCELLED') and g.id = i.image and m.id = i.model
    and (cardinality(m.content_types) = 0 or g.content_type = any(m.content_types))
  returning old.status as was)
select $1::uuid as classification, was, 'QUEUED' as status, count(*) as count from changed group by was
"""


async def cancel(services: Services, viewer: Viewer, id: UUID | str | None) -> Row:
    """End a run. Items in flight count as cancelled now; their late results are dropped.

    Raises:
        NotFound: there is no such run, or none that the viewer may see.
        Forbidden: the viewer may see the run but not end it.
        Conflict: RUN_FINISHED, it has already ended.
    """
    async with services.db.transaction() as tx:
        run = await _locked(tx, viewer, id, "cancel the run", for_owner=True)
        if run["finished_at"] is not None:
            raise Conflict("The run has already ended: there is nothing to cancel.", "RUN_FINISHED")
        row, changes = await _changed(tx, CANCEL, run)
    _tell(services, changes)
    services.wake_dispatch()
    return row


async def retry(services: Services, viewer: Viewer, id: UUID | str | None) -> Row:
    """Queue the failed and cancelled items of a finished run again, each as its next attempt.

    Raises:
        NotFound, Forbidden: as for `cancel`.
        Conflict: RUN_NOT_FINISHED, it is still at work.
        NothingToDo: every item has a result, or the model does not take its file.
    """
    async with services.db.transaction() as tx:
        run = await _locked(tx, viewer, id, "retry the run", for_owner=False)
        if run["finished_at"] is None:
            raise Conflict("The run is still at work. Wait for its end, or cancel it.", "RUN_NOT_FINISHED")
        row, changes = await _changed(tx, RETRY, run)
        if not changes:
            raise NothingToDo("No picture of this run failed or was cancelled.", skipped_count=run["total"])
    _tell(services, changes)
    services.wake_dispatch()
    return row


async def delete(services: Services, viewer: Viewer, id: UUID | str | None) -> Row:
    """Remove a finished run with its items and results; the dataset that it was of.

    Raises:
        NotFound, Forbidden: as for `cancel`.
        Conflict: RUN_NOT_FINISHED, it must end first.
    """
    async with services.db.transaction() as tx:
        run = await _locked(tx, viewer, id, "delete the run", for_owner=True)
        if run["finished_at"] is None:
            raise Conflict("The run is still at work. Cancel it first.", "RUN_NOT_FINISHED")
        judged = await newest.judged_by(tx, run["id"])
        await tx.execute("delete from classifications where id = $1", run["id"], timeout=BULK_SECONDS)
        await newest.look_again(tx, judged)
        told = {"dataset": run["dataset"]}
        await audit.record(tx, viewer, "run.deleted", ("classification", run["id"]), told)
    _tell(services, [Change(run["id"], run["dataset"], run["version"] + 1)])
    return run


async def _locked(
    tx: Connection, viewer: Viewer, id: UUID | str | None, doing: str, *, for_owner: bool
) -> Row:
    """The run, locked; `for_owner`: whoever made it needs no more than to contribute."""
    await begin_bulk(tx)
    args = Args([words.read_id(id)])
    visible = policy.visible_classifications(viewer, args, "t")
    access = policy.access_level(viewer, args, "d")
    row: Row | None = await tx.fetchrow(
        f"select {COLUMNS}, {access} as access from classifications t join datasets d on d.id = t.dataset"
        f" where t.id = $1 and {visible} for no key update of t",
        *args,
    )
    if row is None:
        raise NotFound("There is no run of this id that you may see.", ids=[str(id)] if id else [])
    viewer.must(Action.RUN_MODELS)
    own = row["created_by"] == viewer.id
    needed = AccessLevel.CONTRIBUTE if own or not for_owner else AccessLevel.MANAGE
    policy.must_reach(AccessLevel(row["access"]), needed, doing)
    return row


async def _changed(tx: Connection, sql: str, run: Row) -> tuple[Row, list[Change]]:
    """Change the items by one statement, count what it did, and return the run as it is then."""
    counted = await tx.fetch(sql, run["id"], run["version"] + 1, timeout=BULK_SECONDS)
    changes = await runs.apply(tx, runs.deltas(counted))
    row = certain(await tx.fetchrow(f"select {COLUMNS} from classifications t where t.id = $1", run["id"]))
    return row, changes


def _tell(services: Services, changes: list[Change]) -> None:
    for change in changes:
        services.hub.tell(change)
