"""Every program of examples/ works at a real server, from the upload of a picture to the end of its run."""

import asyncio
import io
import json
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from bioscope_gql.settings import StaticModel
from tests.crews import ROOT, a_crew, a_member, announced, ended, surroundings
from tests.lab import Lab, Person, Place, a_lab
from tests.lab_machines import a_machine

pytestmark = pytest.mark.timeout(120)

EXAMPLES = ROOT / "examples"
NODE_WORKER = EXAMPLES / "node-worker"
ITEMS = """
query ($id: ID!) { classification(id: $id) { status items(first: 100) { nodes {
  image { filename } result { label confidence modelName modelVersion measurements { name unit } }
} } } }
"""


def a_png(level: int, *, stripes: bool = False) -> bytes:
    """Grey of one level; with stripes on it that are as far from it as can be."""
    image = Image.new("L", (64, 64), level)
    draw = ImageDraw.Draw(image)
    for x in range(0, 64, 2) if stripes else ():
        draw.line((x, 0, x, 63), fill=255 - level)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


async def run_over(lab: Lab, model: str, files: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    """The result of each file, by its name, once a run of the model over all of them has COMPLETED."""
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    await ada.upload(dataset, files)
    return await answers(lab, ada, dataset, model)


async def answers(lab: Lab, ada: Person, dataset: str, model: str) -> dict[str, Any]:
    run = await ada.run(target={"datasetId": dataset}, modelName=model)
    await ended(lab, run["id"], 60)
    seen = await ada.ask(ITEMS, id=run["id"])
    assert seen["status"] == "COMPLETED"
    return {item["image"]["filename"]: item["result"] for item in seen["items"]["nodes"]}


async def test_the_worker_of_twenty_lines(lab: Lab) -> None:
    async with a_crew(lab, EXAMPLES / "01_worker.py"):
        await announced(lab, "brightness")
        found = await run_over(lab, "brightness", [("light.png", a_png(255)), ("night.png", a_png(51))])
    assert {name: (each["label"], each["confidence"]) for name, each in found.items()} == {
        "light.png": ("bright", 1.0),
        "night.png": ("dark", 0.8),
    }


async def test_the_batch_worker(lab: Lab) -> None:
    files = [(f"flat{level}.png", a_png(level)) for level in range(20)]
    files += [(f"striped{level}.png", a_png(level, stripes=True)) for level in range(20)]
    async with a_crew(lab, EXAMPLES / "02_batch_worker.py"):
        await announced(lab, "sharpness")
        found = await run_over(lab, "sharpness", files)
    assert {name: each["label"] for name, each in found.items()} == {
        name: "sharp" if name.startswith("striped") else "blurred" for name, _ in files
    }


async def test_a_classifier_of_bioscopeai_core_works_unchanged_over_a_whole_dataset(place: Place) -> None:
    settings = place.settings()
    model = StaticModel(name="parity", version="1.0.0", labels=("odd", "even"), content_types=("image/png",))
    kafka = settings.kafka.model_copy(update={"static_models": (model,)})
    async with a_lab(place, settings.model_copy(update={"kafka": kafka})) as lab:
        ada = await lab.an_analyst()
        dataset = await ada.a_dataset()
        images = await ada.images(dataset, 25)
        machine = await a_machine(lab, "IMAGES_READ")
        known = {
            "KAFKA": place.bootstrap_servers,
            "API": lab.url,
            "API_KEY": f"{machine.client_id}.{machine.secret}",
            "JOBS_TOPIC": settings.kafka.topics.jobs,
            "RESULTS_TOPIC": settings.kafka.topics.results,
        }
        async with a_crew(lab, EXAMPLES / "03_bioscopeai_core.py", **known):
            found = await answers(lab, ada, dataset, "parity")
        used = await lab.db.value("select last_used_at is not null from service_accounts")
    assert {name: each["label"] for name, each in found.items()} == {
        f"{number}.png": "odd" if sum(f"picture {image}".encode()) % 2 else "even"
        for number, image in enumerate(images)
    }
    assert {(each["modelName"], each["modelVersion"]) for each in found.values()} == {("parity", "1.0.0")}
    assert used


@pytest.fixture(scope="module")
def node_worker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with its one dependency installed."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node and npm are not there: they run the example in Node.")
    folder = tmp_path_factory.mktemp("node") / "worker"
    shutil.copytree(NODE_WORKER, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    try:
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install kafkajs within 90 seconds.")
    if ran.returncode != 0:
        pytest.skip(f"npm can't install kafkajs: {ran.stderr.strip()[-300:]}")
    return folder / "worker.js"


async def test_the_worker_in_node(lab: Lab, node_worker: Path) -> None:
    async with a_member(("node", str(node_worker)), surroundings(lab)) as process:
        await announced(lab, "entropy")
        found = await run_over(lab, "entropy", [(f"{n}.png", a_png(n, stripes=True)) for n in range(30)])
        process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(process.wait(), 20)
        await lab.until("select count(*) = 1 from workers where stopped_at is not null")
    assert code == 0
    assert len(found) == 30
    assert {each["label"] for each in found.values()} <= {"plain", "rich"}
    assert {(each["modelName"], each["modelVersion"]) for each in found.values()} == {("entropy", "1.0.0")}
    assert [each["measurements"] for each in found.values()] == [[{"name": "entropy", "unit": "bit"}]] * 30


async def test_the_worker_in_node_says_what_it_could_not_fetch(lab: Lab, node_worker: Path) -> None:
    ada = await lab.an_analyst()
    dataset = await ada.a_dataset()
    await ada.images(dataset, 1)
    key = await lab.db.value("select storage_path from images")
    await lab.services.store.delete([key])
    async with a_member(("node", str(node_worker)), surroundings(lab)):
        await announced(lab, "entropy")
        run = await ada.run_over(dataset)
        assert await ended(lab, run, 30) == "FAILED"
    row = await lab.db.row("select error_code, attempt, tries from classification_items")
    assert row is not None
    assert tuple(row) == ("FETCH_FAILED", 3, 3)


def test_the_lock_file_of_the_node_worker_names_no_host() -> None:
    locked = json.loads((NODE_WORKER / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((NODE_WORKER / "package.json").read_text("utf-8"))["dependencies"]
    packages = {name: package for name, package in locked["packages"].items() if name}
    assert {f"node_modules/{name}": version for name, version in wanted.items()} == {
        name: package["version"] for name, package in packages.items()
    }
    assert all("integrity" in package and "resolved" not in package for package in packages.values())
