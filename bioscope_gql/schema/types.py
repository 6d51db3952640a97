"""The object types: views of rows, and the edges between them. What is only data is one line."""

from datetime import datetime

import strawberry

from bioscope_gql import policy, tables
from bioscope_gql.errors import Refusal
from bioscope_gql.policy import named_on_visible_rows
from bioscope_gql.resolvers import (
    classifications,
    devices,
    image_lists,
    images,
    labels,
    models,
    results,
)
from bioscope_gql.schema import define
from bioscope_gql.schema.actors import Actor, Node, ServiceAccount, User
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.edges import (
    aggregate,
    all_of,
    belongs_to,
    computed,
    each,
    either,
    has_one,
    newest_result,
)
from bioscope_gql.schema.inputs import (
    ClassificationFilter,
    ClassificationItemFilter,
    ClassificationOrder,
    ClassificationResultFilter,
    ImageFilter,
    ImageOrder,
)
from bioscope_gql.schema.paging import Connection, has_many
from bioscope_gql.schema.scalars import JSON, BigInt
from bioscope_gql.schema.values import LabelCount, Measurement, PixelSize, Score
from bioscope_gql.schema.views import View
from bioscope_gql.schema.words import (
    AccessLevel,
    ClassificationStatus,
    DeviceStatus,
    ItemStatus,
    Priority,
    ThumbnailSize,
)
from bioscope_gql.vocabulary import PRIORITY_RANK

MOST_LINK_SECONDS = 3600
PRIORITIES = {rank: priority for priority, rank in PRIORITY_RANK.items()}


@define.type
class Device(View, Node, table=tables.Device):
    """A microscope. Every signed-in person sees it; its images only as far as their datasets allow."""

    name: str
    device_type: str
    location: str | None
    metadata: JSON = strawberry.field(description="What people added; under `heartbeat` what it said itself.")
    last_seen_at: datetime | None
    created_at: datetime
    status: DeviceStatus = computed(tables.Device, devices.status, "Whether it was heard from lately.")
    images: Connection["Image"] = has_many(
        tables.Image.device,
        lambda: Image,
        image_lists.LISTING,
        filter_by=ImageFilter,
        order_by=ImageOrder,
    )


@define.type
class Dataset(View, Node, table=tables.Dataset):
    """A set of images with an owner. Who sees it sees its images, runs and results."""

    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    owner: User = belongs_to(tables.Dataset.owner, lambda: User, visible=named_on_visible_rows)
    access: AccessLevel = computed(tables.Dataset, policy.access_shown, "What the caller may do here.")
    grants: list["DatasetGrant"] = all_of(
        tables.DatasetGrant.dataset,
        lambda: DatasetGrant,
        "granted_at",
        "Who has access: in full for those with MANAGE, otherwise the owner's grant and the caller's own.",
    )
    image_count: int = aggregate(tables.Image.dataset, "count(*)", default=0)
    total_bytes: BigInt = aggregate(tables.Image.dataset, "sum(t.file_size)::bigint", default=0)
    images: Connection["Image"] = has_many(
        tables.Image.dataset, lambda: Image, image_lists.LISTING, filter_by=ImageFilter, order_by=ImageOrder
    )
    classifications: Connection["Classification"] = has_many(
        tables.Classification.dataset,
        lambda: Classification,
        classifications.LISTING,
        filter_by=ClassificationFilter,
        order_by=ClassificationOrder,
    )

    label_counts: list[LabelCount] = each(
        labels.of_datasets,
        lambda rows: [LabelCount(**row) for row in rows],
        "How many images each label won, newest result per image; the most frequent first.",
    )


@define.type
class DatasetGrant(View, Node, table=tables.DatasetGrant):
    """Somebody's access to a dataset; its owner has one too, for good."""

    level: AccessLevel
    granted_at: datetime
    user: User | None = belongs_to(
        tables.DatasetGrant.user,
        lambda: User,
        visible=named_on_visible_rows,
        description="Null when the grant is not a person's.",
    )
    service_account: "ServiceAccount | None" = belongs_to(
        tables.DatasetGrant.service_account,
        lambda: ServiceAccount,
        visible=named_on_visible_rows,
        description="Null when the grant is not a machine's.",
    )


@define.type
class Image(View, Node, table=tables.Image):
    """One microscope image."""

    filename: str
    content_type: str
    file_size: BigInt
    sha256: str
    width: int
    height: int
    bit_depth: int
    channels: int
    frames: int
    captured_at: datetime | None
    metadata: JSON = strawberry.field(description="What people added; an update replaces it whole.")
    file_metadata: JSON = strawberry.field(description="What the file says of itself.")
    created_at: datetime
    # Not by a rule of its own: a machine's picture may come out of flight between two statements.
    dataset: Dataset = belongs_to(tables.Image.dataset, lambda: Dataset, visible=named_on_visible_rows)
    device: Device | None = belongs_to(tables.Image.device, lambda: Device, visible=named_on_visible_rows)
    uploaded_by: Actor | None = either(
        (tables.Image.uploaded_by, lambda: User),
        (tables.Image.uploaded_by_machine, lambda: ServiceAccount),
        visible=named_on_visible_rows,
    )
    results: Connection["ClassificationResult"] = has_many(
        tables.ClassificationResult.image,
        lambda: ClassificationResult,
        results.LISTING,
        filter_by=ClassificationResultFilter,
    )

    latest_result: "ClassificationResult | None" = newest_result(
        lambda: ClassificationResult, "The newest result, of any model or of the one that is named."
    )

    @define.reading("latest_result")
    def analyzed(self) -> bool:
        """Whether any model has a result for it."""
        return self.row["latest_result"] is not None

    @define.reading("pixel_size_x", "pixel_size_y")
    def pixel_size(self) -> PixelSize | None:
        """Null when the file does not say; never guessed."""
        x, y = self.row["pixel_size_x"], self.row["pixel_size_y"]
        return None if x is None or y is None else PixelSize(x=x, y=y)

    @define.reading("storage_path")
    def thumbnail_url(self, info: Info, size: ThumbnailSize = ThumbnailSize.MEDIUM) -> str | None:
        """A short-lived link that a browser can show."""
        return images.thumbnail_url(info.context.services, self.row, size, info.context.origin)

    @define.reading("storage_path", "content_type", "filename", "sha256")
    def download_url(self, info: Info, expires_in: int = 300) -> str | None:
        """A short-lived link to the original bytes, served as an attachment."""
        seconds, origin = link_seconds(expires_in), info.context.origin
        return images.download_url(info.context.services, self.row, seconds, origin)


def link_seconds(seconds: int) -> int:
    """
    Raises:
        Refusal: a link lives 1 to 3600 seconds.
    """
    if not 1 <= seconds <= MOST_LINK_SECONDS:
        raise Refusal(f"`expiresIn` is {seconds}; a link may live 1 to {MOST_LINK_SECONDS} seconds.")
    return seconds


@define.type
class Model(View, Node, table=tables.Model):
    """A classifier that workers have announced."""

    name: str
    version: str
    description: str | None
    labels: list[str]
    content_types: list[str]
    digest: str | None = strawberry.field(description="SHA-256 of the weights, as the worker reports it.")
    created_at: datetime
    live_workers: int | None = computed(
        tables.Model, models.live_workers, "Workers heard from within the last minute."
    )
    queued_items: int = computed(tables.Model, models.queued_items)


@define.type
class Progress(View, table=tables.Classification):
    """total = queued + running + succeeded + failed + cancelled, always."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    eta_seconds: int | None = computed(
        tables.Classification, classifications.eta_seconds, "Null until there is a rate to judge by."
    )
    waiting_for_worker: bool = computed(
        tables.Classification, classifications.waiting_for_worker, "No live worker serves the model."
    )

    @define.reading("total", "succeeded", "failed", "cancelled")
    def fraction(self) -> float:
        """How much of it has ended, from 0 to 1."""
        ended: int = self.row["succeeded"] + self.row["failed"] + self.row["cancelled"]
        total: int = self.row["total"]
        return ended / total


@define.type
class Classification(View, Node, table=tables.Classification):
    """A run of one model over one image or over the images that a dataset held when it started."""

    status: ClassificationStatus
    model_name: str
    model_version: str
    only_missing: bool
    skipped_count: int
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None = strawberry.field(description="Why it failed, in words for its owner; null otherwise.")
    image: Image | None = belongs_to(tables.Classification.image, lambda: Image)
    dataset: Dataset = belongs_to(tables.Classification.dataset, lambda: Dataset)
    created_by: Actor | None = belongs_to(
        tables.Classification.created_by, lambda: User, visible=named_on_visible_rows
    )
    items: Connection["ClassificationItem"] = has_many(
        tables.ClassificationItem.classification,
        lambda: ClassificationItem,
        classifications.ITEMS,
        filter_by=ClassificationItemFilter,
    )
    results: Connection["ClassificationResult"] = has_many(
        tables.ClassificationResult.classification,
        lambda: ClassificationResult,
        results.LISTING,
        filter_by=ClassificationResultFilter,
    )

    @define.reading("priority")
    def priority(self) -> Priority:
        """Which runs go first."""
        return PRIORITIES[self.row["priority"]]

    @define.reading()  # what is asked of it reads the same row
    def progress(self) -> Progress:
        return Progress.of(self.row)


@define.type
class ClassificationItem(View, Node, table=tables.ClassificationItem):
    """One image of a run."""

    status: ItemStatus
    attempt: int
    error_code: str | None
    error_message: str | None
    worker_name: str | None
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    image: Image = belongs_to(tables.ClassificationItem.image, lambda: Image)
    result: "ClassificationResult | None" = has_one(
        tables.ClassificationResult.item, lambda: ClassificationResult
    )
    classification: Classification = belongs_to(
        tables.ClassificationItem.classification, lambda: Classification
    )

    @define.reading("attempt", "tries")
    def max_attempts(self, info: Info) -> int:
        """This attempt, and those that are left."""
        attempt: int = self.row["attempt"]
        left: int = info.context.services.settings.limits.tries - self.row["tries"] - 1
        return attempt + max(0, left)


@define.type
class ClassificationResult(View, Node, table=tables.ClassificationResult):
    """What a model said of an image in a run."""

    label: str
    confidence: float
    model_name: str
    model_version: str
    model_digest: str | None
    worker_name: str | None
    details: JSON = strawberry.field(description="Whatever else the model said: counts, boxes.")
    duration_ms: int | None
    created_at: datetime
    image: Image = belongs_to(tables.ClassificationResult.image, lambda: Image)
    classification: Classification = belongs_to(
        tables.ClassificationResult.classification, lambda: Classification
    )

    @define.reading("scores")
    def scores(self) -> list[Score]:
        """Every class that the model scored, best first."""
        return [Score(**score) for score in self.json("scores")]

    @define.reading("measurements")
    def measurements(self) -> list[Measurement]:
        """Numbers that the model gave."""
        return [Measurement(**each) for each in self.json("measurements")]
