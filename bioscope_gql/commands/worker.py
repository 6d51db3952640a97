"""``bioscope worker [--concurrency N]``: the reference classifier as a worker."""

import argparse

from bioscope_gql.embedded.stack import RunningStack, read_stack
from bioscope_gql.events import security
from bioscope_gql.events.messages import Topics
from bioscope_gql.settings import Settings
from bioscope_gql.worker.options import Options


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Work until SIGTERM or SIGINT; 0 if everything in hand was finished, 1 if something comes again."""
    concurrency = args.concurrency or settings.worker.concurrency or 1
    if args.data_dir is None:
        options = for_settings(settings, concurrency)
    else:
        options = for_stack(read_stack(args.data_dir), settings, concurrency)

    from bioscope_gql.worker import reference  # takes a while, and not to say what is wrong with settings

    return reference.worker().serve(options)


def for_settings(settings: Settings, concurrency: int) -> Options:
    """How to work with the configured Kafka.

    Raises:
        ConfigurationError: no broker is set, or a certificate can't be read.
    """
    settings.require("kafka")
    secret = settings.worker.client_secret
    return Options(
        bootstrap_servers=",".join(settings.kafka.bootstrap_servers),
        topics=_topics(settings),
        concurrency=concurrency,
        security=security.arguments(settings.kafka.security),
        development=settings.worker.development,
        api_url=settings.worker.api_url or settings.app.public_url,
        client_id=settings.worker.client_id,
        client_secret=secret.get_secret_value() if secret else None,
    )


def for_stack(stack: RunningStack, settings: Settings, concurrency: int) -> Options:
    """How to work with an embedded stack; its jobs carry links."""
    return Options(
        bootstrap_servers=stack.bootstrap_servers,
        topics=_topics(settings),
        concurrency=concurrency,
        development=True,
        api_url=stack.url,
    )


def _topics(settings: Settings) -> Topics:
    return Topics(**settings.kafka.topics.model_dump())
