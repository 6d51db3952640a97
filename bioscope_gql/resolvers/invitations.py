"""Links by which a person sets a password, once: for a new account, or one whose password is lost."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bioscope_gql.auth import opaque
from bioscope_gql.db import Connection, Row
from bioscope_gql.errors import InvalidCredentials, InvalidInput, NotFound
from bioscope_gql.policy import Action, Viewer, Visit
from bioscope_gql.resolvers import accounts, audit, passwords, sessions, words
from bioscope_gql.resolvers.accounts import ANYWHERE, COLUMNS
from bioscope_gql.resolvers.sessions import SignIn
from bioscope_gql.services import AccountServices, Services
from bioscope_gql.vocabulary import Role, uuid7

HOURS = 72


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link's token, which is shown once, and whose account it is for."""

    user: Row
    token: str
    expires_at: datetime


async def create_user(
    services: Services, viewer: Viewer, *, email: str, username: str, role: Role
) -> Invitation:
    """An account without a password yet, for an admin to hand over.

    Raises:
        Forbidden: the viewer is no admin.
        InvalidInput, Conflict: as for `accounts.register`.
    """
    viewer.must(Action.MANAGE_USERS)
    return await invite(services, email=email, username=username, role=role, by=viewer)


async def invite(
    services: AccountServices, *, email: str, username: str, role: Role, by: Viewer | Visit = ANYWHERE
) -> Invitation:
    """The same for the command line.

    Raises:
        InvalidInput, Conflict: as for `accounts.register`.
    """
    accounts.refuse_impossible(services, email=email, username=username, password=None)
    async with services.db.transaction() as tx:
        user = await accounts.insert(tx, email=email, username=username, hashed=None, role=role)
        await audit.record(tx, by, "account.created", ("user", user["id"]), {"role": role})
        return await _linked(tx, user)


async def reset_password(services: Services, viewer: Viewer, id: UUID | str | None) -> Invitation:
    """Take the password of an account away, end its sessions, and give a link to set another one.

    Raises:
        Forbidden: the viewer is no admin.
        NotFound: there is no such account.
    """
    viewer.must(Action.MANAGE_USERS)
    async with services.db.transaction() as tx:
        user = await tx.fetchrow(
            "update users u set hashed_password = null, updated_at = clock_timestamp()"
            f" where u.id = $1 returning {COLUMNS}",
            words.read_id(id),
        )
        if user is None:
            raise NotFound("There is no account of this id.", ids=[str(id)] if id else [])
        await sessions.end_all(tx, user["id"], "RESET")
        await audit.record(tx, viewer, "password.reset", ("user", user["id"]))
        return await _linked(tx, user)


async def set_password(services: Services, *, token: str, new: str, visit: Visit = ANYWHERE) -> SignIn:
    """Set the password that a link is for, and sign in. The link is used up only if that succeeds.

    Raises:
        InvalidCredentials: the link is unknown, used, expired, or its account disabled.
        InvalidInput: `new` can't be a password.
        RateLimited: too many attempts from this address.
    """
    await services.rates.link(visit)
    hashed_token = opaque.digest(token)
    user = await services.db.row(
        f'select {COLUMNS} from users u join password_links l on l."user" = u.id'
        " where l.token_hash = $1 and l.used_at is null and l.expires_at > clock_timestamp()"
        " and u.status = 'ACTIVE'",
        hashed_token,
    )
    if user is None:
        raise _useless()
    names = (user["email"], user["username"])
    problems = passwords.problems(new, services.settings.limits, names, path="newPassword")
    if problems:
        raise InvalidInput("This can't be the new password.", fields=problems)
    hashed = await services.passwords.hash(new)
    async with services.db.transaction() as tx:
        used = await tx.fetchval(
            "update password_links set used_at = clock_timestamp()"
            ' where token_hash = $1 and used_at is null and expires_at > clock_timestamp() returning "user"',
            hashed_token,
        )
        if used is None:
            raise _useless()
        row = await tx.fetchrow(
            "update users u set hashed_password = $2, updated_at = clock_timestamp()"
            f" where u.id = $1 and u.status = 'ACTIVE' returning {COLUMNS}, u.hashed_password",
            used,
            hashed,
        )
        if row is None:
            raise _useless()
        await sessions.end_all(tx, used, "PASSWORD")
        return await sessions.begin(services, tx, row, visit, "password.set")


async def _linked(tx: Connection, user: Row) -> Invitation:
    """A new link; those that were given before and not used are void."""
    token = opaque.mint()
    await tx.execute('delete from password_links where "user" = $1', user["id"])
    expires_at: datetime = await tx.fetchval(
        'insert into password_links (id, "user", token_hash, expires_at)'
        f" values ($1, $2, $3, clock_timestamp() + interval '{HOURS} hours') returning expires_at",
        uuid7(),
        user["id"],
        opaque.digest(token),
    )
    return Invitation(user, token, expires_at)


def _useless() -> InvalidCredentials:
    return InvalidCredentials("This link does not work (any more). Ask an admin for a new one.")
