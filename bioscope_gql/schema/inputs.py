"""What clients send: filters, orders, and the inputs of mutations."""

from datetime import datetime

import strawberry
from strawberry import UNSET

from bioscope_gql.schema import define
from bioscope_gql.schema.scalars import JSON, Upload
from bioscope_gql.schema.words import (
    AccessLevel,
    ClassificationOrderField,
    ClassificationResultOrderField,
    ClassificationStatus,
    DatasetOrderField,
    DeviceOrderField,
    DeviceStatus,
    Direction,
    ImageOrderField,
    ItemStatus,
    ModelOrderField,
    Priority,
    Role,
    ServiceScope,
    UserOrderField,
    UserStatus,
)

ID = strawberry.ID


@define.input
class DatasetFilter:
    """Which datasets; fields that are left out don't matter."""

    search: str | None = UNSET
    owner_id: ID | None = UNSET


@define.input
class DatasetOrder:
    """How datasets are ordered."""

    field: DatasetOrderField = DatasetOrderField.CREATED_AT
    direction: Direction = Direction.DESC


@define.input
class ImageFilter:
    """Which images; `...After` is inclusive, `...Before` exclusive."""

    search: str | None = UNSET
    dataset_id: ID | None = UNSET
    device_id: ID | None = UNSET
    uploaded_by_id: ID | None = UNSET
    content_type: str | None = UNSET
    created_after: datetime | None = UNSET
    created_before: datetime | None = UNSET
    captured_after: datetime | None = UNSET
    captured_before: datetime | None = UNSET
    model_name: str | None = strawberry.field(
        default=UNSET,
        description="Whose results count for what follows and for the order CONFIDENCE; else any model's.",
    )
    model_version: str | None = UNSET
    analyzed: bool | None = strawberry.field(default=UNSET, description="Whether there is a result.")
    label: list[str] | None = strawberry.field(
        default=UNSET, description="The label of the newest result is one of these."
    )
    confidence_at_least: float | None = UNSET
    confidence_at_most: float | None = UNSET


@define.input
class ImageOrder:
    """How images are ordered."""

    field: ImageOrderField = ImageOrderField.CREATED_AT
    direction: Direction = Direction.DESC


@define.input
class ClassificationFilter:
    """Which runs; a run over a single image counts as one of its dataset."""

    status: list[ClassificationStatus] | None = UNSET
    dataset_id: ID | None = UNSET
    image_id: ID | None = UNSET
    created_by_id: ID | None = UNSET
    model_name: str | None = UNSET
    model_version: str | None = UNSET
    created_after: datetime | None = UNSET
    created_before: datetime | None = UNSET


@define.input
class ClassificationOrder:
    """How runs are ordered."""

    field: ClassificationOrderField = ClassificationOrderField.CREATED_AT
    direction: Direction = Direction.DESC


@define.input
class ClassificationItemFilter:
    """Which images of a run."""

    status: list[ItemStatus] | None = UNSET
    error_code: list[str] | None = UNSET


@define.input
class ClassificationResultFilter:
    """Which results."""

    image_id: ID | None = UNSET
    classification_id: ID | None = UNSET
    dataset_id: ID | None = UNSET
    label: list[str] | None = UNSET
    model_name: str | None = UNSET
    model_version: str | None = UNSET
    confidence_at_least: float | None = UNSET
    confidence_at_most: float | None = UNSET
    created_after: datetime | None = UNSET
    created_before: datetime | None = UNSET


@define.input
class ClassificationResultOrder:
    """How results are ordered."""

    field: ClassificationResultOrderField = ClassificationResultOrderField.CREATED_AT
    direction: Direction = Direction.DESC


@define.input
class ModelFilter:
    """Which models; `live`: a worker that serves it was heard of within the last minute."""

    name: str | None = UNSET
    version: str | None = UNSET
    live: bool | None = UNSET


@define.input
class ModelOrder:
    """How models are ordered."""

    field: ModelOrderField = ModelOrderField.CREATED_AT
    direction: Direction = Direction.DESC


@define.input
class DeviceFilter:
    """Which devices; type and location are compared as they are written."""

    search: str | None = UNSET
    device_type: str | None = UNSET
    location: str | None = UNSET
    status: DeviceStatus | None = UNSET


@define.input
class DeviceOrder:
    """How devices are ordered."""

    field: DeviceOrderField = DeviceOrderField.CREATED_AT
    direction: Direction = Direction.DESC


@define.input
class CreateDeviceInput:
    """A new device. `metadata`: a JSON object of at most 16 KiB and 8 levels."""

    name: str
    device_type: str
    location: str | None = UNSET
    metadata: JSON | None = UNSET


@define.input
class UpdateDeviceInput:
    """What changes of a device; what is left out stays, a null location clears it, metadata is replaced."""

    id: ID
    name: str | None = UNSET
    device_type: str | None = UNSET
    location: str | None = UNSET
    metadata: JSON | None = UNSET


@define.input
class DeviceHeartbeatInput:
    """Which device is alive. Its `metadata` is merged under `metadata.heartbeat`."""

    device_id: ID
    metadata: JSON | None = UNSET


@define.input
class CreateServiceAccountInput:
    """A new machine's account. Without `expiresAt` it is good until it is revoked."""

    name: str
    scopes: list[ServiceScope]
    expires_at: datetime | None = UNSET


@define.input
class RegisterInput:
    """A new account."""

    email: str
    username: str
    password: str


@define.input
class LoginInput:
    """Who signs in."""

    login: str = strawberry.field(description="Email or username.")
    password: str


@define.input
class UpdateUserInput:
    """What changes of an account; what is left out stays."""

    id: ID
    role: Role | None = UNSET
    status: UserStatus | None = UNSET


@define.input
class CreateUserInput:
    """A new account, whose owner sets the password by a link."""

    email: str
    username: str
    role: Role = Role.USER


@define.input
class SetPasswordInput:
    """The token of a password link, and the password to set."""

    token: str
    new_password: str


@define.input
class ChangePasswordInput:
    """The caller's password as it is, and as it shall be."""

    current_password: str
    new_password: str


@define.input
class UpdateProfileInput:
    """What changes of the caller's own account; what is left out stays."""

    email: str | None = UNSET
    username: str | None = UNSET


@define.input
class RefreshInput:
    """Which session goes on."""

    refresh_token: str | None = strawberry.field(default=UNSET, description="Left out: the cookie is used.")


@define.input
class UserFilter:
    """Which people; `search` looks through usernames, for admins e-mail addresses too."""

    search: str | None = UNSET
    role: Role | None = UNSET
    status: UserStatus | None = UNSET


@define.input
class UserOrder:
    """How people are ordered."""

    field: UserOrderField = UserOrderField.CREATED_AT
    direction: Direction = Direction.DESC


@define.input
class CreateDatasetInput:
    """A new dataset, owned by the caller."""

    name: str
    description: str | None = UNSET


@define.input
class UpdateDatasetInput:
    """What changes of a dataset; what is left out stays, a null description clears it."""

    id: ID
    name: str | None = UNSET
    description: str | None = UNSET


@strawberry.input(one_of=True, description="Whom an input means: by id, exact username or exact e-mail.")
class AccountRef:
    user_id: ID | None = UNSET
    username: str | None = UNSET
    email: str | None = UNSET


@define.input
class ShareDatasetInput:
    """Who gets which access to a dataset; sharing again changes the level."""

    dataset_id: ID
    to: AccountRef
    level: AccessLevel


@define.input
class TransferDatasetInput:
    """Whose a dataset is to be."""

    id: ID
    to: AccountRef


@define.input
class UploadImagesInput:
    """Files for a dataset; each has its own outcome."""

    dataset_id: ID
    device_id: ID | None = UNSET
    files: list[Upload]
    metadata: JSON | None = UNSET


@define.input
class PixelSizeInput:
    """The size of a pixel in the specimen, in micrometres."""

    x: float
    y: float


@define.input
class UpdateImageInput:
    """What changes of an image; what is left out stays, null clears what may be null."""

    id: ID
    filename: str | None = UNSET
    device_id: ID | None = UNSET
    metadata: JSON | None = strawberry.field(default=UNSET, description="Replaces what was there.")
    captured_at: datetime | None = UNSET
    pixel_size: PixelSizeInput | None = UNSET


@strawberry.input(
    one_of=True, description="What a run is over: one image, several of one dataset, or all of it."
)
class ClassificationTarget:
    image_id: ID | None = UNSET
    image_ids: list[ID] | None = UNSET
    dataset_id: ID | None = UNSET


@define.input
class RunClassificationInput:
    """Which model runs over which images."""

    target: ClassificationTarget
    model_name: str | None = strawberry.field(
        default=UNSET,
        description="Left out: the default model of the settings, else the only one there is; with several:"
        " ModelUnavailable, AMBIGUOUS_MODEL.",
    )
    model_version: str | None = strawberry.field(
        default=UNSET,
        description="Left out: the newest version that a live worker serves, or the newest."
        " Fixed when the run is made.",
    )
    priority: Priority = Priority.NORMAL
    only_missing: bool = strawberry.field(
        default=False, description="Skip images that already have a result of this model and version."
    )
    idempotency_key: str | None = strawberry.field(
        default=UNSET,
        description="The same key and input from the same caller start one run, however often they are sent.",
    )
