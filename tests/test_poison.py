"""A thousand good answers in bad company: every one of them is recorded, and nothing else is."""

import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bioscope_gql.settings import Settings
from tests.lab import Json, Lab, Person
from tests.lab_worker import TestWorker
from tests.load import until
from tests.test_lifecycle import change, delete_images
from tests.test_results import poison, progress, settled
from tests.test_runs import a_dataset_with

GOOD, REPEATED, POISONOUS, LATE, CANCELLED = 1000, 100, 60, 20, 10
MIXED = 20
"""The messages of so many pictures are shuffled together: fewer than are in flight."""
LAG_SECONDS = 10
MIB = 1 << 20

pytestmark = pytest.mark.timeout(120)


@asynccontextmanager
async def a_packing_producer(lab: Lab) -> AsyncIterator[AIOKafkaProducer]:
    """It packs records, so that a broker takes larger ones than it would."""
    servers = list(lab.services.settings.kafka.bootstrap_servers)
    async with AIOKafkaProducer(
        bootstrap_servers=servers, compression_type="gzip", max_request_size=8 * MIB, acks="all"
    ) as producer:
        yield producer


async def answers_to_what_is_gone(ada: Person, worker: TestWorker) -> tuple[list[bytes], list[bytes]]:
    """Good answers, for items of a cancelled run and for a picture that was deleted."""
    cancelled = await ada.run_over((await a_dataset_with(ada, CANCELLED))[0])
    jobs = await worker.jobs(CANCELLED)
    assert (await change(ada, "cancel", cancelled))["status"] == "CANCELLED"

    dataset, (gone, _) = await a_dataset_with(ada, 2)
    run = await ada.run_over(dataset)
    left = await worker.jobs(2)
    assert (await delete_images(ada, gone))["__typename"] == "Deleted"
    assert (await change(ada, "cancel", run))["status"] == "CANCELLED"
    of_deleted = [job for job in left if job["imageId"] == gone]
    return [worker.encoded(worker.ok(job)) for job in jobs], [
        worker.encoded(worker.ok(job)) for job in of_deleted
    ]


def poisons(worker: TestWorker, job: Json, more: Sequence[bytes]) -> list[bytes]:
    """Sixty records of more than fifteen kinds, none of which is an answer to anything."""
    kinds = [
        record if isinstance(record, bytes) else worker.encoded(record)
        for record in poison(job, worker.ok(job)).values()
    ]
    return list(itertools.islice(itertools.cycle([*kinds, *more]), POISONOUS - 1))


async def test_good_answers_amid_poison_repeats_and_late_ones_are_recorded_once_and_nothing_else_is(
    lab: Lab,
) -> None:
    async with lab.a_worker() as worker, a_packing_producer(lab) as packing:
        ada = await lab.an_analyst()
        cancelled, deleted = await answers_to_what_is_gone(ada, worker)
        run = await ada.run_over((await a_dataset_with(ada, GOOD))[0])
        first = await worker.job()
        bad = poisons(worker, first, deleted)
        huge = worker.encoded({**worker.ok(first), "details": {"text": "x" * (5 * MIB)}})
        await packing.send_and_wait(worker.topics.results, huge)

        extra = iter([*bad, *cancelled])
        jobs, answered, repeated = [first], 0, 0
        lapsed: list[Json] = []
        while answered < GOOD:
            while len(jobs) < min(MIXED, GOOD - answered):
                jobs.append(await worker.job())
            messages = [worker.encoded(worker.ok(job)) for job in jobs]
            again = messages[: REPEATED - repeated][: MIXED // 4]
            repeated += len(again)
            if len(lapsed) < LATE:
                lapsed.append(jobs.pop())
                messages.pop()
                await worker.fail(lapsed[-1], "OUT_OF_MEMORY", retryable=True)
            # Their first attempt is over once the second came: what is said of it now is late.
            over = {job["itemId"] for job in jobs if job["attempt"] == 2}
            messages += [worker.encoded(worker.ok(job, "bright")) for job in lapsed if job["itemId"] in over]
            mixed = [*messages, *again, *itertools.islice(extra, 2)]
            random.shuffle(mixed)
            for record in mixed:
                await worker.send(record, key=random.randbytes(4))
            answered += len(jobs)
            jobs = []
        last = await ada.finished(run)
        caught_up = await until(lambda: _has_no_lag(lab.services.settings), within=LAG_SECONDS)
        await settled(lab, worker)
        letters = await lab.db.rows("select reason, payload from dead_letters where payload <> 'the end'")
        of_run = await lab.db.rows(
            "select label, count(*) from classification_results where classification = $1::text::uuid"
            " group by label",
            run,
        )

    assert last["classification"]["progress"] == progress(GOOD, succeeded=GOOD)
    assert {row["label"]: row["count"] for row in of_run} == {"dark": GOOD}
    assert await lab.count("classification_results") == GOOD
    assert (len(letters), repeated, len(lapsed)) == (POISONOUS, REPEATED, LATE)
    assert all(letter["reason"].endswith(".") for letter in letters)
    assert all(len(letter["payload"]) <= 256 * 1024 for letter in letters)
    assert caught_up < LAG_SECONDS


async def _has_no_lag(settings: Settings) -> bool:
    """Whether all results that were sent are dealt with and acknowledged."""
    servers, topic = list(settings.kafka.bootstrap_servers), settings.kafka.topics.results
    async with AIOKafkaConsumer(topic, bootstrap_servers=servers) as consumer:
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        ends = await consumer.end_offsets(places)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(settings.kafka.consumer_group, partitions=places)
    finally:
        await admin.close()
    return bool(places) and all(offsets[place].offset == ends[place] or not ends[place] for place in places)
