"""For the `piccolo` command line only; the application never imports this."""

import os

from piccolo.conf.apps import AppRegistry

from bioscope_gql.db import Engine

DB = Engine(config={"dsn": os.environ.get("BIOSCOPE_DATABASE__DSN", "postgresql://localhost/bioscope")})
APP_REGISTRY = AppRegistry(apps=["bioscope_gql.tables.piccolo_app"])
