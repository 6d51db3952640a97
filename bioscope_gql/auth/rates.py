"""How often something may be tried. Counted in PostgreSQL, so that all replicas count together."""

import hashlib
import ipaddress
import math
import time

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from typing_extensions import override

from bioscope_gql.db import Database
from bioscope_gql.errors import RateLimited
from bioscope_gql.policy import Viewer, Visit
from bioscope_gql.settings import Limits

SIGN_IN_MINUTES = 5

INCREMENT = """
with forgotten as (
  delete from rate_limits where key in (
    select key from rate_limits where ends_at < clock_timestamp() - interval '1 hour' and key <> $1
    limit 10 for update skip locked)
)
insert into rate_limits (key, hits, ends_at)
values ($1, $3, clock_timestamp() + make_interval(secs => $2))
on conflict (key) do update set
  hits = case when rate_limits.ends_at <= clock_timestamp() then $3
              else least(rate_limits.hits::bigint + $3, 2147483647)::int end,
  ends_at = case when rate_limits.ends_at <= clock_timestamp()
                 then excluded.ends_at else rate_limits.ends_at end
returning hits
"""
"""A window begins with the first try after the one before; tries that are refused don't make it longer."""


class Rates:
    """The limits of the settings. Each method counts one try.

    Raises:
        RateLimited: there were too many; the message says when there will be room again.
    """

    def __init__(self, database: Database, limits: Limits) -> None:
        self._limiter = FixedWindowRateLimiter(PostgresStorage(database))
        self._account = RateLimitItemPerMinute(limits.logins_per_account, SIGN_IN_MINUTES)
        self._address = RateLimitItemPerMinute(limits.logins_per_address, SIGN_IN_MINUTES)
        self._registrations = RateLimitItemPerHour(limits.registrations_per_hour)
        self._uploads = RateLimitItemPerMinute(limits.uploads_per_minute)
        self._runs = RateLimitItemPerMinute(limits.runs_per_minute)

    async def login(self, visit: Visit, account: str) -> None:
        """An attempt to prove that one is `account`, however that is written there.

        The address comes first: who is stopped there takes nothing from the account's own attempts.
        """
        await self._spend(self._address, "attempts to sign in from your address", "login", _network(visit))
        await self._spend(self._account, "attempts to sign in to this account", "account", account)

    async def link(self, visit: Visit) -> None:
        """An attempt to use a password link."""
        await self._spend(
            self._address, "attempts to set a password from your address", "link", _network(visit)
        )

    async def registration(self, visit: Visit) -> None:
        await self._spend(self._registrations, "registrations from your address", "register", _network(visit))

    async def upload(self, viewer: Viewer) -> None:
        """A request that uploads, whatever the number of its files."""
        await self._spend(self._uploads, "uploads of yours", "upload", str(viewer.id))

    async def run(self, viewer: Viewer) -> None:
        await self._spend(self._runs, "runs of yours", "run", str(viewer.id))

    async def _spend(self, item: RateLimitItem, what: str, *key: str) -> None:
        if await self._limiter.hit(item, *key):
            return
        reset = (await self._limiter.get_window_stats(item, *key)).reset_time
        seconds = max(1, math.ceil(reset - time.time()))
        message = f"There were too many {what}. Try again in {seconds} seconds."
        raise RateLimited(message, retry_after_seconds=seconds)


class PostgresStorage(Storage):
    """What `limits` counts with, in the table `rate_limits`. Keys are hashed: they hold logins."""

    STORAGE_SCHEME = None

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._db = database

    @property
    @override
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """Errors of the database go through as they are."""
        return ()

    @override
    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        hits: int = await self._db.value(INCREMENT, _hashed(key), float(expiry), amount)
        return hits

    @override
    async def get(self, key: str) -> int:
        sql = "select hits from rate_limits where key = $1 and ends_at > clock_timestamp()"
        hits: int | None = await self._db.value(sql, _hashed(key))
        return hits or 0

    @override
    async def get_expiry(self, key: str) -> float:
        """By the clock of this process, which need not be that of the database."""
        sql = "select extract(epoch from ends_at - clock_timestamp())::float8 from rate_limits where key = $1"
        return time.time() + max(0.0, await self._db.value(sql, _hashed(key)) or 0.0)

    @override
    async def check(self) -> bool:
        return await self._db.value("select true") is True

    @override
    async def reset(self) -> int | None:
        return int((await self._db.execute("delete from rate_limits")).rpartition(" ")[2])

    @override
    async def clear(self, key: str) -> None:
        await self._db.execute("delete from rate_limits where key = $1", _hashed(key))


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _network(visit: Visit) -> str:
    """The address; of IPv6 the /64, which is what one customer gets."""
    if not visit.address:
        return "unknown"
    try:
        address = ipaddress.ip_address(visit.address)
    except ValueError:
        return visit.address
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))
