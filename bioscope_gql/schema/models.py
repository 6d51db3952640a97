"""Models that can be run."""

import strawberry

from bioscope_gql.resolvers import models, words
from bioscope_gql.schema import define
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.inputs import ModelFilter, ModelOrder
from bioscope_gql.schema.paging import Connection, root_list
from bioscope_gql.schema.types import Model


@strawberry.type
class ModelQueries:
    models: Connection[Model] = root_list(
        lambda: Model,
        models.LISTING,
        filter_by=ModelFilter,
        order_by=ModelOrder,
        description="The models that workers have announced.",
    )

    @define.field
    async def model(self, info: Info, id: strawberry.ID) -> Model | None:
        """One model; null when there is none of this id."""
        context = info.context
        return Model.of_any(await models.find(context.services, context.viewer, words.read_id(id)))
