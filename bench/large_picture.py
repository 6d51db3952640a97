"""A tiled 16-bit OME-TIFF of 1.5 GB goes up, gets its metadata and thumbnail, and comes back, in ranges.

Memory is that of the serving process, beside what it was before. Needs 5 GB below /tmp.

    python bench/large_picture.py [--side PIXELS]
"""

import argparse
import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import tifffile
import uploads

from bioscope_gql.commands import running

TILE = 512
RANGE_BYTES = 64 << 20
FOUND = """
mutation ($dataset: ID!, $files: [Upload!]!) {
  uploadImages(input: {datasetId: $dataset, files: $files}) {
    ... on UploadReport { files {
      __typename
      ... on UploadedImage { image {
        contentType width height bitDepth channels frames pixelSize { x y } sha256 fileSize
        downloadUrl thumbnailUrl
      } }
      ... on RejectedFile { code message }
    } }
  }
}
"""


def tiles(side: int) -> Iterator[np.ndarray]:
    """A field of cells, a tile at a time; no two tiles alike."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:TILE, :TILE]
    cell = 900 + 6000 * np.exp(-((y - 256) ** 2 + (x - 256) ** 2) / 9000)
    count = (-(-side // TILE)) ** 2
    for number in range(count):
        yield (cell + random.integers(0, 200, (TILE, TILE)) + number % 97).astype(np.uint16)


def write(path: Path, side: int) -> None:
    tifffile.imwrite(
        path, tiles(side), shape=(side, side), dtype=np.uint16, tile=(TILE, TILE), ome=True, bigtiff=True,
        photometric="minisblack",
        metadata={"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm",
                  "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"},
    )  # fmt: skip


async def body(path: Path, dataset: str, boundary: str) -> AsyncIterator[bytes]:
    """The multipart body, read as it is sent."""
    variables = {"dataset": dataset, "files": [None]}
    for name, value in {
        "operations": {"query": FOUND, "variables": variables},
        "map": {"0": ["variables.files.0"]},
    }.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        yield f"{head}{json.dumps(value)}\r\n".encode()
    yield (
        f'--{boundary}\r\nContent-Disposition: form-data; name="0"; filename="slide.ome.tif"\r\n\r\n'.encode()
    )
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, 1 << 20):
            yield chunk
    yield f"\r\n--{boundary}--\r\n".encode()


async def measure(side: int) -> int:
    with uploads.a_folder() as folder:
        path = folder / "slide.ome.tif"
        await asyncio.to_thread(write, path, side)
        size, digest = path.stat().st_size, await asyncio.to_thread(sha256, path)
        async with (
            uploads.a_server(None) as (process, url),
            httpx.AsyncClient(base_url=url, timeout=600) as http,
        ):
            http.headers["authorization"] = f"Bearer {await uploads.registered(http, 'anna')}"
            ask = 'mutation { createDataset(input: {name: "d"}) { ... on Dataset { id } } }'
            made = await http.post("/graphql", json={"query": ask})
            dataset = made.json()["data"]["createDataset"]["id"]
            memory = uploads.Memory(process)
            memory.sample()
            before = memory.own
            watching = asyncio.create_task(memory.watch())
            began = time.perf_counter()
            answer = await http.post(
                "/graphql",
                content=body(path, dataset, "slide"),
                headers={
                    "content-type": "multipart/form-data; boundary=slide",
                    "graphql-require-preflight": "1",
                },
            )
            up = time.perf_counter() - began
            [outcome] = answer.json()["data"]["uploadImages"]["files"]
            if outcome["__typename"] != "UploadedImage":
                sys.exit(str(outcome))
            image: dict[str, Any] = outcome["image"]
            thumbnail = await http.get(local(image["thumbnailUrl"], url))
            began = time.perf_counter()
            got = await downloaded(http, local(image["downloadUrl"], url), size)
            down = time.perf_counter() - began
            watching.cancel()
    print(f"{size / 1e9:.2f} GB, {side} x {side} pixels of 16 bit in tiles of {TILE}")
    print(f"uploaded, examined, stored in {up:.1f} s; down in {RANGE_BYTES >> 20} MiB ranges in {down:.1f} s")
    print(f"memory of the API: {before / 1e6:.0f} MB before, {memory.own / 1e6:.0f} MB at its peak; "
          f"with the intake's processes {memory.family / 1e6:.0f} MB")  # fmt: skip
    print({name: value for name, value in image.items() if not name.endswith("Url")})
    print(f"thumbnail: {thumbnail.status_code}, {len(thumbnail.content)} bytes")
    same = digest == image["sha256"] == got
    print("identical" if same else "NOT identical")
    return int(not same)


def local(link: str, url: str) -> str:
    """A link names the public address; here the server is reached at another."""
    return link.replace("http://127.0.0.1:8000", url)


async def downloaded(http: httpx.AsyncClient, link: str, size: int) -> str:
    """The SHA-256 of what came, range by range."""
    digest = hashlib.sha256()
    for start in range(0, size, RANGE_BYTES):
        end = min(start + RANGE_BYTES, size) - 1
        async with http.stream("GET", link, headers={"range": f"bytes={start}-{end}"}) as answer:
            if answer.status_code != httpx.codes.PARTIAL_CONTENT:
                sys.exit(f"A range was answered with {answer.status_code}.")
            async for chunk in answer.aiter_raw():
                digest.update(chunk)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=28_000)
    return running.run(measure(parser.parse_args().side))


if __name__ == "__main__":
    sys.exit(main())
