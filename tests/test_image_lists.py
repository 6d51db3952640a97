"""Lists of pictures, runs and results: every order, every filter, page by page, with exact values."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bioscope_gql.vocabulary import uuid7
from tests.lab import Lab, Person, Refused
from tests.verdicts import a_run, a_verdict

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ["b.png", "a.png", "Köln_1.png", "a.png", "c.tif", "d.png", "e.png"]
SIZES = [30, 10, 20, 10, 9_000_000_000, 10, 50]
CAPTURED = [3, None, 1, None, 2, 2, None]
"""Days after START."""
CREATED = [0, 1, 1, 1, 2, 3, 4]
VERDICTS = {0: ("dark", 0.5), 1: ("bright", 0.9), 3: ("dark", 0.5), 4: ("dark", 0.1)}
ORDERS = ("CREATED_AT", "CAPTURED_AT", "FILENAME", "FILE_SIZE", "CONFIDENCE")

IMAGES = """
query ($first: Int, $after: String, $filter: ImageFilter, $order: ImageOrder) {
  images(first: $first, after: $after, filter: $filter, orderBy: $order) {
    nodes { id } totalCount pageInfo { hasNextPage endCursor }
  }
}
"""
UNDER = """
query ($dataset: ID!, $first: Int, $after: String, $filter: ImageFilter, $order: ImageOrder) {
  dataset(id: $dataset) { images(first: $first, after: $after, filter: $filter, orderBy: $order) {
    nodes { id } totalCount pageInfo { hasNextPage endCursor }
  } }
}
"""


class Shelf:
    """Seven pictures of which each value is known; `ids` in the order in which they were made."""

    def __init__(self, lab: Lab, ada: Person, dataset: str, ids: list[str]) -> None:
        self.lab, self.ada, self.dataset, self.ids = lab, ada, dataset, ids

    def places(self, nodes: list[Any]) -> list[int]:
        return [self.ids.index(node["id"]) for node in nodes]

    def values(self, field: str) -> list[Any]:
        """The order's value of each picture; None where it has none."""
        confidence = [VERDICTS[place][1] if place in VERDICTS else None for place in range(len(self.ids))]
        values: dict[str, list[Any]] = {
            "CREATED_AT": CREATED,
            "CAPTURED_AT": CAPTURED,
            "FILENAME": NAMES,
            "FILE_SIZE": SIZES,
            "CONFIDENCE": confidence,
        }
        return values[field]

    def ordered(self, field: str, direction: str) -> list[int]:
        """What the contract says: by value, then by id; those without a value last both ways."""
        values, down = self.values(field), direction == "DESC"
        with_value = [place for place, value in enumerate(values) if value is not None]
        without = [place for place, value in enumerate(values) if value is None]
        return [
            *sorted(with_value, key=lambda place: (values[place], self.ids[place]), reverse=down),
            *sorted(without, key=lambda place: self.ids[place], reverse=down),
        ]


async def a_shelf(lab: Lab, person: Person | None = None) -> Shelf:
    ada = person or await lab.an_analyst()
    dataset = await ada.a_dataset()
    ids = sorted(await ada.images(dataset, len(NAMES)))
    device = uuid7()
    await lab.db.execute(
        "insert into devices (id, name, name_key, device_type) values ($1, $2, $3, 'microscope')",
        device, f"scope {device}", f"scope {device}",
    )  # fmt: skip
    for place, id in enumerate(ids):
        captured = CAPTURED[place]
        await lab.db.execute(
            "update images set filename = $2, search_text = $3, file_size = $4, captured_at = $5,"
            " created_at = $6, content_type = $7, device = $8 where id = $1::text::uuid",
            id, NAMES[place], NAMES[place].lower().replace("ö", "o"), SIZES[place],
            None if captured is None else START + timedelta(days=captured),
            START + timedelta(days=CREATED[place]), "image/tiff" if place == 4 else "image/png",
            device if place < 2 else None,
        )  # fmt: skip
    run = await a_run(lab, dataset)
    for place, (label, confidence) in VERDICTS.items():
        await a_verdict(lab, run, ids[place], label, confidence)
    return Shelf(lab, ada, dataset, ids)


async def walked(person: Person, query: str, first: int, **variables: Any) -> list[Any]:
    """The rows of all pages, and on each page how many there are in all."""
    rows: list[Any] = []
    after, more, total = None, True, None
    while more:
        page = await person.ask(query, first=first, after=after, **variables)
        page = page.get("images", page)
        rows += page["nodes"]
        total = page["totalCount"] if total is None else total
        assert page["totalCount"] == total
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    assert total == len(rows)
    return rows


@pytest.mark.parametrize("query", [IMAGES, UNDER], ids=["root", "of a dataset"])
async def test_every_order_of_pictures_holds_over_pages_of_any_size_for_everybody(
    lab: Lab, query: str
) -> None:
    shelf = await a_shelf(lab)
    admin, friend = await lab.an_admin(), await lab.a_user()
    await lab.grant(shelf.dataset, friend, "VIEW")
    more = {"dataset": shelf.dataset} if query is UNDER else {}

    for field, direction in itertools.product(ORDERS, ("ASC", "DESC")):
        for person, first in ((shelf.ada, 1), (shelf.ada, 3), (admin, 2), (friend, 100)):
            order = {"field": field, "direction": direction}
            rows = await walked(person, query, first, order=order, **more)
            assert shelf.places(rows) == shelf.ordered(field, direction), (field, direction, first)


async def test_rows_of_several_datasets_stand_in_one_order(lab: Lab) -> None:
    ada = await lab.an_analyst()
    shelves = [await a_shelf(lab, ada) for _ in range(3)]
    ids = sorted(id for shelf in shelves for id in shelf.ids)
    value = {id: shelf.values("CONFIDENCE")[place] for shelf in shelves for place, id in enumerate(shelf.ids)}

    order = {"field": "CONFIDENCE", "direction": "DESC"}
    rows = [row["id"] for row in await walked(ada, IMAGES, 4, order=order)]

    known = sorted((id for id in ids if value[id] is not None), key=lambda id: (value[id], id), reverse=True)
    assert rows == [*known, *sorted((id for id in ids if value[id] is None), reverse=True)]


FILTERS: list[tuple[Any, list[int]]] = [
    ({"search": "KOLN"}, [2]),
    ({"search": "köl"}, [2]),
    ({"search": "ng"}, []),
    ({"search": "a"}, [1, 3]),
    ({"search": "a.p"}, [1, 3]),
    ({"search": ".ti"}, [4]),
    ({"search": "%"}, []),
    ({"search": ""}, [0, 1, 2, 3, 4, 5, 6]),
    ({"contentType": "image/tiff"}, [4]),
    ({"createdAfter": "2026-03-03T12:00:00Z"}, [4, 5, 6]),
    ({"createdBefore": "2026-03-03T12:00:00Z"}, [0, 1, 2, 3]),
    ({"capturedAfter": "2026-03-03T12:00:00Z"}, [0, 4, 5]),
    ({"capturedBefore": "2026-03-03T12:00:00Z"}, [2]),
    ({"analyzed": True}, [0, 1, 3, 4]),
    ({"analyzed": False}, [2, 5, 6]),
    ({"label": ["dark"]}, [0, 3, 4]),
    ({"label": ["dark", "bright"]}, [0, 1, 3, 4]),
    ({"label": ["nothing"]}, []),
    ({"label": []}, []),
    ({"confidenceAtLeast": 0.5}, [0, 1, 3]),
    ({"confidenceAtMost": 0.5}, [0, 3, 4]),
    ({"label": ["dark"], "confidenceAtLeast": 0.2, "search": "b"}, [0]),
    ({"modelName": "teller", "analyzed": True}, [0, 1, 3, 4]),
    ({"modelName": "nobody", "analyzed": False}, [0, 1, 2, 3, 4, 5, 6]),
    ({"modelName": "nobody"}, [0, 1, 2, 3, 4, 5, 6]),
    ({"datasetId": "nonsense"}, []),
    ({"uploadedById": "00000000-0000-0000-0000-000000000000"}, []),
]


async def test_every_filter_of_pictures_admits_those_that_it_says_and_counts_them(lab: Lab) -> None:
    shelf, stranger = await a_shelf(lab), await lab.a_user()
    device = await lab.db.value("select id from devices")
    filters = [
        *FILTERS,
        ({"datasetId": shelf.dataset}, [0, 1, 2, 3, 4, 5, 6]),
        ({"deviceId": str(device)}, [0, 1]),
        ({"uploadedById": shelf.ada.id}, [0, 1, 2, 3, 4, 5, 6]),
    ]

    for person in (shelf.ada, await lab.an_admin()):
        for filter, places in filters:
            rows = await walked(person, IMAGES, 2, filter=filter)
            assert sorted(shelf.places(rows)) == places, filter
    for filter, _ in filters:
        assert await walked(stranger, IMAGES, 2, filter=filter) == []


MODELS: list[tuple[Any, list[int]]] = [
    ({"label": ["dark"]}, [1]),
    ({"label": ["dark"], "modelName": "teller"}, [0, 1]),
    ({"label": ["dark"], "modelName": "teller", "modelVersion": "1.0.0"}, [0, 2]),
    ({"label": ["bright"], "modelName": "teller", "modelVersion": "2.0.0"}, [2]),
    ({"label": ["dark"], "modelVersion": "1.0.0"}, [1, 2]),
    ({"confidenceAtMost": 0.3, "modelName": "cells"}, [0]),
    ({"analyzed": False, "modelName": "cells"}, [2, 3, 4, 5, 6]),
    ({"analyzed": True, "modelVersion": "2.0.0"}, [1, 2]),
]


async def judged_thrice(lab: Lab) -> Shelf:
    """Pictures 0, 1, 2 judged by a model, then 1 and 2 by its next version, then 0 and 1 by another model."""
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    ids = sorted(await ada.images(dataset, len(NAMES)))
    runs = [
        await a_run(lab, dataset, *model)
        for model in (("teller", "1.0.0"), ("teller", "2.0.0"), ("cells", "1.0.0"))
    ]
    said = [
        (0, 0, "dark", 0.6), (0, 1, "bright", 0.8), (0, 2, "dark", 0.7),
        (1, 1, "dark", 0.9), (1, 2, "bright", 0.4),
        (2, 0, "bright", 0.2), (2, 1, "dark", 0.5),
    ]  # fmt: skip
    for minute, (run, place, label, confidence) in enumerate(said):
        at = START + timedelta(minutes=minute)
        await a_verdict(lab, runs[run], ids[place], label, confidence, at)
    return Shelf(lab, ada, dataset, ids)


async def test_label_and_confidence_go_by_the_newest_result_of_the_model_that_is_named(lab: Lab) -> None:
    shelf = await judged_thrice(lab)

    for person in (shelf.ada, await lab.an_admin()):
        for filter, places in MODELS:
            rows = await walked(person, IMAGES, 2, filter=filter)
            assert sorted(shelf.places(rows)) == places, filter


@pytest.mark.parametrize(
    ("filter", "upwards", "without"),
    [
        ({}, [0, 2, 1], [3, 4, 5, 6]),
        ({"modelName": "teller"}, [2, 0, 1], [3, 4, 5, 6]),
        ({"modelName": "teller", "modelVersion": "1.0.0"}, [0, 2, 1], [3, 4, 5, 6]),
        ({"modelName": "cells"}, [0, 1], [2, 3, 4, 5, 6]),
        ({"modelName": "teller", "confidenceAtLeast": 0.5}, [0, 1], []),
        ({"modelName": "cells", "analyzed": False}, [], [2, 3, 4, 5, 6]),
        ({"modelName": "cells", "analyzed": True}, [0, 1], []),
        ({"modelName": "teller", "label": ["dark"]}, [0, 1], []),
    ],
    ids=str,
)
async def test_the_order_by_confidence_is_that_of_the_model_that_is_named(
    lab: Lab, filter: Any, upwards: list[int], without: list[int]
) -> None:
    shelf = await judged_thrice(lab)

    for person, first in ((shelf.ada, 1), (await lab.an_admin(), 2)):
        for direction, turn in (("ASC", 1), ("DESC", -1)):
            order = {"field": "CONFIDENCE", "direction": direction}
            for query, more in ((IMAGES, {}), (UNDER, {"dataset": shelf.dataset})):
                rows = await walked(person, query, first, filter=filter, order=order, **more)
                assert shelf.places(rows) == [*upwards[::turn], *without[::turn]], direction


async def test_a_cursor_fits_its_order_and_filter_alone(lab: Lab) -> None:
    shelf = await a_shelf(lab)
    order = {"field": "CONFIDENCE", "direction": "ASC"}
    page = await shelf.ada.ask(IMAGES, first=2, order=order)
    cursor = page["pageInfo"]["endCursor"]

    others: list[dict[str, Any]] = [
        {},
        {"order": {**order, "direction": "DESC"}},
        {"order": {**order, "field": "FILE_SIZE"}},
        {"order": order, "filter": {"modelName": "teller"}},
    ]
    for other in others:
        with pytest.raises(Refused) as refused:
            await shelf.ada.ask(IMAGES, after=cursor, **other)
        assert refused.value.codes == ["BAD_USER_INPUT"]
    with pytest.raises(Refused) as refused:
        await shelf.ada.ask(IMAGES, after="", order=order)
    assert refused.value.codes == ["BAD_USER_INPUT"]


async def test_a_thousand_rows_are_seen_once_each_while_others_come_and_go(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    await lab.db.execute(
        "insert into images (id, filename, content_type, file_size, sha256, storage_path, width, height,"
        " bit_depth, channels, frames, dataset) select uuidv7(), n || '.png', 'image/png', 1 + n % 9,"
        " lpad(to_hex(n), 64, '0'), 'x' || n, 8, 8, 8, 3, 1, $1::text::uuid from generate_series(1, 1000) n",
        dataset,
    )
    for order in ({"field": "CREATED_AT"}, {"field": "FILE_SIZE", "direction": "ASC"}):
        before = {row["id"]: str(row["id"]) for row in await lab.db.rows("select id from images")}
        seen: list[str] = []
        after, more, turn = None, True, 0
        while more:
            page = await ada.ask(IMAGES, first=7, after=after, order=order)
            seen += [node["id"] for node in page["nodes"]]
            after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
            turn += 1
            await lab.db.execute(
                "delete from images where id in (select id from images order by md5(id::text || $1) limit 2)",
                str(turn),
            )
            await ada.images(dataset, 2)
        stayed = {str(row["id"]) for row in await lab.db.rows("select id from images")} & set(before.values())
        assert len(seen) == len(set(seen))
        assert stayed - set(seen) == set()
        assert len(stayed) > 600


RUNS = """
query ($first: Int, $after: String, $filter: ClassificationFilter, $order: ClassificationOrder) {
  classifications(first: $first, after: $after, filter: $filter, orderBy: $order) {
    nodes { id } totalCount pageInfo { hasNextPage endCursor }
  }
}
"""
RESULTS = """
query ($first: Int, $after: String, $filter: ClassificationResultFilter, $order: ClassificationResultOrder) {
  classificationResults(first: $first, after: $after, filter: $filter, orderBy: $order) {
    nodes { id } totalCount pageInfo { hasNextPage endCursor }
  }
}
"""


async def test_runs_can_be_ordered_by_their_beginning_and_by_their_last_change(lab: Lab) -> None:
    ada = await lab.an_analyst()
    datasets = [await ada.a_dataset(), await ada.a_dataset()]
    runs = [
        await a_run(lab, datasets[day % 2], "teller", f"{day % 3}.0.0", START + timedelta(days=day))
        for day in range(5)
    ]
    for place, day in ((0, 9), (3, 8)):
        await lab.db.execute(
            "update classifications set updated_at = $2 where id = $1::text::uuid",
            runs[place], START + timedelta(days=day),
        )  # fmt: skip

    for person in (ada, await lab.an_admin()):
        for field, upwards in (("CREATED_AT", [0, 1, 2, 3, 4]), ("UPDATED_AT", [1, 2, 4, 3, 0])):
            for direction, turn in (("ASC", 1), ("DESC", -1)):
                order = {"field": field, "direction": direction}
                rows = await walked(person, RUNS, 2, order=order)
                assert [runs.index(row["id"]) for row in rows] == upwards[::turn], (field, direction)
        for filter, places in (
            ({"datasetId": datasets[0]}, [0, 2, 4]),
            ({"modelName": "teller", "modelVersion": "1.0.0"}, [1, 4]),
            ({"status": ["COMPLETED"]}, [0, 1, 2, 3, 4]),
            ({"status": ["FAILED", "RUNNING"]}, []),
            ({"createdAfter": "2026-03-03T12:00:00Z", "createdBefore": "2026-03-05T12:00:00Z"}, [2, 3]),
        ):
            rows = await walked(person, RUNS, 2, filter=filter)
            assert sorted(runs.index(row["id"]) for row in rows) == places, filter


async def test_results_can_be_ordered_by_time_and_by_confidence_with_ties(lab: Lab) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    images = await ada.images(dataset, 6)
    run = await a_run(lab, dataset)
    confidences = [0.5, 0.1, 0.5, 0.9, 0.5, 0.2]
    made = [
        await a_verdict(lab, run, image, f"label {place % 2}", confidence, START + timedelta(days=place))
        for place, (image, confidence) in enumerate(zip(images, confidences, strict=True))
    ]

    for person in (ada, await lab.an_admin()):
        for field, upwards in (("CREATED_AT", [0, 1, 2, 3, 4, 5]), ("CONFIDENCE", [1, 5, 0, 2, 4, 3])):
            for direction, turn in (("ASC", 1), ("DESC", -1)):
                order = {"field": field, "direction": direction}
                rows = await walked(person, RESULTS, 2, order=order)
                assert [made.index(row["id"]) for row in rows] == upwards[::turn], (field, direction)
        for filter, places in (
            ({"label": ["label 1"]}, [1, 3, 5]),
            ({"imageId": images[2]}, [2]),
            ({"classificationId": run, "confidenceAtLeast": 0.5, "confidenceAtMost": 0.5}, [0, 2, 4]),
            ({"datasetId": dataset, "createdAfter": "2026-03-05T12:00:00Z"}, [4, 5]),
            (
                {"modelName": "teller", "modelVersion": "1.0.0", "label": ["label 0", "label 1"]},
                list(range(6)),
            ),
            ({"modelName": "cells"}, []),
        ):
            rows = await walked(person, RESULTS, 4, filter=filter)
            assert sorted(made.index(row["id"]) for row in rows) == places, filter
