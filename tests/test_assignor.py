"""Two consumers in one group on the embedded broker, which is more than it can do by itself."""

import asyncio
import json
import subprocess
import sys

import psutil

from tests.children import LIMIT_SECONDS
from tests.lab import Place

MEMBER = """
import asyncio, json, sys
from aiokafka import AIOKafkaConsumer
from bioscope_gql.events.clients import PatientAssignor
async def main():
    consumer = AIOKafkaConsumer(
        sys.argv[2], bootstrap_servers=sys.argv[1], group_id=sys.argv[2], session_timeout_ms=1500,
        heartbeat_interval_ms=300, fetch_max_wait_ms=20, partition_assignment_strategy=(PatientAssignor,),
    )
    await consumer.start()
    while len(consumer.assignment()) not in (2,):
        await consumer.getmany(timeout_ms=50)
    print(json.dumps([partition.partition for partition in consumer.assignment()]), flush=True)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    while not ended.done():
        await consumer.getmany(timeout_ms=50)
    await consumer.stop()
asyncio.run(main())
"""


async def test_two_processes_share_a_group_with_the_patient_assignor(place: Place) -> None:
    members = [
        psutil.Popen(
            [sys.executable, "-c", MEMBER, place.bootstrap_servers, place.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            shares = [json.loads(await asyncio.to_thread(member.stdout.readline)) for member in members]
    finally:
        for member in members:
            member.communicate(timeout=LIMIT_SECONDS)

    assert sorted(partition for share in shares for partition in share) == [0, 1, 2, 3]
    assert sorted(map(len, shares)) == [2, 2]
