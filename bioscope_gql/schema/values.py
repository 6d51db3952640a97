"""Types without an id: figures and pairs that belong to the row they are read with."""

import strawberry

from bioscope_gql.schema import define


@define.type
class LabelCount:
    """How often a label won, and how sure the models were."""

    label: str
    count: int
    average_confidence: float


@define.type
class PixelSize:
    """The size of a pixel in the specimen."""

    x: float
    y: float
    unit: str = strawberry.field(default="µm", description="Micrometres.")


@define.type
class Score:
    """How sure the model is of one label."""

    label: str
    confidence: float


@define.type
class Measurement:
    """A number that the model gave: a count, an area, a score."""

    name: str
    value: float
    unit: str | None
