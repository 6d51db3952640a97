"""Sign-ins: how one begins, goes on by its refresh tokens, and ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from bioscope_gql.auth import opaque
from bioscope_gql.db import Connection, Row
from bioscope_gql.errors import InvalidCredentials, NotFound
from bioscope_gql.policy import Viewer, Visit
from bioscope_gql.resolvers import audit, words
from bioscope_gql.resolvers.paging import table_columns
from bioscope_gql.services import Services
from bioscope_gql.tables import LoginSession, User
from bioscope_gql.vocabulary import Role, uuid7

logger = structlog.get_logger("bioscope.security")

COLUMNS = table_columns(LoginSession, "s")
USER_COLUMNS = table_columns(User, "u")
KEPT_DAYS = 30
"""How long a session that has ended stays, with its tokens, so that a late reuse is still known as one."""

ALIVE = "s.ended_at is null and s.expires_at > clock_timestamp()"
ENDS = "least(clock_timestamp() + make_interval(days => {}), {} + make_interval(days => {}))"
"""When a session ends unless it is refreshed: after so many days, but never later than its last day."""

BEGIN = f"""
with account as (
  select id from users where id = $2 and status = 'ACTIVE' and hashed_password = $3 for share
), begun as (
  insert into login_sessions (id, "user", user_agent, expires_at)
  select $1, id, $4, {ENDS.format("$5", "clock_timestamp()", "$6")} from account returning id, expires_at
)
insert into refresh_tokens (id, session, token_hash, expires_at) select $7, id, $8, expires_at from begun
returning session
"""
"""Only if the password is still the one that was checked: a change of it meanwhile leaves no one behind."""

KEEP = f"""
update login_sessions s set last_used_at = clock_timestamp(),
  expires_at = {ENDS.format("$4", "s.created_at", "$5")}
"""

ROTATE = f"""
with spent as (
  update refresh_tokens t set used_at = clock_timestamp()
  from login_sessions s join users u on u.id = s."user"
  where t.token_hash = $1 and t.used_at is null and t.expires_at > clock_timestamp()
    and s.id = t.session and {ALIVE} and u.status = 'ACTIVE'
  returning t.id, t.session
), kept as (
  {KEEP} from spent where s.id = spent.session and s.ended_at is null
  returning s.id, s."user", s.expires_at, spent.id as spent
), made as (
  insert into refresh_tokens (id, session, token_hash, replaces, expires_at)
  select $2, id, $3, spent, expires_at from kept returning session
)
select {USER_COLUMNS}, made.session as session_id
from made join kept on kept.id = made.session join users u on u.id = kept."user"
"""
"""One statement, so that of several who bring the same token one spends it and the others find it spent."""

LOCK = """
select s.id from login_sessions s
where s.id = (select t.session from refresh_tokens t where t.token_hash = $1) for update
"""
SPENT = f"""
select t.id, t.session, u.id as "user", {ALIVE} and u.status = 'ACTIVE' as alive,
  t.used_at is not null as used,
  coalesce(t.used_at > clock_timestamp() - make_interval(secs => $2), false)
    and not exists (select from refresh_tokens n where n.replaces = t.id and n.used_at is not null) as excused
from refresh_tokens t join login_sessions s on s.id = t.session join users u on u.id = s."user"
where t.token_hash = $1
"""
AGAIN = f"""
with kept as (
  {KEEP} where s.id = $1 returning s.id, s."user", s.expires_at
), made as (
  insert into refresh_tokens (id, session, token_hash, replaces, expires_at)
  select $2, id, $3, $6, expires_at from kept returning session
)
select {USER_COLUMNS}, made.session as session_id
from made join kept on kept.id = made.session join users u on u.id = kept."user"
"""

END = """
update login_sessions set ended_at = clock_timestamp(), end_reason = $2
where {} and ended_at is null returning id, "user"
"""
FORGET = f"""
delete from login_sessions where "user" = $1
and least(coalesce(ended_at, expires_at), expires_at) < clock_timestamp() - make_interval(days => {KEPT_DAYS})
"""


@dataclass(frozen=True, slots=True)
class SignIn:
    """The tokens of a session, and whose it is."""

    access_token: str
    refresh_token: str
    expires_at: datetime
    user: Row
    session: UUID
    visit: Visit

    @property
    def viewer(self) -> Viewer:
        """The person who is signed in from now on."""
        return _person(self.user, self.session, self.visit)


async def begin(services: Services, tx: Connection, user: Row, visit: Visit, action: str) -> SignIn:
    """A new session of somebody whose password, `user["hashed_password"]`, was checked or set just now.

    Raises:
        InvalidCredentials: the account was disabled or got another password meanwhile.
    """
    session, token, auth = uuid7(), opaque.mint(), services.settings.auth
    begun = await tx.fetchval(
        BEGIN,
        session,
        user["id"],
        user["hashed_password"],
        (visit.user_agent or "")[:400] or None,
        auth.refresh_days,
        auth.session_days,
        uuid7(),
        opaque.digest(token),
    )
    if begun is None:
        raise InvalidCredentials
    await tx.execute(FORGET, user["id"])
    await audit.record(tx, _person(user, session, visit), action, ("session", session))
    return _signed_in(services, user, session, token, visit)


async def refresh(services: Services, token: str | None, visit: Visit) -> SignIn:
    """The next tokens of a session, for its refresh token, which is good for one use.

    Raises:
        InvalidCredentials: SESSION_ENDED, the token is unknown, expired or used; used, it ends the session.
    """
    if not token or len(token) > opaque.LONGEST:
        raise _ended()
    following, auth = opaque.mint(), services.settings.auth
    row = await services.db.row(
        ROTATE,
        opaque.digest(token),
        uuid7(),
        opaque.digest(following),
        auth.refresh_days,
        auth.session_days,
    )
    if row is None:
        row = await _spent(services, token, following, visit)
    if row is None:
        raise _ended()
    return _signed_in(services, row, row["session_id"], following, visit)


async def _spent(services: Services, token: str, following: str, visit: Visit) -> Row | None:
    """What comes of a token that can't be spent (any more): another successor where that is excused."""
    hashed, auth = opaque.digest(token), services.settings.auth
    async with services.db.transaction() as tx:
        # Locked first and read by a statement of its own, which sees what the lock was waited for.
        if await tx.fetchval(LOCK, hashed) is None:
            return None
        found = await tx.fetchrow(SPENT, hashed, float(auth.refresh_grace_seconds))
        if found is None or not found["alive"] or not found["used"]:
            return None
        if found["excused"]:
            again: Row | None = await tx.fetchrow(
                AGAIN,
                found["session"],
                uuid7(),
                opaque.digest(following),
                auth.refresh_days,
                auth.session_days,
                found["id"],
            )
            return again
        await tx.execute(END.format("id = $1"), found["session"], "REUSED")
        told = {"session": found["session"]}
        await audit.record(tx, visit, "session.reused", ("user", found["user"]), told)
    logger.warning(
        "A refresh token was used a second time; its session has ended.",
        session=str(found["session"]),
        user=str(found["user"]),
        address=visit.address,
    )
    return None


async def logout(services: Services, viewer: Viewer | None, cookie: str | None, visit: Visit) -> None:
    """End the session of the caller's access token, and that of the refresh cookie.

    Raises:
        NotFound: there is neither, or they have ended.
    """
    session = viewer.session if viewer else None
    hashed = opaque.digest(cookie) if cookie else None
    which = "(id = $1 or id = (select session from refresh_tokens where token_hash = $3))"
    async with services.db.transaction() as tx:
        ended = await tx.fetch(END.format(which), session, "LOGOUT", hashed)
        for row in ended:
            told = {"session": row["id"]}
            await audit.record(tx, viewer or visit, "session.ended", ("user", row["user"]), told)
    if not ended:
        raise NotFound("There is no session to end: you are signed out.")


async def revoke(services: Services, viewer: Viewer, id: UUID | str | None) -> None:
    """End one of the viewer's own sessions.

    Raises:
        NotFound: the viewer has no open session of this id.
    """
    which = '(id = $1 and "user" = $3 and expires_at > clock_timestamp())'
    async with services.db.transaction() as tx:
        ended = await tx.fetchrow(END.format(which), words.read_id(id), "REVOKED", viewer.id)
        if ended is None:
            raise NotFound("You have no open session of this id.", ids=[str(id)] if id else [])
        await audit.record(tx, viewer, "session.revoked", ("session", ended["id"]))


async def end_all(tx: Connection, user: UUID, reason: str, *, but: UUID | None = None) -> None:
    """End all sessions of an account, or all `but` one."""
    await tx.execute(END.format('"user" = $1 and id is distinct from $3'), user, reason, but)


async def of_users(services: Services, viewer: Viewer, users: Sequence[UUID]) -> list[list[Row] | None]:
    """The open sessions of each, newest first: the viewer's own, and None for anybody else's."""
    own: list[Row] = []
    if viewer.id in users:
        own = await services.db.rows(
            f'select {COLUMNS} from login_sessions s where s."user" = $1 and {ALIVE} order by s.id desc',
            viewer.id,
        )
    return [own if user == viewer.id else None for user in users]


def _signed_in(services: Services, user: Row, session: UUID, token: str, visit: Visit) -> SignIn:
    access, expires_at = services.tokens.issue(user["id"], session)
    return SignIn(access, token, expires_at, user, session, visit)


def _person(user: Row, session: UUID, visit: Visit) -> Viewer:
    return Viewer(user["id"], Role(user["role"]), user["username"], session=session, visit=visit)


def _ended() -> InvalidCredentials:
    return InvalidCredentials("This session has ended. Sign in again.", "SESSION_ENDED")
