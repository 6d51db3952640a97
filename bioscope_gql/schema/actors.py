"""Who does things: people and machines, and the sessions of people. What has an id is a Node."""

from datetime import datetime
from functools import partial

import strawberry

from bioscope_gql import policy, tables
from bioscope_gql.resolvers import sessions
from bioscope_gql.schema import define
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.views import View, column, row_id
from bioscope_gql.schema.words import Role, ServiceScope, UserStatus


@define.interface
class Node:
    """What has an id of its own."""

    id: strawberry.ID


@define.interface
class Actor(Node):
    """Who did it: a person or a machine."""

    name: str


@define.type
class LoginSession(View, Node, table=tables.LoginSession):
    """One sign-in: a family of rotating refresh tokens."""

    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None

    @define.reading("id")
    def current(self, info: Info) -> bool:
        """Whether it is the one that asks."""
        return bool(info.context.viewer.session == self.row["id"])


@define.type
class User(View, Actor, table=tables.User):
    """A person's account."""

    username: str
    name: str = column("username", "What to show: the username.")
    role: Role
    status: UserStatus
    created_at: datetime
    updated_at: datetime

    @define.reading("id", "email")
    def email(self, info: Info) -> str | None:
        """Only for the user and for admins."""
        return policy.email_for(info.context.viewer, self.row)

    @define.reading("id")
    async def sessions(self, info: Info) -> list[LoginSession] | None:
        """The caller's own open sessions, newest first; null for anybody else."""
        context = info.context
        batch = partial(sessions.of_users, context.services, context.viewer)
        found = await context.loader("sessions", batch).load(row_id(self))
        return found and [LoginSession.of(row) for row in found]


@define.type
class ServiceAccount(View, Actor, table=tables.ServiceAccount):
    """A machine's account: may do only what its scopes say, and is on no rung of the role ladder."""

    name: str
    created_at: datetime
    last_used_at: datetime | None = strawberry.field(
        description="When it last got a token or showed its secret."
    )
    expires_at: datetime | None
    revoked_at: datetime | None

    @define.reading("client_id")
    def client_id(self, info: Info) -> str | None:
        """Admins only."""
        return policy.for_admins(info.context.viewer, self.row["client_id"])

    @define.reading("scopes")
    def scopes(self, info: Info) -> list[ServiceScope] | None:
        """Admins only."""
        return policy.for_admins(info.context.viewer, self.row["scopes"])
