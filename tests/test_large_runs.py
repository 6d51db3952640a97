"""A run over very many pictures, and those who want one picture classified meanwhile."""

import asyncio

import pytest

from tests.answerer import Answerer
from tests.lab import Lab, Person, Place, a_lab
from tests.load import LONG, balanced, books, finished

PICTURES = 100_000 if LONG else 6_000

pytestmark = pytest.mark.timeout(300 if LONG else 60)


async def many_pictures(lab: Lab, person: Person, count: int) -> str:
    """A dataset with rows only: nobody fetches their bytes."""
    dataset = await person.a_dataset()
    await lab.db.execute(
        "insert into images (id, filename, content_type, file_size, sha256, storage_path, width, height,"
        " bit_depth, channels, frames, dataset)"
        " select uuidv7(), n || '.png', 'image/png', 1, lpad(to_hex(n), 64, '0'), 'images/' || n,"
        " 8, 8, 8, 3, 1,"
        " $1::text::uuid from generate_series(1, $2::int) n",
        dataset,
        count,
    )
    return dataset


async def test_a_single_picture_and_an_urgent_one_end_while_a_large_run_goes_on(place: Place) -> None:
    settings = place.settings()
    async with (
        a_lab(place, settings) as lab,
        Answerer(place.bootstrap_servers, settings.kafka.topics).at_work(),
    ):
        await lab.until("select count(*) > 0 from workers")
        ada = await lab.an_analyst()
        _, single, urgent = await ada.images(await ada.a_dataset(), 3)
        large = await ada.run_over(await many_pictures(lab, ada, PICTURES))
        await lab.until("select count(*) >= 500 from classification_items where status = 'SUCCEEDED'")
        runs = [
            await ada.run(target={"imageId": single}),
            await ada.run(target={"imageId": urgent}, priority="HIGH"),
        ]
        ends = await asyncio.gather(*(ada.finished(run["id"]) for run in runs))
        seen = await ada.ask("query ($id: ID!) { classification(id: $id) { status } }", id=large)
        await finished(lab, 3, within=240)
        ended = await books(lab)
    assert [end["classification"]["status"] for end in ends] == ["COMPLETED"] * 2
    assert seen == {"status": "RUNNING"}
    assert ended == {**balanced(PICTURES + 2), "completed": 3}
