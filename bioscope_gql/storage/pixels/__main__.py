"""One process of the intake: takes paths, looks into the files, answers; ends when it is asked no more."""

import json
import logging
import os
import resource
import select
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from bioscope_gql.errors import Rejected
from bioscope_gql.storage.pixels.bounds import Bounds
from bioscope_gql.storage.pixels.examination import examine
from bioscope_gql.storage.thumbnails import thumbnails
from bioscope_gql.vocabulary import RejectionCode

MAX_PATH_BYTES = 64 * 1024
ROOM_BYTES = 768 * 1024 * 1024
"""For the libraries, their tables, and the compressed bytes that are being decoded."""

GRACE_SECONDS = 10


def main() -> None:
    bounds = Bounds(**json.loads(sys.argv[1]))
    questions, answers = sys.stdin.buffer, _own_output()
    confine(bounds)
    threading.Thread(target=end_with_parent, daemon=True).start()
    say(answers, {"ready": True})
    while path := question(questions):
        lasting = answer(answers, path, bounds)
        if not lasting:
            return


def question(pipe: BinaryIO) -> Path | None:
    length = int.from_bytes(pipe.read(4), "big")
    return Path(os.fsdecode(pipe.read(length))) if 0 < length <= MAX_PATH_BYTES else None


def answer(pipe: BinaryIO, path: Path, bounds: Bounds) -> bool:
    """Say what the file is. False when this process had better be replaced by a fresh one."""
    limit_time(bounds.intake_seconds)
    try:
        found = examine(path, bounds)
        pictures = thumbnails(found.shown)
    except Rejected as rejected:
        say(pipe, {"rejected": rejected.code, "message": rejected.message})
    except MemoryError:
        message = (
            "Reading the file takes more memory than is allowed for a picture of "
            f"{bounds.decoded_bytes:,} decoded bytes, the most there may be. Split it into several files."
        )
        say(pipe, {"rejected": RejectionCode.TOO_LARGE, "message": message})
        return False
    else:
        sizes = {size: len(data) for size, data in pictures.items()}
        say(pipe, found.answer() | {"thumbnails": sizes}, *pictures.values())
    return True


def say(pipe: BinaryIO, words: dict[str, object], *more: bytes) -> None:
    text = json.dumps(words, allow_nan=False).encode()
    pipe.write(b"".join((len(text).to_bytes(4, "big"), text, *more)))
    pipe.flush()


def confine(bounds: Bounds) -> None:
    """Bound memory and open files, and forbid to write any: whoever takes over this process gets little."""
    logging.disable()
    threading.stack_size(256 * 1024)
    memory = 2 * bounds.decoded_bytes + ROOM_BYTES  # while it is converted a picture is there twice
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for which, most in limits.items():
        with suppress(ValueError, OSError):  # not every system has every limit, or lets it be set so low
            resource.setrlimit(which, (most, most))


def limit_time(seconds: int) -> None:
    """A decoder that runs for ever ends though nobody is left to kill it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + seconds + GRACE_SECONDS
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def end_with_parent() -> None:
    """Leave at once when the other end of standard input is closed, also in the middle of a picture."""
    poll = select.poll()
    poll.register(sys.stdin.fileno(), 0)  # hang-ups are reported unasked
    poll.poll()
    os._exit(0)


def _own_output() -> BinaryIO:
    """Standard output for us alone: what libraries print goes nowhere."""
    kept = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return kept


if __name__ == "__main__":
    main()
