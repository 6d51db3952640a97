"""Pages of rows by keyset: no offset, no repeats, no gaps for rows that stay.

One statement serves a root list, or the same list under many parents at once (a lateral join).
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

import orjson

from bioscope_gql.db import Args, Database, Row, columns
from bioscope_gql.errors import Refusal
from bioscope_gql.policy import DATASET_OF, VISIBLE, Viewer, dataset_ids
from bioscope_gql.resolvers import words
from bioscope_gql.tables import Table

FIRST = 20
MOST = 100


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a list that are found alike: where, what orders them, under what conditions.

    `id` settles ties, and stands in the same index as `value`. `given` says already what the filters
    `settled` want, and `home` is the table by whose dataset they are told apart.
    """

    source: str
    value: str
    given: Sequence[str] = ()
    id: str = "t.id"
    settled: Sequence[str] = ()
    home: str = "t"


@dataclass(frozen=True, slots=True)
class Order:
    """A column that a list can be ordered by. Rows without a value come last in both directions."""

    column: str
    parse: Callable[[Any], Any] = words.comparable
    nullable: bool = False

    def part(self, listing: "Listing", wanted: "Wanted", args: Args, *, valued: bool) -> Part:  # noqa: ARG002
        """Where the rows with a value are found, or those without."""
        value = f't."{self.column}"'
        given = [f"{value} is {'not ' if valued else ''}null"] if self.nullable else []
        return Part(f"{listing.name} t", value, given)


CREATED_AT = Order("created_at", words.read_time)

Wanted = Mapping[str, Any]
"""What a filter asks for: only the fields that were set, by their Python names."""

Conditions = Callable[[Wanted, Args, str], list[str]]


def no_conditions(_wanted: Wanted, _args: Args, _alias: str) -> list[str]:
    return []


def compare(columns: Mapping[str, str]) -> Conditions:
    """Conditions of a filter whose fields are compared with a column, e.g. ``{"name": "name ="}``."""

    def conditions(wanted: Wanted, args: Args, alias: str) -> list[str]:
        return [f"{alias}.{columns[name]} {args(value)}" for name, value in wanted.items() if name in columns]

    return conditions


Narrowed = Callable[[Viewer, Wanted, Args, str], list[str]]


def as_everybody(_viewer: Viewer, _wanted: Wanted, _args: Args, _alias: str) -> list[str]:
    return []


@dataclass(frozen=True)
class Listing:
    """How rows of one table are listed: its orders by name, and what a filter means in SQL.

    `narrowed` adds what a filter means to some viewers only.
    `pointed` says whether a wish names so few rows that they are found at once, in whatever dataset they lie.
    `counted` may name counts that are had faster than that of the rows, and add up to it.
    `covered` says whether an index holds all that a wish compares, but not what it shows.
    """

    table: type[Table]
    orders: Mapping[str, Order] = field(default_factory=lambda: {"CREATED_AT": CREATED_AT})
    conditions: Conditions = no_conditions
    narrowed: Narrowed = as_everybody
    pointed: Callable[["Wish"], bool] = lambda _asked: False
    counted: Callable[[Viewer, Wanted], Sequence["Term"]] = lambda _viewer, _wanted: ()
    covered: Callable[["Wish"], bool] = lambda _asked: False

    @property
    def name(self) -> str:
        return self.table._meta.tablename


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a count: of the rows of this list that a filter wants, "+" or "-"."""

    sign: str
    listing: Listing
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked of a list: everything that its cursors are bound to, and where to go on."""

    first: int
    order: str
    descending: bool
    wanted: Wanted = field(default_factory=dict)
    after: str | None = None

    @property
    def fingerprint(self) -> str:
        said = f"{self.order} {self.descending} {sorted(self.wanted.items(), key=str)!r}"
        return hashlib.blake2s(said.encode(), digest_size=6).hexdigest()


def naming(*filters: str) -> Callable[[Wish], bool]:
    """Whether a wish sets one of these filters."""

    def names(asked: Wish) -> bool:
        return any(name in asked.wanted for name in filters)

    return names


@dataclass(frozen=True, slots=True)
class Page:
    rows: Sequence[Row]
    cursors: Sequence[str]
    has_next: bool
    has_previous: bool


def wish(
    first: int | None,
    after: str | None = None,
    order: str = "CREATED_AT",
    descending: bool = True,
    wanted: Wanted | None = None,
) -> Wish:
    """
    Raises:
        Refusal: `first` is not within 1 and 100.
    """
    first = FIRST if first is None else first
    if not 1 <= first <= MOST:
        raise Refusal(f"`first` is {first}; it may be 1 to {MOST}. Page on with `after` for more.")
    return Wish(first, order, descending, wanted or {}, after)


Shown = Mapping[type[Table], frozenset[str]]
"""The columns of each table that somebody will look at; of a table that is not named here, all."""

EVERYTHING: Shown = {}


@cache
def open_columns(table: type[Table]) -> tuple[str, ...]:
    """Every column of a table but the secret ones."""
    return tuple(each._meta.db_column_name for each in table._meta.columns if not each._meta.secret)


def table_columns(table: type[Table], alias: str, shown: Shown = EVERYTHING, *also: str) -> str:
    """The columns that are shown, the id and `also`, as a select list; the secret ones never.

    Always in the order of the table, so that the same columns are the same prepared statement.
    """
    return _select_list(table, alias, shown.get(table), also)


@lru_cache(maxsize=1024)
def _select_list(table: type[Table], alias: str, shown: frozenset[str] | None, also: tuple[str, ...]) -> str:
    names = open_columns(table)
    if shown is not None:
        names = tuple(name for name in names if name in shown or name == "id" or name in also)
    return columns(names, alias)


async def root_page(
    db: Database, viewer: Viewer, listing: Listing, asked: Wish, shown: Shown = EVERYTHING
) -> Page:
    args = Args()
    column = None if listing.pointed(asked) else DATASET_OF.get(listing.table)
    mine = dataset_ids(viewer, args) if column else None
    if mine is None:
        visible = VISIBLE[listing.table](viewer, args, "t")
        sql = _select(viewer, listing, asked, shown, args, lambda _: [visible])
    else:
        # The newest of each dataset and of those the newest: no more rows than that, wherever they lie, and
        # from an index where it can be. Then what is shown of them is read.
        # A second look at visibility inside would make the planner expect hardly any row.
        under = _select(viewer, listing, asked, None, args, lambda home: [f"{home}.{column} = mine.id"])
        found = f"select r.* from unnest({mine}) as mine(id) cross join lateral ({under}) r"
        found = f"{found} order by {_sorted(asked, 'r')} limit {asked.first + 1}"
        sql = _shown(listing, table_columns(listing.table, "t", shown), found, asked)
    return _page(listing, asked, await db.rows(sql, *args))


async def pages_under(
    db: Database,
    viewer: Viewer,
    listing: Listing,
    asked: Wish,
    column: str,
    parents: Sequence[UUID],
    shown: Shown = EVERYTHING,
) -> list[Page]:
    """The same page of rows under each parent, by one statement."""
    args = Args([list(parents)])
    is_home = column == DATASET_OF.get(listing.table)
    mine = dataset_ids(viewer, args) if is_home else None

    def within(home: str) -> list[str]:
        visible = VISIBLE[listing.table](viewer, args, "t") if mine is None else "true"
        return [f'{home if is_home else "t"}."{column}" = p.parent', visible]

    inner = _select(viewer, listing, asked, shown, args, within)
    rows = await db.rows(
        "select p.parent as parent_id, r.* from unnest($1::uuid[]) as p(parent)"
        f" cross join lateral ({inner}) r where {f'p.parent = any({mine})' if mine else 'true'}",
        *args,
    )
    under: dict[UUID, list[Row]] = {parent: [] for parent in parents}
    for row in rows:
        under[row["parent_id"]].append(row)
    return [_page(listing, asked, under[parent]) for parent in parents]


async def count(db: Database, viewer: Viewer, listing: Listing, asked: Wish) -> int:
    args = Args()
    terms = listing.counted(viewer, asked.wanted) or [Term("+", listing, asked.wanted)]
    counts = " ".join(
        f"{term.sign} (select count(*) from {term.listing.name} t where"
        f" {_where(viewer, term.listing, term.wanted, args)})"
        for term in terms
    )
    found: int = await db.value(f"select {counts}", *args)
    return found


async def counts_under(
    db: Database, viewer: Viewer, listing: Listing, asked: Wish, column: str, parents: Sequence[UUID]
) -> list[int]:
    args = Args([list(parents)])
    where = _where(viewer, listing, asked.wanted, args)
    rows = await db.rows(
        f'select t."{column}" as parent, count(*) as count from {listing.name} t'
        f' where t."{column}" = any($1::uuid[]) and {where} group by 1',
        *args,
    )
    found = {row["parent"]: row["count"] for row in rows}
    return [found.get(parent, 0) for parent in parents]


def _where(viewer: Viewer, listing: Listing, wanted: Wanted, args: Args) -> str:
    visible = VISIBLE[listing.table](viewer, args, "t")
    narrowed = listing.narrowed(viewer, wanted, args, "t")
    return " and ".join([visible, *listing.conditions(wanted, args, "t"), *narrowed])


Within = Callable[[str], Sequence[str]]
"""The conditions that a list is narrowed by before any filter; told the home of a part's rows."""


def _select(
    viewer: Viewer, listing: Listing, asked: Wish, shown: Shown | None, args: Args, within: Within
) -> str:
    """The rows of a page and one more; those that share a value by their ids. No `shown`: their ids alone."""
    order = listing.orders[asked.order]
    after = None
    if asked.after is not None:
        after = _read_cursor(asked.after, order, _binding(listing, asked))
    has_value = after is None or after[0] is not None
    kinds = [each for each in ((True, False) if order.nullable else (True,)) if has_value or not each]
    listed, selects = None if shown is None else table_columns(listing.table, "t", shown), []
    for valued in kinds:
        part = order.part(listing, asked.wanted, args, valued=valued)
        open_wishes = {name: value for name, value in asked.wanted.items() if name not in part.settled}
        wanted = [
            *listing.conditions(open_wishes, args, "t"),
            *listing.narrowed(viewer, open_wishes, args, "t"),
        ]
        beyond = _beyond(asked, part, after, args, valued=valued)
        selects.append(_part(listing, listed, asked, part, [*within(part.home), *wanted, *beyond]))
    if len(selects) == 1:
        return selects[0]
    rows = " union all ".join(f"select * from ({select}) part" for select in selects)
    return f"select * from ({rows}) parts limit {asked.first + 1}"


def _beyond(asked: Wish, part: Part, after: "Place | None", args: Args, *, valued: bool) -> list[str]:
    """What leaves out everything up to the cursor; rows without a value are beyond any value."""
    way = "<" if asked.descending else ">"
    if after is None or (after[0] is not None and not valued):
        return []
    if valued:
        return [f"({part.value}, {part.id}) {way} ({args(after[0])}, {args(after[1])})"]
    return [f"{part.id} {way} {args(after[1])}"]


def _part(listing: Listing, listed: str | None, asked: Wish, part: Part, where: Sequence[str]) -> str:
    way = "desc" if asked.descending else "asc"
    covered = listing.covered(asked)
    # The limit is a literal on purpose: with a parameter the generic plan ignores how small it is.
    found = (
        f"select {'t.id' if covered or listed is None else listed}, {part.value} as order_value"
        f" from {part.source} where {' and '.join([*part.given, *where])}"
        f" order by {part.value} {way}, {part.id} {way} limit {asked.first + 1}"
    )
    if not covered or listed is None:
        return found
    # Only then are rows read; PostgreSQL would read every row that the index passes over.
    return _shown(listing, listed, found, asked)


def _shown(listing: Listing, listed: str, found: str, asked: Wish) -> str:
    """The rows whose ids were found, one by one: with the limit inside no table is ever read whole."""
    return (
        f"select {listed}, k.order_value from ({found}) k"
        f" cross join lateral (select * from {listing.name} t where t.id = k.id limit 1) t"
        f" order by {_sorted(asked, 'k')}"
    )


def _sorted(asked: Wish, alias: str) -> str:
    way = "desc" if asked.descending else "asc"
    return f"{alias}.order_value {way} nulls last, {alias}.id {way}"


def _page(listing: Listing, asked: Wish, rows: Sequence[Row]) -> Page:
    shown = rows[: asked.first]
    binding = _binding(listing, asked)
    cursors = [_write_cursor(binding, row["order_value"], row["id"]) for row in shown]
    return Page(shown, cursors, len(rows) > asked.first, asked.after is not None)


def _binding(listing: Listing, asked: Wish) -> str:
    """What a cursor is good for: one list, in one order, by one filter."""
    return hashlib.blake2s(f"{listing.name} {asked.fingerprint}".encode(), digest_size=6).hexdigest()


def _write_cursor(binding: str, value: Any, id: UUID) -> str:
    said = orjson.dumps([binding, value, id], default=str)
    return base64.urlsafe_b64encode(said).rstrip(b"=").decode()


Place = tuple[Any, UUID]
"""Where a page begins: after the row of this order value and id."""


def _read_cursor(after: str, order: Order, binding: str) -> Place:
    try:
        said = orjson.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
        bound_to, value, id = said
        found = (None if value is None else order.parse(value)), UUID(id)
    except (ValueError, TypeError, AttributeError, binascii.Error):
        raise Refusal("`after` is not a cursor of this list. Take it from `pageInfo.endCursor`.") from None
    if bound_to != binding:
        raise Refusal("`after` belongs to another list, order or filter. Start again without it.")
    return found
