"""The columns that every table is made of, so that ids and times mean the same everywhere."""

import uuid
from enum import StrEnum

from piccolo.columns import UUID, Timestamptz, Varchar
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.defaults.uuid import UUID7
from piccolo.constraints import Check

from bioscope_gql.vocabulary import uuid7


class TimeOrdered(UUID7):
    """`uuidv7()` in the database; our own in Python, where versions before 3.14 have none."""

    def python(self) -> uuid.UUID:
        return uuid7()


def identity() -> UUID:
    return UUID(primary_key=True, default=TimeOrdered())


def now() -> Timestamptz:
    return Timestamptz(default=TimestamptzNow())


def moment() -> Timestamptz:
    """A time that may not have come yet."""
    return Timestamptz(null=True, default=None)


def word(default: StrEnum) -> Varchar:
    return Varchar(length=16, default=default.value)


def one_of(column: str, values: type[StrEnum]) -> Check:
    """The database refuses what is not a member of `values`."""
    listed = ", ".join(f"'{value}'" for value in values)
    return Check(f"{column} in ({listed})")
