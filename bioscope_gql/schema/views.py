"""GraphQL types that show a table row.

    @define.type
    class Image(View, Node, table=tables.Image):
        filename: str                                     # the column of that name
        dataset: Dataset = belongs_to(tables.Image.dataset)   # an edge, see `edges.py`

A plain field is the column of its name; what is not a column is an edge or a method.
"""

from typing import Any, ClassVar, Self
from uuid import UUID

import orjson
import strawberry
from strawberry.types.base import StrawberryObjectDefinition

from bioscope_gql.db import Row
from bioscope_gql.tables import Table


class View:
    """Base of a type that shows a row. Made by `of`, never by its constructor."""

    table: ClassVar[type[Table]]
    row: strawberry.Private[Row]

    def __init_subclass__(cls, *, table: type[Table] | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if table is not None:
            cls.table = table

    @classmethod
    def of(cls, row: Row) -> Self:
        shown = object.__new__(cls)
        shown.__dict__["row"] = row
        return shown

    @classmethod
    def of_any(cls, row: Row | None) -> Self | None:
        return None if row is None else cls.of(row)

    def __getattr__(self, name: str) -> Any:
        try:
            value = self.__dict__["row"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} shows no column {name!r}") from None
        return str(value) if isinstance(value, UUID) else value

    def json(self, column: str) -> Any:
        """What a JSON column holds, parsed; where it goes out as it is stored, a plain field will do."""
        return orjson.loads(self.row[column])


def type_name(view: View) -> str:
    """The name in GraphQL of the type that this is."""
    definition: StrawberryObjectDefinition = type(view).__strawberry_definition__  # type: ignore[attr-defined]
    return definition.name


def row_id(view: Any) -> UUID:
    """The primary key of the row that a view shows."""
    id: UUID = view.row["id"]
    return id


def column(name: str, description: str) -> Any:
    """A field that shows the column of another name."""

    def resolve(root: Any) -> Any:
        return root.row[name]

    return strawberry.field(resolver=resolve, description=description, metadata={"column": name})
