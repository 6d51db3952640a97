"""Accounts, sign-ins, and who is asking."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from bioscope_gql import policy
from bioscope_gql.db import Row, certain
from bioscope_gql.errors import (
    Conflict,
    FieldProblem,
    Forbidden,
    InvalidCredentials,
    InvalidInput,
    NotFound,
    Unauthenticated,
)
from bioscope_gql.policy import Action, Viewer
from bioscope_gql.resolvers import passwords, serviceaccounts, words
from bioscope_gql.resolvers.paging import table_columns
from bioscope_gql.services import AccountServices, Services
from bioscope_gql.tables import User
from bioscope_gql.vocabulary import Role, UserStatus, uuid7

EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)*\.?")
EMAIL_LENGTH, EMAIL_KEY_LENGTH = 320, 640
USERNAME_LENGTH, USERNAME_KEY_LENGTH = 64, 256
"""As the columns have it: the compatibility form of a character may be up to 18 characters long."""

COLUMNS = table_columns(User, "u")

AUTHENTICATE = """
select u.id, u.username, u.role
from login_sessions s join users u on u.id = s."user"
where s.id = $1 and u.id = $2 and s.ended_at is null and s.expires_at > clock_timestamp()
  and u.status = 'ACTIVE'
"""
"""Whoever may still speak by this session; no row once it has ended or the account is disabled."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """A token, and whose it is."""

    access_token: str
    expires_at: datetime
    user: Row

    @property
    def viewer(self) -> Viewer:
        """The person who is signed in from now on."""
        return Viewer(id=self.user["id"], role=Role(self.user["role"]), name=self.user["username"])


async def authenticate(
    services: Services, authorization: str | None, *, accept_expired: bool = False
) -> Viewer | None:
    """Whoever the header speaks for; nobody without one. Rights are read anew each time.

    `accept_expired` is for signing out, for which a token that is good but for its age will do.

    Raises:
        Unauthenticated: there is a header and it does not hold.
    """
    if authorization is None:
        return None
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Send `Authorization: Bearer <access token>`.", reason="INVALID")
    claims = services.tokens.read(token.strip(), accept_expired=accept_expired)
    if claims.kind == "service":
        return await serviceaccounts.authenticate(services, claims)
    row = await services.db.row(AUTHENTICATE, claims.session, claims.sub)
    if row is None:
        raise Unauthenticated("This session has ended. Sign in again.", reason="REVOKED")
    return Viewer(
        id=row["id"],
        role=Role(row["role"]),
        name=row["username"],
        session=claims.session,
        expires_at=claims.expires_at,
    )


async def still_valid(services: Services, viewer: Viewer) -> bool:
    """Whether the session behind a long-lived socket is still good."""
    if not viewer.is_person:
        return await serviceaccounts.still_valid(services, viewer)
    return await services.db.row(AUTHENTICATE, viewer.session, viewer.id) is not None


async def me(services: Services, viewer: Viewer) -> Row | None:
    return await services.db.row(f"select {COLUMNS} from users u where u.id = $1", viewer.id)


async def register(
    services: Services, *, email: str, username: str, password: str, user_agent: str | None = None
) -> SignIn:
    """A new account with the role USER, signed in.

    Raises:
        Forbidden: registration is closed here.
        InvalidInput: something is wrong with the e-mail, name or password.
        Conflict: EMAIL_TAKEN or USERNAME_TAKEN.
    """
    if services.settings.auth.registration != "open":
        raise Forbidden("Registration is closed here. Ask an admin for an account.", "REGISTRATION_CLOSED")
    user = await create(services, email=email, username=username, password=password, role=Role.USER)
    return await _sign_in(services, user, user_agent)


async def create(services: AccountServices, *, email: str, username: str, password: str, role: Role) -> Row:
    """An account, for `register` and the command line.

    Raises:
        InvalidInput, Conflict: as for `register`.
    """
    problems = [*_email_problems(email), *_username_problems(username)]
    problems += passwords.problems(password, services.settings.limits, (email, username))
    if problems:
        raise InvalidInput("The account can't be made like this.", fields=problems)
    hashed = await services.passwords.hash(password)
    try:
        row = await services.db.row(
            "insert into users as u (id, email, email_key, username, username_key, hashed_password, role)"
            f" values ($1, $2, $3, $4, $5, $6, $7) returning {COLUMNS}",
            uuid7(),
            email.strip(),
            words.key(email),
            username.strip(),
            words.key(username),
            hashed,
            role.value,
        )
    except asyncpg.UniqueViolationError as error:
        raise _taken(error) from None
    return certain(row)


async def login(services: Services, *, login: str, password: str, user_agent: str | None = None) -> SignIn:
    """Sign in by e-mail or username. Unknown accounts cost the same time as wrong passwords.

    Raises:
        InvalidCredentials: no active account matches.
    """
    row = await services.db.row(
        f"select {COLUMNS}, u.hashed_password from users u where u.email_key = $1 or u.username_key = $1"
        " order by (u.email_key = $1) desc limit 1",
        words.key(login[:1000]),
    )
    matches = await services.passwords.verify(row["hashed_password"] if row else None, password)
    if row is None or not matches or row["status"] != UserStatus.ACTIVE:
        raise InvalidCredentials
    return await _sign_in(services, row, user_agent)


async def update_user(
    services: Services, viewer: Viewer, id: UUID | str | None, *, changes: Mapping[str, str | None]
) -> Row:
    """Change the role or the status, or both; what `changes` leaves out stays.

    Raises:
        Forbidden: the viewer is no admin.
        NotFound: there is no such account.
        InvalidInput: a value is null.
        Conflict: LAST_ADMIN, when nobody would be left to administer.
    """
    viewer.must(Action.MANAGE_USERS)
    for name in ("role", "status"):
        if changes.get(name, "") is None:
            raise InvalidInput.at("NULL", (name,), f"An account needs a {name}. Leave it out to keep it.")
    async with services.db.transaction() as tx:
        # Locked in one order, so that two admins can't demote each other at once.
        admins = await tx.fetch(f"select id from users where {policy.ACTIVE_ADMINS} order by id for update")
        row = await tx.fetchrow(
            "update users u set role = coalesce($2, u.role), status = coalesce($3, u.status),"
            f" updated_at = clock_timestamp() where u.id = $1 returning {COLUMNS}",
            words.read_id(id),
            changes.get("role"),
            changes.get("status"),
        )
        if row is None:
            raise NotFound("There is no account of this id.", ids=[str(id)] if id else [])
        if not policy.is_active_admin(row) and [admin["id"] for admin in admins] == [row["id"]]:
            raise Conflict("This is the last active admin. Make somebody else admin first.", "LAST_ADMIN")
        if row["status"] == UserStatus.DISABLED:
            await tx.execute(
                "update login_sessions set ended_at = clock_timestamp(), end_reason = 'DISABLED'"
                ' where "user" = $1 and ended_at is null',
                row["id"],
            )
    return row


def _email_problems(email: str) -> list[FieldProblem]:
    fits = len(email) <= EMAIL_LENGTH and len(words.key(email)) <= EMAIL_KEY_LENGTH
    if fits and EMAIL.fullmatch(email.strip()) and not words.has_control(email):
        return []
    return [
        FieldProblem("INVALID_EMAIL", ("email",), "This is no e-mail address; write it as name@lab.example.")
    ]


def _username_problems(username: str) -> list[FieldProblem]:
    problems = words.check_line(username, "username", most=USERNAME_LENGTH)
    if not problems and words.has_control(username):
        message = "`username` has characters that nobody sees; remove them."
        problems = [FieldProblem("FORBIDDEN_CHARACTERS", ("username",), message)]
    if not problems and len(words.key(username)) > USERNAME_KEY_LENGTH:
        message = "`username` has too many characters that stand for several letters. Choose a shorter one."
        problems = [FieldProblem("TOO_LONG", ("username",), message)]
    return problems


def _taken(error: asyncpg.UniqueViolationError) -> Conflict:
    if error.constraint_name == "users_email_once":
        return Conflict("There is an account of this e-mail already. Sign in instead.", "EMAIL_TAKEN")
    return Conflict("Somebody has this username already. Choose another.", "USERNAME_TAKEN")


async def _sign_in(services: Services, user: Row, user_agent: str | None) -> SignIn:
    session = uuid7()
    await services.db.execute(
        'insert into login_sessions (id, "user", user_agent, expires_at)'
        " values ($1, $2, $3, clock_timestamp() + make_interval(days => $4))",
        session,
        user["id"],
        (user_agent or "")[:400] or None,
        services.settings.auth.refresh_days,
    )
    token, expires_at = services.tokens.issue(user["id"], session)
    return SignIn(token, expires_at, user)
