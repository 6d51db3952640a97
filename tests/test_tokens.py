"""Only what we signed ourselves, for us, and that still holds, is believed."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from bioscope_gql.auth.keys import Key, Keys
from bioscope_gql.auth.tokens import Claims, Tokens
from bioscope_gql.errors import Unauthenticated

NOW = 1_900_000_000
ALICE, SESSION = UUID(int=1), UUID(int=2)
Json = dict[str, Any]


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def private() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def key(private: ec.EllipticCurvePrivateKey) -> Key:
    return Key.of(private)


@pytest.fixture
def tokens(key: Key, clock: Clock) -> Tokens:
    return Tokens(Keys([key]), "bioscope", "lab", 900, clock=clock)


@pytest.fixture
def forge(private: ec.EllipticCurvePrivateKey, key: Key) -> Callable[..., str]:
    """Tokens signed with the server's own key, so that only what they say is wrong."""

    def made(header: Json | None = None, without: str | None = None, **claims: Any) -> str:
        said = {**good_claims(), **claims}
        head = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid, **(header or {})}
        if without is not None:
            (said if without in said else head).pop(without)
        return es256(private, head, said)

    return made


def good_claims() -> Json:
    return {
        "iss": "bioscope",
        "aud": "lab",
        "sub": str(ALICE),
        "sid": str(SESSION),
        "kind": "user",
        "iat": NOW,
        "exp": NOW + 900,
        "jti": "1",
    }


def part(value: object) -> str:
    data = (
        value
        if isinstance(value, bytes)
        else (value if isinstance(value, str) else json.dumps(value)).encode()
    )
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def es256(private: ec.EllipticCurvePrivateKey, header: object, claims: object) -> str:
    signed = f"{part(header)}.{part(claims)}"
    r, s = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def hs256(secret: bytes, header: object, claims: object) -> str:
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def refusal(tokens: Tokens, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        tokens.read(token)
    assert caught.value.code == "UNAUTHENTICATED"
    assert caught.value.message.endswith(".")
    return caught.value.reason


def test_a_token_says_whose_it_is_until_it_expires(tokens: Tokens, clock: Clock) -> None:
    token, expires_at = tokens.issue(ALICE, SESSION)
    assert expires_at == datetime.fromtimestamp(NOW + 900, UTC)
    assert tokens.read(token) == Claims(ALICE, SESSION, expires_at, "user")
    assert tokens.read(tokens.issue(ALICE, SESSION, "service")[0]).kind == "service"

    clock.now = NOW + 899.9
    assert tokens.read(token).sub == ALICE
    clock.now = NOW + 900
    assert refusal(tokens, token) == "EXPIRED"
    assert refusal(tokens, token) == "EXPIRED"
    assert tokens.read(token, accept_expired=True).session == SESSION


def test_a_forger_with_our_key_would_succeed_so_the_other_tests_test_what_they_say(
    tokens: Tokens, forge: Callable[..., str]
) -> None:
    assert tokens.read(forge()).sub == ALICE


def test_two_tokens_are_never_the_same(tokens: Tokens) -> None:
    assert tokens.issue(ALICE, SESSION)[0] != tokens.issue(ALICE, SESSION)[0]


@pytest.mark.parametrize(
    "name", ["iss", "aud", "sub", "sid", "kind", "iat", "exp", "jti", "typ", "alg", "kid"]
)
def test_nothing_may_be_missing(tokens: Tokens, forge: Callable[..., str], name: str) -> None:
    assert refusal(tokens, forge(without=name)) == "INVALID"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "evil"},
        {"iss": ["bioscope"]},
        {"aud": "other"},
        {"aud": ["lab", "other"]},
        {"sub": "alice"},
        {"sub": 1},
        {"sub": None},
        {"sid": ""},
        {"kind": "admin"},
        {"kind": ["user"]},
        {"jti": ""},
        {"jti": 7},
        {"iat": NOW + 6},
        {"iat": True},
        {"iat": -1},
        {"iat": float("nan")},
        {"exp": str(NOW + 900)},
        {"exp": NOW + 900.5},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": NOW + 906},
        {"exp": NOW - 1},
        {"exp": None},
        {"exp": [NOW]},
    ],
    ids=str,
)
def test_a_claim_that_is_not_ours_is_refused(tokens: Tokens, forge: Callable[..., str], claims: Json) -> None:
    assert refusal(tokens, forge(**claims)) == "INVALID"


def test_a_number_with_an_endless_exponent_is_refused(
    tokens: Tokens, private: ec.EllipticCurvePrivateKey, key: Key
) -> None:
    text = json.dumps(good_claims()).replace(str(NOW + 900), "1e400")
    assert (
        refusal(tokens, es256(private, {"alg": "ES256", "typ": "at+jwt", "kid": key.kid}, text)) == "INVALID"
    )


def test_clocks_may_differ_by_seconds(tokens: Tokens, forge: Callable[..., str]) -> None:
    assert tokens.read(forge(iat=NOW + 5, exp=NOW + 905)).sub == ALICE


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": ""},
        {"alg": "RS256"},
        {"alg": "ES384"},
        {"alg": ["ES256"]},
        {"alg": {"ES256": 1}},
        {"typ": "JWT"},
        {"typ": "at+JWT"},
        {"kid": "unknown"},
        {"kid": ["x"]},
        {"kid": {"x": 1}},
        {"kid": None},
        {"crit": ["exp"]},
        {"crit": []},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"b64": False},
    ],
    ids=str,
)
def test_a_header_that_is_not_ours_is_refused(
    tokens: Tokens, forge: Callable[..., str], header: Json
) -> None:
    assert refusal(tokens, forge(header=header)) == "INVALID"


@pytest.mark.parametrize("signature", ["", "AA", "A" * 86])
def test_a_token_without_a_signature_is_refused(tokens: Tokens, key: Key, signature: str) -> None:
    for algorithm in ("none", "ES256"):
        head = {"alg": algorithm, "typ": "at+jwt", "kid": key.kid}
        assert refusal(tokens, f"{part(head)}.{part(good_claims())}.{signature}") == "INVALID"


def test_our_public_key_is_no_hmac_secret(
    tokens: Tokens, key: Key, rsa_key: rsa.RSAPrivateKey, clock: Clock
) -> None:
    both = Tokens(Keys([Key.of(rsa_key), key]), "bioscope", "lab", 900, clock=clock)
    for each in both, tokens:
        for known in (key, Key.of(rsa_key)):
            for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER):
                secret = known.public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
                for stripped in (secret, secret.strip()):
                    head = {"alg": "HS256", "typ": "at+jwt", "kid": known.kid}
                    assert refusal(each, hs256(stripped, head, good_claims())) == "INVALID"


def test_a_strangers_key_is_refused_even_if_the_token_brings_it_along(tokens: Tokens, key: Key) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    own = Key.of(stranger)
    for head in ({"kid": key.kid}, {"kid": own.kid}, {"kid": key.kid, "jwk": own.jwk()}, {"jwk": own.jwk()}):
        token = es256(stranger, {"alg": "ES256", "typ": "at+jwt", **head}, good_claims())
        assert refusal(tokens, token) == "INVALID"


def test_a_key_is_used_with_its_own_algorithm_only(clock: Clock, rsa_key: rsa.RSAPrivateKey) -> None:
    ours = Key.of(rsa_key)
    tokens = Tokens(Keys([ours]), "bioscope", "lab", 900, clock=clock)
    assert tokens.read(tokens.issue(ALICE, SESSION)[0]).sub == ALICE

    signed = f"{part({'alg': 'RS512', 'typ': 'at+jwt', 'kid': ours.kid})}.{part(good_claims())}"
    signature = rsa_key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA512())
    assert refusal(tokens, f"{signed}.{part(signature)}") == "INVALID"


def test_a_changed_token_is_refused_even_while_the_real_one_is_remembered(tokens: Tokens) -> None:
    token, _ = tokens.issue(ALICE, SESSION)
    tokens.read(token)
    header, claims, signature = token.split(".")
    other = part({**good_claims(), "sub": str(UUID(int=9))})
    for changed in (f"{header}.{other}.{signature}", f"{header}.{claims}.{signature[::-1]}", token + "."):
        assert refusal(tokens, changed) == "INVALID"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b.c.d",
        "x" * 4096,
        "x" * 1_000_000,
        "." * 4096,
        "é.é.é",
        "\ud800.a.b",
        "e30.e30.e30",
        part("[" * 2900) + ".e30.AA",
        part('{"a":' * 580) + ".e30.AA",
        part("null") + ".e30.AA",
        part('"text"') + ".e30.AA",
        part(b"\xff\xfe") + ".e30.AA",
        part('{"kid":' + "9" * 2900 + "}") + ".e30.AA",
        part('{"alg":"ES256","alg":"none"}') + ".e30.AA",
        "e30 . e30 . e30",
    ],
    ids=lambda token: ascii(token[:20]) + str(len(token)),
)
def test_junk_is_refused(tokens: Tokens, token: str) -> None:
    assert refusal(tokens, token) == "INVALID"


def test_a_name_that_stands_twice_in_the_header_is_refused(
    tokens: Tokens, private: ec.EllipticCurvePrivateKey, key: Key
) -> None:
    header = f'{{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"{key.kid}"}}'
    assert refusal(tokens, es256(private, header, good_claims())) == "INVALID"


@pytest.mark.parametrize("payload", ["[]", "null", "1", '"x"', "{", "[" * 2000, b"\xff"], ids=repr)
def test_a_payload_that_is_no_object_is_refused(
    tokens: Tokens, private: ec.EllipticCurvePrivateKey, key: Key, payload: str | bytes
) -> None:
    header = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid}
    assert refusal(tokens, es256(private, header, payload)) == "INVALID"


def test_only_so_many_tokens_are_remembered_and_all_still_hold(key: Key, clock: Clock) -> None:
    tokens = Tokens(Keys([key]), "bioscope", "lab", 900, clock=clock, remembered=3)
    issued = [tokens.issue(UUID(int=number), SESSION)[0] for number in range(10)]
    for _ in range(2):
        assert [tokens.read(token).sub.int for token in issued] == list(range(10))
    assert tokens.remembered == 3


def test_tokens_of_an_older_key_hold_while_it_is_listed(
    key: Key, clock: Clock, rsa_key: rsa.RSAPrivateKey
) -> None:
    old = Key.of(rsa_key)
    token, _ = Tokens(Keys([old]), "bioscope", "lab", 900, clock=clock).issue(ALICE, SESSION)
    public_only = Key.of(rsa_key.public_key())

    assert Tokens(Keys([key, public_only]), "bioscope", "lab", 900, clock=clock).read(token).sub == ALICE
    assert refusal(Tokens(Keys([key]), "bioscope", "lab", 900, clock=clock), token) == "INVALID"
