"""What resolvers work with: everything long-lived, opened once and passed on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from bioscope_gql import db, tracing
from bioscope_gql.auth.keyfiles import KeyFiles
from bioscope_gql.auth.passwords import Passwords
from bioscope_gql.auth.rates import Rates
from bioscope_gql.auth.tokens import Tokens
from bioscope_gql.db import Database
from bioscope_gql.errors import ConfigurationError
from bioscope_gql.live.hub import Hub
from bioscope_gql.metrics import Metrics
from bioscope_gql.settings import Settings
from bioscope_gql.storage.blobs import BlobStore
from bioscope_gql.storage.intake import Intake
from bioscope_gql.storage.opening import store_of
from bioscope_gql.tracing import Tracing, Untraced


class Wake:
    """A flag that one duty waits for and anybody may set; setting it twice is setting it once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Return when it was set, or after so many seconds; the flag is down again then."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


@dataclass(frozen=True, slots=True)
class Services:
    """Settings, and what was opened by them. No resolver opens anything itself."""

    settings: Settings
    db: Database
    store: BlobStore
    intake: Intake
    passwords: Passwords
    tokens: Tokens
    rates: Rates
    hub: Hub = field(default_factory=Hub)
    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing = field(default_factory=Untraced)
    wake_dispatch: Wake = field(default_factory=Wake)
    wake_janitor: Wake = field(default_factory=Wake)


class AccountServices(Protocol):
    """As much as it takes to make accounts: the command line opens no more."""

    @property
    def settings(self) -> Settings: ...
    @property
    def db(self) -> Database: ...
    @property
    def passwords(self) -> Passwords: ...


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    """Everything that the settings name, for as long as the block lasts. Kafka and the store may be away.

    Raises:
        ConfigurationError: a setting is missing, a file can't be used, or the database does not let us in.
    """
    settings.require("database", "store", "keys")
    keys = KeyFiles(settings.auth.keys)
    async with (
        database_of(settings) as database,
        store_of(settings.s3) as store,
        Intake(settings.limits) as intake,
        tracing.opened(settings.app.traces_endpoint) as traces,
    ):
        yield Services(
            settings=settings,
            db=database,
            store=store,
            intake=intake,
            passwords=Passwords(at_once=settings.limits.password_hashes),
            tokens=Tokens(
                keys, settings.auth.issuer, settings.auth.audience, 60 * settings.auth.access_minutes
            ),
            rates=Rates(database, settings.limits),
            tracing=traces,
        )


@asynccontextmanager
async def database_of(settings: Settings) -> AsyncIterator[Database]:
    """The pool that the settings describe; what keeps it from being made is told in a sentence."""
    wanted = settings.database
    if wanted.dsn is None:
        raise ConfigurationError(["database.dsn is missing."])
    pool = db.connected(
        wanted.dsn.get_secret_value(),
        pool_min=wanted.pool_min,
        pool_max=wanted.pool_max,
        statement_timeout_ms=wanted.statement_timeout_ms,
    )
    async with AsyncExitStack() as stack:
        with db.reaching():
            database = await stack.enter_async_context(pool)
        yield database
