"""Datasets: what pictures are kept in."""

from collections.abc import Mapping
from uuid import UUID

from bioscope_gql import policy
from bioscope_gql.db import Args, Connection, Database, Row, certain
from bioscope_gql.errors import FieldProblem, Forbidden, InvalidInput, NotFound
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import words
from bioscope_gql.resolvers.paging import CREATED_AT, Listing, Order, Wanted, table_columns
from bioscope_gql.services import Services
from bioscope_gql.tables import Dataset
from bioscope_gql.vocabulary import AccessLevel, uuid7

COLUMNS = table_columns(Dataset, "t")
NAME_LENGTH = 200
DESCRIPTION_LENGTH = 10_000


def conditions(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """What the contract's DatasetFilter means."""
    found = []
    if "owner_id" in wanted:
        found.append(f"{alias}.owner = {args(words.read_id(wanted['owner_id']))}")
    if wanted.get("search"):
        found.append(f"{alias}.search_text like {args(words.search_pattern(wanted['search']))}")
    return found


LISTING = Listing(Dataset, {"CREATED_AT": CREATED_AT, "NAME": Order("name")}, conditions)


async def find(services: Services, viewer: Viewer, id: UUID | None) -> Row | None:
    args = Args([id])
    return await services.db.row(
        f"select {COLUMNS} from datasets t where t.id = $1 and {policy.visible_datasets(viewer, args, 't')}",
        *args,
    )


async def reach(
    db: Database | Connection,
    viewer: Viewer,
    id: UUID | str | None,
    needed: AccessLevel,
    doing: str,
    lock: str = "",
) -> Row:
    """The dataset, if the viewer sees it and may do so much there; `lock` is e.g. ``for share``. An id
    may be as a client sent it.

    Raises:
        NotFound: absent or invisible.
        Forbidden: visible, but the access is too low.
    """
    args = Args([words.read_id(id)])
    visible = policy.visible_datasets(viewer, args, "t")
    access = policy.access_level(viewer, args, "t")
    sql = f"select {COLUMNS}, {access} as access from datasets t where t.id = $1 and {visible} {lock}"
    row = await (db.row(sql, *args) if isinstance(db, Database) else db.fetchrow(sql, *args))
    if row is None:
        raise NotFound("There is no dataset of this id that you may see.", ids=[str(id)] if id else [])
    policy.must_reach(AccessLevel(row["access"]), needed, doing)
    return row


async def create(services: Services, viewer: Viewer, *, name: str, description: str | None) -> Row:
    """A new, empty dataset of the viewer's.

    Raises:
        InvalidInput: the name or the description can't be.
        Forbidden: the viewer is a machine.
    """
    if not viewer.is_person:
        raise Forbidden("A service account can't own datasets; sign in as a person.", "SCOPE")
    _check(name, description)
    row = await services.db.row(
        "insert into datasets as t (id, name, description, owner, search_text)"
        f" values ($1, $2, $3, $4, $5) returning {COLUMNS}",
        uuid7(),
        name.strip(),
        description,
        viewer.id,
        words.searchable(name, description),
    )
    return certain(row)


async def update(
    services: Services, viewer: Viewer, id: UUID | str | None, *, changes: Mapping[str, str | None]
) -> Row:
    """Change the name, the description or both; what `changes` leaves out stays.

    Raises:
        NotFound, Forbidden: as for `reach`.
        InvalidInput: the name is null, or a text can't be.
    """
    async with services.db.transaction() as tx:
        row = await reach(tx, viewer, id, AccessLevel.MANAGE, "change the dataset", "for no key update")
        name = changes.get("name", row["name"])
        description = changes.get("description", row["description"])
        if name is None:
            raise InvalidInput.at("NULL", ("name",), "A dataset needs a name.")
        _check(name, description)
        changed = await tx.fetchrow(
            "update datasets t set name = $2, description = $3, search_text = $4,"
            f" updated_at = clock_timestamp() where t.id = $1 returning {COLUMNS}",
            row["id"],
            name.strip(),
            description,
            words.searchable(name, description),
        )
    return certain(changed)


def _check(name: str, description: str | None) -> None:
    problems: list[FieldProblem] = words.check_line(name, "name", most=NAME_LENGTH)
    if description is not None:
        problems += words.check_text(description, "description", most=DESCRIPTION_LENGTH)
    if problems:
        raise InvalidInput("The dataset can't be like this.", fields=problems)
