"""Forged tokens at the door: each is refused, none upsets the server."""

import json
import time
from typing import Any

import httpx
import pytest
import websockets
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bioscope_gql.auth.keys import Key, Keys
from tests.lab import Json, Lab, Person
from tests.people import login, outcome, refresh
from tests.test_tokens import es256, hs256, part

ASK = {"query": "{ datasets { nodes { id } } }"}
CLAIMS = ("iss", "aud", "sub", "sid", "kind", "iat", "exp", "jti")


class Forger:
    """Somebody with a good token who alters it; with our own key where only what it says shall be wrong."""

    def __init__(self, lab: Lab, person: Person) -> None:
        file = lab.services.settings.auth.keys[0]
        self.ours: Any = serialization.load_pem_private_key(file.read_bytes(), None)
        self.theirs = ec.generate_private_key(ec.SECP256R1())
        self.key: Key = Keys.load([file]).signing
        claims = lab.services.tokens.read(str(person.token))
        auth, now = lab.services.settings.auth, int(time.time())
        self.claims: Json = {
            "iss": auth.issuer, "aud": auth.audience, "sub": str(claims.sub), "sid": str(claims.session),
            "kind": "user", "iat": now, "exp": now + 900, "jti": "1",
        }  # fmt: skip
        self.header: Json = {"alg": "ES256", "typ": "at+jwt", "kid": self.key.kid}

    def signed(self, header: Json | None = None, **claims: Any) -> str:
        return es256(self.ours, {**self.header, **(header or {})}, {**self.claims, **claims})

    def without(self, name: str) -> str:
        return es256(self.ours, self.header, {k: v for k, v in self.claims.items() if k != name})

    def attacks(self) -> dict[str, str]:
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        pem = self.key.public.public_bytes(serialization.Encoding.PEM, spki)
        der = self.key.public.public_bytes(serialization.Encoding.DER, spki)
        jwk = Key.of(self.theirs).jwk()
        hs, none = {**self.header, "alg": "HS256"}, {**self.header, "alg": "none"}
        foreign = {**self.header, "kid": jwk["kid"]}
        huge = json.dumps(self.claims).replace(f'"exp": {self.claims["exp"]}', f'"exp": 1{"0" * 400}')
        nested = "[" * 900 + "]" * 900
        return {
            "alg none": f"{part(none)}.{part(self.claims)}.",
            "alg none, signed": es256(self.ours, none, self.claims),
            "HS256 with the public key as PEM": hs256(pem, hs, self.claims),
            "HS256 with the public key as DER": hs256(der, hs, self.claims),
            "foreign key with our kid": es256(self.theirs, self.header, self.claims),
            "foreign key with its own kid": es256(self.theirs, foreign, self.claims),
            "foreign key with its own jwk": es256(self.theirs, {**foreign, "jwk": jwk}, self.claims),
            "foreign key with a jku": es256(
                self.theirs, {**foreign, "jku": "https://evil.example/jwks.json"}, self.claims
            ),
            **{f"without {name}": self.without(name) for name in CLAIMS},
            "wrong issuer": self.signed(iss="evil"),
            "wrong audience": self.signed(aud="evil"),
            "wrong typ": self.signed({"typ": "JWT"}),
            "exp of 10^400": es256(self.ours, self.header, huge),
            "iat in the future": self.signed(iat=self.claims["iat"] + 60),
            "lives too long": self.signed(exp=self.claims["iat"] + 86_400),
            "crit": self.signed({"crit": ["exp"]}),
            "nested junk": es256(self.ours, self.header, {**self.claims, "x": 1}) + nested,
            "nested claims": es256(self.ours, self.header, nested),
            "nested header": es256(self.ours, nested, self.claims),
            "kind of its own": self.signed(kind="admin"),
            "sub of a list": self.signed(sub=["a"]),
        }


@pytest.fixture
async def ada(lab: Lab) -> Person:
    return await lab.an_analyst()


async def test_every_forged_token_is_refused_over_http_and_upsets_nobody(lab: Lab, ada: Person) -> None:
    forger = Forger(lab, ada)
    good = await Person(lab, token=forger.signed()).send(ASK["query"])
    assert "errors" not in good.json()

    told = {name: await answer(lab, token) for name, token in forger.attacks().items()}
    assert told == dict.fromkeys(told, (401, "UNAUTHENTICATED", "INVALID"))
    assert len(told) == 28


async def test_every_forged_token_is_refused_at_a_socket(lab: Lab, ada: Person) -> None:
    for name, token in [*Forger(lab, ada).attacks().items(), ("1 MB", "x" * 1_000_000)]:
        closed = await closing(lab, token)
        assert closed in (4403, 1009), name


async def test_a_token_of_a_megabyte_is_refused_and_the_server_lives(lab: Lab, ada: Person) -> None:
    for size in (4097, 30_000):
        assert await answer(lab, "x" * size) == (401, "UNAUTHENTICATED", "INVALID")
    try:
        response = await lab.http.post(
            "/graphql", json=ASK, headers={"authorization": f"Bearer {'x' * 1_000_000}"}
        )
    except httpx.TransportError:
        pass
    else:
        assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert await ada.ask("{ me { username } }") == {"username": ada.username}


async def test_refresh_tokens_and_access_tokens_are_not_each_other(lab: Lab, ada: Person) -> None:
    told = await login(lab, ada.username)
    assert await answer(lab, told["refreshToken"]) == (401, "UNAUTHENTICATED", "INVALID")
    assert outcome(await refresh(lab, told["accessToken"])) == ("InvalidCredentials", "SESSION_ENDED")


async def answer(lab: Lab, token: str) -> tuple[int, str, str]:
    headers = {"authorization": f"Bearer {token}", "accept": "application/graphql-response+json"}
    response = await lab.http.post("/graphql", json=ASK, headers=headers)
    extensions = response.json()["errors"][0]["extensions"]
    return response.status_code, extensions["code"], extensions["reason"]


async def closing(lab: Lab, token: str) -> int:
    """The code with which a socket ends whose client brings this token."""
    address = lab.url.replace("http", "ws") + "/graphql"
    async with websockets.connect(address, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        payload = {"authorization": f"Bearer {token}"}
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    return int(closed.value.rcvd.code)
