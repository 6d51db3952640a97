"""``bioscope keys make|rotate|list``: the keys that sign access tokens."""

import argparse
from pathlib import Path

from bioscope_gql.auth import keyfiles
from bioscope_gql.auth.keys import Keys
from bioscope_gql.settings import Settings


def run(args: argparse.Namespace, settings: Settings) -> int:
    files = settings.auth.keys or (settings.app.data_dir / "keys" / "signing.pem",)
    match args.what:
        case "make":
            key = keyfiles.make(files[0], args.algorithm)
            print(f"Made {key.kid} ({key.algorithm}) in {files[0]}.")
            print("A server that runs knows it within seconds; `bioscope keys rotate` has it sign.")
        case "rotate":
            former, following = keyfiles.rotate(files[0], args.algorithm)
            print(f"{following.kid} ({following.algorithm}) signs from now on.")
            print(f"{former.kid} no longer signs; its tokens hold until they expire.")
        case _:
            _list(files)
    return 0


def _list(files: tuple[Path, ...]) -> None:
    keys = Keys.load(files)
    for file in files:
        for entry in keyfiles.entries(file):
            if entry.key.kid == keys.signing.kid:
                does = "signs"
            elif entry.key.private is not None:
                does = "waits"
            else:
                does = f"retired {entry.retired:%Y-%m-%d %H:%M}" if entry.retired else "verifies"
            print(f"{entry.key.kid}  {entry.key.algorithm}  {does:<24} {file}")
