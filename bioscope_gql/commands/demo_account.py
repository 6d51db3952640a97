"""The demo's account: made once for each data directory, with a password that lies beside the data."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from bioscope_gql.commands.demo_client import Client
from bioscope_gql.errors import Conflict, InvalidCredentials, Problem
from bioscope_gql.resolvers import accounts
from bioscope_gql.services import Services
from bioscope_gql.vocabulary import Role

FILE = "demo-account.json"
NAME = "demo"


@dataclass(frozen=True)
class Account:
    username: str
    password: str


async def sign_in(client: Client, services: Services, data_dir: Path) -> Account:
    """Sign the demo's account in; make it where there is none, or where it does not hold any more."""
    if kept := _read(data_dir / FILE):
        try:
            await client.sign_in(kept.username, kept.password)
        except InvalidCredentials:
            pass
        else:
            return kept
    made = await _make(services)
    _write(data_dir / FILE, made)
    await client.sign_in(made.username, made.password)
    return made


async def _make(services: Services) -> Account:
    """Somebody may have taken the plain name; nobody takes the other one."""
    for name in (NAME, f"{NAME}-{secrets.token_hex(4)}"):
        account = Account(name, secrets.token_urlsafe(12))
        try:
            await accounts.create(
                services,
                email=f"{name}@lab.example",
                username=account.username,
                password=account.password,
                role=Role.ANALYST,
            )
        except Conflict:
            continue
        return account
    raise Problem("The demo's account can't be made. Start the demo with another --data-dir.")


def _read(file: Path) -> Account | None:
    """What was kept; nothing where it is not there or was spoilt."""
    try:
        return Account(**json.loads(file.read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _write(file: Path, account: Account) -> None:
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(asdict(account), out)
    draft.replace(file)
