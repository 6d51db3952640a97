"""The worker's own account at the API, for jobs that carry no link."""

import asyncio
import base64
import time
from dataclasses import dataclass

import aiohttp

from bioscope_gql.worker.options import Options

_EARLY_SECONDS = 30


class NoAccount(Exception):
    """The worker can't ask the API; the message says why."""


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    good_until: float


class Account:
    """Gets access tokens by client credentials (RFC 6749, 4.4); keeps each until shortly before its end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._token: _Token | None = None
        self._asking = asyncio.Lock()

    def address(self, path: str) -> str:
        """Where the API has `path`. Raises `NoAccount`."""
        if not (self._options.api_url and self._options.client_id and self._options.client_secret):
            raise NoAccount(
                "The job carries no link to its picture, and this worker has no account to ask the API with: "
                "set BIOSCOPE_WORKER__API_URL, BIOSCOPE_WORKER__CLIENT_ID and BIOSCOPE_WORKER__CLIENT_SECRET."
            )
        return self._options.api_url.rstrip("/") + path

    async def token(self, session: aiohttp.ClientSession) -> str:
        """A token that is good for a while.

        Raises:
            NoAccount: there is none to be had.
            aiohttp.ClientError: the API can't be reached, or has trouble of its own.
        """
        async with self._asking:
            if self._token is None or time.monotonic() > self._token.good_until:
                self._token = await self._ask(session)
            return self._token.value

    def forget(self, token: str) -> None:
        """The API did not accept it."""
        if self._token is not None and self._token.value == token:
            self._token = None

    async def _ask(self, session: aiohttp.ClientSession) -> _Token:
        asked = time.monotonic()
        form = {"grant_type": "client_credentials"}
        account = f"{self._options.client_id}:{self._options.client_secret}".encode()
        headers = {"authorization": f"Basic {base64.b64encode(account).decode()}"}
        async with session.post(self.address("/oauth/token"), data=form, headers=headers) as answer:
            if answer.status >= 500 or answer.status in (408, 429):
                answer.raise_for_status()
            try:
                told = await answer.json(content_type=None) if answer.ok else {}
                lives = float(told.get("expires_in", 60))
                return _Token(str(told["access_token"]), asked + max(lives - _EARLY_SECONDS, lives / 2))
            except (ValueError, KeyError, AttributeError) as error:
                raise NoAccount(
                    f"The API gave this worker's account no token (HTTP {answer.status}): "
                    "check BIOSCOPE_WORKER__CLIENT_ID and BIOSCOPE_WORKER__CLIENT_SECRET."
                ) from error
