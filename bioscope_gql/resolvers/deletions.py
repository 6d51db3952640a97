"""Removing pictures and datasets, with all that hangs on them; runs stay true, and bytes are queued to go.

The lock order of everybody: the dataset, runs by id, items, images.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from bioscope_gql import policy
from bioscope_gql.db import BULK_SECONDS, Args, Connection, begin_bulk
from bioscope_gql.errors import InvalidInput, NotFound
from bioscope_gql.live.hub import Change
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import audit, datasets, runs, words
from bioscope_gql.services import Services
from bioscope_gql.vocabulary import AccessLevel

QUEUE = (
    "insert into object_deletions (id, storage_path) select uuidv7(), storage_path from images where {which}"
)


async def images(services: Services, viewer: Viewer, sent: Sequence[str]) -> tuple[list[UUID], UUID | None]:
    """Delete pictures with their results: their ids, and the dataset where they were all of one.

    A run over a single one of them goes too; from larger runs their items go, and the counters stay true.

    Raises:
        InvalidInput: no ids, or too many.
        NotFound: some are absent, or not for the viewer's eyes; then nothing is deleted.
        Forbidden: the viewer does not manage their dataset.
    """
    ids = _bounded(services, sent)
    async with services.db.transaction() as tx:
        await begin_bulk(tx)
        homes = await _homes(tx, viewer, ids)
        for home in homes:
            await datasets.reach(
                tx, viewer, home, AccessLevel.MANAGE, "delete pictures", "for no key update of t"
            )
        gone = [id for id in ids.values() if id is not None]
        changes = await _without_items(tx, gone)
        await tx.execute(QUEUE.format(which="id = any($1::uuid[])"), gone)
        await tx.execute("delete from images where id = any($1::uuid[])", gone, timeout=BULK_SECONDS)
        for home in homes:
            await audit.record(tx, viewer, "images.deleted", ("dataset", home), {"images": gone})
    for change in changes:
        services.hub.tell(change)
    services.wake_janitor()
    return gone, homes[0] if len(homes) == 1 else None


async def dataset(services: Services, viewer: Viewer, id: UUID | str | None) -> UUID:
    """Delete a dataset with its pictures, runs and results, those at work too; late results are dropped.

    Raises:
        NotFound, Forbidden: as for `images`.
    """
    async with services.db.transaction() as tx:
        await begin_bulk(tx)
        row = await datasets.reach(
            tx, viewer, id, AccessLevel.MANAGE, "delete the dataset", "for update of t"
        )
        found: UUID = row["id"]
        watched = await tx.fetch("select id, version from classifications where dataset = $1", found)
        await tx.execute(QUEUE.format(which="dataset = $1"), found, timeout=BULK_SECONDS)
        await tx.execute("delete from datasets where id = $1", found, timeout=BULK_SECONDS)
        told = {"name": row["name"], "owner": row["owner"]}
        await audit.record(tx, viewer, "dataset.deleted", ("dataset", found), told)
    for run in watched:
        services.hub.tell(Change(run["id"], found, run["version"] + 1))
    services.wake_janitor()
    return found


def _bounded(services: Services, sent: Sequence[str]) -> Mapping[str, UUID | None]:
    most = services.settings.limits.ids_per_mutation
    if not sent:
        raise InvalidInput.at("TOO_FEW", ("ids",), "Name at least one picture.")
    if len(sent) > most:
        raise InvalidInput.at("TOO_MANY", ("ids",), f"At most {most:,} ids fit; these are {len(sent):,}.")
    return {id: words.read_id(id) for id in sent}


async def _homes(tx: Connection, viewer: Viewer, ids: Mapping[str, UUID | None]) -> list[UUID]:
    """The datasets of these pictures, in the order of their ids."""
    args = Args([list(ids.values())])
    rows = await tx.fetch(
        "select t.id, t.dataset from images t where t.id = any($1::uuid[])"
        f" and {policy.visible_images(viewer, args, 't')}",
        *args,
    )
    seen = {row["id"] for row in rows}
    missing = [sent for sent, id in ids.items() if id not in seen]
    if missing:
        raise NotFound("Some pictures are not there, or not for your eyes.", ids=missing)
    return sorted({row["dataset"] for row in rows})


async def _without_items(tx: Connection, gone: Sequence[UUID]) -> list[Change]:
    """Take these pictures out of every run; a run that has none left goes as a whole."""
    concerned = await tx.fetch(
        "select distinct classification from classification_items where image = any($1::uuid[])", gone
    )
    await runs.lock(tx, {row["classification"] for row in concerned})
    items = await tx.fetch(
        "delete from classification_items where image = any($1::uuid[])"
        " returning classification, status as was, null as status",
        gone,
    )
    changes = await runs.apply(tx, runs.deltas(items))
    await tx.execute(
        "delete from classifications where (id = any($1::uuid[]) and total = 0) or image = any($2::uuid[])",
        [change.run for change in changes],
        gone,
    )
    return changes
