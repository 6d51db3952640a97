"""Datasets: made, changed, found."""

from typing import Annotated

import strawberry

from bioscope_gql.resolvers import datasets
from bioscope_gql.schema import define
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.edges import root_one
from bioscope_gql.schema.inputs import CreateDatasetInput, DatasetFilter, DatasetOrder, UpdateDatasetInput
from bioscope_gql.schema.paging import Connection, root_list
from bioscope_gql.schema.problems import Conflict, Forbidden, InvalidInput, NotFound
from bioscope_gql.schema.types import Dataset

DatasetResult = Annotated[
    Dataset | NotFound | Forbidden | InvalidInput | Conflict,
    strawberry.union("DatasetResult", description="The dataset as it is now, or why nothing was done."),
]


@strawberry.type
class DatasetQueries:
    datasets: Connection[Dataset] = root_list(
        lambda: Dataset,
        datasets.LISTING,
        filter_by=DatasetFilter,
        order_by=DatasetOrder,
        description="The datasets that the caller may see.",
    )

    dataset: Dataset | None = root_one(
        lambda: Dataset, "One dataset; null when it is absent or not for the caller's eyes."
    )


@strawberry.type
class DatasetMutations:
    @define.mutation
    async def create_dataset(self, info: Info, input: CreateDatasetInput) -> DatasetResult:
        """A new, empty dataset that the caller owns."""
        context = info.context
        row = await datasets.create(
            context.services, context.viewer, name=input.name, description=define.sent(input.description)
        )
        return Dataset.of(row)

    @define.mutation
    async def update_dataset(self, info: Info, input: UpdateDatasetInput) -> DatasetResult:
        """Changes what was sent and leaves the rest."""
        context = info.context
        row = await datasets.update(context.services, context.viewer, input.id, changes=define.given(input))
        return Dataset.of(row)
