"""Devices: the microscopes that pictures come from, and whether they were heard from lately."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from bioscope_gql.db import Args, Connection, Row, certain
from bioscope_gql.errors import Conflict, FieldProblem, InvalidInput, NotFound
from bioscope_gql.policy import Action, Viewer
from bioscope_gql.resolvers import audit, words
from bioscope_gql.resolvers.paging import CREATED_AT, Listing, Order, Wanted, compare, table_columns
from bioscope_gql.services import Services
from bioscope_gql.tables import Device
from bioscope_gql.vocabulary import DeviceStatus, uuid7

COLUMNS = table_columns(Device, "t")
LENGTHS = {"name": 200, "device_type": 100, "location": 200}
SENT_AS = {"name": "name", "device_type": "deviceType", "location": "location", "metadata": "metadata"}
NAME_KEY_LENGTH = 800
ONLINE_SECONDS = 60
HEARTBEAT = "heartbeat"
"""The member of a device's metadata that its heartbeats write."""


def status(viewer: Viewer, args: Args, alias: str) -> str:  # noqa: ARG001 - a figure of `edges.computed`
    """Whether a device was heard from within the last minute, by the database's clock."""
    return _status(alias)


def _status(alias: str) -> str:
    return (
        f"case when {alias}.retired_at is not null then '{DeviceStatus.RETIRED}'"
        f" when {alias}.last_seen_at > clock_timestamp() - interval '{ONLINE_SECONDS} seconds'"
        f" then '{DeviceStatus.ONLINE}' else '{DeviceStatus.OFFLINE}' end"
    )


def conditions(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """What the contract's DeviceFilter means."""
    found = compare({"device_type": "device_type =", "location": "location ="})(wanted, args, alias)
    if wanted.get("search"):
        found.append(f"{alias}.search_text like {args(words.search_pattern(wanted['search']))}")
    if "status" in wanted:
        found.append(f"({_status(alias)}) = {args(str(wanted['status']))}")
    return found


LISTING = Listing(Device, {"CREATED_AT": CREATED_AT, "NAME": Order("name")}, conditions)


async def create(
    services: Services,
    viewer: Viewer,
    *,
    name: str,
    device_type: str,
    location: str | None = None,
    metadata: Any = None,
) -> Row:
    """A new device, not heard from yet.

    Raises:
        Forbidden: the viewer is no admin.
        InvalidInput: a text or the metadata can't be.
        Conflict: DEVICE_NAME_TAKEN.
    """
    viewer.must(Action.MANAGE_DEVICES)
    values = _checked(
        {
            "name": name,
            "device_type": device_type,
            "location": location,
            "metadata": {} if metadata is None else metadata,
        }
    )
    async with services.db.transaction() as tx:
        row = await _write(
            tx,
            "insert into devices as t (name, name_key, device_type, location, metadata, search_text, id)"
            f" values ($1, $2, $3, $4, $5, $6, $7) returning {COLUMNS}",
            values,
            uuid7(),
        )
        await audit.record(tx, viewer, "device.created", ("device", row["id"]))
    return row


async def update(
    services: Services, viewer: Viewer, id: UUID | str | None, *, changes: Mapping[str, Any]
) -> Row:
    """Change what was sent; the metadata is replaced, what heartbeats wrote there too.

    Raises:
        Forbidden, InvalidInput, Conflict: as for `create`.
        NotFound: there is no such device.
    """
    viewer.must(Action.MANAGE_DEVICES)
    for field in ("name", "device_type", "metadata"):
        if changes.get(field, "") is None:
            message = f"A device needs a `{SENT_AS[field]}`. Leave it out to keep it."
            raise InvalidInput.at("NULL", (SENT_AS[field],), message)
    async with services.db.transaction() as tx:
        row = await _locked(tx, id)
        kept = {field: row[field] for field in LENGTHS} | {"metadata": orjson.loads(row["metadata"])}
        values = _checked(kept | {field: changes[field] for field in kept if field in changes})
        row = await _write(
            tx,
            "update devices t set name = $1, name_key = $2, device_type = $3, location = $4, metadata = $5,"
            f" search_text = $6, updated_at = clock_timestamp() where t.id = $7 returning {COLUMNS}",
            values,
            row["id"],
        )
        await audit.record(tx, viewer, "device.changed", ("device", row["id"]), {"fields": sorted(changes)})
    return row


async def retire(services: Services, viewer: Viewer, id: UUID | str | None) -> Row:
    """Take a device out of use; its pictures stay. Once more changes nothing.

    Raises:
        Forbidden: the viewer is no admin.
        NotFound: there is no such device.
    """
    viewer.must(Action.MANAGE_DEVICES)
    async with services.db.transaction() as tx:
        row = await _locked(tx, id)
        if row["retired_at"] is not None:
            return row
        retired = await tx.fetchrow(
            "update devices t set retired_at = clock_timestamp(), updated_at = clock_timestamp()"
            f" where t.id = $1 returning {COLUMNS}",
            row["id"],
        )
        await audit.record(tx, viewer, "device.retired", ("device", row["id"]))
    return certain(retired)


async def heartbeat(
    services: Services, viewer: Viewer, id: UUID | str | None, *, metadata: Any = None
) -> Row:
    """Take down that a device is alive, and what it says of itself: merged under `metadata.heartbeat`.

    A retired device stays retired.

    Raises:
        Forbidden: the viewer is neither an admin nor a machine that is for this.
        NotFound: there is no such device.
        InvalidInput: what it says is no JSON object, or too much with what is there already.
    """
    viewer.must(Action.REPORT_DEVICES)
    said = {} if metadata is None else metadata
    words.metadata_text(said)
    async with services.db.transaction() as tx:
        row = await _locked(tx, id)
        known = orjson.loads(row["metadata"])
        before = known.get(HEARTBEAT)
        merged = (before if isinstance(before, dict) else {}) | said
        text = words.metadata_text(known | {HEARTBEAT: merged} if merged else known)
        return certain(
            await tx.fetchrow(
                "update devices t set metadata = $2, last_seen_at = clock_timestamp()"
                f" where t.id = $1 returning {COLUMNS}",
                row["id"],
                text,
            )
        )


async def _locked(tx: Connection, id: UUID | str | None) -> Row:
    row: Row | None = await tx.fetchrow(
        f"select {COLUMNS} from devices t where t.id = $1 for no key update", words.read_id(id)
    )
    if row is None:
        raise NotFound("There is no device of this id.", ids=[str(id)] if id else [])
    return row


async def _write(tx: Connection, sql: str, values: Mapping[str, Any], id: UUID) -> Row:
    try:
        row = await tx.fetchrow(
            sql,
            values["name"],
            words.key(values["name"]),
            values["device_type"],
            values["location"],
            values["metadata"],
            words.searchable(values["name"], values["device_type"], values["location"]),
            id,
        )
    except asyncpg.UniqueViolationError:
        message = "There is a device of this name already. Choose another name."
        raise Conflict(message, "DEVICE_NAME_TAKEN") from None
    return certain(row)


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as they are stored.

    Raises:
        InvalidInput: one of them can't be.
    """
    problems: list[FieldProblem] = []
    for field, most in LENGTHS.items():
        if values[field] is not None:
            problems += words.check_line(values[field], SENT_AS[field], most=most)
    if not problems and len(words.key(values["name"])) > NAME_KEY_LENGTH:
        message = "`name` has too many characters that stand for several letters. Choose a shorter one."
        problems.append(FieldProblem("TOO_LONG", ("name",), message))
    if problems:
        raise InvalidInput("The device can't be like this.", fields=problems)
    texts = {field: values[field] and values[field].strip() for field in LENGTHS}
    return texts | {"metadata": words.metadata_text(values["metadata"])}
