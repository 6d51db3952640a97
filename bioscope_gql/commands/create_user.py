"""``bioscope create-user``: an account, whose owner sets the password by a link token."""

import argparse

from bioscope_gql.auth.passwords import Passwords
from bioscope_gql.commands import running
from bioscope_gql.commands.create_admin import Opened, told_in_full
from bioscope_gql.commands.reaching import reached
from bioscope_gql.resolvers import invitations
from bioscope_gql.services import database_of
from bioscope_gql.settings import Settings
from bioscope_gql.vocabulary import Role


def run(args: argparse.Namespace, settings: Settings) -> int:
    found = reached(args, settings)
    found.require("database")
    return running.run(_create(found, args.email, args.username, Role(args.role)))


async def _create(settings: Settings, email: str, username: str, role: Role) -> int:
    async with database_of(settings) as database:
        services = Opened(settings, database, Passwords(at_once=1))
        with told_in_full():
            made = await invitations.invite(services, email=email, username=username, role=role)
    print(f"Made the account {made.user['username']} ({role}). Its owner sets the password with this token,")
    print(f"once, until {made.expires_at:%Y-%m-%d %H:%M} UTC:")
    print(made.token)
    return 0
