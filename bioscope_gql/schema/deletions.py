"""What a deletion answers."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import strawberry

from bioscope_gql.resolvers import datasets, deletions
from bioscope_gql.schema import define
from bioscope_gql.schema.context import Context, Info
from bioscope_gql.schema.problems import Conflict, Forbidden, InvalidInput, NotFound
from bioscope_gql.schema.types import Dataset


@define.type
class Deleted:
    """What is gone now."""

    ids: list[strawberry.ID]
    dataset: Dataset | None = strawberry.field(description="Theirs, as it is now; null when it is gone.")

    @classmethod
    async def of(cls, context: Context, ids: Sequence[UUID], dataset: UUID | None) -> "Deleted":
        row = await datasets.find(context.services, context.viewer, dataset) if dataset else None
        return cls(ids=[strawberry.ID(str(id)) for id in ids], dataset=Dataset.of_any(row))


DeleteResult = Annotated[
    Deleted | NotFound | Forbidden | InvalidInput | Conflict,
    strawberry.union("DeleteResult", description="What was deleted, or why nothing was."),
]


@strawberry.type
class DeletionMutations:
    @define.mutation
    async def delete_images(self, info: Info, ids: list[strawberry.ID]) -> DeleteResult:
        """With their results."""
        context = info.context
        gone, dataset = await deletions.images(context.services, context.viewer, ids)
        return await Deleted.of(context, gone, dataset)

    @define.mutation
    async def delete_dataset(self, info: Info, id: strawberry.ID) -> DeleteResult:
        """With its images, classifications and results."""
        context = info.context
        gone = await deletions.dataset(context.services, context.viewer, id)
        return await Deleted.of(context, [gone], None)
