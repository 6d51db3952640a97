"""Signing keys: which are accepted, what is published of them, who may read them."""

import base64
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bioscope_gql.auth.keys import Key, Keys, generate
from bioscope_gql.errors import ConfigurationError


@pytest.fixture(scope="module")
def private() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def key(private: ec.EllipticCurvePrivateKey) -> Key:
    return Key.of(private)


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
        "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
        "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
        "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    number = int.from_bytes(base64.urlsafe_b64decode(modulus + "=="), "big")
    key = Key.of(rsa.RSAPublicNumbers(65537, number).public_key())
    assert key.jwk()["n"] == modulus
    assert key.kid == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_public_set_holds_no_private_part(key: Key, rsa_key: rsa.RSAPrivateKey) -> None:
    first, second = Keys([key, Key.of(rsa_key)]).jwks()["keys"]
    assert first.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert (first["kty"], first["crv"], first["alg"], first["use"]) == ("EC", "P-256", "ES256", "sig")
    assert second.keys() == {"kty", "n", "e", "kid", "alg", "use"}
    assert (second["kty"], second["e"], second["alg"]) == ("RSA", "AQAB", "RS256")
    assert "private" not in repr(key).lower()


def test_a_generated_key_is_for_its_owner_only_and_stays(tmp_path: Path) -> None:
    file = generate(tmp_path / "data" / "keys")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    before = file.read_bytes()
    assert generate(tmp_path / "data" / "keys") == file
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == ["signing.pem"]
    assert Keys.load([file]).signing.algorithm == "ES256"


def test_all_bad_key_files_are_told_at_once(
    tmp_path: Path, private: ec.EllipticCurvePrivateKey, rsa_key: rsa.RSAPrivateKey
) -> None:
    def written(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    def pem(of: Any, password: bytes | None = None) -> bytes:
        guard = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        done: bytes = of.private_bytes(serialization.Encoding.PEM, form, guard)
        return done

    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    files = [
        written("public.pem", public),
        written("public-again.pem", public),
        tmp_path / "absent.pem",
        written("junk.pem", b"-----BEGIN PRIVATE KEY-----\nswordfish\n-----END PRIVATE KEY-----\n"),
        written("locked.pem", pem(private, b"swordfish")),
        written("p384.pem", pem(ec.generate_private_key(ec.SECP384R1()))),
        written("weak.pem", pem(rsa.generate_private_key(65537, 1024))),
        written("fine.pem", pem(rsa_key)),
    ]
    with pytest.raises(ConfigurationError) as caught:
        Keys.load(files)

    kind = "must hold an EC key on the curve P-256 or an RSA key of at least 2048 bit."
    assert list(caught.value.problems) == [
        f"The key file {files[0]} comes first in auth.keys and so must hold a private key in PEM format.",
        f"The key file {files[2]} can't be read: No such file or directory; check the path and its rights.",
        f"The key file {files[3]} does not hold a key in PEM format.",
        f"The key file {files[4]} is encrypted; keep it unencrypted where only the server can read it.",
        f"The key file {files[5]} {kind}",
        f"The key file {files[6]} {kind}",
    ]
    with pytest.raises(ConfigurationError):
        Keys.load([])
