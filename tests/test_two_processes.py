"""Two servers in processes of their own, on one database: a refresh token has at most one winner."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.clients import a_client
from tests.grounds import variables
from tests.lab import PASSWORD, Place, unwrapped
from tests.people import LOGIN, REFRESH
from tests.processes import serving

ROUNDS = 5


@asynccontextmanager
async def two_servers(place: Place, grace_seconds: int) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Somebody called clara has an account there."""
    settings = variables(place, BIOSCOPE_AUTH__REFRESH_GRACE_SECONDS=str(grace_seconds))
    async with (
        serving(place.folder, "serve", **settings) as one,
        serving(place.folder, "serve", **settings) as other,
        a_client(base_url=one.url, timeout=20) as first,
        a_client(base_url=other.url, timeout=20) as second,
    ):
        await one.register("clara")
        yield [first, second]


async def ask(http: httpx.AsyncClient, query: str, **variables: Any) -> Any:
    # Nobody's cookie comes along: what a browser would keep is not asked for here.
    http.cookies.clear()
    return unwrapped(await http.post("/graphql", json={"query": query, "variables": variables}))


async def signed_in(http: httpx.AsyncClient) -> str:
    told = await ask(http, LOGIN, input={"login": "clara", "password": PASSWORD})
    token: str = told["refreshToken"]
    return token


async def refreshed(servers: list[httpx.AsyncClient], token: str, times: int) -> list[Any]:
    """As many refreshes of one token at once, at the servers in turn."""
    return await asyncio.gather(*(ask(servers[n % 2], REFRESH, token=token) for n in range(times)))


@pytest.mark.timeout(90)
async def test_without_grace_ten_refreshes_at_two_processes_have_at_most_one_winner(place: Place) -> None:
    async with two_servers(place, 0) as servers:
        for _ in range(ROUNDS):
            token = await signed_in(servers[0])
            told = await refreshed(servers, token, 10)
            winners = [each["refreshToken"] for each in told if each["__typename"] == "AuthTokens"]
            assert len(winners) <= 1
            for winner in winners:
                later = await ask(servers[1], REFRESH, token=winner)
                assert (later["__typename"], later["code"]) == ("InvalidCredentials", "SESSION_ENDED")


@pytest.mark.timeout(90)
async def test_with_the_default_grace_two_tabs_at_two_processes_both_go_on(place: Place) -> None:
    async with two_servers(place, 10) as servers:
        token = await signed_in(servers[0])
        told = await refreshed(servers, token, 2)
        assert [each["__typename"] for each in told] == ["AuthTokens"] * 2
        later = [
            await ask(server, REFRESH, token=each["refreshToken"])
            for server, each in zip(servers, told, strict=True)
        ]
        assert [each["__typename"] for each in later] == ["AuthTokens"] * 2
