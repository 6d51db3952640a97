"""The enums of the API: the words of `vocabulary.py`, and by what lists are ordered."""

from enum import Enum

import strawberry

from bioscope_gql.vocabulary import (
    AccessLevel,
    ClassificationStatus,
    DeviceStatus,
    ItemStatus,
    Priority,
    RejectionCode,
    Role,
    ServiceScope,
    ThumbnailSize,
    TimeBucket,
    UserStatus,
)

__all__ = [
    "AccessLevel",
    "ClassificationOrderField",
    "ClassificationResultOrderField",
    "ClassificationStatus",
    "DatasetOrderField",
    "DeviceOrderField",
    "DeviceStatus",
    "Direction",
    "ImageOrderField",
    "ItemStatus",
    "ModelOrderField",
    "Priority",
    "RejectionCode",
    "Role",
    "ServiceScope",
    "ThumbnailSize",
    "TimeBucket",
    "UserOrderField",
    "UserStatus",
]

strawberry.enum(Role, description="A rung of the ladder; each may do what those before it may.")
strawberry.enum(UserStatus, description="Whether an account may sign in.")
strawberry.enum(
    ServiceScope,
    description="What a service account may do. IMAGES_READ: read images that are in a job that is in flight."
    " DEVICES_HEARTBEAT: report that a device is alive. IMAGES_WRITE: upload to datasets granted to it."
    " RESULTS_READ: read runs, results and image metadata of every dataset; no links.",
)
strawberry.enum(
    DeviceStatus,
    description="ONLINE: heard from within the last minute. OFFLINE: not heard from lately, or never.",
)
strawberry.enum(
    AccessLevel, description="What somebody may do in a dataset. Each level includes the ones before it."
)
strawberry.enum(ThumbnailSize, description="The longest side of a thumbnail.")
strawberry.enum(RejectionCode, description="Why a file was not stored.")
strawberry.enum(ClassificationStatus, description="The state of a run, derived from what its items did.")
strawberry.enum(ItemStatus, description="The state of one image of a run.")
strawberry.enum(TimeBucket, description="How fine a timeline is, in UTC; weeks begin on Monday.")
strawberry.enum(Priority, description="Which runs go first.")


@strawberry.enum(description="Upwards or downwards.")
class Direction(Enum):
    ASC = "ASC"
    DESC = "DESC"


@strawberry.enum(description="What datasets can be ordered by.")
class DatasetOrderField(Enum):
    CREATED_AT = "CREATED_AT"
    NAME = "NAME"


@strawberry.enum(description="What devices can be ordered by.")
class DeviceOrderField(Enum):
    CREATED_AT = "CREATED_AT"
    NAME = "NAME"


@strawberry.enum(description="What people can be ordered by.")
class UserOrderField(Enum):
    CREATED_AT = "CREATED_AT"
    USERNAME = "USERNAME"


@strawberry.enum(description="What images can be ordered by; those without a value come last.")
class ImageOrderField(Enum):
    CREATED_AT = "CREATED_AT"
    CAPTURED_AT = "CAPTURED_AT"
    FILENAME = "FILENAME"
    FILE_SIZE = "FILE_SIZE"
    CONFIDENCE = "CONFIDENCE"


@strawberry.enum(description="What runs can be ordered by.")
class ClassificationOrderField(Enum):
    CREATED_AT = "CREATED_AT"
    UPDATED_AT = "UPDATED_AT"


@strawberry.enum(description="What results can be ordered by.")
class ClassificationResultOrderField(Enum):
    CREATED_AT = "CREATED_AT"
    CONFIDENCE = "CONFIDENCE"


@strawberry.enum(description="What models can be ordered by.")
class ModelOrderField(Enum):
    CREATED_AT = "CREATED_AT"
    NAME = "NAME"
