"""Classifiers, and who runs them."""

from piccolo.columns import Array, Boolean, ForeignKey, Integer, Text, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Unique
from piccolo.table import Table

from bioscope_gql.tables.columns import identity, moment, now


class Model(Table, tablename="models"):
    """A name and a version, which mean one digest. `is_static`: declared in the settings, never announced."""

    id = identity()
    name = Varchar(length=100)
    version = Varchar(length=100)
    description = Text(null=True, default=None)
    labels: Array = Array(base_column=Varchar(length=255))
    content_types: Array = Array(base_column=Varchar(length=100))
    digest = Varchar(length=100, null=True, default=None)
    is_static = Boolean(default=False)
    created_at = now()
    updated_at = now()

    models_once = Unique([name, version])


class Worker(Table, tablename="workers"):
    """One process that said it serves one model; live while heard of within the last minute."""

    id = identity()
    name = Varchar(length=200)
    version = Varchar(length=100, null=True, default=None)
    model = ForeignKey(Model, null=False, on_delete=OnDelete.cascade)
    digest_matches = Boolean(default=True)
    concurrency = Integer(default=1)
    last_seen_at = now()
    stopped_at = moment()

    workers_once_per_model = Unique([name, model])
