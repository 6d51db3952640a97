"""Results as workers leave them, straight into the tables, so that a test may choose every value."""

from datetime import datetime
from uuid import UUID

from bioscope_gql.resolvers import newest
from bioscope_gql.vocabulary import uuid7
from tests.lab import Lab


async def a_model(lab: Lab, name: str, version: str) -> UUID:
    id: UUID = await lab.db.value(
        "insert into models (id, name, version) values ($1, $2, $3)"
        " on conflict (name, version) do update set name = excluded.name returning id",
        uuid7(), name, version,
    )  # fmt: skip
    return id


async def a_run(
    lab: Lab, dataset: str, name: str = "teller", version: str = "1.0.0", at: datetime | None = None
) -> str:
    """A run that has ended and has no items yet."""
    run = uuid7()
    await lab.db.execute(
        "insert into classifications (id, dataset, model, model_name, model_version, total, queued,"
        " created_at, updated_at, finished_at)"
        " select $1, $2, $3, $4, $5, 0, 0, at, at, at from coalesce($6::timestamptz, now()) at",
        run, UUID(dataset), await a_model(lab, name, version), name, version, at,
    )  # fmt: skip
    return str(run)


async def a_verdict(
    lab: Lab, run: str, image: str, label: str, confidence: float, at: datetime | None = None
) -> str:
    """What the model of a run said of a picture; the picture shows it, if nothing newer is there."""
    item, result = uuid7(), uuid7()
    async with lab.db.transaction() as tx:
        await tx.execute(
            "insert into classification_items (id, classification, image, model, status)"
            " select $1, id, $2, model, 'SUCCEEDED' from classifications where id = $3",
            item, UUID(image), UUID(run),
        )  # fmt: skip
        await tx.execute(
            "insert into classification_results (id, item, classification, image, dataset, label, confidence,"
            " scores, model_name, model_version, created_at)"
            " select $1, $2, id, $3, dataset, $4, $5, '[]', model_name, model_version,"
            " coalesce($6::timestamptz, now()) from classifications where id = $7",
            result, item, UUID(image), label, confidence, at, UUID(run),
        )  # fmt: skip
        await tx.execute(
            "update classifications set total = total + 1, succeeded = succeeded + 1 where id = $1", UUID(run)
        )
        await newest.note(tx, [UUID(image)], [result])
    return str(result)
