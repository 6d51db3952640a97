"""Pictures: taken in, recorded, shown. Bytes are announced, then stored, then their row is made."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import orjson
import structlog

from bioscope_gql import policy
from bioscope_gql.db import Args, Connection, Database, Row
from bioscope_gql.errors import InvalidInput, NotFound, Rejected
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import datasets, words
from bioscope_gql.resolvers.paging import table_columns
from bioscope_gql.services import Services
from bioscope_gql.storage.announced import CLAIM, KEEP, announce, give_up
from bioscope_gql.storage.blobs import StoreUnavailable, image_key, thumbnail_key
from bioscope_gql.storage.intake import Picture
from bioscope_gql.storage.uploads import UploadedFile
from bioscope_gql.tables import Image
from bioscope_gql.vocabulary import AccessLevel, RejectionCode, ThumbnailSize, uuid7

COLUMNS = table_columns(Image, "t")
THUMBNAIL_SECONDS = 600
"""A grid's links stay the same for some minutes, so that the browser's cache knows them."""

T = TypeVar("T")

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is there now: `is_new`, or the one with the same bytes that was there before."""

    filename: str
    row: Row
    is_new: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that was not stored, and why."""

    filename: str
    reason: Rejected


Outcome = Stored | Refused


async def original(services: Services, viewer: Viewer, id: UUID | None) -> Row:
    """The picture whose bytes the viewer may read.

    Raises:
        Forbidden: the viewer is a machine that reads no pictures.
        NotFound: it is absent, invisible, or for a machine not in flight.
    """
    policy.must_read_originals(viewer)
    args = Args([id])
    row = await services.db.row(
        f"select {COLUMNS} from images t where t.id = $1 and {policy.visible_originals(viewer, args, 't')}",
        *args,
    )
    if row is None:
        raise NotFound("There is no picture of this id that you may read.", ids=[str(id)] if id else [])
    return row


async def upload(
    services: Services,
    viewer: Viewer,
    dataset_id: UUID | str | None,
    files: Sequence[UploadedFile],
    *,
    device_id: UUID | str | None = None,
    metadata: Any = None,
) -> tuple[Row, list[Outcome]]:
    """Take files into a dataset; each has its own outcome, in the order sent.

    Raises:
        NotFound: the dataset or the device is absent, or not for the viewer's eyes.
        Forbidden: the viewer may not upload here.
        InvalidInput: there is no file, or the metadata can't be kept.
        RateLimited: the viewer uploads too often.
    """
    await services.rates.upload(viewer)
    dataset = await datasets.reach(services.db, viewer, dataset_id, AccessLevel.CONTRIBUTE, "upload")
    if not files:
        raise InvalidInput.at("TOO_FEW", ("files",), "Send at least one file.")
    text = words.metadata_text({} if metadata is None else metadata)
    device_key = await device(services.db, device_id)
    same_bytes: dict[str, list[int]] = {}
    for place, file in enumerate(files):
        same_bytes.setdefault(f"{place}" if file.too_large else file.sha256, []).append(place)
    taken = _Intake(services, viewer, dataset["id"], device_key, text)
    firsts = await _all([taken.take(files[places[0]]) for places in same_bytes.values()])
    outcomes: dict[int, Outcome] = {}
    for places, first in zip(same_bytes.values(), firsts, strict=True):
        outcomes[places[0]] = first
        outcomes |= {place: _repeated(first, files[place]) for place in places[1:]}
    return dataset, [outcomes[place] for place in range(len(files))]


def _repeated(first: Outcome, file: UploadedFile) -> Outcome:
    """What becomes of the second copy of the same bytes within one upload."""
    name = words.clean_filename(file.filename)
    return Stored(name, first.row, is_new=False) if isinstance(first, Stored) else Refused(name, first.reason)


async def _all(parts: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all to their end; where one fails, cancel the others and wait for them before it is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in parts]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def device(db: Database | Connection, id: UUID | str | None) -> UUID | None:
    """The key of a device that a picture is said to come from.

    Raises:
        NotFound: there is no such device.
    """
    if id is None:
        return None
    sql, known = "select id from devices where id = $1", words.read_id(id)
    found: UUID | None = await (db.value(sql, known) if isinstance(db, Database) else db.fetchval(sql, known))
    if found is None:
        raise NotFound("There is no device of this id.", ids=[str(id)])
    return found


@dataclass(frozen=True, slots=True)
class _Intake:
    """What the files of one upload have in common."""

    services: Services
    viewer: Viewer
    dataset: UUID
    device: UUID | None
    metadata: str

    async def take(self, file: UploadedFile) -> Outcome:
        """What becomes of one file; counted."""
        metrics = self.services.metrics
        with metrics.intake_seconds.time():
            outcome = await self._taken(file)
        if isinstance(outcome, Stored):
            metrics.uploads.labels("stored" if outcome.is_new else "known").inc()
        else:
            metrics.uploads.labels(outcome.reason.code).inc()
        return outcome

    async def _taken(self, file: UploadedFile) -> Outcome:
        name = words.clean_filename(file.filename)
        try:
            if file.too_large:
                raise Rejected(RejectionCode.TOO_LARGE, self._too_large())
            if file.size == 0:
                raise Rejected(RejectionCode.EMPTY, "The file is empty. Save it again and send that.")
            known = await self._known(file.sha256)
            if known is not None:
                return Stored(name, known, is_new=False)
            picture = await self.services.intake.examine(file.path)
            return await self._store(file, name, picture)
        except Rejected as reason:
            return Refused(name, reason)
        except StoreUnavailable as error:
            logger.warning("store_unavailable", reason=str(error))
            message = "The picture store does not answer at the moment. Send this file again later."
            return Refused(name, Rejected(RejectionCode.STORAGE_UNAVAILABLE, message))

    def _too_large(self) -> str:
        limits = self.services.settings.limits
        return (
            f"The file is larger than {limits.file_bytes:,} bytes ({limits.tiled_file_bytes:,} for a TIFF). "
            "Send a smaller one."
        )

    async def _known(self, sha256: str) -> Row | None:
        return await self.services.db.row(
            f"select {COLUMNS} from images t where t.dataset = $1 and t.sha256 = $2", self.dataset, sha256
        )

    async def _store(self, file: UploadedFile, name: str, picture: Picture) -> Stored:
        id = uuid7()
        key = image_key(self.dataset, id)
        announced = await announce(self.services.db, key, file.size)
        # Where that fails the announcement stands: the store may still do what it did not answer in time.
        await self._write(key, file, picture)
        row = await self._record(id, announced, key, file, name, picture)
        if row is not None:
            return Stored(name, row, is_new=True)
        await self._give_up(announced)
        known = await self._known(file.sha256)
        if known is None:
            # The janitor was first, or who had the same bytes has deleted the picture again meanwhile.
            message = "Storing the picture took too long, or it was just deleted. Send it again."
            raise Rejected(RejectionCode.STORAGE_UNAVAILABLE, message)
        return Stored(name, known, is_new=False)

    async def _give_up(self, announced: UUID) -> None:
        """The bytes get no row: the janitor removes them now."""
        await give_up(self.services.db, announced)
        self.services.wake_janitor()

    async def _write(self, key: str, file: UploadedFile, picture: Picture) -> None:
        put = self.services.store.put
        small = [
            put(thumbnail_key(key, size), data, content_type="image/webp", sha256=None)
            for size, data in picture.thumbnails.items()
        ]
        await _all([put(key, file.path, content_type=picture.content_type, sha256=file.sha256), *small])

    async def _record(
        self, id: UUID, announced: UUID, key: str, file: UploadedFile, name: str, picture: Picture
    ) -> Row | None:
        """The new row, for which the bytes stay; None where the dataset holds these bytes already."""
        x, y = picture.pixel_size or (None, None)
        values = {
            "id": id,
            "filename": name,
            "content_type": picture.content_type,
            "file_size": file.size,
            "sha256": file.sha256,
            "storage_path": key,
            "width": picture.width,
            "height": picture.height,
            "bit_depth": picture.bit_depth,
            "channels": picture.channels,
            "frames": picture.frames,
            "pixel_size_x": x,
            "pixel_size_y": y,
            "captured_at": picture.captured_at,
            "metadata": self.metadata,
            "file_metadata": orjson.dumps(picture.file_metadata).decode(),
            "search_text": words.searchable(name),
            "dataset": self.dataset,
            "device": self.device,
            "uploaded_by" if self.viewer.is_person else "uploaded_by_machine": self.viewer.id,
        }
        args = Args()
        places = ", ".join(args(value) for value in values.values())
        mine = args(announced)
        try:
            return await self.services.db.row(
                f"with claimed as ({CLAIM.format(id=mine)}),"
                f" made as (insert into images as t ({', '.join(values)}) select {places} from claimed"
                f" on conflict (dataset, sha256) do nothing returning {COLUMNS}),"
                f" kept as ({KEEP.format(id=mine)}) select * from made",
                *args,
            )
        except asyncpg.ForeignKeyViolationError:
            await self._give_up(announced)
            message = "The dataset was deleted while the file came in."
            raise Rejected(RejectionCode.STORAGE_UNAVAILABLE, message) from None


def thumbnail_url(services: Services, row: Row, size: ThumbnailSize, origin: str) -> str:
    """A link that a browser can show for some minutes."""
    key = thumbnail_key(row["storage_path"], size)
    return services.store.presign_get(
        key, seconds=THUMBNAIL_SECONDS, content_type="image/webp", filename=None, origin=origin
    )


def download_url(services: Services, row: Row, seconds: int, origin: str) -> str:
    """A link to the original bytes under the picture's own name."""
    return services.store.presign_get(
        row["storage_path"],
        seconds=seconds,
        content_type=row["content_type"],
        filename=row["filename"],
        origin=origin,
        sha256=row["sha256"],
    )
