"""Messages that could not be stored."""

from datetime import datetime
from typing import Annotated

import strawberry

from bioscope_gql import tables
from bioscope_gql.policy import Action
from bioscope_gql.resolvers import deadletters, paging
from bioscope_gql.schema import define
from bioscope_gql.schema.actors import Node
from bioscope_gql.schema.context import Info
from bioscope_gql.schema.paging import Connection, connection_of
from bioscope_gql.schema.problems import Forbidden, InvalidInput, NotFound
from bioscope_gql.schema.scalars import BigInt
from bioscope_gql.schema.views import View


@define.type
class DeadLetter(View, Node, table=tables.DeadLetter):
    """A result message that could not be stored."""

    topic: str
    partition: int
    offset: BigInt
    reason: str
    payload: str | None
    received_at: datetime
    replayed_at: datetime | None


DeadLetterResult = Annotated[
    DeadLetter | NotFound | Forbidden | InvalidInput,
    strawberry.union("DeadLetterResult", description="The message, recorded now, or why it still can't be."),
]


@strawberry.type
class DeadLetterQueries:
    @define.field
    def dead_letters(
        self, info: Info, first: int | None = paging.FIRST, after: str | None = strawberry.UNSET
    ) -> Connection[DeadLetter] | None:
        """Admins only."""
        info.context.viewer.must(Action.READ_DEAD_LETTERS)
        asked = paging.wish(define.sent(first), define.sent(after))
        connection: Connection[DeadLetter] = connection_of(
            info.context, DeadLetter, deadletters.LISTING, asked
        )
        return connection


@strawberry.type
class DeadLetterMutations:
    @define.mutation
    async def replay_dead_letter(self, info: Info, id: strawberry.ID) -> DeadLetterResult:
        """Admins only: feeds the stored message through the result consumer again."""
        context = info.context
        return DeadLetter.of(await deadletters.replay(context.services, context.viewer, id))
