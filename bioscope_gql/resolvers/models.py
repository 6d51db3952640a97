"""Models: what workers announce, and which one a run gets."""

from collections.abc import Sequence
from typing import Any

import structlog

from bioscope_gql import policy
from bioscope_gql.db import Args, Connection, Row, certain
from bioscope_gql.errors import ModelUnavailable
from bioscope_gql.events.messages import Announcement, ServedModel
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import words
from bioscope_gql.resolvers.paging import CREATED_AT, Listing, Order, Wanted, compare, table_columns
from bioscope_gql.services import Services
from bioscope_gql.settings import StaticModel
from bioscope_gql.tables import Model
from bioscope_gql.vocabulary import uuid7

COLUMNS = table_columns(Model, "t")
LIVE = (
    "w.stopped_at is null and w.digest_matches and w.last_seen_at > clock_timestamp() - interval '60 seconds'"
)
"""What makes a worker `w` live: heard of within the last minute, and it runs what its model means."""

UPSERT = """
insert into models as t (id, name, version, description, labels, content_types, digest, is_static)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (name, version) do update set
  description = excluded.description, labels = excluded.labels, content_types = excluded.content_types,
  digest = coalesce(t.digest, excluded.digest), updated_at = clock_timestamp()
where (t.description, t.labels, t.content_types, t.digest) is distinct from
  (excluded.description, excluded.labels, excluded.content_types, coalesce(t.digest, excluded.digest))
"""

logger = structlog.get_logger()


def conditions(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """What the contract's ModelFilter means."""
    found = compare({"name": "name =", "version": "version ="})(wanted, args, alias)
    if "live" in wanted:
        negation = "" if wanted["live"] else "not "
        found.append(f"{negation}exists (select from workers w where w.model = {alias}.id and {LIVE})")
    return found


LISTING = Listing(Model, {"CREATED_AT": CREATED_AT, "NAME": Order("name")}, conditions)


def live_workers(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - a figure of `edges.computed`
    """How many workers of a model are live; null for a model that never announces itself."""
    return (
        f"case when not {alias}.is_static or exists (select from workers w where w.model = {alias}.id)"
        f" then (select count(*) from workers w where w.model = {alias}.id and {LIVE}) end"
    )


def queued_items(viewer: Viewer, args: Args, alias: str) -> str:
    """How many pictures wait for a model, of those that the viewer may see."""
    visible = policy.visible_classifications(viewer, args, "c")
    return (
        f"(select coalesce(sum(c.queued), 0)::int from classifications c"
        f" where c.model = {alias}.id and c.finished_at is null and {visible})"
    )


async def announce(services: Services, message: Announcement) -> None:
    """Take down who is there, with which models. The same again changes only when it was heard of."""
    for model in message.models:
        row = await _upsert(services, model)
        matches = model.digest is None or row["digest"] in (None, model.digest)
        if not matches:
            logger.warning(
                "model_with_another_digest",
                model=f"{model.name}@{model.version}",
                worker=message.worker.name,
                known=row["digest"],
                announced=model.digest,
            )
        await services.db.execute(
            "insert into workers as w (id, name, version, model, digest_matches, concurrency, last_seen_at,"
            " stopped_at) values ($1, $2, $3, $4, $5, $6, clock_timestamp(),"
            " case when $7 then clock_timestamp() end)"
            " on conflict (name, model) do update set version = excluded.version,"
            " digest_matches = excluded.digest_matches, concurrency = excluded.concurrency,"
            " last_seen_at = excluded.last_seen_at, stopped_at = excluded.stopped_at",
            uuid7(),
            message.worker.name,
            message.worker.version,
            row["id"],
            matches,
            message.concurrency,
            message.status == "down",
        )
    services.wake_dispatch()


async def declare(services: Services, models: Sequence[StaticModel]) -> None:
    """Take down the models of the settings, whose classifiers never announce themselves."""
    for model in models:
        await services.db.execute(
            UPSERT, uuid7(), model.name, model.version, model.description or None,
            list(model.labels), list(model.content_types), None, True,
        )  # fmt: skip
    named = [f"{model.name}@{model.version}" for model in models]
    await services.db.execute(
        "update models set is_static = (name || '@' || version = any($1::text[]))"
        " where is_static <> (name || '@' || version = any($1::text[]))",
        named,
    )


async def choose(services: Services, connection: Connection, name: str | None, version: str | None) -> Row:
    """The model that a run gets: the version asked for, else the newest that a live worker serves, else
    the newest announced.

    Raises:
        ModelUnavailable: UNKNOWN_MODEL, or AMBIGUOUS_MODEL where no name was given and there are several.
    """
    name = name or services.settings.app.default_model or await _only(connection)
    rows = await connection.fetch(
        f"select {COLUMNS}, exists (select from workers w where w.model = t.id and {LIVE}) as is_live"
        " from models t where t.name = $1 and ($2::text is null or t.version = $2)"
        " order by is_live desc, t.created_at desc, t.id desc limit 1",
        words.comparable(name),
        version and words.comparable(version),
    )
    if not rows:
        what = f"{name[:100]} {version[:100]}" if version else name[:100]
        raise ModelUnavailable(
            f"There is no model {what!r}: no worker has announced it. `models` lists those that there are."
        )
    found: Row = rows[0]
    return found


async def _only(connection: Connection) -> str:
    names: list[Any] = await connection.fetch("select distinct name from models order by name limit 6")
    if not names:
        raise ModelUnavailable("There is no model yet: no worker has announced one. Start a worker.")
    if len(names) > 1:
        listed = ", ".join(row["name"] for row in names[:5])
        raise ModelUnavailable(
            f"There are several models ({listed}): say in `modelName` which one is meant.", "AMBIGUOUS_MODEL"
        )
    only: str = names[0]["name"]
    return only


async def _upsert(services: Services, model: ServedModel) -> Row:
    known = "select id, digest from models where name = $1 and version = $2"
    await services.db.execute(
        UPSERT, uuid7(), model.name, model.version, model.description,
        list(model.labels), list(model.content_types), model.digest, False,
    )  # fmt: skip
    return certain(await services.db.row(known, model.name, model.version))  # models are never deleted
