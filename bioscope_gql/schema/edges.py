"""Edges between types, declared and not coded.

Each function here makes a field out of a foreign key. Its resolver goes through a DataLoader that
reads the rows for all parents by one statement, narrowed to what the viewer may see.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any
from uuid import UUID

import strawberry
from piccolo.columns import ForeignKey

from bioscope_gql import tables
from bioscope_gql.db import Args, Database, Row
from bioscope_gql.policy import VISIBLE, Viewer, Visibility
from bioscope_gql.resolvers import paging
from bioscope_gql.resolvers.image_lists import of_model
from bioscope_gql.resolvers.paging import Listing, Page, Wanted, Wish
from bioscope_gql.schema.context import Context, Info
from bioscope_gql.schema.views import row_id
from bioscope_gql.tables import Table

Key = ForeignKey[Any]
"""A column that points to another table."""


def target_of(key: Key) -> type[Table]:
    table: type[Table] = key._foreign_key_meta.resolved_references
    return table


def owner_of(key: Key) -> type[Table]:
    table: type[Table] = key._meta.table
    return table


def belongs_to(
    key: Key,
    show: Callable[[], type[Any]],
    *,
    visible: Visibility | None = None,
    description: str | None = None,
) -> Any:
    """The one row that a foreign key points to; null when there is none for the viewer.

    `show` names the type late, because types refer to each other in circles. `visible` replaces the
    target's own rule where the row that points there is enough of a reason to see it.
    """
    column, target = key._meta.db_column_name, target_of(key)

    async def resolve(root: Any, info: Info) -> Any:
        id = root.row[column]
        if id is None:
            return None
        row = await by_id(info.context, target, visible).load(id)
        return None if row is None else show().of(row)

    return strawberry.field(resolver=resolve, description=description)


def either(*choices: tuple[Key, Callable[[], type[Any]]], visible: Visibility) -> Any:
    """What the first of several foreign keys that is set points to, e.g. a person or a machine."""
    ways = [(key._meta.db_column_name, target_of(key), show) for key, show in choices]

    async def resolve(root: Any, info: Info) -> Any:
        for column, target, show in ways:
            if (id := root.row[column]) is not None:
                row = await by_id(info.context, target, visible).load(id)
                return None if row is None else show().of(row)
        return None

    return strawberry.field(resolver=resolve)


def by_id(context: Context, table: type[Table], visible: Visibility | None = None) -> Any:
    """A loader of rows of a table by their primary key."""
    rule = visible or VISIBLE[table]

    async def load(ids: Sequence[UUID]) -> list[Row | None]:
        return await _rows_by(context, table, "id", rule, ids)

    return context.loader(("by_id", table, rule), load)


def has_one(key: Key, show: Callable[[], type[Any]]) -> Any:
    """The one row that points here by a unique foreign key."""
    column, table = key._meta.db_column_name, owner_of(key)

    async def resolve(root: Any, info: Info) -> Any:
        async def load(ids: Sequence[UUID]) -> list[Row | None]:
            return await _rows_by(info.context, table, column, VISIBLE[table], ids)

        row = await info.context.loader(("has_one", table, column), load).load(row_id(root))
        return None if row is None else show().of(row)

    return strawberry.field(resolver=resolve)


async def _rows_by(
    context: Context, table: type[Table], column: str, rule: Visibility, keys: Sequence[UUID]
) -> list[Row | None]:
    args = Args([list(keys)])
    shown, name = paging.table_columns(table, "t"), table._meta.tablename
    rows = await context.services.db.rows(
        f'select {shown} from {name} t where t."{column}" = any($1::uuid[])'
        f" and {rule(context.viewer, args, 't')}",
        *args,
    )
    found = {row[column]: row for row in rows}
    return [found.get(key) for key in keys]


def page_under(context: Context, key: Key, listing: Listing, asked: Wish, parent: UUID) -> Awaitable[Page]:
    """A page of the rows that point to `parent`; the pages of all parents by one statement."""
    column = key._meta.db_column_name

    async def load(parents: Sequence[UUID]) -> list[Page]:
        return await paging.pages_under(context.services.db, context.viewer, listing, asked, column, parents)

    loader = context.loader(("page", listing.name, column, asked.first, asked.after, asked.fingerprint), load)
    page: Awaitable[Page] = loader.load(parent)
    return page


def count_under(context: Context, key: Key, listing: Listing, asked: Wish, parent: UUID) -> Awaitable[int]:
    """How many rows point to `parent`, over all pages."""
    column = key._meta.db_column_name

    async def load(parents: Sequence[UUID]) -> list[int]:
        return await paging.counts_under(context.services.db, context.viewer, listing, asked, column, parents)

    loader = context.loader(("count", listing.name, column, asked.fingerprint), load)
    number: Awaitable[int] = loader.load(parent)
    return number


def aggregate(key: Key, expression: str, *, default: Any) -> Any:
    """A figure over the rows that point here, e.g. ``count(*)``; `default` where there are none."""
    column, table = key._meta.db_column_name, owner_of(key)

    async def resolve(root: Any, info: Info) -> Any:
        async def load(parents: Sequence[UUID]) -> list[Any]:
            args = Args([list(parents)])
            rows = await info.context.services.db.rows(
                f'select t."{column}" as parent, {expression} as value from {table._meta.tablename} t'
                f' where t."{column}" = any($1::uuid[]) and {VISIBLE[table](info.context.viewer, args, "t")}'
                " group by 1",
                *args,
            )
            found: Mapping[UUID, Any] = {row["parent"]: row["value"] for row in rows}
            return [found.get(parent, default) for parent in parents]

        loader = info.context.loader(("aggregate", table, column, expression), load)
        return await loader.load(row_id(root))

    return strawberry.field(resolver=resolve)


def all_of(key: Key, show: Callable[[], type[Any]], order: str, description: str) -> Any:
    """All rows that point here, in the order of a column; for what is few by nature, and shown whole."""
    column, table = key._meta.db_column_name, owner_of(key)

    async def resolve(root: Any, info: Info) -> Any:
        async def load(parents: Sequence[UUID]) -> list[list[Row]]:
            args = Args([list(parents)])
            rows = await info.context.services.db.rows(
                f"select {paging.table_columns(table, 't')} from {table._meta.tablename} t"
                f' where t."{column}" = any($1::uuid[]) and {VISIBLE[table](info.context.viewer, args, "t")}'
                f' order by t."{order}", t.id',
                *args,
            )
            under: dict[UUID, list[Row]] = {parent: [] for parent in parents}
            for row in rows:
                under[row[column]].append(row)
            return [under[parent] for parent in parents]

        found = await info.context.loader(("all_of", table, column), load).load(row_id(root))
        return [show().of(row) for row in found]

    return strawberry.field(resolver=resolve, description=description)


NEWEST = Listing(tables.ClassificationResult, conditions=of_model)


async def newest_result(context: Context, image: Row, wanted: Wanted) -> Row | None:
    """The newest result of a picture: the one that the picture names, or that of the model in `wanted`."""
    if wanted:
        key, asked = tables.ClassificationResult.image, paging.wish(1, wanted=wanted)
        page = await page_under(context, key, NEWEST, asked, image["id"])
        return page.rows[0] if page.rows else None
    id = image["latest_result"]
    row: Row | None = None
    if id is not None:
        row = await by_id(context, tables.ClassificationResult).load(id)
    return row


Read = Callable[[Database, Viewer, Sequence[UUID], Wanted], Awaitable[Sequence[Any]]]
"""What a resolver reads for many rows by one statement: an answer for each id, in their order."""


async def each(info: Info, read: Read, id: UUID, wanted: Wanted) -> Any:
    """What `read` has to say of a row; it is asked once for all rows that want the same."""
    context = info.context

    async def load(ids: Sequence[UUID]) -> Sequence[Any]:
        return await read(context.services.db, context.viewer, ids, wanted)

    return await context.loader((read, tuple(sorted(wanted.items()))), load).load(id)


async def once(info: Info, read: Callable[[Database, Viewer, Any], Awaitable[Any]], about: Hashable) -> Any:
    """What `read` has to say about something, asked once however many fields want it."""
    context = info.context

    async def load(asked: Sequence[Any]) -> list[Any]:
        return [await read(context.services.db, context.viewer, one) for one in asked]

    return await context.loader(read, load).load(about)


def computed(
    table: type[Table], expression: Callable[[Viewer, Args, str], str], description: str | None = None
) -> Any:
    """A value that the database works out for each row, and that may depend on the viewer."""

    async def resolve(root: Any, info: Info) -> Any:
        async def load(ids: Sequence[UUID]) -> list[Any]:
            args = Args([list(ids)])
            value = expression(info.context.viewer, args, "t")
            rows = await info.context.services.db.rows(
                f"select t.id, {value} as value from {table._meta.tablename} t where t.id = any($1::uuid[])",
                *args,
            )
            found = {row["id"]: row["value"] for row in rows}
            return [found.get(id) for id in ids]

        return await info.context.loader(("computed", table, expression), load).load(row_id(root))

    return strawberry.field(resolver=resolve, description=description)
