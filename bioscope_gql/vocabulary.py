"""The words that every layer uses, and the ids that everything has."""

import os
import time
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """A person's rung on the ladder USER < ANALYST < ADMIN. Only `policy.py` compares them."""

    USER = "USER"
    ANALYST = "ANALYST"
    ADMIN = "ADMIN"


class UserStatus(StrEnum):
    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"


class ServiceScope(StrEnum):
    """What a machine's account may do; it is on no rung of the ladder."""

    IMAGES_READ = "IMAGES_READ"
    DEVICES_HEARTBEAT = "DEVICES_HEARTBEAT"
    IMAGES_WRITE = "IMAGES_WRITE"
    RESULTS_READ = "RESULTS_READ"


class DeviceStatus(StrEnum):
    """Whether a microscope was heard from lately."""

    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"
    RETIRED = "RETIRED"


class AccessLevel(StrEnum):
    """What somebody may do in a dataset; each level includes the ones before it."""

    VIEW = "VIEW"
    CONTRIBUTE = "CONTRIBUTE"
    MANAGE = "MANAGE"


class ThumbnailSize(StrEnum):
    SMALL = "SMALL"
    MEDIUM = "MEDIUM"
    LARGE = "LARGE"


THUMBNAIL_PIXELS = {ThumbnailSize.SMALL: 128, ThumbnailSize.MEDIUM: 256, ThumbnailSize.LARGE: 512}
"""Longest side of each thumbnail in pixels."""

CONTENT_TYPES = ("image/jpeg", "image/png", "image/tiff", "image/bmp", "image/webp")
"""What may be uploaded, found by magic number, never by name."""


class RejectionCode(StrEnum):
    """Why a file was not stored."""

    EMPTY = "EMPTY"
    TOO_LARGE = "TOO_LARGE"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    CORRUPT = "CORRUPT"
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    TOO_MANY_FRAMES = "TOO_MANY_FRAMES"
    FORBIDDEN_CONTENT = "FORBIDDEN_CONTENT"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"


class ClassificationStatus(StrEnum):
    """The state of a run, always derived from its counters."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


FINAL_STATUSES = frozenset(ClassificationStatus) - {
    ClassificationStatus.PENDING,
    ClassificationStatus.RUNNING,
}


class ItemStatus(StrEnum):
    """The state of one picture of a run."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class TimeBucket(StrEnum):
    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"


class Priority(StrEnum):
    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"


PRIORITY_RANK = {Priority.LOW: 0, Priority.NORMAL: 1, Priority.HIGH: 2}
"""How a priority is stored, so that an index can order by it."""


def uuid7() -> UUID:
    """A new time-ordered id, by RFC 9562, section 5.7 (Python before 3.14 has none)."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76
    value |= (random >> 68 & 0xFFF) << 64 | 0b10 << 62 | random & ((1 << 62) - 1)
    return UUID(int=value)
