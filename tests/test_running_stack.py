"""The commands that reach a running `bioscope dev`, as real processes. All of them meet the same one."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.folders import a_folder
from tests.processes import LIMIT_SECONDS, Server, bioscope, dev
from tests.test_cli import environment
from tests.test_commands import ME, MODELS, PARTS, PASSWORD, connected, models

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with a_folder() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(folder: Path) -> AsyncIterator[Server]:
    async with dev(folder) as started:
        yield started


async def test_dev_serves_everything_and_says_that_it_is_for_development(
    server: Server, folder: Path
) -> None:
    assert await server.ask("{ __typename }") == "Query"
    assert await server.until_health("ok") == PARTS
    assert (await server.get("/health/ready")).status_code == 200
    assert "This is the embedded development stack" in server.log.read_text()
    assert '"development": true' in (folder / "data" / "stack.json").read_text()


async def test_a_second_dev_on_the_same_directory_says_so_and_harms_nothing(
    server: Server, folder: Path
) -> None:
    pid = server.family[0].pid

    done = await bioscope(folder, "dev", "--port", "0", "--data-dir", "data")

    assert done.code == 78
    assert done.said == [
        f"A BioScope stack is already running on the data directory {folder / 'data'} (process {pid}): "
        "stop it first, or give this one a directory of its own with --data-dir."
    ]
    assert await server.until_health("ok") == PARTS


async def test_the_first_administrator_is_made_in_a_running_stack(server: Server, folder: Path) -> None:
    arguments = ("--email", "ada@lab.example", "--username", "ada", "--password-stdin", "--data-dir", "data")

    done = await bioscope(folder, "create-admin", *arguments, stdin=f"{PASSWORD}\n")
    again = await bioscope(folder, "create-admin", *arguments, stdin=f"{PASSWORD}\n")

    assert (done.code, done.out, done.said) == (0, "Made the administrator ada.\n", [])
    assert (again.code, again.out) == (1, "")
    assert len(again.said) == 1
    token = await server.sign_in("ada", PASSWORD)
    assert await server.ask(ME, token) == {"username": "ada", "role": "ADMIN"}


async def test_an_account_is_made_by_command_and_the_audit_trail_tells_of_it(
    server: Server, folder: Path
) -> None:
    arguments = ("--email", "eve@lab.example", "--username", "eve", "--role", "ANALYST", "--data-dir", "data")
    made = await bioscope(folder, "create-user", *arguments)
    again = await bioscope(folder, "create-user", *arguments)
    weak = await bioscope(folder, "create-user", "--email", "x", "--username", "x", "--data-dir", "data")
    assert (made.code, made.said) == (0, [])
    told, link = made.out.splitlines()[0], made.out.splitlines()[-1]
    assert told.startswith("Made the account eve (ANALYST).")
    assert (again.code, again.out, len(again.said)) == (1, "", 1)
    assert (weak.code, weak.said) == (1, [
        "The account can't be made like this. This is no e-mail address; write it as name@lab.example."
    ])  # fmt: skip

    new = {"token": link, "newPassword": PASSWORD}
    set_up = (
        "mutation ($i: SetPasswordInput!) { setPassword(input: $i) { ... on AuthTokens { accessToken } } }"
    )
    token = (await server.ask(set_up, i=new))["accessToken"]
    assert await server.ask(ME, token) == {"username": "eve", "role": "ANALYST"}

    whole = await bioscope(folder, "audit", "--data-dir", "data")
    hers = await bioscope(folder, "audit", "--user", "EVE@lab.example", "--data-dir", "data")
    later = await bioscope(folder, "audit", "--since", "2100-01-01", "--data-dir", "data")
    nobody = await bioscope(folder, "audit", "--user", "nobody", "--data-dir", "data")
    assert (whole.code, whole.said) == (0, [])
    assert [line.split()[1:3] for line in hers.out.splitlines()] == [
        ["command", "account.created"], ["eve", "password.set"],
    ]  # fmt: skip
    assert set(hers.out.splitlines()) <= set(whole.out.splitlines())
    assert (later.code, later.out) == (0, "")
    assert (nobody.code, nobody.said) == (
        1, ["There is no account 'nobody'. Name it by id, e-mail or username."]
    )  # fmt: skip
    assert link not in whole.out


@pytest.mark.usefixtures("server")
async def test_an_administrator_with_a_weak_password_is_not_made(folder: Path) -> None:
    arguments = (
        "--email",
        "weak@lab.example",
        "--username",
        "weak",
        "--password-stdin",
        "--data-dir",
        "data",
    )

    done = await bioscope(folder, "create-admin", *arguments, stdin="short\n")

    assert (done.code, done.out) == (1, "")
    assert done.said == ["The password must have at least 8 characters. Choose a longer one."]
    async with connected(folder) as database:
        assert await database.fetchval("select count(*) from users where username = 'weak'") == 0


async def test_migrate_and_check_reach_a_running_stack(server: Server, folder: Path) -> None:
    await server.until_health("ok")

    up_to_date = await bioscope(folder, "migrate", "--check", "--data-dir", "data")
    checked = await bioscope(folder, "check", "--data-dir", "data")

    assert (up_to_date.code, up_to_date.out) == (0, "The database is up to date.\n")
    assert checked.code == 0, checked
    words = [line.split()[:2] for line in checked.out.splitlines()]
    assert words == [[name, "ok"] for name in ("database", "kafka", "store", "keys")]


async def test_the_reference_worker_of_dev_is_live_and_a_further_one_joins_and_leaves(
    server: Server, folder: Path
) -> None:
    token = await server.register()
    await server.until(MODELS, models(live=1), token)

    with (folder / "worker.log").open("wb") as log:
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bioscope_gql", "worker", "--data-dir", "data",
            cwd=folder, env=environment(), stderr=log,
        )  # fmt: skip
    try:
        await server.until(MODELS, models(live=2), token)
    finally:
        worker.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT_SECONDS):
            code = await worker.wait()

    assert code == 0, (folder / "worker.log").read_text()
    await server.until(MODELS, models(live=1), token)
