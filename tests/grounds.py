"""What `bioscope serve` stands on, as variables of its environment; and servers of its own that can fail."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bioscope_gql import migrations
from bioscope_gql.auth import keys
from bioscope_gql.embedded.cluster import STATE_DIR
from bioscope_gql.embedded.kafka import Broker
from bioscope_gql.embedded.postgres import Postgres
from bioscope_gql.settings import KafkaTopics
from tests import load
from tests.lab import Place


def variables(place: Place, **more: str) -> dict[str, str]:
    """For `serve`: the place's database, Kafka and store, a new key, and doors that are open."""
    settings = place.settings()
    keyed = settings.model_copy(
        update={"auth": settings.auth.model_copy(update={"keys": (keys.generate(place.folder / "keys"),)})}
    )
    return {**load.variables(keyed, place), "BIOSCOPE_AUTH__REGISTRATION": "open", **more}


@dataclass
class Ground:
    """A PostgreSQL and a broker of one test, which it may stop, start and pause."""

    postgres: Postgres
    broker: Broker
    place: Place
    make_postgres: Callable[[], Postgres]

    async def restart_postgres(self) -> None:
        """After `postgres.stop()`: the same data at the same address."""
        self.postgres = self.make_postgres()
        await self.postgres.start()
        assert self.postgres.dsn == self.place.dsn


@asynccontextmanager
async def a_ground(folder: Path) -> AsyncIterator[Ground]:
    """With a migrated database."""
    data_dir = folder / "ground"
    data_dir.mkdir(mode=0o711)
    logs = data_dir / "logs"

    def postgres() -> Postgres:
        return Postgres(data_dir, log_dir=logs, durable=False, state_dir=STATE_DIR)

    broker = Broker({getattr(KafkaTopics(), name): 2 for name in KafkaTopics.model_fields}, logs)
    first = postgres()
    ground = Ground(first, broker, Place("", "", folder, "bioscope"), postgres)
    try:
        await first.start()
        await broker.start()
        await migrations.forwards(first.dsn)
        ground.place = Place(first.dsn, broker.bootstrap_servers, folder, "bioscope")
        yield ground
    finally:
        await broker.stop()
        await ground.postgres.stop()
