"""Sharing datasets and handing them over."""

import strawberry

from bioscope_gql.resolvers import grants
from bioscope_gql.schema import define, inputs
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.datasets import DatasetResult
from bioscope_gql.schema.inputs import ShareDatasetInput, TransferDatasetInput
from bioscope_gql.schema.types import Dataset


def meant(sent: inputs.AccountRef) -> grants.AccountRef:
    id, username, email = (define.sent(each) for each in (sent.user_id, sent.username, sent.email))
    return grants.AccountRef(id=id, username=username, email=email)


@strawberry.type
class GrantMutations:
    @define.mutation
    async def share_dataset(self, info: Info, input: ShareDatasetInput) -> DatasetResult:
        """Gives a person or a service account access, or changes the level of what they have."""
        context = info.context
        row = await grants.share(
            context.services, context.viewer, input.dataset_id, meant(input.to), input.level
        )
        return Dataset.of(row)

    @define.mutation
    async def revoke_dataset_grant(self, info: Info, id: strawberry.ID) -> DatasetResult:
        """By a manager, or by the person the grant is for."""
        context = info.context
        return Dataset.of(await grants.revoke(context.services, context.viewer, id))

    @define.mutation
    async def transfer_dataset(self, info: Info, input: TransferDatasetInput) -> DatasetResult:
        """By the owner or an admin; who had it keeps MANAGE."""
        context = info.context
        row = await grants.transfer(context.services, context.viewer, input.id, meant(input.to))
        return Dataset.of(row)
