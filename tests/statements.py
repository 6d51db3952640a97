"""Hearing the SQL statements that one request costs."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
import structlog
from asyncpg.connection import LoggedQuery

from bioscope_gql.db import Database


@dataclass
class Statements:
    """What was heard, by the request that it was for; the server's own duties have none."""

    heard: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def hear(self, statement: LoggedQuery) -> None:
        if "pg_catalog" in statement.query or "set_config('jit'" in statement.query:
            return  # asyncpg asks once on each connection what a type is made of, without JIT
        request = structlog.contextvars.get_contextvars().get("request_id", "")
        self.heard[request].append(statement.query)

    def of(self, response: httpx.Response) -> list[str]:
        return self.heard[response.headers["x-request-id"]]


@asynccontextmanager
async def heard(db: Database) -> AsyncIterator[Statements]:
    """Listens at every connection of a pool."""
    statements = Statements()
    async with AsyncExitStack() as stack:
        for _ in range(db.pool.get_max_size()):
            connection = await stack.enter_async_context(db.pool.acquire())
            connection.add_query_logger(statements.hear)
    yield statements
