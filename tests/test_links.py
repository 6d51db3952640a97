"""Signed links to the disk store, and the secret that signs them."""

import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bioscope_gql.errors import ConfigurationError
from bioscope_gql.storage.links import (
    Grant,
    LinkAltered,
    LinkExpired,
    LinkSigner,
    load_or_create_secret,
)

SIGNER = LinkSigner(b"a secret of thirty-two bytes ....")
KEY = "images/a/b"
NOW = 1_000_000.0
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def sign(
    filename: str | None = "a b.png", *, expires: int = 1_000_060, content_type: str = "image/png"
) -> str:
    return SIGNER.sign(KEY, expires=expires, content_type=content_type, filename=filename)


def verify(link: str, now: float = NOW, signer: LinkSigner = SIGNER) -> Grant:
    parts = urlsplit(link)
    return signer.verify(unquote(parts.path), parts.query, now)


def changed(link: str, **parts: str | None) -> str:
    """The link with other values in its query; None takes one away."""
    path, _, query = link.partition("?")
    values = dict(parse_qsl(query, keep_blank_values=True)) | parts
    return f"{path}?{urlencode({name: value for name, value in values.items() if value is not None})}"


def test_a_link_allows_what_was_signed_until_its_last_second() -> None:
    link = sign()
    assert verify(link, 1_000_059.9) == Grant(KEY, "image/png", "a b.png", 1_000_060)
    for late in (1_000_060.0, 2_000_000.0):
        with pytest.raises(LinkExpired, match=r"^This link has expired\. Ask for a new one\.$"):
            verify(link, late)


@given(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=40)))
@example("")
@example("a&sig=x&exp=1#?/%2F+ ")
def test_any_file_name_survives_in_a_link(filename: str | None) -> None:
    link = sign(filename)
    assert link.isascii()
    assert verify(link).filename == filename


def test_half_a_character_becomes_a_question_mark() -> None:
    assert verify(sign("a\ud800.png")).filename == "a?.png"


@pytest.mark.parametrize(
    "link",
    [
        changed(sign(), exp="1000061"),
        changed(sign(), exp="01000060"),
        changed(sign(), exp="-1"),
        changed(sign(), exp="1e9"),
        changed(sign(), exp="٣٣٣"),
        changed(sign(), type="text/html"),
        changed(sign(), name="b.png"),
        changed(sign(), name=None),
        changed(sign(), name=""),
        changed(sign(None), name=""),
        changed(sign(""), name=None),
        changed(sign(), sig=""),
        changed(sign(), sig=None),
        changed(sign(), sig="ä"),
        changed(sign(), sig="x" * 10_000),
        changed(sign(), other="x"),
        sign() + "&exp=1000060",
        sign() + "&exp=2000000",
        sign() + "&",
        sign() + "=",
        sign().replace("name=", "name=%ff"),
        sign().replace("name=", "%ff=&name="),
        sign().replace("/a/b", "/a/c"),
        sign().replace("/a/b", "/a/../a/b"),
        sign().replace("/a/b", "/a//b"),
        sign().replace("/files/", "/file/"),
        sign().replace("/files/", "/files/files/"),
        "/files/" + KEY,
        "/files/",
        "/files/?exp=1&type=a/b&sig=x",
    ],
)
def test_a_link_that_was_altered_is_refused(link: str) -> None:
    for now in (NOW, 3_000_000.0):
        with pytest.raises(LinkAltered, match=r"^This link is not one that this server made\."):
            verify(link, now)


def test_no_letter_of_a_signature_can_be_another() -> None:
    link = sign()
    head, _, signature = link.rpartition("=")
    for place, letter in enumerate(signature):
        other = ALPHABET[(ALPHABET.index(letter) + 1) % len(ALPHABET)]
        with pytest.raises(LinkAltered):
            verify(f"{head}={signature[:place]}{other}{signature[place + 1 :]}")


def test_a_link_that_a_mail_program_spelled_anew_still_holds() -> None:
    link = sign("próbka 1.png")
    assert verify(link.replace("%20", "+").replace("%C3%B3", "%c3%b3")) == verify(link)


def test_another_secret_signs_other_links() -> None:
    with pytest.raises(LinkAltered):
        verify(sign(), signer=LinkSigner(bytes(32)))


def test_what_can_not_be_signed_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a content type"):
        sign(content_type="text/html; charset=utf-8")
    with pytest.raises(ValueError, match="is not a content type"):
        sign(content_type="image/png\n")
    with pytest.raises(ValueError, match="is not a key"):
        SIGNER.sign("../a", expires=1, content_type="image/png", filename=None)
    with pytest.raises(ValueError, match="at least 32 bytes"):
        LinkSigner(b"short")


def test_the_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "data" / "keys" / "links"
    secret = load_or_create_secret(file)

    assert len(secret) == 32
    assert load_or_create_secret(file) == secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [each.name for each in file.parent.iterdir()] == ["links"]


def test_processes_that_start_together_get_the_same_secret(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from bioscope_gql.storage.links import load_or_create_secret as load\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(load(Path(sys.argv[1])).hex())\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "data" / "links")],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    said = [process.communicate("go\n", timeout=30)[0] for process in running]

    assert said == [f"{(tmp_path / 'data' / 'links').read_bytes().hex()}\n"] * 4
    assert [each.name for each in (tmp_path / "data").iterdir()] == ["links"]


def test_a_secret_that_is_too_short_is_named(tmp_path: Path) -> None:
    file = tmp_path / "links"
    file.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match=r"links is too short\. Delete the file"):
        load_or_create_secret(file)
    assert file.read_bytes() == b"short"


def test_a_secret_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"can't be read or made: (Not a directory|File exists)\."):
        load_or_create_secret(tmp_path / "file" / "links")
