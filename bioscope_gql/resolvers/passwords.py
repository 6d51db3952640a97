"""What a new password may be."""

from collections.abc import Iterable

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from bioscope_gql.errors import FieldProblem
from bioscope_gql.resolvers import words
from bioscope_gql.settings import Limits

SHORTEST = 8
OF_THIS_TRADE = frozenset(("bioscope", "bioscope1", "bioscope123", "microscope", "microscope1", "laboratory"))
COMMON = OF_THIS_TRADE.union(each for each in FREQUENCY_LISTS["passwords"] if len(each) >= SHORTEST)
"""What everybody tries first: of the 30,000 most common ones those that are long enough; in lower case."""


def problems(
    password: str, limits: Limits, names: Iterable[str], *, path: str = "password"
) -> list[FieldProblem]:
    """What keeps a text from becoming the password of somebody who goes by these names."""
    least, most = limits.password_min_length, limits.password_max_length
    if len(password) < least:
        return [FieldProblem("TOO_SHORT", (path,), f"A password has at least {least} characters.")]
    if len(password) > most:
        return [FieldProblem("TOO_LONG", (path,), f"A password has at most {most} characters.")]
    if "\0" in password:
        return [FieldProblem("FORBIDDEN_CHARACTERS", (path,), "A password can't contain NUL.")]
    folded = words.key(password)
    if folded in COMMON or folded in {words.key(name) for name in names}:
        message = "This password is among the first that anybody would try. Choose a few words instead."
        return [FieldProblem("TOO_COMMON", (path,), message)]
    return []
