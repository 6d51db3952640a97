"""``bioscope dev``: everything embedded, serving until interrupted."""

import argparse
import sys

from bioscope_gql.commands import running
from bioscope_gql.commands.development import development
from bioscope_gql.settings import Settings


def run(args: argparse.Namespace, settings: Settings) -> int:
    if args.reload:
        from bioscope_gql.commands.reloading import reload

        return reload()
    return running.run(_dev(settings))


async def _dev(settings: Settings) -> int:
    async with development(settings) as stack:
        for notice in stack.notices:
            print(notice, file=sys.stderr)
        print(
            f"Serving on {stack.url}/graphql until you press Ctrl-C. Data: {settings.app.data_dir}",
            flush=True,
        )
        await stack.stopped.wait()
        if stack.failure:
            print(stack.failure, file=sys.stderr)
            return 1
    return 0
