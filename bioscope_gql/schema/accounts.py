"""Accounts, signing in and out, and passwords."""

from datetime import datetime
from typing import Annotated, Self

import strawberry
from strawberry import UNSET

from bioscope_gql import tables
from bioscope_gql.policy import named_on_visible_rows
from bioscope_gql.resolvers import accounts, invitations, sessions, users
from bioscope_gql.resolvers.invitations import Invitation
from bioscope_gql.resolvers.sessions import SignIn
from bioscope_gql.schema import define
from bioscope_gql.schema.actors import User
from bioscope_gql.schema.context import Context, Info
from bioscope_gql.schema.edges import by_id, root_one
from bioscope_gql.schema.inputs import (
    ChangePasswordInput,
    CreateUserInput,
    LoginInput,
    RefreshInput,
    RegisterInput,
    SetPasswordInput,
    UpdateProfileInput,
    UpdateUserInput,
    UserFilter,
    UserOrder,
)
from bioscope_gql.schema.lookups import Find, looked_up
from bioscope_gql.schema.paging import Connection, root_list
from bioscope_gql.schema.problems import (
    Conflict,
    Forbidden,
    InvalidCredentials,
    InvalidInput,
    NotFound,
    RateLimited,
)


@define.type
class AuthTokens:
    """What a client needs to go on as somebody."""

    access_token: str
    refresh_token: str | None = strawberry.field(
        description="Rotates at every use; also set as an HttpOnly cookie. Null when the cookie was used:"
        " then only the cookie carries it."
    )
    token_type: str
    expires_at: datetime
    user: User

    @classmethod
    def of(cls, signed_in: SignIn, context: Context, *, by_cookie: bool = False) -> Self:
        """What lies below is answered to the person who has just signed in."""
        context.caller = signed_in.viewer
        context.write_cookie(signed_in.refresh_token, 86_400 * context.services.settings.auth.refresh_days)
        return cls(
            access_token=signed_in.access_token,
            refresh_token=None if by_cookie else signed_in.refresh_token,
            token_type="Bearer",  # noqa: S106 - a kind, no secret
            expires_at=signed_in.expires_at,
            user=User.of(signed_in.user),
        )


@define.type
class PasswordLink:
    """With which a person sets a password, once."""

    user: User
    token: str = strawberry.field(description="Shown once.")
    expires_at: datetime

    @classmethod
    def of(cls, made: Invitation) -> Self:
        return cls(user=User.of(made.user), token=made.token, expires_at=made.expires_at)


@define.type
class SignedOut:
    """A session has ended."""

    ok: bool


AuthResult = Annotated[
    AuthTokens | InvalidCredentials | InvalidInput | Conflict | Forbidden | RateLimited,
    strawberry.union("AuthResult", description="Signed in, or why not."),
]
UserResult = Annotated[
    User | NotFound | Forbidden | InvalidInput | InvalidCredentials | Conflict,
    strawberry.union("UserResult", description="The account as it is now, or why it was not changed."),
]
PasswordLinkResult = Annotated[
    PasswordLink | NotFound | Forbidden | InvalidInput | Conflict,
    strawberry.union("PasswordLinkResult", description="A link to hand over, or why there is none."),
]
LogoutResult = Annotated[
    SignedOut | NotFound, strawberry.union("LogoutResult", description="Ended, or there was nothing to end.")
]


def _me(context: Context) -> Find:
    caller = context.caller
    if caller is None:
        return lambda _root: None
    accounts = by_id(context, tables.User, named_on_visible_rows)
    return lambda _root: (accounts, caller.id, User.of_any)


@strawberry.type
class AccountQueries:
    users: Connection[User] = root_list(
        lambda: User,
        users.LISTING,
        filter_by=UserFilter,
        order_by=UserOrder,
        description="Admins see everybody; others see those they share a dataset with.",
    )
    user: User | None = root_one(
        lambda: User, "One person; null when they are absent or not for the caller's eyes."
    )

    me: User | None = looked_up(_me, "The caller; null when anonymous.")


@strawberry.type
class AccountMutations:
    @define.mutation
    async def register(self, info: Info, input: RegisterInput) -> AuthResult:
        """A new account has the role USER."""
        context = info.context
        signed_in = await accounts.register(
            context.services,
            email=input.email,
            username=input.username,
            password=input.password,
            visit=context.visit,
        )
        return AuthTokens.of(signed_in, context)

    @define.mutation
    async def login(self, info: Info, input: LoginInput) -> AuthResult:
        """Signs in by email or username."""
        context = info.context
        signed_in = await accounts.login(
            context.services, login=input.login, password=input.password, visit=context.visit
        )
        return AuthTokens.of(signed_in, context)

    @define.mutation
    async def refresh_session(self, info: Info, input: RefreshInput | None = UNSET) -> AuthResult:
        """One use per refresh token; a second use ends the whole session."""
        context = info.context
        given = define.sent(input and input.refresh_token)
        token = context.read_cookie() if given is None else given
        signed_in = await sessions.refresh(context.services, token, context.visit)
        return AuthTokens.of(signed_in, context, by_cookie=given is None)

    @define.mutation
    async def logout(self, info: Info) -> LogoutResult:
        """Ends the caller's session."""
        context = info.context
        cookie = context.read_cookie()
        context.write_cookie("", 0)
        await sessions.logout(context.services, context.caller, cookie, context.visit)
        return SignedOut(ok=True)

    @define.mutation
    async def revoke_session(self, info: Info, id: strawberry.ID) -> LogoutResult:
        """Ends one of the caller's own sessions, wherever it is used."""
        context = info.context
        await sessions.revoke(context.services, context.viewer, id)
        return SignedOut(ok=True)

    @define.mutation
    async def change_password(self, info: Info, input: ChangePasswordInput) -> UserResult:
        """Ends every other session of the caller."""
        context = info.context
        row = await users.change_password(
            context.services, context.viewer, current=input.current_password, new=input.new_password
        )
        return User.of(row)

    @define.mutation
    async def update_profile(self, info: Info, input: UpdateProfileInput) -> UserResult:
        """Changes the caller's own e-mail address and username."""
        context = info.context
        row = await users.update_profile(context.services, context.viewer, changes=define.given(input))
        return User.of(row)

    @define.mutation
    async def update_user(self, info: Info, input: UpdateUserInput) -> UserResult:
        """Admins only. Disabling ends the user's sessions and live subscriptions."""
        context = info.context
        row = await users.update(context.services, context.viewer, input.id, changes=define.given(input))
        return User.of(row)

    @define.mutation
    async def create_user(self, info: Info, input: CreateUserInput) -> PasswordLinkResult:
        """Admins only: an account without a password yet."""
        context = info.context
        made = await invitations.create_user(
            context.services, context.viewer, email=input.email, username=input.username, role=input.role
        )
        return PasswordLink.of(made)

    @define.mutation
    async def reset_password(self, info: Info, user_id: strawberry.ID) -> PasswordLinkResult:
        """Admins only; ends the user's sessions."""
        context = info.context
        return PasswordLink.of(await invitations.reset_password(context.services, context.viewer, user_id))

    @define.mutation
    async def set_password(self, info: Info, input: SetPasswordInput) -> AuthResult:
        """By a link of `createUser` or `resetPassword`, once; signs in."""
        context = info.context
        signed_in = await invitations.set_password(
            context.services, token=input.token, new=input.new_password, visit=context.visit
        )
        return AuthTokens.of(signed_in, context)
