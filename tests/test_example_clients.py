"""Every program of examples/clients makes its journey at `bioscope dev`; docs/clients.md shows what they do.

`.venv/bin/python -m tests.test_example_clients` prints that page with the programs as they are now.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.folders import a_folder
from tests.lab import PASSWORD
from tests.processes import Server, bioscope, dev
from tests.test_cli import ROOT

CLIENTS = ROOT / "examples" / "clients"
DOCS = ROOT / "docs" / "clients.md"
ON_NODE = ("apollo", "graphql-sse", "graphql-ws", "relay", "urql")
INSTALL_SECONDS = 150
JOURNEY_SECONDS = 90

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    """`bioscope dev`, with the account ada that may do everything."""
    with a_folder() as folder:
        async with dev(folder) as server:
            names = ("--email", "ada@lab.example", "--username", "ada", "--password-stdin")
            made = await bioscope(
                folder, "create-admin", "--data-dir", str(folder / "data"), *names, stdin=PASSWORD
            )
            assert made.code == 0, made.err
            yield server


@pytest.fixture(scope="module")
def on_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the programs with what they need."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node and npm are not there: they run the clients in JavaScript.")
    root = tmp_path_factory.mktemp("clients")
    folder = root / "examples" / "clients"
    shutil.copytree(CLIENTS, folder, ignore=shutil.ignore_patterns("node_modules", "*.graphql.js"))
    shutil.copy(ROOT / "schema.graphql", root)
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    try:
        ran = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install the clients within {INSTALL_SECONDS} seconds.")
    if ran.returncode != 0:
        pytest.skip(f"npm can't install the clients: {ran.stderr.strip()[-300:]}")
    return folder


async def travelled(server: Server, folder: Path, *command: str) -> list[str]:
    """What a program says on a journey that went well."""
    environment = {"URL": f"{server.url}/graphql", "LOGIN": "ada", "PASSWORD": PASSWORD}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(JOURNEY_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, (out + err).decode()
    return out.decode().splitlines()


def the_journey(client: str, *more: str) -> list[str]:
    """The lines of one that lost nothing over a cut connection, and was told nothing twice."""
    steps = (
        "signed in, and renewed the session",
        "uploaded 24 pictures",
        "watched 24 of 24 pictures to the end, over 2 connections",
        "read 24 pictures in pages of 10",
    )
    return [f"{client}: {step}" for step in (*steps, *more, "done")]


@pytest.mark.parametrize("client", sorted(set(ON_NODE) - {"relay"}))
async def test_a_client_on_node_makes_the_journey(server: Server, on_node: Path, client: str) -> None:
    assert await travelled(server, on_node, "npm", "run", "--silent", client) == the_journey(client)


async def test_relay_makes_the_journey_and_fetches_again_by_node(server: Server, on_node: Path) -> None:
    said = await travelled(server, on_node, "npm", "run", "--silent", "relay")
    again = said.pop(-2)
    assert said == the_journey("relay")
    assert re.fullmatch(r"relay: fetched smear-\d+\.bmp again by node: \w+", again)


async def test_gql_makes_the_journey(server: Server) -> None:
    assert await travelled(server, CLIENTS, sys.executable, "gql_client.py") == the_journey("gql")


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
async def test_curl_makes_the_journey(server: Server) -> None:
    assert await travelled(server, CLIENTS, "bash", "curl.sh") == the_journey("curl")


async def test_a_wrong_password_is_told_in_a_sentence(server: Server) -> None:
    process = await asyncio.create_subprocess_exec(
        "bash", "curl.sh", cwd=CLIENTS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "URL": f"{server.url}/graphql", "LOGIN": "ada", "PASSWORD": "wrong one entirely"},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), JOURNEY_SECONDS)
    assert (process.returncode, out) == (1, b"")
    assert err.startswith(b"curl: ")


def snippet(file: str) -> str:
    """What a program shows of itself: between the comments `snippet` and `end`."""
    found = re.search(
        r"^ *(?://|#) snippet\n(.*?)^ *(?://|#) end$",
        (CLIENTS / file).read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None, file
    return textwrap.dedent(found[1]).strip("\n")


SHOWN = re.compile(r"(?<=<!-- shows )(?P<file>\S+)( -->\n```\w+\n)(?P<text>.*?)(?=\n```)", re.DOTALL)


def shown() -> str:
    """docs/clients.md with the programs' snippets as they are now."""
    page = DOCS.read_text("utf-8")
    return SHOWN.sub(lambda match: match["file"] + match[2] + snippet(match["file"]), page)


async def test_the_page_for_clients_shows_what_the_programs_do() -> None:
    page = DOCS.read_text("utf-8")
    sources = {each.name: each.read_text("utf-8") for each in CLIENTS.glob("*.*") if each.is_file()}
    showing = {name for name, text in sources.items() if re.search(r"(?://|#) snippet\n", text)}
    assert {match["file"] for match in SHOWN.finditer(page)} == showing
    assert len(showing) == 8, "a program for each client, and the socket that four of them share"
    assert shown() == page


async def test_the_lock_file_of_the_clients_names_exact_versions_and_no_host() -> None:
    locked = json.loads((CLIENTS / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((CLIENTS / "package.json").read_text("utf-8"))
    packages = {name: package for name, package in locked["packages"].items() if name}
    for name, version in {**wanted["dependencies"], **wanted["devDependencies"]}.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    assert all("integrity" in package and "resolved" not in package for package in packages.values())


if __name__ == "__main__":
    sys.stdout.write(shown())
