from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Varchar
from piccolo.columns.indexes import IndexMethod

ID = "2026-11-25T16:10:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "where runs stand in a trace"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="bioscope", description=DESCRIPTION
    )

    manager.add_column(
        table_class_name="Classification",
        tablename="classifications",
        column_name="trace",
        db_column_name="trace",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 55,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": True,
        },
        schema=None,
    )

    return manager
