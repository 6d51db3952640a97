"""What is stored: every table of the system, one module per subject."""

from piccolo.table import Table

from bioscope_gql.tables.classifications import (
    Classification,
    ClassificationItem,
    ClassificationResult,
    DeadLetter,
    IdempotencyKey,
)
from bioscope_gql.tables.datasets import Dataset, DatasetGrant
from bioscope_gql.tables.devices import Device
from bioscope_gql.tables.images import Image, ObjectDeletion
from bioscope_gql.tables.models import Model, Worker
from bioscope_gql.tables.serviceaccounts import ServiceSession
from bioscope_gql.tables.tokens import AuditEvent, LoginSession, PasswordLink, RateLimit, RefreshToken
from bioscope_gql.tables.users import ServiceAccount, User

ALL: tuple[type[Table], ...] = (
    User,
    ServiceAccount,
    ServiceSession,
    LoginSession,
    RefreshToken,
    PasswordLink,
    RateLimit,
    AuditEvent,
    Device,
    Dataset,
    DatasetGrant,
    Image,
    ObjectDeletion,
    Model,
    Worker,
    Classification,
    ClassificationItem,
    ClassificationResult,
    IdempotencyKey,
    DeadLetter,
)

__all__ = [
    "ALL",
    "AuditEvent",
    "Classification",
    "ClassificationItem",
    "ClassificationResult",
    "Dataset",
    "DatasetGrant",
    "DeadLetter",
    "Device",
    "IdempotencyKey",
    "Image",
    "LoginSession",
    "Model",
    "ObjectDeletion",
    "PasswordLink",
    "RateLimit",
    "RefreshToken",
    "ServiceAccount",
    "ServiceSession",
    "Table",
    "User",
    "Worker",
]
