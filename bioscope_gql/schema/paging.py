"""Connections: pages of a list as clients see them. Rows are read when asked for, and only once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import strawberry
from strawberry import UNSET

from bioscope_gql.resolvers import paging
from bioscope_gql.resolvers.paging import FIRST, Listing, Page, Wish
from bioscope_gql.schema import define, edges
from bioscope_gql.schema.context import Context, Info
from bioscope_gql.schema.views import row_id
from bioscope_gql.schema.words import Direction

T = TypeVar("T")


@define.type
class PageInfo:
    """Where a page stands in its list."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@define.type
class Edge(Generic[T]):
    """A row with its place in the list."""

    cursor: str
    node: T


@define.type
class Connection(Generic[T]):
    """A page of a list. What is not selected is neither read nor counted."""

    read: strawberry.Private[Callable[[], Awaitable[Page]]]
    count: strawberry.Private[Callable[[], Awaitable[int]]]
    show: strawberry.Private[Any]

    @define.field
    async def nodes(self) -> list[T]:
        """The rows of this page."""
        page = await self.read()
        return [self.show.of(row) for row in page.rows]

    @define.field
    async def edges(self) -> list[Edge[T]]:
        """The rows of this page with their cursors."""
        page = await self.read()
        return [
            Edge(cursor=cursor, node=self.show.of(row))
            for row, cursor in zip(page.rows, page.cursors, strict=True)
        ]

    @define.field
    async def page_info(self) -> PageInfo:
        """Whether there is more, and where to go on."""
        page = await self.read()
        first, last = (page.cursors[0], page.cursors[-1]) if page.cursors else (None, None)
        return PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=first,
            end_cursor=last,
        )

    @define.field
    async def total_count(self) -> int:
        """How many rows the whole list has; counted only when asked for."""
        return await self.count()


Show = Callable[[], type[Any]]
"""Names the type of the rows late, because types refer to each other in circles."""


def root_list(
    show: Show, listing: Listing, *, filter_by: Any = None, order_by: Any = None, description: str = ""
) -> Any:
    """A list that starts at the root: what of a table the viewer may see."""

    def connect(root: Any, info: Info, asked: Wish) -> Any:  # noqa: ARG001 - one shape with `has_many`
        return connection_of(info, show(), listing, asked)

    return _listed(connect, filter_by, order_by, description)


def connection_of(info: Info, show: type[Any], listing: Listing, asked: Wish) -> Any:
    """A page of what of a table the viewer may see."""
    context = info.context
    viewer, db = context.viewer, context.services.db

    async def load_pages(wishes: Sequence[Wish]) -> list[Page]:
        return [await paging.root_page(db, viewer, listing, one, context.shown) for one in wishes]

    async def load_counts(wishes: Sequence[Wish]) -> list[int]:
        return [await paging.count(db, viewer, listing, one) for one in wishes]

    key = (listing.name, asked.first, asked.after, asked.fingerprint)
    pages = context.loader(("root page", *key), load_pages, key=_fingerprint)
    counts = context.loader(("root count", *key), load_counts, key=_fingerprint)
    return Connection(read=lambda: pages.load(asked), count=lambda: counts.load(asked), show=show)


def has_many(
    key: edges.Key,
    show: Show,
    listing: Listing,
    *,
    filter_by: Any = None,
    order_by: Any = None,
    description: str = "",
) -> Any:
    """The rows that point here by a foreign key, as a list of pages."""

    def connect(root: Any, info: Info, asked: Wish) -> Any:
        context: Context = info.context
        id = row_id(root)
        return Connection(
            read=lambda: edges.page_under(context, key, listing, asked, id),
            count=lambda: edges.count_under(context, key, listing, asked, id),
            show=show(),
        )

    return _listed(connect, filter_by, order_by, description)


def _fingerprint(asked: Wish) -> str:
    return f"{asked.fingerprint} {asked.first} {asked.after}"


def _listed(
    connect: Callable[[Any, Info, Wish], Any], filter_by: Any, order_by: Any, description: str
) -> Any:
    """The field with the arguments that all lists have, and the filter and order that this one has."""

    def resolve(
        root: Any,
        info: Info,
        first: Any = FIRST,
        after: Any = UNSET,
        filter: Any = UNSET,
        order_by: Any = UNSET,
    ) -> Any:
        order = define.sent(order_by)
        asked = paging.wish(
            define.sent(first),
            define.sent(after),
            order="CREATED_AT" if order is None else order.field.value,
            descending=order is None or order.direction is Direction.DESC,
            wanted=define.wanted(filter),
        )
        return connect(root, info, asked)

    annotations: dict[str, Any] = {"info": Info, "first": int | None, "after": str | None}
    chosen: Callable[..., Any] = resolve
    if filter_by is None and order_by is None:

        def chosen(root: Any, info: Info, first: Any = FIRST, after: Any = UNSET) -> Any:
            return resolve(root, info, first, after)
    elif order_by is None:
        annotations |= {"filter": filter_by | None}

        def chosen(root: Any, info: Info, first: Any = FIRST, after: Any = UNSET, filter: Any = UNSET) -> Any:
            return resolve(root, info, first, after, filter)
    else:
        annotations |= {"filter": filter_by | None, "order_by": order_by | None}
    chosen.__annotations__ = annotations
    # Of a row that many others point to, its id.
    return strawberry.field(resolver=chosen, description=description or None, metadata={"reads": ["id"]})
