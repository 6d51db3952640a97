"""Which database, Kafka and store a command works on: the configured ones, or an embedded stack's."""

import argparse

from bioscope_gql.settings import Settings


def reached(args: argparse.Namespace, settings: Settings) -> Settings:
    """The settings; with ``--data-dir`` those of the embedded stack that runs there now.

    Raises:
        ConfigurationError: none runs there.
    """
    if args.data_dir is None:
        return settings
    from bioscope_gql.embedded.stack import read_stack

    stack = read_stack(args.data_dir.absolute())
    found = settings.embedded(
        dsn=stack.dsn, bootstrap_servers=stack.bootstrap_servers, data_dir=stack.data_dir
    )
    return found.at(stack.url) if stack.url else found
