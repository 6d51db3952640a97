"""Machines' accounts: made, listed, revoked."""

from typing import Annotated

import strawberry

from bioscope_gql.policy import Action
from bioscope_gql.resolvers import paging, serviceaccounts
from bioscope_gql.resolvers.serviceaccounts import Created
from bioscope_gql.schema import define
from bioscope_gql.schema.actors import ServiceAccount
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.inputs import CreateServiceAccountInput
from bioscope_gql.schema.paging import Connection, connection_of
from bioscope_gql.schema.problems import Conflict, Forbidden, InvalidInput, NotFound


@define.type
class ServiceAccountCreated:
    """A machine's account, and the key to it."""

    service_account: ServiceAccount
    client_id: str
    client_secret: str = strawberry.field(description="Shown once.")

    @classmethod
    def of(cls, created: Created) -> "ServiceAccountCreated":
        account = created.account
        return cls(
            service_account=ServiceAccount.of(account),
            client_id=account["client_id"],
            client_secret=created.secret,
        )


CreateServiceAccountResult = Annotated[
    ServiceAccountCreated | Forbidden | InvalidInput | Conflict,
    strawberry.union(
        "CreateServiceAccountResult", description="The account with its secret, or why it was not made."
    ),
]
ServiceAccountResult = Annotated[
    ServiceAccount | NotFound | Forbidden,
    strawberry.union("ServiceAccountResult", description="The account as it is now, or why it was left."),
]


@strawberry.type
class ServiceAccountQueries:
    @define.field
    def service_accounts(
        self, info: Info, first: int | None = paging.FIRST, after: str | None = strawberry.UNSET
    ) -> Connection[ServiceAccount] | None:
        """Admins only."""
        info.context.viewer.must(Action.MANAGE_SERVICE_ACCOUNTS)
        asked = paging.wish(define.sent(first), define.sent(after))
        listing = serviceaccounts.LISTING
        connection: Connection[ServiceAccount] = connection_of(info.context, ServiceAccount, listing, asked)
        return connection


@strawberry.type
class ServiceAccountMutations:
    @define.mutation
    async def create_service_account(
        self, info: Info, input: CreateServiceAccountInput
    ) -> CreateServiceAccountResult:
        """Admins only. The secret is shown here and never again."""
        context = info.context
        created = await serviceaccounts.create(
            context.services,
            context.viewer,
            name=input.name,
            scopes=input.scopes,
            expires_at=define.sent(input.expires_at),
        )
        return ServiceAccountCreated.of(created)

    @define.mutation
    async def revoke_service_account(self, info: Info, id: strawberry.ID) -> ServiceAccountResult:
        """Admins only. Its next request is refused, and its sockets are closed."""
        context = info.context
        return ServiceAccount.of(await serviceaccounts.revoke(context.services, context.viewer, id))
