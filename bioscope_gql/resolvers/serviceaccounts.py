"""Machines' accounts: made, revoked, and who is asking by one.

A secret is 256 bits from the system's random numbers, so its plain SHA-256 is as good a lock as a slow
hash would be, and costs microseconds.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from bioscope_gql.auth.tokens import Claims
from bioscope_gql.db import Row, certain
from bioscope_gql.errors import (
    Conflict,
    FieldProblem,
    InvalidCredentials,
    InvalidInput,
    NotFound,
    Unauthenticated,
)
from bioscope_gql.policy import Action, Viewer, Visit
from bioscope_gql.resolvers import audit, words
from bioscope_gql.resolvers.paging import Listing, table_columns
from bioscope_gql.services import Services
from bioscope_gql.tables import ServiceAccount
from bioscope_gql.vocabulary import ServiceScope, uuid7

COLUMNS = table_columns(ServiceAccount, "t")
LISTING = Listing(ServiceAccount)
NAME_LENGTH = 100

IN_FORCE = "t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp())"
"""What an account `t` must be for anybody to speak by it."""

AUTHENTICATE = f"""
select t.id, t.name, array(select unnest(s.scopes) intersect select unnest(t.scopes)) as scopes
from service_sessions s join service_accounts t on t.id = s.service_account
where s.id = $1 and t.id = $2 and s.expires_at > clock_timestamp() and {IN_FORCE}
"""
"""Whoever may still speak by this token, with the scopes that it was given."""

ISSUE = f"""
with account as (
  update service_accounts t set last_used_at = clock_timestamp() where t.id = $1 and {IN_FORCE}
  returning t.id, t.expires_at
), over as (
  delete from service_sessions where service_account = $1 and expires_at <= clock_timestamp()
)
insert into service_sessions (id, service_account, scopes, expires_at)
select $2, id, $3, least($4, expires_at) from account returning expires_at
"""

USE = f"""
update service_accounts t set last_used_at = clock_timestamp() where t.id = $1 and {IN_FORCE}
returning t.id, t.name, t.scopes
"""

WRONG = "No service account in force matches this client id and secret. Check both, or ask an admin."


@dataclass(frozen=True, slots=True)
class Created:
    """A new account. Its secret is known here and now, and never again."""

    account: Row
    secret: str


@dataclass(frozen=True, slots=True)
class Issued:
    """An access token of a machine, and what it is good for."""

    access_token: str
    seconds: int
    scopes: Sequence[ServiceScope]


async def create(
    services: Services,
    viewer: Viewer,
    *,
    name: str,
    scopes: Collection[ServiceScope],
    expires_at: datetime | None = None,
) -> Created:
    """An account for a machine that may do what `scopes` say, until `expires_at` or until it is revoked.

    Raises:
        Forbidden: the viewer is no admin.
        InvalidInput: the name can't be, there is no scope, or the end has passed already.
        Conflict: NAME_TAKEN.
    """
    viewer.must(Action.MANAGE_SERVICE_ACCOUNTS)
    _check(name, scopes, expires_at)
    secret = secrets.token_urlsafe(32)
    try:
        async with services.db.transaction() as tx:
            made = await tx.fetchrow(
                "insert into service_accounts as t (id, name, client_id, hashed_secret, scopes, created_by,"
                f" expires_at) values ($1, $2, $3, $4, $5, $6, $7) returning {COLUMNS}",
                uuid7(),
                name.strip(),
                secrets.token_hex(16),
                _digest(secret),
                sorted({scope.value for scope in scopes}),
                viewer.id,
                expires_at,
            )
            row = certain(made)
            told = {"scopes": row["scopes"], "expires_at": expires_at}
            await audit.record(tx, viewer, "machine.created", ("service_account", row["id"]), told)
    except asyncpg.UniqueViolationError:
        message = "There is a service account of this name, perhaps a revoked one. Choose another name."
        raise Conflict(message, "NAME_TAKEN") from None
    return Created(row, secret)


async def revoke(services: Services, viewer: Viewer, id: UUID | str | None) -> Row:
    """End an account for good, and every token of it. Once more changes nothing.

    Raises:
        Forbidden: the viewer is no admin.
        NotFound: there is no such account.
    """
    viewer.must(Action.MANAGE_SERVICE_ACCOUNTS)
    async with services.db.transaction() as tx:
        row = await tx.fetchrow(
            f"select {COLUMNS} from service_accounts t where t.id = $1 for no key update", words.read_id(id)
        )
        if row is None:
            raise NotFound("There is no service account of this id.", ids=[str(id)] if id else [])
        if row["revoked_at"] is not None:
            return certain(row)
        revoked = await tx.fetchrow(
            "update service_accounts t set revoked_at = clock_timestamp()"
            f" where t.id = $1 returning {COLUMNS}",
            row["id"],
        )
        await tx.execute("delete from service_sessions where service_account = $1", row["id"])
        await audit.record(tx, viewer, "machine.revoked", ("service_account", row["id"]))
    return certain(revoked)


async def issue(
    services: Services, client_id: str, secret: str, wanted: Collection[str] | None, visit: Visit
) -> Issued:
    """An access token by client credentials, for all scopes of the account or for those `wanted`.

    Raises:
        InvalidCredentials: no account in force matches.
        InvalidInput: the account has not all of the scopes wanted.
        RateLimited: too many attempts from this address, or at this account.
    """
    await services.rates.login(visit, words.comparable(client_id))
    try:
        row = await _matching(services, client_id, secret)
    except InvalidCredentials:
        async with services.db.transaction() as tx:
            await audit.record(tx, visit, "login.refused")
        raise
    scopes = set(row["scopes"]) if wanted is None else set(wanted)
    if not scopes or not scopes <= set(row["scopes"]):
        raise InvalidInput(f"This account has the scopes {' '.join(row['scopes'])}; ask for some of these.")
    session, asked = uuid7(), datetime.now(UTC)
    token, token_ends = services.tokens.issue(row["id"], session, "service")
    async with services.db.transaction() as tx:
        ends = await tx.fetchval(ISSUE, row["id"], session, sorted(scopes), token_ends)
        if ends is None:
            raise InvalidCredentials(WRONG)
        machine = Viewer(row["id"], None, visit=visit)
        await audit.record(tx, machine, "machine.signed_in", ("service_account", row["id"]))
    seconds = max(1, int((ends - asked).total_seconds()))
    return Issued(token, seconds, [ServiceScope(scope) for scope in sorted(scopes)])


async def by_secret(services: Services, client_id: str, secret: str) -> Viewer:
    """The machine that shows its secret itself, with all of its scopes.

    Raises:
        Unauthenticated: no account in force matches.
    """
    try:
        row = await services.db.row(USE, (await _matching(services, client_id, secret))["id"])
    except InvalidCredentials:
        row = None
    if row is None:
        raise Unauthenticated(WRONG, reason="INVALID")
    return _viewer(row)


async def authenticate(services: Services, claims: Claims) -> Viewer:
    """The machine that a token speaks for. Its rights are read anew each time.

    Raises:
        Unauthenticated: the account was revoked, or has expired.
    """
    row = await services.db.row(AUTHENTICATE, claims.session, claims.sub)
    if row is None:
        raise Unauthenticated(
            "This service account was revoked or has expired. Ask an admin for a new one.", reason="REVOKED"
        )
    return _viewer(row, claims)


async def still_valid(services: Services, viewer: Viewer) -> bool:
    """Whether account and token are still in force."""
    return await services.db.row(AUTHENTICATE, viewer.session, viewer.id) is not None


async def _matching(services: Services, client_id: str, secret: str) -> Row:
    row = await services.db.row(
        "select t.id, t.scopes, t.hashed_secret from service_accounts t"
        f" where t.client_id = $1 and {IN_FORCE}",
        words.comparable(client_id),
    )
    expected = row["hashed_secret"] if row else ""
    if not hmac.compare_digest(_digest(secret), expected) or row is None:
        raise InvalidCredentials(WRONG)
    return row


def _viewer(row: Row, claims: Claims | None = None) -> Viewer:
    return Viewer(
        id=row["id"],
        role=None,
        name=row["name"],
        session=claims.session if claims else None,
        expires_at=claims.expires_at if claims else None,
        scopes=frozenset(ServiceScope(scope) for scope in row["scopes"]),
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _check(name: str, scopes: Collection[ServiceScope], expires_at: datetime | None) -> None:
    problems = words.check_line(name, "name", most=NAME_LENGTH)
    if not scopes:
        problems.append(
            FieldProblem("TOO_FEW", ("scopes",), "An account needs a scope, or it can do nothing.")
        )
    if expires_at is not None and expires_at <= datetime.now(UTC):
        problems.append(
            FieldProblem(
                "OUT_OF_RANGE", ("expiresAt",), "`expiresAt` has passed already; choose a later time."
            )
        )
    if problems:
        raise InvalidInput("The service account can't be made like this.", fields=problems)
