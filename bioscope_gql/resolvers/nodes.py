"""Whatever goes by an id: of which table it is, if the viewer may see it."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from bioscope_gql.db import Args, Database
from bioscope_gql.policy import VISIBLE, Viewer
from bioscope_gql.tables import Table


async def tables_of(
    db: Database, viewer: Viewer, ids: Sequence[UUID], among: Iterable[type[Table]]
) -> Mapping[UUID, type[Table]]:
    """Which table holds the row of each id, by one statement; what is absent or invisible has none."""
    args, known = Args([list(ids)]), {table._meta.tablename: table for table in among}
    each = [
        f"select t.id, '{name}' as name from {name} t"
        f" where t.id = any($1::uuid[]) and {VISIBLE[table](viewer, args, 't')}"
        for name, table in known.items()
    ]
    rows = await db.rows(" union all ".join(each), *args)
    return {row["id"]: known[row["name"]] for row in rows}
