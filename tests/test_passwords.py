"""Passwords are hashed slowly, in threads, and an unknown account costs what a known one does."""

import asyncio

import pytest
from argon2 import Parameters, Type, extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY

from bioscope_gql.auth.passwords import Passwords

QUICK = Parameters(
    type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=1, memory_cost=64, parallelism=1
)
NOTICEABLE = Parameters(
    type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=4, memory_cost=8192, parallelism=1
)


@pytest.fixture
def passwords() -> Passwords:
    return Passwords(QUICK)


async def test_the_right_password_is_accepted_and_others_are_not(passwords: Passwords) -> None:
    hashed = await passwords.hash("a long password")
    assert hashed.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert await passwords.verify(hashed, "a long password") is True
    assert await passwords.verify(hashed, "a long passwore") is False
    assert await passwords.verify(hashed, "") is False


async def test_the_same_password_is_hashed_differently_each_time(passwords: Passwords) -> None:
    assert await passwords.hash("the same") != await passwords.hash("the same")


@pytest.mark.parametrize("hashed", [None, "", "junk", "$argon2id$junk", "$2b$12$" + "x" * 53])
async def test_nobody_gets_in_without_a_hash(passwords: Passwords, hashed: str | None) -> None:
    assert await passwords.verify(hashed, "") is False
    assert await passwords.verify(hashed, "a long password") is False


async def test_an_accent_may_be_composed_by_any_keyboard(passwords: Passwords) -> None:
    hashed = await passwords.hash("Zürich-Ångström")
    assert await passwords.verify(hashed, "Zu\u0308rich-A\u030angstro\u0308m") is True


async def test_a_lone_surrogate_is_a_wrong_password_and_no_crash(passwords: Passwords) -> None:
    assert await passwords.verify(await passwords.hash("fine"), "\ud800") is False


async def test_an_unknown_account_costs_as_much_as_a_wrong_password() -> None:
    """Argon2 costs what its parameters say; bench/logins.py has the times."""
    passwords = Passwords(NOTICEABLE)
    hashed = await passwords.hash("a long password")

    assert await passwords.verify(None, "wrong") is False
    assert await passwords.verify(hashed, "wrong") is False
    nobodys = passwords._nobody  # noqa: SLF001 - what stands in for a hash that is not there
    assert extract_parameters(nobodys) == extract_parameters(hashed)


async def test_the_event_loop_turns_while_passwords_are_hashed() -> None:
    passwords = Passwords(NOTICEABLE, at_once=1)
    turns = 0
    hashing = asyncio.gather(*(passwords.hash(str(number)) for number in range(4)))
    while not hashing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10
    assert len(set(await hashing)) == 4


async def test_a_hash_of_older_parameters_is_to_be_renewed(passwords: Passwords) -> None:
    old = await passwords.hash("a long password")
    today = Passwords(NOTICEABLE)
    assert passwords.needs_rehash(old) is False
    assert today.needs_rehash(old) is True
    assert today.needs_rehash("junk") is True
    assert await today.verify(old, "a long password") is True


def test_only_argon2id_is_used_and_by_default_with_64_mib() -> None:
    assert (RFC_9106_LOW_MEMORY.type, RFC_9106_LOW_MEMORY.memory_cost) == (Type.ID, 65_536)
    weaker = Parameters(
        type=Type.I, version=19, salt_len=16, hash_len=32, time_cost=1, memory_cost=64, parallelism=1
    )
    with pytest.raises(ValueError, match="Argon2id"):
        Passwords(weaker)
