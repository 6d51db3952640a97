"""The enums of the API: the words of `vocabulary.py`, and by what lists are ordered."""

from enum import Enum

import strawberry

from bioscope_gql import vocabulary

Role = strawberry.enum(
    vocabulary.Role, description="A rung of the ladder; each may do what those before it may."
)
UserStatus = strawberry.enum(vocabulary.UserStatus, description="Whether an account may sign in.")
AccessLevel = strawberry.enum(
    vocabulary.AccessLevel,
    description="What somebody may do in a dataset. Each level includes the ones before it.",
)
ThumbnailSize = strawberry.enum(vocabulary.ThumbnailSize, description="The longest side of a thumbnail.")
RejectionCode = strawberry.enum(vocabulary.RejectionCode, description="Why a file was not stored.")
ClassificationStatus = strawberry.enum(
    vocabulary.ClassificationStatus, description="The state of a run, derived from what its items did."
)
ItemStatus = strawberry.enum(vocabulary.ItemStatus, description="The state of one image of a run.")
Priority = strawberry.enum(vocabulary.Priority, description="Which runs go first.")


@strawberry.enum(description="Upwards or downwards.")
class Direction(Enum):
    ASC = "ASC"
    DESC = "DESC"


@strawberry.enum(description="What datasets can be ordered by.")
class DatasetOrderField(Enum):
    CREATED_AT = "CREATED_AT"
    NAME = "NAME"


@strawberry.enum(description="What models can be ordered by.")
class ModelOrderField(Enum):
    CREATED_AT = "CREATED_AT"
    NAME = "NAME"
