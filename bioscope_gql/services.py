"""What resolvers work with: everything long-lived, opened once and passed on."""

import asyncio
from dataclasses import dataclass, field

from bioscope_gql.auth.passwords import Passwords
from bioscope_gql.auth.tokens import Tokens
from bioscope_gql.db import Database
from bioscope_gql.live.hub import Hub
from bioscope_gql.settings import Settings
from bioscope_gql.storage.blobs import BlobStore
from bioscope_gql.storage.intake import Intake


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
    hub: Hub
    wake_dispatch: Wake = field(default_factory=Wake)
