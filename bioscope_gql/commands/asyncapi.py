"""``bioscope asyncapi [--check FILE]``: the Kafka messages as an AsyncAPI document."""

import argparse

from bioscope_gql.commands import printed
from bioscope_gql.settings import Settings


def run(args: argparse.Namespace, _settings: Settings) -> int:
    from bioscope_gql.events.asyncapi import render

    return printed.show(render(), args.check, "asyncapi")
