"""Stock clients and audits of the GraphQL world, on Node: `npm ci` in tests/node, skipped without."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bioscope_gql.transport.limits import Limits
from tests.door import ANNA, TOKEN, Door, a_door

NODE = Path(__file__).parent / "node"
SECONDS = 60.0

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules").exists(),
    reason="needs Node and its packages: npm ci in tests/node",
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_door(tmp_path, Limits(socket_check_seconds=0.05)) as door:
        yield door


async def said(script: str, *arguments: str) -> list[str]:
    """The lines that a script prints."""
    process = await asyncio.create_subprocess_exec(
        "node", script, *arguments, cwd=NODE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS):
        out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return out.decode().splitlines()


def address(door: Door, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{door.port}/graphql"


async def test_all_audits_of_graphql_http_are_passed(door: Door) -> None:
    [line] = await said("audits.mjs", address(door), TOKEN)
    results = json.loads(line)
    assert [result for result in results if result["status"] != "ok"] == []
    assert len(results) == 61


async def test_graphql_sse_hears_a_subscription_to_its_end(door: Door) -> None:
    lines = await said("sse.mjs", address(door), TOKEN, "subscription { count(to: 2) }")
    assert [json.loads(line)["data"] for line in lines[:2]] == [{"count": 0}, {"count": 1}]
    assert lines[2:] == ["complete"]


async def test_graphql_sse_is_told_what_graphql_refuses(door: Door) -> None:
    lines = await said("sse.mjs", address(door), TOKEN, "subscription { nothing }")
    assert json.loads(lines[0])["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert lines[1:] == ["complete"]


async def test_graphql_ws_comes_back_with_a_new_token_when_the_old_one_expires(door: Door) -> None:
    """4403 is no end to it: it connects again, asks for a token again, and goes on."""
    door.desk.viewers["Bearer short"] = replace(ANNA, expires_at=datetime.now(UTC) + timedelta(seconds=2))
    running = asyncio.create_task(
        said("socket.mjs", address(door, "ws"), "subscription { ticks }", "Bearer short", TOKEN)
    )
    async with asyncio.timeout(SECONDS):
        await door.bench.entered.wait()
        await door.bench.left.wait()
        door.bench.entered.clear()
        await door.bench.entered.wait()
    await door.bench.ticks.put(7)
    await door.bench.ticks.put(None)
    lines = await running
    assert json.loads(lines[0])["data"] == {"ticks": 7}
    assert lines[1:] == ["complete after 2 connections"]
