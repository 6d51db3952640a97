"""What is promised: the GraphQL schema, one module per subject."""

from functools import cache

import strawberry
from graphql import build_schema, lexicographic_sort_schema
from graphql import print_schema as print_sdl
from strawberry.schema.config import StrawberryConfig

from bioscope_gql.schema import direct, reads
from bioscope_gql.schema.accounts import AccountMutations, AccountQueries
from bioscope_gql.schema.classifications import (
    ClassificationMutations,
    ClassificationQueries,
    ClassificationSubscriptions,
)
from bioscope_gql.schema.datasets import DatasetMutations, DatasetQueries
from bioscope_gql.schema.deadletters import DeadLetterMutations, DeadLetterQueries
from bioscope_gql.schema.deletions import DeletionMutations
from bioscope_gql.schema.devices import DeviceMutations, DeviceQueries
from bioscope_gql.schema.grants import GrantMutations
from bioscope_gql.schema.images import (
    DuplicateImage,
    ImageMutations,
    ImageQueries,
    RejectedFile,
    UploadedImage,
)
from bioscope_gql.schema.models import ModelQueries
from bioscope_gql.schema.nodes import NodeQueries
from bioscope_gql.schema.scalars import SCALARS
from bioscope_gql.schema.server import ServerQueries
from bioscope_gql.schema.serviceaccounts import ServiceAccountMutations, ServiceAccountQueries
from bioscope_gql.schema.statistics import StatisticsQueries


@strawberry.type
class Query(
    ServerQueries,
    NodeQueries,
    AccountQueries,
    ServiceAccountQueries,
    DeviceQueries,
    DatasetQueries,
    ImageQueries,
    ClassificationQueries,
    ModelQueries,
    DeadLetterQueries,
    StatisticsQueries,
):
    pass


@strawberry.type
class Mutation(
    AccountMutations,
    ServiceAccountMutations,
    DeviceMutations,
    DatasetMutations,
    GrantMutations,
    ImageMutations,
    ClassificationMutations,
    DeletionMutations,
    DeadLetterMutations,
):
    pass


@strawberry.type
class Subscription(ClassificationSubscriptions):
    pass


@cache
def schema() -> strawberry.Schema:
    """The schema, made once: it knows nothing of settings."""
    outcomes = [UploadedImage, DuplicateImage, RejectedFile]
    made = strawberry.Schema(
        Query, Mutation, Subscription, types=outcomes, config=StrawberryConfig(scalar_map=SCALARS)
    )
    direct.mark(made)
    reads.mark(made)
    return made


def print_schema() -> str:
    """The schema as SDL, sorted by way of its text: sorting itself would make Strawberry forget its enums."""
    return print_sdl(lexicographic_sort_schema(build_schema(schema().as_str()))) + "\n"
