"""Messages that could not be stored, for administrators."""

from uuid import UUID

from bioscope_gql.db import Row, certain
from bioscope_gql.errors import InvalidInput, NotFound
from bioscope_gql.events.messages import Unreadable, parse_result
from bioscope_gql.policy import Action, Viewer
from bioscope_gql.resolvers import results, words
from bioscope_gql.resolvers.paging import Listing, Order, table_columns
from bioscope_gql.services import Services
from bioscope_gql.tables import DeadLetter

COLUMNS = table_columns(DeadLetter, "t")
LISTING = Listing(DeadLetter, {"CREATED_AT": Order("received_at", words.read_time)})


async def replay(services: Services, viewer: Viewer, id: UUID | str | None) -> Row:
    """Record a stored message as if it came now: after a mended model, say, or a restored dataset.

    Raises:
        Forbidden: the viewer is no administrator.
        NotFound: there is no such message.
        InvalidInput: it can't be recorded now either, or was cut when it was kept.
    """
    viewer.must(Action.READ_DEAD_LETTERS)
    row = await services.db.row(f"select {COLUMNS} from dead_letters t where t.id = $1", words.read_id(id))
    if row is None:
        raise NotFound("There is no dead letter of this id.", ids=[str(id)] if id else [])
    if row["payload_is_cut"]:
        raise InvalidInput.at("TOO_LONG", ("id",), "The message was too long to be kept whole.")
    try:
        answer = parse_result((row["payload"] or "").encode())
    except Unreadable as error:
        raise InvalidInput.at("OUT_OF_RANGE", ("id",), f"It still can't be read: {error.reason}") from None
    applied = await results.record(services, [answer])
    if applied.foreign:
        message = "It still belongs to no picture of any run."
        raise InvalidInput.at("OUT_OF_RANGE", ("id",), message)
    return certain(
        await services.db.row(
            f"update dead_letters t set replayed_at = clock_timestamp() where t.id = $1 returning {COLUMNS}",
            row["id"],
        )
    )
