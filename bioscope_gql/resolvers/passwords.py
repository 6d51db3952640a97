"""What a new password may be."""

from collections.abc import Iterable

from bioscope_gql.errors import FieldProblem
from bioscope_gql.resolvers import words
from bioscope_gql.settings import Limits

TRIED_FIRST = """
    00000000 0123456789 0987654321 11111111 1111111111 11223344 12121212 12341234 123123123 12345678
    123456789 1234567890 123qweasd 147258369 1q2w3e4r 1q2w3e4r5t 1qaz2wsx 22222222 66666666 77777777
    87654321 88888888 987654321 99999999 aa123456 aaaaaaaa abc12345 abcd1234 abcdefgh admin123 admin1234
    administrator asdf1234 asdfasdf asdfghjk asdfghjkl baseball bioscope bioscope1 bioscope123 changeme
    changeme1 charlie1 computer corvette daniel123 dragon123 football football1 hello123 iloveyou
    iloveyou1 internet jennifer letmein1 letmein123 liverpool login123 master123 michelle microscope
    microscope1 mustang1 p@ssw0rd p@ssword pa55word pass1234 passw0rd password password! password1
    password12 password123 password1234 princess princess1 q1w2e3r4 qazwsxedc qwer1234 qwerty12 qwerty123
    qwertyui qwertyuiop samantha sunshine sunshine1 superman superman1 test1234 testtest trustno1
    user1234 welcome1 welcome123 whatever zaq12wsx zxcvbnm1 zxcvbnm123
"""
COMMON = frozenset(TRIED_FIRST.split())
"""What everybody tries first, among those that are long enough; in lower case."""


def problems(password: str, limits: Limits, names: Iterable[str]) -> list[FieldProblem]:
    """What keeps a text from becoming the password of somebody who goes by these names."""
    least, most = limits.password_min_length, limits.password_max_length
    if len(password) < least:
        return [FieldProblem("TOO_SHORT", ("password",), f"A password has at least {least} characters.")]
    if len(password) > most:
        return [FieldProblem("TOO_LONG", ("password",), f"A password has at most {most} characters.")]
    if "\0" in password:
        return [FieldProblem("FORBIDDEN_CHARACTERS", ("password",), "A password can't contain NUL.")]
    folded = words.key(password)
    if folded in COMMON or folded in {words.key(name) for name in names}:
        message = "This password is among the first that anybody would try. Choose a few words instead."
        return [FieldProblem("TOO_COMMON", ("password",), message)]
    return []
