"""Accounts, sign-ins, and who is asking."""

import re

import asyncpg

from bioscope_gql.db import Connection, Row, certain
from bioscope_gql.errors import (
    Conflict,
    FieldProblem,
    Forbidden,
    InvalidCredentials,
    InvalidInput,
    Unauthenticated,
)
from bioscope_gql.policy import Viewer, Visit
from bioscope_gql.resolvers import audit, passwords, serviceaccounts, sessions, words
from bioscope_gql.resolvers.paging import table_columns
from bioscope_gql.resolvers.sessions import SignIn
from bioscope_gql.services import AccountServices, Services
from bioscope_gql.tables import User
from bioscope_gql.vocabulary import Role, UserStatus, uuid7

EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)*\.?")
EMAIL_LENGTH, EMAIL_KEY_LENGTH = 320, 640
USERNAME_LENGTH, USERNAME_KEY_LENGTH = 64, 256
"""As the columns have it: the compatibility form of a character may be up to 18 characters long."""

COLUMNS = table_columns(User, "u")
ANYWHERE = Visit()
LONGEST_LOGIN = 1000

AUTHENTICATE = f"""
select {COLUMNS}
from login_sessions s join users u on u.id = s."user"
where s.id = $1 and u.id = $2 and s.ended_at is null and s.expires_at > clock_timestamp()
  and u.status = 'ACTIVE'
"""
"""Whoever may still speak by this session; no row once it has ended or the account is disabled."""


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
        account=row,
    )


async def still_valid(services: Services, viewer: Viewer) -> bool:
    """Whether the session behind a long-lived socket is still good."""
    if not viewer.is_person:
        return await serviceaccounts.still_valid(services, viewer)
    return await services.db.row(AUTHENTICATE, viewer.session, viewer.id) is not None


async def register(
    services: Services, *, email: str, username: str, password: str, visit: Visit = ANYWHERE
) -> SignIn:
    """A new account with the role USER, signed in.

    Raises:
        Forbidden: registration is closed here.
        RateLimited: too many from this address.
        InvalidInput: something is wrong with the e-mail, name or password.
        Conflict: EMAIL_TAKEN or USERNAME_TAKEN.
    """
    if services.settings.auth.registration != "open":
        raise Forbidden("Registration is closed here. Ask an admin for an account.", "REGISTRATION_CLOSED")
    await services.rates.registration(visit)
    refuse_impossible(services, email=email, username=username, password=password)
    hashed = await services.passwords.hash(password)
    async with services.db.transaction() as tx:
        user = await insert(tx, email=email, username=username, hashed=hashed, role=Role.USER)
        return await sessions.begin(services, tx, user, visit, "account.registered")


async def create(
    services: AccountServices,
    *,
    email: str,
    username: str,
    password: str | None,
    role: Role,
    by: Viewer | Visit = ANYWHERE,
) -> Row:
    """An account, for admins and the command line; without a `password` nobody can sign in to it yet.

    Raises:
        InvalidInput, Conflict: as for `register`.
    """
    refuse_impossible(services, email=email, username=username, password=password)
    hashed = None if password is None else await services.passwords.hash(password)
    async with services.db.transaction() as tx:
        user = await insert(tx, email=email, username=username, hashed=hashed, role=role)
        await audit.record(tx, by, "account.created", ("user", user["id"]), {"role": role})
    return user


async def insert(tx: Connection, *, email: str, username: str, hashed: str | None, role: Role) -> Row:
    """The row of an account that `refuse_impossible` let pass.

    Raises:
        Conflict: EMAIL_TAKEN or USERNAME_TAKEN.
    """
    try:
        row = await tx.fetchrow(
            "insert into users as u (id, email, email_key, username, username_key,"
            " hashed_password, role, search_text, search_email)"
            f" values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning {COLUMNS}, u.hashed_password",
            uuid7(),
            email.strip(),
            words.key(email),
            username.strip(),
            words.key(username),
            hashed,
            role.value,
            words.searchable(username.strip()),
            words.searchable(email.strip()),
        )
    except asyncpg.UniqueViolationError as error:
        raise taken(error) from None
    return certain(row)


async def login(services: Services, *, login: str, password: str, visit: Visit = ANYWHERE) -> SignIn:
    """Sign in by e-mail or username. Unknown accounts cost the same time as wrong passwords.

    Raises:
        InvalidCredentials: no active account matches.
        RateLimited: too many attempts from this address, or at this account.
    """
    name = words.key(login[:LONGEST_LOGIN])
    await services.rates.login(visit, name)
    row = await services.db.row(
        f"select {COLUMNS}, u.hashed_password from users u where u.email_key = $1 or u.username_key = $1"
        " order by (u.email_key = $1) desc limit 1",
        name,
    )
    # What is too long can't be right; it costs what nobody's password costs.
    longest = services.settings.limits.password_max_length
    known = row["hashed_password"] if row and len(password) <= longest else None
    matches = await services.passwords.verify(known, password[:longest])
    if row is None or not matches or row["status"] != UserStatus.ACTIVE:
        await _note_refusal(services, row, visit)
        raise InvalidCredentials
    is_old = services.passwords.needs_rehash(known or "")
    again = await services.passwords.hash(password) if is_old else None
    async with services.db.transaction() as tx:
        if again is not None:
            renewed = await tx.fetchrow(
                "update users u set hashed_password = $3 where u.id = $1 and u.hashed_password = $2"
                f" returning {COLUMNS}, u.hashed_password",
                row["id"],
                known,
                again,
            )
            row = renewed or row
        return await sessions.begin(services, tx, row, visit, "session.started")


async def _note_refusal(services: Services, row: Row | None, visit: Visit) -> None:
    """For known and unknown accounts alike; what was typed as a login may have been a password."""
    async with services.db.transaction() as tx:
        await audit.record(tx, visit, "login.refused", ("user", row["id"]) if row else None)


def refuse_impossible(
    services: AccountServices, *, email: str | None, username: str | None, password: str | None
) -> None:
    """
    Raises:
        InvalidInput: what is wrong with those of them that are given.
    """
    problems = [] if email is None else _email_problems(email)
    problems += [] if username is None else _username_problems(username)
    if password is not None:
        names = [name for name in (email, username) if name]
        problems += passwords.problems(password, services.settings.limits, names)
    if problems:
        raise InvalidInput("The account can't be made like this.", fields=problems)


def _email_problems(email: str) -> list[FieldProblem]:
    fits = len(email) <= EMAIL_LENGTH and len(words.key(email)) <= EMAIL_KEY_LENGTH
    is_plain = not words.has_control(email) and not words.has_odd_blank(email.strip())
    if fits and is_plain and EMAIL.fullmatch(email.strip()):
        return []
    return [
        FieldProblem("INVALID_EMAIL", ("email",), "This is no e-mail address; write it as name@lab.example.")
    ]


def _username_problems(username: str) -> list[FieldProblem]:
    problems = words.check_line(username, "username", most=USERNAME_LENGTH)
    if not problems and (words.has_control(username) or words.has_odd_blank(username.strip())):
        message = "`username` has characters that nobody sees or blanks that look like others; remove them."
        problems = [FieldProblem("FORBIDDEN_CHARACTERS", ("username",), message)]
    if not problems and len(words.key(username)) > USERNAME_KEY_LENGTH:
        message = "`username` has too many characters that stand for several letters. Choose a shorter one."
        problems = [FieldProblem("TOO_LONG", ("username",), message)]
    return problems


def taken(error: asyncpg.UniqueViolationError) -> Conflict:
    """Which of the two names somebody has already."""
    if error.constraint_name == "users_email_once":
        return Conflict("There is an account of this e-mail already. Sign in instead.", "EMAIL_TAKEN")
    return Conflict("Somebody has this username already. Choose another.", "USERNAME_TAKEN")
