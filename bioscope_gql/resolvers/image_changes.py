"""What people correct of a picture afterwards."""

import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from bioscope_gql import policy
from bioscope_gql.db import Args, Connection, Row, certain
from bioscope_gql.errors import Forbidden, InvalidInput, NotFound
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import images, words
from bioscope_gql.services import Services
from bioscope_gql.vocabulary import AccessLevel

NEVER_NULL = ("filename", "metadata")


async def update(services: Services, viewer: Viewer, id: UUID | str, changes: Mapping[str, Any]) -> Row:
    """Change what `changes` names: `filename`, `device_id`, `metadata`, `captured_at`, `pixel_size`.

    Raises:
        NotFound: the picture or the device is absent, or not for the viewer's eyes.
        Forbidden: the viewer may not edit pictures here.
        InvalidInput: a value can't be.
    """
    async with services.db.transaction() as tx:
        row = await _reach(tx, viewer, id)
        values = await _values(tx, changes)
        if not values:
            return row
        sets = ", ".join(f"{name} = ${place}" for place, name in enumerate(values, 2))
        changed = await tx.fetchrow(
            f"update images t set {sets} where t.id = $1 returning {images.COLUMNS}",
            row["id"],
            *values.values(),
        )
    return certain(changed)


async def _reach(tx: Connection, viewer: Viewer, id: UUID | str) -> Row:
    args = Args([words.read_id(id)])
    visible, access = policy.visible_images(viewer, args, "t"), policy.access_level(viewer, args, "d")
    row: Row | None = await tx.fetchrow(
        f"select {images.COLUMNS}, {access} as access from images t join datasets d on d.id = t.dataset"
        f" where t.id = $1 and {visible} for no key update of t",
        *args,
    )
    if row is None:
        raise NotFound("There is no picture of this id that you may see.", ids=[str(id)])
    if not viewer.is_person:
        raise Forbidden("A service account may not edit pictures; sign in as a person.", "SCOPE")
    policy.must_reach(AccessLevel(row["access"]), AccessLevel.CONTRIBUTE, "edit pictures")
    return row


async def _values(tx: Connection, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The columns that change."""
    for name in NEVER_NULL:
        if changes.get(name, name) is None:
            raise InvalidInput.at("NULL", (name,), f"`{name}` can't be null; leave it out to keep it.")
    values: dict[str, Any] = {}
    if "filename" in changes:
        values["filename"] = words.clean_filename(changes["filename"])
        values["search_text"] = words.searchable(values["filename"])
    if "metadata" in changes:
        values["metadata"] = words.metadata_text(changes["metadata"])
    if "captured_at" in changes:
        values["captured_at"] = changes["captured_at"]
    if "pixel_size" in changes:
        values["pixel_size_x"], values["pixel_size_y"] = _pixel_size(changes["pixel_size"])
    if "device_id" in changes:
        values["device"] = await images.device(tx, changes["device_id"])
    return values


def _pixel_size(size: tuple[float, float] | None) -> tuple[float | None, float | None]:
    if size is None:
        return None, None
    if not all(side > 0 and math.isfinite(side) for side in size):
        raise InvalidInput.at("OUT_OF_RANGE", ("pixelSize",), "A pixel has a size above 0 in micrometres.")
    return size
