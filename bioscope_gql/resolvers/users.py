"""People: found, listed, and changed by themselves or by an admin."""

from collections.abc import Mapping
from uuid import UUID

import asyncpg

from bioscope_gql import policy
from bioscope_gql.db import Args, Row, certain
from bioscope_gql.errors import Conflict, Forbidden, InvalidCredentials, InvalidInput, NotFound
from bioscope_gql.policy import Action, Viewer
from bioscope_gql.resolvers import accounts, audit, passwords, sessions, words
from bioscope_gql.resolvers.accounts import COLUMNS
from bioscope_gql.resolvers.paging import CREATED_AT, Listing, Order, Wanted, compare
from bioscope_gql.services import Services
from bioscope_gql.tables import User
from bioscope_gql.vocabulary import UserStatus


def _narrowed(viewer: Viewer, wanted: Wanted, args: Args, alias: str) -> list[str]:
    """Only admins find people by their e-mail address."""
    if not wanted.get("search"):
        return []
    return [f"{policy.user_search(viewer, alias)} like {args(words.search_pattern(wanted['search']))}"]


LISTING = Listing(
    User,
    {"CREATED_AT": CREATED_AT, "USERNAME": Order("username")},
    compare({"role": "role =", "status": "status ="}),
    narrowed=_narrowed,
)


async def update(
    services: Services, viewer: Viewer, id: UUID | str | None, *, changes: Mapping[str, str | None]
) -> Row:
    """Change the role or the status, or both; what `changes` leaves out stays. Disabled, all sessions end.

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
            f" updated_at = clock_timestamp() where u.id = $1 returning {COLUMNS},"
            " old.role as former_role, old.status as former_status",
            words.read_id(id),
            changes.get("role"),
            changes.get("status"),
        )
        if row is None:
            raise NotFound("There is no account of this id.", ids=[str(id)] if id else [])
        if not policy.is_active_admin(row) and [admin["id"] for admin in admins] == [row["id"]]:
            raise Conflict("This is the last active admin. Make somebody else admin first.", "LAST_ADMIN")
        if row["status"] == UserStatus.DISABLED:
            await sessions.end_all(tx, row["id"], "DISABLED")
        for name in ("role", "status"):
            if row[name] != row[f"former_{name}"]:
                told = {"from": row[f"former_{name}"], "to": row[name]}
                await audit.record(tx, viewer, f"account.{name}_changed", ("user", row["id"]), told)
    return row


async def update_profile(services: Services, viewer: Viewer, *, changes: Mapping[str, str | None]) -> Row:
    """Change the viewer's own e-mail address, username, or both.

    Raises:
        InvalidInput: one is null, or can't be.
        Conflict: EMAIL_TAKEN or USERNAME_TAKEN.
    """
    _must_be_person(viewer)
    for name, value in changes.items():
        if value is None:
            raise InvalidInput.at("NULL", (name,), f"An account needs a value of `{name}`.")
    email, username = changes.get("email"), changes.get("username")
    accounts.refuse_impossible(services, email=email, username=username, password=None)
    async with services.db.transaction() as tx:
        try:
            row = await tx.fetchrow(
                "update users u set email = coalesce($2, email), email_key = coalesce($3, email_key),"
                " search_email = coalesce($4, search_email), username = coalesce($5, username),"
                " username_key = coalesce($6, username_key), search_text = coalesce($7, search_text),"
                f" updated_at = clock_timestamp() where u.id = $1 returning {COLUMNS}",
                viewer.id,
                *_written(email),
                *_written(username),
            )
        except asyncpg.UniqueViolationError as error:
            raise accounts.taken(error) from None
        if changes:
            told = {"changed": sorted(changes)}
            await audit.record(tx, viewer, "account.profile_changed", ("user", viewer.id), told)
    return certain(row)


def _written(name: str | None) -> tuple[str | None, ...]:
    """A name as it is shown, compared and searched."""
    if name is None:
        return None, None, None
    return name.strip(), words.key(name), words.searchable(name.strip())


async def change_password(services: Services, viewer: Viewer, *, current: str, new: str) -> Row:
    """Give the viewer's account another password, and end every other session of it.

    Raises:
        InvalidCredentials: `current` is not the password.
        InvalidInput: `new` can't be one.
        RateLimited: too many attempts.
    """
    _must_be_person(viewer)
    limits = services.settings.limits
    row = certain(
        await services.db.row(f"select {COLUMNS}, u.hashed_password from users u where u.id = $1", viewer.id)
    )
    await services.rates.login(viewer.visit, str(viewer.id))
    known = row["hashed_password"] if len(current) <= limits.password_max_length else None
    if not await services.passwords.verify(known, current[: limits.password_max_length]):
        raise _wrong()
    problems = passwords.problems(new, limits, (row["email"], row["username"]), path="newPassword")
    if problems:
        raise InvalidInput("This can't be the new password.", fields=problems)
    hashed = await services.passwords.hash(new)
    async with services.db.transaction() as tx:
        changed = await tx.fetchrow(
            "update users u set hashed_password = $3, updated_at = clock_timestamp()"
            f" where u.id = $1 and u.hashed_password = $2 returning {COLUMNS}",
            viewer.id,
            row["hashed_password"],
            hashed,
        )
        if changed is None:
            raise _wrong()
        await tx.execute('delete from password_links where "user" = $1 and used_at is null', viewer.id)
        await sessions.end_all(tx, viewer.id, "PASSWORD", but=viewer.session)
        await audit.record(tx, viewer, "password.changed", ("user", viewer.id))
    return changed


def _wrong() -> InvalidCredentials:
    return InvalidCredentials("The current password is not right. Check it and try again.")


def _must_be_person(viewer: Viewer) -> None:
    if not viewer.is_person:
        raise Forbidden("A service account has no profile or password; sign in as a person.", "SCOPE")
