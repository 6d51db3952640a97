"""Accounts and signing in."""

from datetime import datetime
from typing import Annotated

import strawberry

from bioscope_gql.resolvers import accounts
from bioscope_gql.resolvers.accounts import SignIn
from bioscope_gql.schema import define
from bioscope_gql.schema.context import Context, Info
from bioscope_gql.schema.inputs import LoginInput, RegisterInput, UpdateUserInput
from bioscope_gql.schema.problems import (
    Conflict,
    Forbidden,
    InvalidCredentials,
    InvalidInput,
    NotFound,
    RateLimited,
)
from bioscope_gql.schema.types import User


@define.type
class AuthTokens:
    """What a client needs to go on as somebody."""

    access_token: str
    token_type: str
    expires_at: datetime
    user: User

    @classmethod
    def of(cls, signed_in: SignIn, context: Context) -> "AuthTokens":
        """What lies below is answered to the person who has just signed in."""
        context.caller = signed_in.viewer
        return cls(
            access_token=signed_in.access_token,
            token_type="Bearer",  # noqa: S106 - a kind, no secret
            expires_at=signed_in.expires_at,
            user=User.of(signed_in.user),
        )


AuthResult = Annotated[
    AuthTokens | InvalidCredentials | InvalidInput | Conflict | Forbidden | RateLimited,
    strawberry.union("AuthResult", description="Signed in, or why not."),
]
UserResult = Annotated[
    User | NotFound | Forbidden | InvalidInput | InvalidCredentials | Conflict,
    strawberry.union("UserResult", description="The account as it is now, or why it was not changed."),
]


@strawberry.type
class AccountQueries:
    @define.field
    async def me(self, info: Info) -> User | None:
        """The caller; null when anonymous."""
        context = info.context
        return User.of_any(await accounts.me(context.services, context.caller) if context.caller else None)


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
            user_agent=context.user_agent,
        )
        return AuthTokens.of(signed_in, context)

    @define.mutation
    async def login(self, info: Info, input: LoginInput) -> AuthResult:
        """Signs in by email or username."""
        context = info.context
        signed_in = await accounts.login(
            context.services, login=input.login, password=input.password, user_agent=context.user_agent
        )
        return AuthTokens.of(signed_in, context)

    @define.mutation
    async def update_user(self, info: Info, input: UpdateUserInput) -> UserResult:
        """Admins only. A change takes effect on the account's next request."""
        context = info.context
        row = await accounts.update_user(
            context.services, context.viewer, input.id, changes=define.given(input)
        )
        return User.of(row)
