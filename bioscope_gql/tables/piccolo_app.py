"""Tells Piccolo which tables it migrates, and where their migrations lie."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from bioscope_gql import tables

APP_CONFIG = AppConfig(
    app_name="bioscope",
    migrations_folder_path=str(Path(__file__).parents[2] / "piccolo_migrations"),
    table_classes=list(tables.ALL),
)
