"""A process that does not outlive its parent, however the parent ends."""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from bioscope_gql.embedded.account import Account
from bioscope_gql.errors import ConfigurationError

_LOG_BYTES = 1024 * 1024

# Runs its arguments and passes their exit status on. When the pipe on standard input closes, which the kernel
# sees to even when the parent is killed, it sends the signal named first; after ten seconds SIGKILL.
# When its child has ended, it ends the rest of the session's process group too.
# A shell, because it takes 0.2 MB where a second Python takes 9.
_GUARD = """
exec 3<&0
end=$1
shift
"$@" <&3 3<&- &
child=$!
exec 2>/dev/null
(
    read -r _ <&3
    kill -s "$end" $child
    kill -s CONT $child
    tries=0
    while [ $tries -lt 100 ] && kill -s 0 $child; do
        tries=$((tries + 1))
        sleep 0.1
    done
    kill -s KILL $child
) >/dev/null &
watch=$!
wait $child
status=$?
trap "" TERM
kill -s TERM 0
wait $watch
exit $status
"""


def guarded(args: Sequence[str], *, name: str, end_signal: str) -> list[str]:
    """A command that runs `args` and ends them when the pipe on its standard input closes.

    It needs a session of its own, and a parent that never closes the pipe by accident.
    """
    return ["/bin/sh", "-c", _GUARD, f"bioscope-{name}", end_signal, *args]


class Child:
    """A supervised process in a session of its own, so that Ctrl-C on the terminal reaches the parent alone.

    Its standard input is a pipe that this process holds; what it prints goes to `<log_dir>/<name>.log`.
    Whoever starts one stops it.
    """

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._watch = threading.Thread(target=self._reap, name=f"watch-{name}", daemon=True)
        self._watch.start()

    @classmethod
    async def start(
        cls,
        args: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        name: str,
        log_dir: Path,
        account: Account | None = None,
        cwd: Path | None = None,
        end_signal: str = "TERM",
        announces: bool = False,
    ) -> "Child":
        """Start `args` with the whole environment `env` (None: this process's own).

        With `announces` its standard output is not logged: `announcement` reads the first line of it.
        `end_signal` is what makes it end in good order.

        Raises:
            ConfigurationError: it can't be started.
        """
        log = log_dir / f"{name}.log"
        command = guarded(args, name=name, end_signal=end_signal)
        try:
            with _opened(log) as output:
                process = _spawned(
                    command, env, cwd, account, output, subprocess.PIPE if announces else output
                )
        except OSError as error:
            raise ConfigurationError([f"The {name} could not be started: {error}."]) from error
        return cls(name, process, log)

    @property
    def running(self) -> bool:
        return not self._ended.done()

    async def wait(self) -> int:
        """The exit status, once it has ended for whatever reason (128 + n: by signal n)."""
        return await asyncio.shield(self._ended)

    async def announcement(self, timeout_seconds: float) -> bytes:
        """The first line of its standard output; empty if it ended, or said nothing in time."""
        output = self._process.stdout
        if output is None:
            raise ValueError(f"{self.name} was not started with announces=True")
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.to_thread(output.readline)
        except TimeoutError:
            self._kill()
            return b""

    async def stop(self, timeout_seconds: float = 10) -> None:
        """End it in good order, or by SIGKILL after the time-out. It is gone when this returns."""
        self._close_pipe()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.wait()
        except TimeoutError:
            self._kill()
            await self.wait()
        self._watch.join()
        if self._process.stdout:
            self._process.stdout.close()

    def last_words(self) -> str:
        """The line of its log that says best why it ended."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 8192))
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
        return (fatal or lines or ["it said nothing"])[-1].strip()

    def _close_pipe(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _reap(self) -> None:
        status = self._process.wait()
        # The loop is closed when nobody stopped this child: then nobody waits for the answer either.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._set_ended, 128 - status if status < 0 else status)

    def _set_ended(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)


def _spawned(
    command: Sequence[str],
    env: Mapping[str, str] | None,
    cwd: Path | None,
    account: Account | None,
    errors: IO[bytes],
    output: IO[bytes] | int,
) -> "subprocess.Popen[bytes]":
    """Not asyncio's own: uvloop can't start a process as another user."""
    return subprocess.Popen(  # noqa: S603
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=errors,
        start_new_session=True,
        umask=0o077,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


def _opened(log: Path) -> IO[bytes]:
    """The log, private and opened for appending; an old one above 1 MiB is put aside first."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")
