"""Models that can be run."""

import strawberry

from bioscope_gql.resolvers import models
from bioscope_gql.schema.edges import root_one
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

    model: Model | None = root_one(lambda: Model, "One model; null when there is none of this id.")
