"""Documents that are printed, or compared with the copy that is committed."""

import difflib
import sys
from itertools import islice
from pathlib import Path

from bioscope_gql.errors import Problem

DIFFERENCES_SHOWN = 40


def show(text: str, check: Path | None, command: str) -> int:
    """Print `text`; or compare it with the file `check`, and return 1 where they differ."""
    if check is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
        return 0
    try:
        kept = check.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(
            f"{check} can't be compared: {error}. Write it with: bioscope {command} > {check}"
        ) from error
    if kept.rstrip("\n") == text.rstrip("\n"):
        return 0
    print(
        f"{check} is not what the code says. Write it anew with: bioscope {command} > {check}",
        file=sys.stderr,
    )
    names = (str(check), f"bioscope {command}")
    lines = difflib.unified_diff(kept.splitlines(), text.splitlines(), *names, n=1, lineterm="")
    shown = list(islice(lines, DIFFERENCES_SHOWN + 1))
    if len(shown) > DIFFERENCES_SHOWN:
        shown[DIFFERENCES_SHOWN:] = ["..."]
    print(*shown, sep="\n", file=sys.stderr)
    return 1
