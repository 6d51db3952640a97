"""Microscopes."""

from piccolo.columns import JSONB, Text, Varchar
from piccolo.constraints import Unique
from piccolo.table import Table

from bioscope_gql.tables.columns import identity, moment, now


class Device(Table, tablename="devices"):
    """A microscope. Its pictures stay when it retires."""

    id = identity()
    name = Varchar(length=200)
    name_key = Varchar(length=800, secret=True)
    device_type = Varchar(length=100)
    location = Varchar(length=200, null=True, default=None)
    metadata = JSONB(default="{}")
    search_text = Text(default="", secret=True)
    last_seen_at = moment()
    retired_at = moment()
    created_at = now()
    updated_at = now()

    devices_name_once = Unique([name_key])
