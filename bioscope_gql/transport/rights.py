"""How long what somebody may do lasts, for connections that live longer than one answer."""

import asyncio
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from bioscope_gql.errors import Unauthenticated
from bioscope_gql.policy import Viewer
from bioscope_gql.transport.execution import Authenticator
from bioscope_gql.transport.masking import is_lost_database

Lapse: TypeAlias = Literal["EXPIRED", "CHANGED", "REVOKED"]


async def lapsed(
    authenticator: Authenticator, authorization: str | None, viewer: Viewer, check_seconds: float
) -> Lapse:
    """Return once the rights of `viewer` are no longer what they were, and say why.

    An expired token is told at its time, everything else within `check_seconds`. While the database is
    away nothing is known, and nothing ends.
    """
    while True:
        left = seconds_left(viewer)
        await asyncio.sleep(min(check_seconds, left))
        if left <= check_seconds:
            return "EXPIRED"
        try:
            current = await authenticator.authenticate(authorization)
        except Unauthenticated as error:
            return "EXPIRED" if error.reason == "EXPIRED" else "REVOKED"
        except Exception as error:
            if not is_lost_database(error):
                raise
        else:
            if current != viewer:
                return "CHANGED"


def seconds_left(viewer: Viewer) -> float:
    """Until the viewer's token expires; infinite for one that does not."""
    if viewer.expires_at is None:
        return float("inf")
    return max((viewer.expires_at - datetime.now(UTC)).total_seconds(), 0.0)
