"""Asking for a new password: twice on a terminal, or one line of standard input."""

import argparse
import getpass
import sys

from bioscope_gql.errors import InvalidInput


def ask_password(args: argparse.Namespace, *, min_length: int = 8, max_length: int = 1024) -> str:
    """The password that the administrator chose.

    Raises:
        InvalidInput: none came, it is too short or too long, or the two differ.
    """
    password = _read_line(max_length) if args.password_stdin else _ask_twice()
    if len(password) < min_length:
        raise _refused(
            "TOO_SHORT", f"The password must have at least {min_length} characters. Choose a longer one."
        )
    if len(password) > max_length:
        raise _refused(
            "TOO_LONG", f"The password must have at most {max_length} characters. Choose a shorter one."
        )
    return password


def _read_line(max_length: int) -> str:
    """The first line, of which a character more than the limit is enough to refuse it."""
    line = sys.stdin.readline(max_length + 2)
    if not line:
        raise _refused("TOO_SHORT", "No password came on standard input. Write it there as one line.")
    return line.rstrip("\r\n")


def _ask_twice() -> str:
    if not sys.stdin.isatty():
        raise _refused(
            "TOO_SHORT", "There is no terminal to ask on. Use --password-stdin and write the password there."
        )
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("The same again: ")
    except EOFError:
        raise _refused("TOO_SHORT", "No password was given. Run the command again.") from None
    if password != again:
        raise _refused("MISMATCH", "The two passwords differ. Run the command again.")
    return password


def _refused(code: str, message: str) -> InvalidInput:
    return InvalidInput.at(code, ("password",), message)
