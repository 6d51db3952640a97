"""Connections: pages of a list as clients see them. Rows are read when asked for, and only once."""

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature, signature
from typing import Any, Generic, TypeVar

import strawberry
from strawberry import UNSET

from bioscope_gql.resolvers import paging
from bioscope_gql.resolvers.paging import FIRST, Listing, Page, Wish
from bioscope_gql.schema import define, edges
from bioscope_gql.schema.context import Context, Info
from bioscope_gql.schema.loaders import Loader
from bioscope_gql.schema.lookups import READY, Find, Found, Lookup, as_it_is, looked_up
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


def _nodes(_context: Context) -> Find:
    return lambda shown: (shown.pages, shown.key, lambda page: [shown.show.of(row) for row in page.rows])


def _edges(_context: Context) -> Find:
    def find(shown: Any) -> Found:
        def edges(page: Page) -> list[Edge[Any]]:
            pairs = zip(page.rows, page.cursors, strict=True)
            return [Edge(cursor=cursor, node=shown.show.of(row)) for row, cursor in pairs]

        return shown.pages, shown.key, edges

    return find


def _page_info(_context: Context) -> Find:
    return lambda shown: (shown.pages, shown.key, _info)


def _info(page: Page) -> PageInfo:
    first, last = (page.cursors[0], page.cursors[-1]) if page.cursors else (None, None)
    return PageInfo(
        has_next_page=page.has_next,
        has_previous_page=page.has_previous,
        start_cursor=first,
        end_cursor=last,
    )


def _total_count(_context: Context) -> Find:
    return lambda shown: (shown.counts, shown.key, as_it_is)


@define.type
class Connection(Generic[T]):
    """A page of a list. What is not selected is neither read nor counted."""

    pages: strawberry.Private[Loader]
    counts: strawberry.Private[Loader]
    key: strawberry.Private[Any]
    """Of the page and of the count, in their loaders."""
    show: strawberry.Private[Any]

    nodes: list[T] = looked_up(_nodes, "The rows of this page.")
    edges: list[Edge[T]] = looked_up(_edges, "The rows of this page with their cursors.")
    page_info: PageInfo = looked_up(_page_info, "Whether there is more, and where to go on.")
    total_count: int = looked_up(
        _total_count, "How many rows the whole list has; counted only when asked for."
    )


Show = Callable[[], type[Any]]
"""Names the type of the rows late, because types refer to each other in circles."""


def root_list(
    show: Show, listing: Listing, *, filter_by: Any = None, order_by: Any = None, description: str = ""
) -> Any:
    """A list that starts at the root: what of a table the viewer may see."""

    def connect(context: Context, asked: Wish) -> Callable[[Any], Any]:
        connection = connection_of(context, show(), listing, asked)
        return lambda _root: connection

    return _listed(connect, filter_by, order_by, description)


def connection_of(context: Context, show: type[Any], listing: Listing, asked: Wish) -> Any:
    """A page of what of a table the viewer may see."""
    viewer, db = context.viewer, context.services.db

    async def load_pages(only: Sequence[None]) -> list[Page]:
        return [await paging.root_page(db, viewer, listing, asked, context.shown) for _ in only]

    async def load_counts(only: Sequence[None]) -> list[int]:
        return [await paging.count(db, viewer, listing, asked) for _ in only]

    name = (listing.name, asked.first, asked.after, asked.fingerprint)
    pages = context.loader(("root page", *name), load_pages)
    counts = context.loader(("root count", *name), load_counts)
    return Connection(pages=pages, counts=counts, key=None, show=show)


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

    def connect(context: Context, asked: Wish) -> Callable[[Any], Any]:
        pages = edges.pages_under(context, key, listing, asked)
        counts, shown = edges.counts_under(context, key, listing, asked), show()
        return lambda root: Connection(pages=pages, counts=counts, key=row_id(root), show=shown)

    return _listed(connect, filter_by, order_by, description)


def _listed(
    connect: Callable[[Context, Wish], Callable[[Any], Any]], filter_by: Any, order_by: Any, description: str
) -> Any:
    """The field with the arguments that all lists have, and the filter and order that this one has."""

    def begin(
        context: Context,
        first: Any = FIRST,
        after: Any = UNSET,
        filter: Any = UNSET,
        order_by: Any = UNSET,
    ) -> Find:
        order = define.sent(order_by)
        asked = paging.wish(
            define.sent(first),
            define.sent(after),
            order="CREATED_AT" if order is None else order.field.value,
            descending=order is None or order.direction is Direction.DESC,
            wanted=define.wanted(filter),
        )
        connection = connect(context, asked)
        return lambda root: (READY, connection(root), as_it_is)

    lookup = Lookup(begin)

    def resolve(root: Any, info: Info, **arguments: Any) -> Any:
        return lookup.resolve(info.context, root, **arguments)

    taken = {"first": (int | None, FIRST), "after": (str | None, UNSET)}
    if filter_by is not None:
        taken["filter"] = filter_by | None, UNSET
    if order_by is not None:
        taken["order_by"] = order_by | None, UNSET
    root_and_info = list(signature(resolve).parameters.values())[:2]
    listed = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in taken.items()
    ]
    # What Strawberry makes the arguments of the field of.
    resolve.__signature__ = Signature([*root_and_info, *listed])  # type: ignore[attr-defined]
    # Of a row that many others point to, its id.
    facts = {"lookup": lookup, "reads": ["id"]}
    return strawberry.field(resolver=resolve, description=description or None, metadata=facts)
