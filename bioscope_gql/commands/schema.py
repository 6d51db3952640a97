"""``bioscope schema [--check FILE]``: the GraphQL schema as SDL."""

import argparse

from bioscope_gql.commands import printed
from bioscope_gql.settings import Settings


def run(args: argparse.Namespace, _settings: Settings) -> int:
    from bioscope_gql.schema import print_schema

    return printed.show(print_schema(), args.check, "schema")
