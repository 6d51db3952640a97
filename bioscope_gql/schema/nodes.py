"""Everything that has an id, by its id alone.

Which types there are, the classes say: every view of a table that is a `Node`. Who sees their rows,
`policy.VISIBLE` says; a type whose table has no rule there is an error, not a hole.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import strawberry

from bioscope_gql.errors import Refusal
from bioscope_gql.resolvers import nodes, words
from bioscope_gql.schema import define, edges
from bioscope_gql.schema.actors import Node
from bioscope_gql.schema.context import Context, Info
from bioscope_gql.schema.views import View
from bioscope_gql.tables import Table

MOST = 100


def node_types() -> Mapping[type[Table], type[View]]:
    """The type that shows the rows of each table, of those that have an id of their own."""
    return {shown.table: shown for shown in View.__subclasses__() if issubclass(shown, Node)}


async def load(context: Context, sent: str) -> Any:
    """One of many: all that an operation asks for are found by one statement, and read by one a type."""
    id = words.read_id(sent)
    if id is None:
        return None
    types, viewer = node_types(), context.viewer

    async def find(ids: Sequence[UUID]) -> list[type[Table] | None]:
        found = await nodes.tables_of(context.services.db, viewer, ids, types)
        return [found.get(each) for each in ids]

    table: type[Table] | None = await context.loader(("node",), find).load(id)
    if table is None:
        return None
    return types[table].of_any(await edges.by_id(context, table).load(id))


@strawberry.type
class NodeQueries:
    @define.field
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:
        """Whatever has this id; null when it is absent or not for the caller's eyes."""
        found: Node | None = await load(info.context, id)
        return found

    @define.field
    async def nodes(self, info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
        """The same for at most 100 ids, in their order."""
        if len(ids) > MOST:
            raise Refusal(f"These are {len(ids)} ids; send at most {MOST} at once.")
        return list(await asyncio.gather(*(load(info.context, id) for id in ids)))
