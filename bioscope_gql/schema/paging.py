"""Connections: pages of a list as clients see them. Rows are read when asked for, and only once."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import strawberry
from piccolo.columns import ForeignKey

from bioscope_gql.resolvers import paging
from bioscope_gql.resolvers.paging import Listing, Page, Wish
from bioscope_gql.schema import edges
from bioscope_gql.schema.context import Context, Info
from bioscope_gql.schema.views import row_id

T = TypeVar("T")


@strawberry.type
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[T]):
    cursor: str
    node: T


@strawberry.type
class Connection(Generic[T]):
    """A page of a list: `page` reads it, `count` counts all of it; neither runs unless it is selected."""

    read: strawberry.Private[Callable[[], Awaitable[Page]]]
    count: strawberry.Private[Callable[[], Awaitable[int]]]
    show: strawberry.Private[Any]

    @strawberry.field
    async def nodes(self) -> list[T]:
        page = await self.read()
        return [self.show.of(row) for row in page.rows]

    @strawberry.field
    async def edges(self) -> list[Edge[T]]:
        page = await self.read()
        return [
            Edge(cursor=cursor, node=self.show.of(row))
            for row, cursor in zip(page.rows, page.cursors, strict=True)
        ]

    @strawberry.field
    async def page_info(self) -> PageInfo:
        page = await self.read()
        first, last = (page.cursors[0], page.cursors[-1]) if page.cursors else (None, None)
        return PageInfo(
            has_next_page=page.has_next, has_previous_page=page.has_previous, start_cursor=first, end_cursor=last
        )

    @strawberry.field
    async def total_count(self) -> int:
        return await self.count()


def root(info: Info, show: type[Any], listing: Listing, asked: Wish) -> Any:
    """The connection of a root list."""
    context = info.context
    viewer, db = context.viewer, context.services.db

    async def load_page(wishes: list[Wish]) -> list[Page]:
        return [await paging.root_page(db, viewer, listing, one) for one in wishes]

    async def load_count(wishes: list[Wish]) -> list[int]:
        return [await paging.count(db, viewer, listing, one) for one in wishes]

    key = (listing.name, asked.first, asked.after, asked.fingerprint)
    pages = context.loader(("root page", *key), load_page)
    counts = context.loader(("root count", *key), load_count)
    return Connection(read=lambda: pages.load(asked), count=lambda: counts.load(asked), show=show)


def under(info: Info, parent: Any, key: ForeignKey, show: type[Any], listing: Listing, asked: Wish) -> Any:
    """The connection of the rows that point to `parent` by a foreign key."""
    context: Context = info.context
    id = row_id(parent)
    return Connection(
        read=lambda: edges.page_under(context, key, listing, asked, id),
        count=lambda: edges.count_under(context, key, listing, asked, id),
        show=show,
    )
