"""Signing keys that are made and rotated while servers run, and what that means for tokens."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bioscope_gql.auth import keyfiles, keys
from bioscope_gql.auth.keyfiles import KeyFiles
from bioscope_gql.auth.keys import Keys
from bioscope_gql.auth.tokens import Tokens
from bioscope_gql.errors import ConfigurationError, Unauthenticated
from bioscope_gql.vocabulary import uuid7
from tests.lab import PATIENCE_SECONDS, Lab
from tests.people import ME, login, refresh, signed_in


def kid_of(token: str) -> str:
    from jose import jws

    kid: str = jws.get_unverified_header(token)["kid"]
    return kid


def bioscope(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bioscope_gql", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


async def published(lab: Lab) -> list[str]:
    return [key["kid"] for key in (await lab.http.get("/.well-known/jwks.json")).json()["keys"]]


async def published_by(lab: Lab, kid: str) -> None:
    """Wait until a server has looked at its key files again."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while kid not in await published(lab):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_keys_are_rotated_under_running_replicas_and_nobody_signs_in_again(
    lab: Lab, algorithm: str
) -> None:
    file = lab.services.settings.auth.keys[0]
    async with lab.another_replica() as other:
        ada = await lab.a_user()
        told = await login(lab, ada.username)
        before = signed_in(lab, told)
        old = kid_of(told["accessToken"])
        assert await published(lab) == [old]

        former, following = keyfiles.rotate(file, algorithm)  # type: ignore[arg-type]
        assert former.kid == old
        await published_by(lab, following.kid)
        told = await refresh(lab, told["refreshToken"])
        assert kid_of(told["accessToken"]) == following.kid != old

        # The other replica meets the new key before it has looked at the file again.
        for replica in (other, lab):
            assert await before.at(replica).ask(ME) == {"username": ada.username}
            assert await signed_in(replica, told).ask(ME) == {"username": ada.username}
            assert await published(replica) == [following.kid, old]
        jwks = (await lab.http.get("/.well-known/jwks.json")).json()
        assert all(not {"d", "p", "q"} & key.keys() for key in jwks["keys"])


def test_the_commands_make_list_and_rotate(tmp_path: Path) -> None:
    made = bioscope(tmp_path, "keys", "make", "--data-dir", "d")
    file = tmp_path / "d" / "keys" / "signing.pem"
    assert (made.returncode, made.stderr) == (0, "")
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    first = Keys.load([file]).signing.kid

    bioscope(tmp_path, "keys", "make", "--algorithm", "RS256", "--data-dir", "d")
    waiting = Keys.load([file])
    assert (waiting.signing.kid, len(list(waiting))) == (first, 2)
    second = next(key.kid for key in waiting if key.kid != first)
    rotated = bioscope(tmp_path, "keys", "rotate", "--data-dir", "d")
    assert rotated.stdout.splitlines() == [
        f"{second} (RS256) signs from now on.",
        f"{first} no longer signs; its tokens hold until they expire.",
    ]
    listed = bioscope(tmp_path, "keys", "list", "--data-dir", "d").stdout.splitlines()
    assert [line.split()[:3] for line in listed] == [
        [second, "RS256", "signs"], [first, "ES256", "retired"],
    ]  # fmt: skip
    assert file.read_bytes().count(b"PRIVATE KEY-----") == 2  # the beginning and the end of one
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_retired_key_is_forgotten_when_none_of_its_tokens_can_live(tmp_path: Path) -> None:
    file = keys.generate(tmp_path / "keys")
    first, second = keyfiles.rotate(file, "ES256")
    _, third = keyfiles.rotate(file, "ES256")
    assert {key.kid for key in Keys.load([file])} == {first.kid, second.kid, third.kid}

    today = time.strftime("%Y-%m-%d", time.gmtime())
    file.write_text(file.read_text().replace(f"Retired: {today}", "Retired: 2020-01-01"))
    _, fourth = keyfiles.rotate(file, "ES256")
    assert [key.kid for key in Keys.load([file])] == [fourth.kid, third.kid]


def test_a_key_that_is_taken_away_is_not_believed_any_more_though_its_token_was_remembered(
    tmp_path: Path,
) -> None:
    now = 0.0
    file = keys.generate(tmp_path / "keys")
    tokens = Tokens(KeyFiles([file], clock=lambda: now), "bioscope", "lab", 900)
    token, _ = tokens.issue(uuid7(), uuid7())
    tokens.read(token)
    file.unlink()
    keyfiles.make(file, "ES256")
    now = 3.0
    with pytest.raises(Unauthenticated):
        tokens.read(token)


def test_files_that_become_unusable_leave_the_keys_that_there_were(tmp_path: Path) -> None:
    now = 0.0
    file = keys.generate(tmp_path / "keys")
    files = KeyFiles([file], clock=lambda: now)
    before = files.current()
    file.write_text("nonsense")
    now = 3.0
    assert files.current() is before
    with pytest.raises(ConfigurationError, match="has no key that signs"):
        keyfiles.rotate(file, "ES256")
    with pytest.raises(ConfigurationError, match="has no key that signs"):
        keyfiles.rotate(tmp_path / "absent.pem", "ES256")
    assert not (tmp_path / "absent.pem").exists()
