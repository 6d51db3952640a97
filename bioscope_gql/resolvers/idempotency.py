"""The same key and input from the same caller start one run, however often they are sent."""

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from bioscope_gql.db import Connection, Database
from bioscope_gql.errors import Conflict, InvalidInput
from bioscope_gql.policy import Viewer
from bioscope_gql.resolvers import words
from bioscope_gql.vocabulary import uuid7

LONGEST_KEY = 255


async def is_repeat(db: Database, viewer: Viewer, key: str | None) -> bool:
    """Whether the viewer has used `key` before, be it for the same input or another."""
    if key is None:
        return False
    sql = "select exists (select from idempotency_keys where created_by = $1 and key = $2)"
    return await db.value(sql, viewer.id, words.comparable(key)) is True


async def claim(tx: Connection, viewer: Viewer, key: str, asked: Mapping[str, Any], run: UUID) -> UUID | None:
    """Keep `key` for `run`, within the transaction that makes it: a refusal keeps nothing.

    Whoever comes at the same time waits for the first. Returns the run that the key stands for already,
    or None where it is ours now.

    Raises:
        Conflict: IDEMPOTENCY_KEY_REUSED, the key stands for another input.
        InvalidInput: it is empty, or too long.
    """
    if not 1 <= len(key) <= LONGEST_KEY or "\0" in key:
        message = f"A key has 1 to {LONGEST_KEY} characters, none of them NUL."
        raise InvalidInput.at("TOO_LONG" if key else "TOO_SHORT", ("idempotencyKey",), message)
    digest = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS, default=str)).digest()
    ours = await tx.fetchval(
        "insert into idempotency_keys (id, created_by, key, input_hash, classification)"
        " values ($1, $2, $3, $4, $5) on conflict do nothing returning id",
        uuid7(), viewer.id, key, digest, run,
    )  # fmt: skip
    if ours is not None:
        return None
    known = await tx.fetchrow(
        "select input_hash, classification from idempotency_keys where created_by = $1 and key = $2",
        viewer.id,
        key,
    )
    if known is None or known["input_hash"] != digest:
        raise Conflict("This key was used for another input. Use a new one.", "IDEMPOTENCY_KEY_REUSED")
    found: UUID = known["classification"]
    return found
