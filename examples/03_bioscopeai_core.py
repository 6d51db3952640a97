r"""A classifier as it was written for BioScopeAI Core. It knows nothing of BioScope GQL, and works unchanged.

    KAFKA=localhost:9092 API=http://localhost:8000 API_KEY=clientId.clientSecret \
        python examples/03_bioscopeai_core.py

It reads some fields of a job, asks the API for a link to the picture, and answers with a flat message
(version 0). The server has to know its model beforehand (`kafka.static_models`), for it never announces
itself; docs/workers.md says what else it goes without.
"""

import asyncio
import json
import os

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

KAFKA = os.environ["KAFKA"]
API = os.environ["API"]
HEADERS = {"authorization": f"Bearer {os.environ['API_KEY']}"}
JOBS = os.environ.get("JOBS_TOPIC", "bioscope.classification.jobs")
RESULTS = os.environ.get("RESULTS_TOPIC", "bioscope.classification.results")
MODEL = "parity"


def predict(data: bytes) -> tuple[str, float]:
    return ("odd" if sum(data) % 2 else "even", 1.0)


async def fetch(http: aiohttp.ClientSession, image_id: str) -> bytes:
    async with http.get(f"{API}/api/images/{image_id}/download", headers=HEADERS) as answer:
        link = (await answer.json(content_type=None))["url"]
    async with http.get(link) as answer:
        return await answer.read()


async def main() -> None:
    consumer = AIOKafkaConsumer(
        JOBS, bootstrap_servers=KAFKA, group_id="classifier", auto_offset_reset="earliest"
    )
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        consumer,
        AIOKafkaProducer(bootstrap_servers=KAFKA) as producer,
        aiohttp.ClientSession(raise_for_status=True, timeout=timeout) as http,
    ):
        async for record in consumer:
            job = json.loads(record.value)
            if job["model_name"] != MODEL:
                continue
            try:
                label, confidence = predict(await fetch(http, job["image_id"]))
            except (aiohttp.ClientError, TimeoutError) as error:
                print(f"no picture {job['image_id']}: {error}", flush=True)  # the server sends the job again
                continue
            result = {
                "image_id": job["image_id"],
                "classification_id": job["classification_id"],
                "label": label,
                "confidence": confidence,
                "model_name": MODEL,
            }
            await producer.send_and_wait(RESULTS, json.dumps(result).encode())


if __name__ == "__main__":
    asyncio.run(main())
