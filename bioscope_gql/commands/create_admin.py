"""``bioscope create-admin``: the first administrator, for there are no default accounts or passwords."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bioscope_gql.auth.passwords import Passwords
from bioscope_gql.commands import running
from bioscope_gql.commands.password_prompt import ask_password
from bioscope_gql.commands.reaching import reached
from bioscope_gql.db import Database
from bioscope_gql.errors import InvalidInput, Problem
from bioscope_gql.resolvers import accounts
from bioscope_gql.services import database_of
from bioscope_gql.settings import Settings
from bioscope_gql.vocabulary import Role


@dataclass(frozen=True)
class Opened:
    """As much of `Services` as it takes to make an account."""

    settings: Settings
    db: Database
    passwords: Passwords


def run(args: argparse.Namespace, settings: Settings) -> int:
    found = reached(args, settings)
    found.require("database")
    limits = found.limits
    password = ask_password(
        args, min_length=limits.password_min_length, max_length=limits.password_max_length
    )
    return running.run(_create(found, args.email, args.username, password))


async def _create(settings: Settings, email: str, username: str, password: str) -> int:
    async with database_of(settings) as database:
        services = Opened(settings, database, Passwords(at_once=1))
        with told_in_full():
            row = await accounts.create(
                services, email=email, username=username, password=password, role=Role.ADMIN
            )
    print(f"Made the administrator {row['username']}.")
    return 0


@contextmanager
def told_in_full() -> Iterator[None]:
    """What is wrong with the fields of an input is told in one line."""
    try:
        yield
    except InvalidInput as error:
        raise Problem(" ".join([error.message, *(each.message for each in error.fields)])) from error
