"""A laboratory after some years: a database of any size, made by COPY.

    python bench/data.py DIRECTORY [PICTURES]

Leaves an embedded PostgreSQL's data in DIRECTORY, which `bench/reads.py` takes. As many results as four for
each picture: of two models in two versions; one picture in fifty has none. Always the same rows for a size,
but for their ids and for the time, which ends now.
"""

import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from bioscope_gql.commands import running
from bioscope_gql.embedded.stack import Stack
from bioscope_gql.migrations import forwards
from bioscope_gql.vocabulary import uuid7

Row = tuple[Any, ...]

CHUNK = 20_000
BULK_SECONDS = 900
SPAN = timedelta(days=730)
MODELS = [("smears", "1.0.0"), ("smears", "2.0.0"), ("cells", "1.0.0"), ("cells", "1.1.0")]
LABELS = ["neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil", "platelet", "artefact", "blast"]
LABEL_WEIGHTS = list(accumulate([55, 25, 8, 5, 3, 2.5, 1.48, 0.02]))
TYPES = ["image/png", "image/tiff", "image/jpeg", "image/bmp"]
TYPE_WEIGHTS = list(accumulate([70, 25, 4.99, 0.01]))
WORDS = ["Abstrich", "smear", "Köln", "field", "slide", "marrow", "Übersicht", "probe"]
BIG = ("images", "classifications", "classification_items", "classification_results")


@dataclass(frozen=True)
class Size:
    """How much there is of what."""

    pictures: int = 500_000
    users: int = 200
    datasets: int = 1_000
    grants_per_user: int = 30
    devices: int = 20


@dataclass(frozen=True)
class Ground:
    """What pictures stand on: made first, as ids."""

    users: Sequence[UUID]
    datasets: Sequence[UUID]
    devices: Sequence[UUID]
    runs: Sequence[Sequence[UUID]]


def uuid_at(at: datetime, chance: random.Random) -> UUID:
    """An id as it would have been made then."""
    milliseconds = int(at.timestamp() * 1000)
    return UUID(
        int=milliseconds << 80
        | 0x7 << 76
        | chance.getrandbits(12) << 64
        | 0b10 << 62
        | chance.getrandbits(62)
    )


async def fill(dsn: str, size: Size) -> None:
    """Put it all into a database that was just migrated; whoever connects must be a superuser."""
    connection = await asyncpg.connect(dsn, command_timeout=BULK_SECONDS)
    try:
        await connection.execute("set session_replication_role = replica; set maintenance_work_mem = '512MB'")
        indexes = await connection.fetch(
            "select indexname, indexdef from pg_indexes i where tablename = any($1::text[]) and not exists"
            " (select from pg_constraint c where c.conname = i.indexname)",
            BIG,
        )
        for index in indexes:
            await connection.execute(f"drop index {index['indexname']}")
        ground = await _ground(connection, size)
        await _pictures(connection, ground, size)
        for index in indexes:
            await connection.execute(index["indexdef"])
        await connection.execute(COUNT)
        await connection.execute("vacuum analyze")
    finally:
        await connection.close()


COUNT = """
update classifications c set total = n.count, succeeded = n.count from (
  select classification, count(*) as count from classification_items group by 1) n
where n.classification = c.id
"""


async def _ground(connection: asyncpg.Connection, size: Size) -> Ground:
    chance = random.Random(7)  # noqa: S311 - no secret
    users, datasets, devices, models = (
        [uuid7() for _ in range(count)] for count in (size.users, size.datasets, size.devices, len(MODELS))
    )
    names = [f"person{number}" for number in range(size.users)]
    await connection.executemany(
        "insert into users (id, email, email_key, username, username_key, role)"
        " values ($1, $2, $2, $3, $3, 'ANALYST')",
        [(id, f"{name}@lab.example", name) for id, name in zip(users, names, strict=True)],
    )
    await connection.executemany(
        "insert into devices (id, name, name_key, device_type) values ($1, $2, $2, 'microscope')",
        [(id, f"device {number}") for number, id in enumerate(devices)],
    )
    owners = [chance.choice(users) for _ in datasets]
    await connection.executemany(
        "insert into datasets (id, name, owner, search_text) values ($1, $2::text, $3, $2::text)",
        [
            (id, f"{WORDS[number % len(WORDS)].lower()} {number}", owner)
            for number, (id, owner) in enumerate(zip(datasets, owners, strict=True))
        ],
    )
    grants = [
        (uuid7(), dataset, user, chance.choice(["VIEW", "CONTRIBUTE", "MANAGE"]))
        for user in users
        for dataset in chance.sample(datasets, min(size.grants_per_user, len(datasets)))
    ]
    await connection.executemany(
        'insert into dataset_grants (id, dataset, "user", level) values ($1, $2, $3, $4)', grants
    )
    await connection.executemany(
        "insert into models (id, name, version) values ($1, $2, $3)",
        [(id, *model) for id, model in zip(models, MODELS, strict=True)],
    )
    now = datetime.now(UTC)
    runs = [[uuid7() for _ in range(len(MODELS) + 1)] for _ in datasets]
    await connection.copy_records_to_table(
        "classifications",
        columns=[
            "id", "dataset", "model", "model_name", "model_version", "total", "queued", "succeeded",
            "created_by", "created_at", "updated_at", "started_at", "finished_at",
        ],
        records=[
            (
                id, dataset, models[turn % 4], *MODELS[turn % 4], 0, 0, 0, chance.choice(users),
                (at := now - SPAN * chance.random()), at, at, at,
            )
            for dataset, of_it in zip(datasets, runs, strict=True)
            for turn, id in enumerate(of_it)
        ],
    )  # fmt: skip
    return Ground(users, datasets, devices, runs)


IMAGES = [
    "id", "filename", "content_type", "file_size", "sha256", "storage_path", "width", "height", "bit_depth",
    "channels", "frames", "captured_at", "metadata", "file_metadata", "search_text", "dataset", "device",
    "uploaded_by", "created_at", "latest_result", "latest_label", "latest_confidence", "latest_at",
]  # fmt: skip
ITEMS = ["id", "classification", "image", "model", "status", "queued_at", "finished_at"]
RESULTS = [
    "id", "item", "classification", "image", "dataset", "label", "confidence", "scores", "model_name",
    "model_version", "duration_ms", "newest_of_model", "newest_of_version", "created_at",
]  # fmt: skip


async def _pictures(connection: asyncpg.Connection, ground: Ground, size: Size) -> None:
    models = await connection.fetch("select id, name, version from models")
    model_ids = {(row["name"], row["version"]): row["id"] for row in models}
    made = _made(ground, size, [model_ids[model] for model in MODELS])
    while chunk := list(islice(made, CHUNK)):
        for table, columns, place in (
            ("images", IMAGES, 0),
            ("classification_items", ITEMS, 1),
            ("classification_results", RESULTS, 2),
        ):
            records = [row for each in chunk for row in each[place]]
            await connection.copy_records_to_table(table, columns=columns, records=records)


def _made(
    ground: Ground, size: Size, models: Sequence[UUID]
) -> Iterator[tuple[list[Row], list[Row], list[Row]]]:
    """For each picture its row, its items and its results; the oldest first."""
    chance, now = random.Random(11), datetime.now(UTC)  # noqa: S311 - no secret
    # A few datasets are large and most are small.
    weights = list(accumulate(1 / (place + 10) for place in range(size.datasets)))
    file_metadata = '{"Software": "Microscope Suite 4.2", "Objective": "' + "100x oil " * 20 + '"}'
    for number in range(size.pictures):
        at = now - SPAN * ((size.pictures - number) / size.pictures)
        id, place = uuid_at(at, chance), chance.choices(range(size.datasets), cum_weights=weights)[0]
        dataset, name = ground.datasets[place], f"{WORDS[number % len(WORDS)]}_{number:06d}.png"
        items, results = [], []
        count = {0: 0, 1: 5, 2: 5, 3: 5, 4: 5}.get(number % 50, 4)
        for turn in range(count):
            then = at + min(timedelta(days=30 * turn, minutes=5), now - at) * chance.random()
            item, run, model = uuid_at(then, chance), ground.runs[place][turn], MODELS[turn % 4]
            label = chance.choices(LABELS, cum_weights=LABEL_WEIGHTS)[0]
            items.append((item, run, id, models[turn % 4], "SUCCEEDED", at, then))
            results.append(
                (
                    uuid_at(then, chance), item, run, id, dataset, label, round(1 - chance.random() ** 3, 4),
                    f'[{{"label": "{label}", "confidence": 0.9}}]', *model, 12, True, True, then,
                )
            )  # fmt: skip
        results = _marked(results)
        newest = max(results, key=lambda row: (row[-1], row[0]), default=None)
        latest = (newest[0], newest[5], newest[6], newest[-1]) if newest else (None, None, None, None)
        captured = None if chance.random() < 0.3 else at - timedelta(days=chance.random())
        picture = (
            id, name, chance.choices(TYPES, cum_weights=TYPE_WEIGHTS)[0], chance.randint(10_000, 9_000_000),
            f"{number:064x}", f"images/{dataset}/{id}", 640, 480, 8, 3, 1, captured, "{}", file_metadata,
            _searchable(name), dataset, chance.choice(ground.devices), chance.choice(ground.users), at,
            *latest,
        )  # fmt: skip
        yield [picture], items, results


def _marked(results: Sequence[Row]) -> list[Row]:
    """The results of a picture, each marked as the newest of its model or version, or not."""
    newest: dict[Row, Row] = {}
    for row in sorted(results, key=lambda row: (row[-1], row[0])):
        newest[row[8:9]] = newest[row[8:10]] = row
    return [(*row[:-3], newest[row[8:9]] is row, newest[row[8:10]] is row, row[-1]) for row in results]


def _searchable(name: str) -> str:
    return name.lower().replace("ö", "o").replace("ü", "u")


async def _main(directory: Path, size: Size) -> None:
    async with Stack(directory, {"unused": 1}, durable=False) as stack:
        await forwards(stack.dsn)
        began = time.monotonic()
        await fill(stack.dsn, size)
        print(f"{size.pictures:,} pictures in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("python bench/data.py DIRECTORY [PICTURES]")
    pictures = int(sys.argv[2]) if len(sys.argv) > 2 else Size.pictures
    running.run(_main(Path(sys.argv[1]), Size(pictures)))
