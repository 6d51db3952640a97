"""Edges between types, declared and not coded.

Each function here makes a field out of a foreign key. Its answer comes from a loader that reads the rows for
all parents by one statement, narrowed to what the viewer may see.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any
from uuid import UUID

from piccolo.columns import ForeignKey

from bioscope_gql import tables
from bioscope_gql.db import Args, Database, Row
from bioscope_gql.policy import VISIBLE, Viewer, Visibility
from bioscope_gql.resolvers import paging, words
from bioscope_gql.resolvers.image_lists import of_model
from bioscope_gql.resolvers.paging import Listing, Page, Wanted, Wish
from bioscope_gql.schema.context import Context, Info
from bioscope_gql.schema.loaders import Loader
from bioscope_gql.schema.lookups import (
    Find,
    Found,
    Show,
    as_it_is,
    looked_up,
    looked_up_by_id,
    looked_up_by_model,
)
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

    def begin(context: Context) -> Find:
        rows, shown = by_id(context, target, visible), show().of_any

        def find(root: Any) -> Found:
            id = root.row[column]
            return None if id is None else (rows, id, shown)

        return find

    return looked_up(begin, description, reads=[column])


def either(*choices: tuple[Key, Callable[[], type[Any]]], visible: Visibility) -> Any:
    """What the first of several foreign keys that is set points to, e.g. a person or a machine."""
    columns = [key._meta.db_column_name for key, _ in choices]

    def begin(context: Context) -> Find:
        ways = [
            (column, by_id(context, target_of(key), visible), show().of_any)
            for column, (key, show) in zip(columns, choices, strict=True)
        ]

        def find(root: Any) -> Found:
            for column, rows, shown in ways:
                if (id := root.row[column]) is not None:
                    return rows, id, shown
            return None

        return find

    return looked_up(begin, reads=columns)


def by_id(context: Context, table: type[Table], visible: Visibility | None = None) -> Loader:
    """A loader of rows of a table by their primary key."""
    rule = visible or VISIBLE[table]

    async def load(ids: Sequence[UUID]) -> list[Row | None]:
        return await _rows_by(context, table, "id", rule, ids)

    return context.loader(("by_id", table, rule), load, context.known.get(table))


def root_one(show: Callable[[], type[Any]], description: str) -> Any:
    """A field of the root: the row of the id that is sent; null when there is none for the viewer."""

    def begin(context: Context, id: str) -> Find:
        key, view = words.read_id(id), show()
        found = None if key is None else (by_id(context, view.table), key, view.of_any)
        return lambda _root: found

    return looked_up_by_id(begin, description)


def has_one(key: Key, show: Callable[[], type[Any]]) -> Any:
    """The one row that points here by a unique foreign key."""
    column, table = key._meta.db_column_name, owner_of(key)

    def begin(context: Context) -> Find:
        async def load(ids: Sequence[UUID]) -> list[Row | None]:
            return await _rows_by(context, table, column, VISIBLE[table], ids)

        rows, shown = context.loader(("has_one", table, column), load), show().of_any
        return lambda root: (rows, row_id(root), shown)

    return looked_up(begin, reads=["id"])


async def _rows_by(
    context: Context, table: type[Table], column: str, rule: Visibility, keys: Sequence[UUID]
) -> list[Row | None]:
    args = Args([list(keys)])
    shown, name = paging.table_columns(table, "t", context.shown, column), table._meta.tablename
    rows = await context.services.db.rows(
        f'select {shown} from {name} t where t."{column}" = any($1::uuid[])'
        f" and {rule(context.viewer, args, 't')}",
        *args,
    )
    found = {row[column]: row for row in rows}
    return [found.get(key) for key in keys]


def pages_under(context: Context, key: Key, listing: Listing, asked: Wish) -> Loader:
    """Pages of the rows that point to a parent; those of all parents by one statement."""
    column = key._meta.db_column_name

    async def load(parents: Sequence[UUID]) -> list[Page]:
        db, viewer = context.services.db, context.viewer
        return await paging.pages_under(db, viewer, listing, asked, column, parents, context.shown)

    return context.loader(("page", listing.name, column, asked.first, asked.after, asked.fingerprint), load)


def counts_under(context: Context, key: Key, listing: Listing, asked: Wish) -> Loader:
    """How many rows point to a parent, over all pages."""
    column = key._meta.db_column_name

    async def load(parents: Sequence[UUID]) -> list[int]:
        return await paging.counts_under(context.services.db, context.viewer, listing, asked, column, parents)

    return context.loader(("count", listing.name, column, asked.fingerprint), load)


def aggregate(key: Key, expression: str, *, default: Any) -> Any:
    """A figure over the rows that point here, e.g. ``count(*)``; `default` where there are none.

    All figures over the same rows that are asked for at once are read by one statement.
    """
    column, table = key._meta.db_column_name, owner_of(key)

    def begin(context: Context) -> Find:
        async def load(wanted: Sequence[tuple[UUID, str]]) -> list[Any]:
            args = Args([list({parent for parent, _ in wanted})])
            places = {each: f"f{n}" for n, each in enumerate(sorted({each for _, each in wanted}))}
            rows = await context.services.db.rows(
                f'select t."{column}" as parent, {_named(places)} from {table._meta.tablename} t'
                f' where t."{column}" = any($1::uuid[]) and {VISIBLE[table](context.viewer, args, "t")}'
                " group by 1",
                *args,
            )
            found: Mapping[UUID, Row] = {row["parent"]: row for row in rows}
            return [found[parent][places[each]] if parent in found else None for parent, each in wanted]

        def shown(value: Any) -> Any:
            return default if value is None else value

        figures = context.loader(("aggregate", table, column), load)
        return lambda root: (figures, (row_id(root), expression), shown)

    return looked_up(begin, reads=["id"])


def _named(expressions: Mapping[str, str]) -> str:
    return ", ".join(f"{expression} as {name}" for expression, name in expressions.items())


def all_of(key: Key, show: Callable[[], type[Any]], order: str, description: str) -> Any:
    """All rows that point here, in the order of a column; for what is few by nature, and shown whole."""
    column, table = key._meta.db_column_name, owner_of(key)

    def begin(context: Context) -> Find:
        async def load(parents: Sequence[UUID]) -> list[list[Row]]:
            args, listed = Args([list(parents)]), paging.table_columns(table, "t", context.shown, column)
            rows = await context.services.db.rows(
                f"select {listed} from {table._meta.tablename} t"
                f' where t."{column}" = any($1::uuid[]) and {VISIBLE[table](context.viewer, args, "t")}'
                f' order by t."{order}", t.id',
                *args,
            )
            under: dict[UUID, list[Row]] = {parent: [] for parent in parents}
            for row in rows:
                under[row[column]].append(row)
            return [under[parent] for parent in parents]

        def shown(rows: Sequence[Row]) -> list[Any]:
            return [show().of(row) for row in rows]

        lists = context.loader(("all_of", table, column), load)
        return lambda root: (lists, row_id(root), shown)

    return looked_up(begin, description, reads=["id"])


NEWEST = Listing(tables.ClassificationResult, conditions=of_model)


def newest_result(show: Callable[[], type[Any]], description: str) -> Any:
    """The newest result of a picture: the one that it names, or that of the model that is asked for."""

    def begin(context: Context, wanted: Wanted) -> Find:
        shown = show().of_any
        if wanted:
            asked = paging.wish(1, wanted=wanted)
            pages = pages_under(context, tables.ClassificationResult.image, NEWEST, asked)

            def first(page: Page) -> Any:
                return shown(page.rows[0] if page.rows else None)

            return lambda image: (pages, row_id(image), first)

        results = by_id(context, tables.ClassificationResult)

        def find(image: Any) -> Found:
            id = image.row["latest_result"]
            return None if id is None else (results, id, shown)

        return find

    return looked_up_by_model(begin, description, reads=["id", "latest_result"])


Read = Callable[[Database, Viewer, Sequence[UUID], Wanted], Awaitable[Sequence[Any]]]
"""What a resolver reads for many rows by one statement: an answer for each id, in their order."""


def each(read: Read, show: Show, description: str) -> Any:
    """What `read` has to say of a row and of a model; it is asked once for all rows that want the same."""

    def begin(context: Context, wanted: Wanted) -> Find:
        async def load(ids: Sequence[UUID]) -> Sequence[Any]:
            return await read(context.services.db, context.viewer, ids, wanted)

        answers = context.loader((read, tuple(sorted(wanted.items()))), load)
        return lambda root: (answers, row_id(root), show)

    return looked_up_by_model(begin, description, reads=["id"])


async def once(info: Info, read: Callable[[Database, Viewer, Any], Awaitable[Any]], about: Hashable) -> Any:
    """What `read` has to say about something, asked once however many fields want it."""
    context = info.context

    async def load(asked: Sequence[Any]) -> list[Any]:
        return [await read(context.services.db, context.viewer, one) for one in asked]

    return await context.loader(read, load).load(about)


Expression = Callable[[Viewer, Args, str], str]
"""Writes SQL for a value of the row that goes by the alias."""


def computed(table: type[Table], expression: Expression, description: str | None = None) -> Any:
    """A value that the database works out for each row, and that may depend on the viewer.

    All values of the same rows that are asked for at once are read by one statement.
    """

    def begin(context: Context) -> Find:
        async def load(wanted: Sequence[tuple[UUID, Expression]]) -> list[Any]:
            args = Args([list({id for id, _ in wanted})])
            each_once = sorted({each for _, each in wanted}, key=lambda each: each.__qualname__)
            places = {each: f"f{n}" for n, each in enumerate(each_once)}
            written = {each(context.viewer, args, "t"): name for each, name in places.items()}
            rows = await context.services.db.rows(
                f"select t.id, {_named(written)} from {table._meta.tablename} t where t.id = any($1::uuid[])",
                *args,
            )
            found: Mapping[UUID, Row] = {row["id"]: row for row in rows}
            return [found[id][places[each]] if id in found else None for id, each in wanted]

        values = context.loader(("computed", table), load)
        return lambda root: (values, (row_id(root), expression), as_it_is)

    return looked_up(begin, description, reads=["id"])
