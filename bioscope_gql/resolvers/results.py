"""Answers of workers, recorded once; late, repeated and foreign ones change nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from bioscope_gql.db import KEEP_PLANS, Args, Connection, Row
from bioscope_gql.events.messages import Failed, Failure, Ok, SeedResult, Started
from bioscope_gql.resolvers import newest, runs, words
from bioscope_gql.resolvers.paging import (
    CREATED_AT,
    Listing,
    Order,
    Wanted,
    compare,
    naming,
)
from bioscope_gql.services import Services
from bioscope_gql.tables import ClassificationResult
from bioscope_gql.vocabulary import uuid7

ItemAnswer = Started | Ok | Failed
Answer = ItemAnswer | SeedResult

START = """
update classification_items i set
  status = 'RUNNING', started_at = coalesce(i.started_at, clock_timestamp()), worker_name = m.worker,
  lease_until = clock_timestamp() + make_interval(secs => $4),
  version = case when i.status = 'RUNNING' then i.version else c.version + 1 end
from unnest($1::uuid[], $2::int[], $3::text[]) as m(item, attempt, worker), classifications c
where i.id = m.item and i.attempt = m.attempt and i.status in ('QUEUED', 'RUNNING')
  and i.dispatched_at is not null and c.id = i.classification
returning i.id, i.classification, old.status as was, i.status
"""

FINISH = """
update classification_items i set
  status = case when m.code is null then 'SUCCEEDED' when again then 'QUEUED' else 'FAILED' end,
  attempt = i.attempt + again::int, tries = i.tries + (m.code is not null and m.retryable)::int,
  error_code = case when not again then m.code end, error_message = case when not again then m.message end,
  worker_name = m.worker, lease_until = null,
  dispatched_at = case when not again then i.dispatched_at end,
  queued_at = case when again then clock_timestamp() else i.queued_at end,
  started_at = case when not again then coalesce(i.started_at, i.dispatched_at) end,
  finished_at = case when not again then clock_timestamp() end, version = c.version + 1
from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::bool[], $6::text[])
    as m(item, attempt, code, message, retryable, worker)
  join classification_items j on j.id = m.item
  join classifications c on c.id = j.classification
  cross join lateral (select m.code is not null and m.retryable and j.tries + 1 < $7) as a(again)
where i.id = m.item and i.attempt = m.attempt and i.status in ('QUEUED', 'RUNNING')
  and i.dispatched_at is not null
returning i.id, i.attempt, i.classification, i.image, c.dataset, old.status as was, i.status
"""

INSERT = """
insert into classification_results
  (id, item, classification, image, dataset, label, confidence, scores, model_name, model_version,
   model_digest, worker_name, measurements, details, duration_ms)
select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::float8[],
  $8::jsonb[], $9::text[], $10::text[], $11::text[], $12::text[], $13::jsonb[], $14::jsonb[], $15::int[])
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch: how many answers changed something or came too late, and those of nobody."""

    recorded: int = 0
    superseded: int = 0
    foreign: Sequence[Answer] = field(default_factory=tuple)


def conditions(wanted: Wanted, args: Args, alias: str) -> list[str]:
    """What the contract's ClassificationResultFilter means."""
    found = compare(
        {
            "model_name": "model_name =",
            "model_version": "model_version =",
            "confidence_at_least": "confidence >=",
            "confidence_at_most": "confidence <=",
            "created_after": "created_at >=",
            "created_before": "created_at <",
        }
    )(wanted, args, alias)
    for name in ("image_id", "classification_id", "dataset_id"):
        if name in wanted:
            found.append(f"{alias}.{name.removesuffix('_id')} = {args(words.read_id(wanted[name]))}")
    if "label" in wanted:
        found.append(words.one_of(f"{alias}.label", wanted["label"], args))
    return found


LISTING = Listing(
    ClassificationResult,
    {"CREATED_AT": CREATED_AT, "CONFIDENCE": Order("confidence", float)},
    conditions,
    pointed=naming("image_id", "classification_id"),
)


async def record(services: Services, answers: Sequence[Answer]) -> Applied:
    """Apply a batch in one transaction; committed when it returns. Applying it again changes nothing.

    Raises:
        asyncpg.PostgresError: and nothing of the batch was applied.
    """
    async with services.db.transaction() as tx:
        await tx.execute(KEEP_PLANS)
        matched, foreign = await _matched(tx, answers)
        locked = await runs.lock(tx, {run for _, run in matched})
        # A run that was deleted between the two statements took its items along.
        known = {_key(answer): locked[run] for answer, run in matched if run in locked}
        final, started = _collapse([answer for answer, _ in matched if _key(answer) in known])
        judged = {key: _judge(answer, known[key]) for key, answer in final.items()}
        rows = [*await _finish(tx, final, judged, services.settings.limits.tries)]
        begun = await _start(tx, started, services.settings.limits.lease_seconds)
        changes = await runs.apply(tx, runs.deltas([*rows, *(r for r in begun if r["was"] != r["status"])]))
    for change in changes:
        services.hub.tell(change)
    if rows:
        services.wake_dispatch()
    recorded = len(rows) + len(begun)
    return Applied(recorded, len(answers) - len(foreign) - recorded, foreign)


Key = tuple[UUID, int]


def _key(answer: ItemAnswer) -> Key:
    return answer.item_id, answer.attempt


async def _matched(
    tx: Connection, answers: Sequence[Answer]
) -> tuple[list[tuple[ItemAnswer, UUID]], list[Answer]]:
    """The answers with the runs that they belong to, and those that belong to nobody."""
    ids = [answer.item_id for answer in answers if not isinstance(answer, SeedResult)]
    rows = await tx.fetch(
        "select id, classification from classification_items where id = any($1::uuid[])", ids
    )
    run_of: dict[UUID, UUID] = {row["id"]: row["classification"] for row in rows}
    seed = await _seed_items(tx, [answer for answer in answers if isinstance(answer, SeedResult)])
    known: list[tuple[ItemAnswer, UUID]] = []
    foreign: list[Answer] = []
    for answer in answers:
        if isinstance(answer, SeedResult):
            item = seed.get((answer.classification_id, answer.image_id))
            if item is not None:
                known.append((_translated(answer, item), answer.classification_id))
                continue
        elif answer.item_id in run_of:
            known.append((answer, run_of[answer.item_id]))
            continue
        foreign.append(answer)
    return known, foreign


async def _seed_items(tx: Connection, answers: Sequence[SeedResult]) -> Mapping[tuple[UUID, UUID], Row]:
    """Version 0 names run and picture; the item is theirs, whatever the attempt."""
    if not answers:
        return {}
    rows = await tx.fetch(
        "select i.id, i.attempt, i.classification, i.image, c.model_name, c.model_version"
        " from unnest($1::uuid[], $2::uuid[]) as m(run, image)"
        " join classification_items i on i.classification = m.run and i.image = m.image"
        " join classifications c on c.id = i.classification",
        [answer.classification_id for answer in answers],
        [answer.image_id for answer in answers],
    )
    return {(row["classification"], row["image"]): row for row in rows}


def _translated(answer: SeedResult, item: Row) -> Ok:
    """A flat message of version 0 as one of today. It has no version of its own: the run's counts."""
    return Ok.model_validate(
        {
            "itemId": item["id"],
            "attempt": item["attempt"],
            "scores": [{"label": answer.label, "confidence": answer.confidence}],
            "model": {"name": answer.model_name, "version": item["model_version"]},
            "worker": {"name": answer.model_name},
        }
    )


def _collapse(answers: Sequence[ItemAnswer]) -> tuple[dict[Key, Ok | Failed], dict[Key, Started]]:
    """Of each item and attempt the first final answer; a `started` only where there is none."""
    final: dict[Key, Ok | Failed] = {}
    started: dict[Key, Started] = {}
    for answer in answers:
        if isinstance(answer, Started):
            started[_key(answer)] = answer
        else:
            final.setdefault(_key(answer), answer)
    return final, {key: answer for key, answer in started.items() if key not in final}


def _judge(answer: ItemAnswer, run: Row) -> Failure | None:
    """What is wrong with an answer: what the worker says, or that another model gave it."""
    if isinstance(answer, Failed):
        return answer.error
    if isinstance(answer, Ok) and (answer.model.name, answer.model.version) != (
        run["model_name"],
        run["model_version"],
    ):
        asked, got = (
            f"{run['model_name']} {run['model_version']}",
            f"{answer.model.name} {answer.model.version}",
        )
        return Failure(
            code="MODEL_MISMATCH", message=f"{asked} was asked for, {got} answered.", retryable=False
        )
    return None


async def _finish(
    tx: Connection, final: Mapping[Key, Ok | Failed], judged: Mapping[Key, Failure | None], tries: int
) -> list[Row]:
    if not final:
        return []
    failures = [judged[key] for key in final]
    rows: list[Row] = await tx.fetch(
        FINISH,
        [item for item, _ in final],
        [attempt for _, attempt in final],
        [failure and failure.code for failure in failures],
        [failure and failure.message for failure in failures],
        [failure is not None and failure.retryable for failure in failures],
        [answer.worker.name for answer in final.values()],
        tries,
    )
    fresh = [(row, final[row["id"], row["attempt"]]) for row in rows if row["status"] == "SUCCEEDED"]
    if fresh:
        values = [_values(row, answer) for row, answer in fresh if isinstance(answer, Ok)]
        await tx.execute(INSERT, *zip(*values, strict=True))
        await newest.note(tx, [row["image"] for row, _ in fresh], [value[0] for value in values])
    return rows


def _values(row: Row, answer: Ok) -> tuple[Any, ...]:
    """One result, in the order of INSERT."""
    return (
        uuid7(),
        row["id"],
        row["classification"],
        row["image"],
        row["dataset"],
        answer.label,
        answer.confidence,
        orjson.dumps([{"label": s.label, "confidence": s.confidence} for s in answer.scores]).decode(),
        answer.model.name,
        answer.model.version,
        answer.model.digest,
        answer.worker.name,
        orjson.dumps([m.model_dump(by_alias=True) for m in answer.measurements]).decode(),
        orjson.dumps(answer.details or {}).decode(),
        answer.duration_ms,
    )


async def _start(tx: Connection, started: Mapping[Key, Started], lease_seconds: int) -> list[Row]:
    if not started:
        return []
    rows: list[Row] = await tx.fetch(
        START,
        [item for item, _ in started],
        [attempt for _, attempt in started],
        [answer.worker.name for answer in started.values()],
        float(lease_seconds),
    )
    return rows
