"""Runs: made, found, listed. What becomes of their items is in `items.py` and `results.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from bioscope_gql import policy
from bioscope_gql.db import BULK_SECONDS, Args, Connection, Row, begin_bulk, certain
from bioscope_gql.errors import InvalidInput, ModelUnavailable, NotFound, NothingToDo
from bioscope_gql.live.hub import Change
from bioscope_gql.policy import Action, Viewer
from bioscope_gql.resolvers import datasets, idempotency, models, paging, words
from bioscope_gql.resolvers.paging import CREATED_AT, Listing, Wanted, compare, table_columns
from bioscope_gql.services import Services
from bioscope_gql.tables import Classification, ClassificationItem
from bioscope_gql.vocabulary import PRIORITY_RANK, AccessLevel, Priority, uuid7

COLUMNS = table_columns(Classification, "t")

INSERT = f"""
with chosen as materialized (
  select i.id, i.content_type = any($8::text[]) or cardinality($8::text[]) = 0 as fits
  from images i
  where i.dataset = $2 and ($3::uuid[] is null or i.id = any($3)) and not (
    $9 and exists (
      select from classification_results r
      where r.image = i.id and r.model_name = $5 and r.model_version = $6))
), counted as (
  select count(*) filter (where fits) as queued, count(*) filter (where not fits) as failed from chosen
), run as (
  insert into classifications as t
    (id, dataset, image, model, model_name, model_version, priority, total, queued, failed,
     only_missing, skipped_count, created_by, trace)
  select $1, $2, $10, $4, $5, $6, $7, queued + failed, queued, failed, $9, $11 - queued - failed, $12,
    $13
  from counted where queued > 0
  returning {COLUMNS}
), items as (
  insert into classification_items
    (id, classification, image, model, status, error_code, error_message, finished_at)
  select uuidv7(), run.id, c.id, $4, case when fits then 'QUEUED' else 'FAILED' end,
    case when not fits then 'UNSUPPORTED_CONTENT_TYPE' end,
    case when not fits then 'The model does not take files of this type.' end,
    case when not fits then clock_timestamp() end
  from chosen c, run
)
select run.*, counted.queued as fitting, counted.failed as unfitting
from counted left join run on true
"""
"""One statement makes a run and its items; with no picture that fits it makes nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a run is over: exactly one of the three. A malformed id is an unknown one."""

    image: UUID | str | None = None
    images: Sequence[UUID | str] | None = None
    dataset: UUID | str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run over what; what is left out is chosen when the run is made."""

    target: Target
    model_name: str | None = None
    model_version: str | None = None
    priority: Priority = Priority.NORMAL
    only_missing: bool = False
    idempotency_key: str | None = None


Images = Mapping[str, UUID | None]
"""Ids of pictures as they were sent, each once, and what they mean."""


def conditions(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """What the contract's ClassificationFilter means."""
    found = compare(
        {
            "model_name": "model_name =",
            "model_version": "model_version =",
            "created_after": "created_at >=",
            "created_before": "created_at <",
        }
    )(wanted, args, alias)
    for name, column in (("dataset_id", "dataset"), ("image_id", "image"), ("created_by_id", "created_by")):
        if name in wanted:
            found.append(f"{alias}.{column} = {args(words.read_id(wanted[name]))}")
    if "status" in wanted:
        found.append(words.one_of(f"{alias}.status", [str(status) for status in wanted["status"]], args))
    return found


LISTING = Listing(
    Classification,
    {"CREATED_AT": CREATED_AT, "UPDATED_AT": paging.Order("updated_at", words.read_time)},
    conditions,
    pointed=paging.naming("image_id", "created_by_id"),
)


def item_conditions(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """What the contract's ClassificationItemFilter means."""
    found = []
    if "status" in wanted:
        found.append(f"{alias}.status = any({args([str(status) for status in wanted['status']])})")
    if "error_code" in wanted:
        found.append(f"{alias}.error_code = any({args(wanted['error_code'])})")
    return found


ITEMS = Listing(ClassificationItem, {"CREATED_AT": paging.Order("id", UUID)}, item_conditions)
"""In the order of their making, which their ids have; `queued_at` changes."""


def eta_seconds(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - a figure of `edges.computed`
    """Seconds until a run ends if it goes on as it did; null while it has not moved for a minute."""
    ended = f"({alias}.succeeded + {alias}.failed)"
    took = f"extract(epoch from clock_timestamp() - {alias}.started_at)"
    return (
        f"case when {alias}.finished_at is null and {ended} > 0"
        f" and {alias}.updated_at > clock_timestamp() - interval '1 minute'"
        f" then greatest(1, least(2147483647,"
        f" ceil(({alias}.queued + {alias}.running) * {took} / {ended})))::int end"
    )


def waiting_for_worker(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - as above
    """Whether a run is open and nobody is there to go on with it."""
    return (
        f"({alias}.finished_at is null and not exists ("
        f"select from models m where m.id = {alias}.model and (m.is_static or exists ("
        f"select from workers w where w.model = m.id and {models.LIVE}))))"
    )


async def run(services: Services, viewer: Viewer, order: Order) -> Row:
    """Freeze the pictures of the target and queue one item for each, in one transaction.

    With a key that was used before for the same input: the run of then, as it is now.

    Raises:
        NotFound: the target, or some of its pictures, are absent or not for the viewer's eyes.
        Forbidden: the viewer's role or access does not reach so far.
        InvalidInput: the pictures are of several datasets, or too many.
        ModelUnavailable: there is no such model, or it takes none of these files.
        NothingToDo: no picture is left.
        Conflict: the key was used for another input.
        RateLimited: the viewer starts too many; a repeat with a key costs nothing.
    """
    images = _image_ids(services, order.target)
    id = uuid7()
    if not await idempotency.is_repeat(services.db, viewer, order.idempotency_key):
        await services.rates.run(viewer)
    async with services.db.transaction() as tx:
        await begin_bulk(tx)
        known = await _claimed(tx, viewer, order, images, id)
        row = await _made(services, tx, viewer, order, images, id) if known is None else None
    if row is None:
        return await _again(services, viewer, known)
    services.hub.tell(Change(row["id"], row["dataset"], row["version"]))
    services.wake_dispatch()
    return row


async def _claimed(
    tx: Connection, viewer: Viewer, order: Order, images: Images | None, id: UUID
) -> UUID | None:
    """The run that the order's key stands for already; None where there is none, or no key."""
    if order.idempotency_key is None:
        return None
    asked = {
        "target": str(order.target.dataset) if images is None else sorted(images),
        "single": order.target.image is not None,
        "order": [order.model_name, order.model_version, order.priority, order.only_missing],
    }
    return await idempotency.claim(tx, viewer, order.idempotency_key, asked, id)


async def _made(
    services: Services, tx: Connection, viewer: Viewer, order: Order, images: Images | None, id: UUID
) -> Row:
    target = order.target
    dataset = words.read_id(target.dataset) if images is None else await _dataset_of(tx, viewer, images)
    there = await datasets.reach(tx, viewer, dataset, AccessLevel.VIEW, "see it", "for share of t")
    viewer.must(Action.RUN_MODELS)
    policy.must_reach(AccessLevel(there["access"]), AccessLevel.CONTRIBUTE, "run a model")
    ids = None if images is None else list(images.values())
    total = await _count(tx, there["id"]) if ids is None else len(ids)
    if total == 0:
        raise NothingToDo("There is no picture to classify: upload some first.")
    model = await models.choose(services, tx, order.model_name, order.model_version)
    made = await tx.fetchrow(
        INSERT,
        id,
        there["id"],
        ids,
        model["id"],
        model["name"],
        model["version"],
        PRIORITY_RANK[order.priority],
        model["content_types"],
        order.only_missing,
        ids[0] if target.image is not None and ids else None,
        total,
        viewer.id,
        services.tracing.current(),
        timeout=BULK_SECONDS,
    )
    row = certain(made)
    if row["id"] is None:
        raise _nothing(model, total, row["unfitting"])
    return row


async def _again(services: Services, viewer: Viewer, id: UUID | None) -> Row:
    args = Args([id])
    visible = policy.visible_classifications(viewer, args, "t")
    row = await services.db.row(
        f"select {COLUMNS} from classifications t where t.id = $1 and {visible}", *args
    )
    if row is None:
        raise NotFound("The run of this key is gone, or not for your eyes any more.", ids=[str(id)])
    return row


def _nothing(model: Row, total: int, unfitting: int) -> NothingToDo | ModelUnavailable:
    """Why a run over some pictures has none to do."""
    name = f"{model['name']} {model['version']}"
    if unfitting:
        return ModelUnavailable(
            f"The model {name} takes none of these files: it reads {', '.join(model['content_types'])}.",
            "UNSUPPORTED_CONTENT_TYPE",
        )
    return NothingToDo(f"Every picture has a result of {name} already.", skipped_count=total)


def _image_ids(services: Services, target: Target) -> Images | None:
    """The ids of pictures as they were sent, each once, and what they mean; None for a whole dataset."""
    if target.dataset is not None:
        return None
    sent = [target.image] if target.image is not None else list(target.images or ())
    most = services.settings.limits.images_per_run
    if len(sent) > most:
        message = f"A run takes at most {most:,} ids; these are {len(sent):,}. Run the whole dataset instead."
        raise InvalidInput.at("TOO_MANY", ("target", "imageIds"), message)
    ids = {str(id): words.read_id(id) for id in sent}
    if not ids:
        raise NothingToDo("There is no picture to classify: name at least one.")
    return ids


async def _dataset_of(tx: Connection, viewer: Viewer, ids: Images) -> UUID:
    """The one dataset that all these pictures are in."""
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
    datasets_found = {row["dataset"] for row in rows}
    if len(datasets_found) > 1:
        message = "All pictures of a run belong to one dataset; start a run for each dataset."
        raise InvalidInput.at("MIXED_DATASETS", ("target", "imageIds"), message)
    dataset: UUID = datasets_found.pop()
    return dataset


async def _count(tx: Connection, dataset: UUID) -> int:
    found: int = await tx.fetchval("select count(*) from images where dataset = $1", dataset)
    return found
