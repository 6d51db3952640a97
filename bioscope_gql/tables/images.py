"""Pictures, and the bytes that nobody needs any more."""

from piccolo.columns import (
    JSONB,
    UUID,
    BigInt,
    DoublePrecision,
    ForeignKey,
    Integer,
    Text,
    Timestamptz,
    Varchar,
)
from piccolo.columns.base import OnDelete
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from bioscope_gql.tables.columns import identity, moment, now
from bioscope_gql.tables.datasets import Dataset
from bioscope_gql.tables.devices import Device
from bioscope_gql.tables.users import ServiceAccount, User


class Image(Table, tablename="images"):
    """One microscope picture. Its bytes lie in the blob store under `storage_path`.

    `latest_...` repeat its newest result, for lists; `resolvers/newest.py` keeps them true.
    """

    id = identity()
    filename = Varchar(length=255)
    content_type = Varchar(length=100)
    file_size = BigInt()
    sha256 = Varchar(length=64)
    storage_path = Varchar(length=300)
    width = Integer()
    height = Integer()
    bit_depth = Integer()
    channels = Integer()
    frames = Integer()
    pixel_size_x = DoublePrecision(null=True, default=None)
    pixel_size_y = DoublePrecision(null=True, default=None)
    captured_at = moment()
    metadata = JSONB(default="{}")
    file_metadata = JSONB(default="{}")
    search_text = Text(default="", secret=True)
    dataset = ForeignKey(Dataset, null=False, on_delete=OnDelete.cascade)
    device = ForeignKey(Device, null=True, default=None, on_delete=OnDelete.set_null)
    uploaded_by = ForeignKey(User, null=True, default=None, on_delete=OnDelete.set_null)
    uploaded_by_machine = ForeignKey(ServiceAccount, null=True, default=None, on_delete=OnDelete.set_null)
    created_at = now()
    latest_result = UUID(null=True, default=None)
    latest_label = Varchar(length=255, null=True, default=None)
    latest_confidence = DoublePrecision(null=True, default=None)
    latest_at = moment()

    images_once_per_dataset = Unique([dataset, sha256])
    images_not_empty = Check("file_size > 0")
    images_have_extent = Check("width > 0 and height > 0 and bit_depth > 0 and channels > 0 and frames > 0")
    images_latest_whole = Check(
        "num_nulls(latest_result, latest_label, latest_confidence, latest_at) in (0, 4)"
    )
    images_sha256_whole = Check("sha256 ~ '^[0-9a-f]{64}$'")


class ObjectDeletion(Table, tablename="object_deletions"):
    """Bytes that have no row, removed by the janitor from `due_at` on.

    Written with a picture's deletion, and before the first byte of an upload is stored; the upload takes it
    back with the same statement that makes its row.
    """

    id = identity()
    storage_path = Varchar(length=300)
    queued_at = now()
    tries = Integer(default=0)
    due_at = Timestamptz(default=TimestamptzNow(), index=True)
