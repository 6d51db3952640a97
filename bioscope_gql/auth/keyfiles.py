"""Key files that change while servers run: they are read again, and rotated without anybody signing out."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bioscope_gql.auth import keys
from bioscope_gql.auth.keys import BLOCK, Algorithm, Key, Keys
from bioscope_gql.errors import ConfigurationError

LOOK_SECONDS = 2.0
OVERLAP = timedelta(days=1)
"""How long a key that was retired is still accepted: as long as an access token can live."""

_RETIRED = re.compile(rb"^Retired: (\S+)$", re.MULTILINE)

logger = structlog.get_logger()


class KeyFiles:
    """The keys of some files. Whether these have changed is looked at every two seconds.

    Files that can't be used (any more) are told in the log, and the keys that there were stay.

    Raises:
        ConfigurationError: they can't be used from the beginning.
    """

    def __init__(self, files: Sequence[Path], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._clock = files, clock
        self._seen = self._stamps()
        self._keys = Keys.load(files)
        self._next_look = clock() + LOOK_SECONDS

    def current(self, *, at_once: bool = False) -> Keys:
        """The keys as they are; `at_once`, because one is missed, not as they were two seconds ago."""
        now = self._clock()
        if at_once or now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look()
        return self._keys

    def _look(self) -> None:
        if (seen := self._stamps()) == self._seen:
            return
        self._seen = seen
        try:
            self._keys = Keys.load(self._files)
        except ConfigurationError as error:
            logger.warning("The signing keys have changed and can't be used.", problems=error.problems)
        else:
            logger.info("keys_read_again", signing=self._keys.signing.kid)

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):
        found = file.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None


@dataclass(frozen=True)
class Entry:
    """One key of a file, as it is written there."""

    key: Key
    pem: bytes
    retired: datetime | None = None

    @property
    def text(self) -> bytes:
        said = f"Key: {self.key.kid}\n"
        said += f"Retired: {self.retired.isoformat()}\n" if self.retired else ""
        return said.encode() + self.pem.strip() + b"\n"


def make(file: Path, algorithm: Algorithm) -> Key:
    """Add a new key, which is known from now on and signs once it is rotated to; in a new file it signs.

    Raises:
        ConfigurationError: the file holds something else, or can't be written.
    """
    made = _new(algorithm)
    _write(file, [*entries(file), made])
    return made.key


def rotate(file: Path, algorithm: Algorithm) -> tuple[Key, Key]:
    """Have the key sign that was made last and waits, or a new one where none does; return old and new.

    The old one becomes public and is accepted for a day, longer than any token of it lives.

    Raises:
        ConfigurationError: the file holds no key that signs, or can't be written.
    """
    there = entries(file)
    if not there or there[0].key.private is None:
        raise ConfigurationError([f"The key file {file} has no key that signs: run `bioscope keys make`."])
    now = datetime.now(UTC)
    waiting = [each for each in there[1:] if each.key.private is not None]
    following = waiting[-1] if waiting else _new(algorithm)
    others = [
        each
        for each in there[1:]
        if each is not following and (each.retired is None or now - each.retired < OVERLAP)
    ]
    former = there[0].key
    pem = former.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write(file, [following, *others, Entry(former, pem, now)])
    return former, following.key


def entries(file: Path) -> list[Entry]:
    """The keys of a file in their order, the one that signs first; none where there is no file.

    Raises:
        ConfigurationError: it can't be read.
    """
    if not file.exists():
        return []
    try:
        text, found, place = file.read_bytes(), [], 0
        for block in BLOCK.finditer(text):
            retired = _RETIRED.search(text, place, block.start())
            when = datetime.fromisoformat(retired[1].decode()) if retired else None
            found.append(Entry(keys.parse(block[0]), block[0], when))
            place = block.end()
    except (OSError, ValueError) as error:
        raise ConfigurationError([f"The key file {file} {_end_of_sentence(error)}."]) from error
    return found


def _end_of_sentence(error: Exception) -> str:
    return f"can't be read: {error.strerror}" if isinstance(error, OSError) else str(error)


def _new(algorithm: Algorithm) -> Entry:
    pem = keys.new_pem(algorithm)
    return Entry(keys.parse(pem), pem)


def _write(file: Path, there: Sequence[Entry]) -> None:
    """All or nothing, for its owner only: servers read it meanwhile."""
    draft = file.with_name(f".{file.name}-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(b"\n".join(each.text for each in there))
            out.flush()
            os.fsync(out.fileno())
        if file.exists():
            owner = file.stat()
            if os.geteuid() == 0:
                os.chown(draft, owner.st_uid, owner.st_gid)
            draft.chmod(owner.st_mode & 0o777)
        draft.replace(file)
    except OSError as error:
        problem = f"The key file {file} can't be written ({error.strerror}): check its folder and rights."
        raise ConfigurationError([problem]) from error
    finally:
        draft.unlink(missing_ok=True)
