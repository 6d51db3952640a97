"""The command line: reads arguments and settings, hands over to `bioscope_gql.commands`.

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 bad configuration.
"""

import argparse
import gc
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from bioscope_gql import __version__
from bioscope_gql.errors import ConfigurationError, Problem, Refusal, Rejected

DONE, FAILED, WRONG_USAGE, BAD_CONFIGURATION = 0, 1, 2, 78


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = parser().parse_args(arguments)
    if args.command is None:
        parser().error("say what to do: one of the commands below.")
    try:
        return _run(args, os.environ)
    except ConfigurationError as error:
        return _tell(args, error, "\n".join(error.problems), BAD_CONFIGURATION)
    except (Problem, Refusal, Rejected) as error:
        return _tell(args, error, str(error), FAILED)
    except KeyboardInterrupt as error:
        return _tell(args, error, "Interrupted before it was done.", FAILED)
    except BrokenPipeError as error:
        _forget_output()
        return _tell(args, error, "Whoever read the output went away before it was written.", FAILED)
    except Exception as error:
        what = " ".join(str(error).split()) or "no reason was given"
        what = f"{type(error).__name__}: {what.rstrip('.')}"
        sentence = f"bioscope {args.command} failed: {what}. --debug shows where."
        return _tell(args, error, sentence, FAILED)


def _run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from bioscope_gql import observability
    from bioscope_gql.settings import Settings

    settings = Settings.load(args.config, environ, command=args.command, overrides=_overrides(args))
    observability.configure(settings.app.log_level, settings.app.log_format)
    gc.set_threshold(*COLLECT_AFTER)
    module = importlib.import_module(f"bioscope_gql.commands.{args.command.replace('-', '_')}")
    return int(module.run(args, settings))


def _overrides(args: argparse.Namespace) -> dict[str, object]:
    """What the command line says of settings; it wins over all other sources."""
    given = {f"app.{name}": getattr(args, name, None) for name in ("host", "port", "data_dir")}
    if args.debug:
        given["app.log_level"] = "debug"
    return {name: value for name, value in given.items() if value is not None}


def _tell(args: argparse.Namespace, error: BaseException, sentence: str, code: int) -> int:
    if args.debug:
        traceback.print_exception(error, file=sys.stderr)
    print(sentence, file=sys.stderr)
    return code


def _forget_output() -> None:
    """Python flushes standard output at its end, and would complain about the closed pipe again."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, then how it is used."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message.rstrip('.')}.", file=sys.stderr)
        self.print_usage(sys.stderr)
        print(f"{self.prog} --help says more.", file=sys.stderr)
        sys.exit(WRONG_USAGE)


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    top = _Parser(
        prog="bioscope", description="The server that a microscopy laboratory runs its AI classification on."
    )
    top.add_argument("--version", action="version", version=f"bioscope {__version__}")
    top.set_defaults(command=None, debug=False)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    _serving(commands)
    _administering(commands)
    _printing(commands)
    return top


def _serving(commands: "argparse._SubParsersAction[_Parser]") -> None:
    demo = _command(
        commands, "demo", "start everything embedded, classify pictures before your eyes, then serve"
    )
    demo.add_argument(
        "--images", type=_folder, metavar="DIR", help="the pictures to upload (default: drawn ones)"
    )
    demo.add_argument(
        "--once", action="store_true", help="end after the table; 0 only if every run ended COMPLETED"
    )
    _port(demo)
    _data_dir(demo, "where the embedded stack keeps its data (default: .bioscope)")

    dev = _command(commands, "dev", "start everything embedded and serve until interrupted")
    dev.add_argument("--reload", action="store_true", help="start again when the code changes")
    _port(dev)
    _data_dir(dev, "where the embedded stack keeps its data (default: .bioscope)")

    serve = _command(commands, "serve", "serve with the configured PostgreSQL, Kafka and S3")
    serve.add_argument("--host", metavar="H", help="address to listen on (default: 127.0.0.1)")
    serve.add_argument("--migrate", action="store_true", help="bring the database to this version first")
    _port(serve)

    worker = _command(commands, "worker", "run the reference classifier as a worker")
    worker.add_argument(
        "--concurrency", type=_positive, metavar="N", help="pictures at the same time (default: 1)"
    )
    _data_dir(worker, EMBEDDED)


COLLECT_AFTER = (50_000, 20, 20)
"""Python looks for cyclic garbage after 700 objects, which is a sixth of a start and a tenth of a request."""

EMBEDDED = "use the embedded stack that keeps its data there and runs there now"


def _administering(commands: "argparse._SubParsersAction[_Parser]") -> None:
    migrate = _command(commands, "migrate", "bring the database to this version")
    migrate.add_argument("--check", action="store_true", help="only say (exit 1) whether it must be")
    _data_dir(migrate, EMBEDDED)

    admin = _command(commands, "create-admin", "make an administrator's account")
    admin.add_argument("--email", required=True, metavar="E")
    admin.add_argument("--username", required=True, metavar="U")
    admin.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    _data_dir(admin, EMBEDDED)

    user = _command(commands, "create-user", "make an account and print the token to set its password with")
    user.add_argument("--email", required=True, metavar="E")
    user.add_argument("--username", required=True, metavar="U")
    user.add_argument("--role", choices=("USER", "ANALYST", "ADMIN"), default="USER", metavar="R")
    _data_dir(user, EMBEDDED)

    keys = _command(commands, "keys", "make, rotate or list the keys that sign access tokens")
    keys.add_argument("what", choices=("make", "rotate", "list"))
    keys.add_argument(
        "--algorithm", choices=("ES256", "RS256"), default="ES256", help="of a new key (default: ES256)"
    )
    _data_dir(keys, "without auth.keys: where the embedded stack keeps its data (default: .bioscope)")

    audit = _command(commands, "audit", "print the audit trail")
    audit.add_argument("--since", type=_time, metavar="T", help="from then on, e.g. 2026-11-25T08:00")
    audit.add_argument("--user", metavar="U", help="what this account did, or what was done to it")
    _data_dir(audit, EMBEDDED)

    check = _command(commands, "check", "try database, Kafka, store and keys, and say what works")
    check.add_argument("--store", action="store_true", help="also compare the store with the database")
    _data_dir(check, EMBEDDED)


def _printing(commands: "argparse._SubParsersAction[_Parser]") -> None:
    for name, what in (
        ("schema", "the GraphQL schema"),
        ("asyncapi", "the AsyncAPI document of the messages"),
    ):
        command = _command(commands, name, f"print {what}")
        command.add_argument(
            "--check", type=Path, metavar="FILE", help="compare with FILE instead (exit 1 if it differs)"
        )


def _command(commands: "argparse._SubParsersAction[_Parser]", name: str, what: str) -> _Parser:
    command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: bioscope.yaml where it exists)"
    )
    command.add_argument("--debug", action="store_true", help="show tracebacks and log everything")
    return command


def _port(command: _Parser) -> None:
    command.add_argument("--port", type=_port_number, metavar="P", help="port to listen on (default: 8000)")


def _data_dir(command: _Parser, help: str) -> None:
    command.add_argument("--data-dir", type=Path, metavar="D", help=help)


def _number(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text[:10]) <= most):
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, not {text!r}")
    return int(text)


def _port_number(text: str) -> int:
    return _number(text, 0, 65535)


def _positive(text: str) -> int:
    return _number(text, 1, 1024)


def _time(text: str) -> datetime:
    """A time, in UTC unless it says otherwise."""
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a time such as 2026-11-25T08:00, not {text!r}") from None


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return Path(text)
