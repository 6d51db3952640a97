"""What tests of accounts and sessions send."""

from dataclasses import replace
from typing import Any

import httpx

from tests.lab import PASSWORD, Json, Lab, Person

AUTH = """{
  __typename
  ... on AuthTokens { accessToken refreshToken expiresAt user { id username role } }
  ... on Problem { code message }
  ... on InvalidInput { fields { code path } }
  ... on RateLimited { retryAfterSeconds }
}"""
LOGIN = f"mutation ($input: LoginInput!) {{ login(input: $input) {AUTH} }}"
REFRESH = f"mutation ($token: String) {{ refreshSession(input: {{refreshToken: $token}}) {AUTH} }}"
REFRESH_BY_COOKIE = f"mutation {{ refreshSession {AUTH} }}"
SET_PASSWORD = f"mutation ($input: SetPasswordInput!) {{ setPassword(input: $input) {AUTH} }}"
LINK = """{
  __typename
  ... on PasswordLink { token expiresAt user { id username role status } }
  ... on Problem { code message }
  ... on InvalidInput { fields { code path } }
}"""
CREATE = f"mutation ($input: CreateUserInput!) {{ createUser(input: $input) {LINK} }}"
RESET = f"mutation ($id: ID!) {{ resetPassword(userId: $id) {LINK} }}"
USER = """{
  __typename
  ... on User { id username email role status }
  ... on Problem { code message }
  ... on InvalidInput { fields { code path } }
}"""
UPDATE = f"mutation ($input: UpdateUserInput!) {{ updateUser(input: $input) {USER} }}"
CHANGE = f"mutation ($input: ChangePasswordInput!) {{ changePassword(input: $input) {USER} }}"
PROFILE = f"mutation ($input: UpdateProfileInput!) {{ updateProfile(input: $input) {USER} }}"
ENDED = "{ __typename ... on SignedOut { ok } ... on NotFound { code ids } }"
LOGOUT = f"mutation {{ logout {ENDED} }}"
REVOKE = f"mutation ($id: ID!) {{ revokeSession(id: $id) {ENDED} }}"
SESSIONS = "{ me { sessions { id createdAt lastUsedAt expiresAt userAgent current } } }"
ME = "{ me { username } }"


async def login(lab: Lab, name: str, password: str = PASSWORD) -> Json:
    told: Json = await lab.nobody.ask(LOGIN, input={"login": name, "password": password})
    return told


async def refresh(lab: Lab, token: str | None) -> Json:
    told: Json = await lab.nobody.ask(REFRESH, token=token)
    return told


def outcome(told: Json) -> tuple[str, str]:
    """The type of an answer, and its code where it is a problem."""
    return told["__typename"], told.get("code", "")


def signed_in(lab: Lab, told: Json) -> Person:
    """Whoever an `AuthTokens` speaks for."""
    return Person(lab, told["user"]["username"], told["accessToken"], told["user"]["id"])


def at_grace(lab: Lab, seconds: int) -> Any:
    settings = lab.services.settings
    auth = settings.auth.model_copy(update={"refresh_grace_seconds": seconds})
    return settings.model_copy(update={"auth": auth})


async def by_cookie(
    lab: Lab, query: str, token: str | None, *, headers: Json | None = None, **more: Any
) -> httpx.Response:
    """An operation with the refresh token in the cookie, and without one of the client's own."""
    cookie = {"cookie": f"theme=dark; bioscope_refresh={token}"} if token else {}
    return await lab.http.post(
        "/graphql", json={"query": query}, headers={**cookie, **(headers or {})}, **more
    )


def the_same_with(person: Person, token: str) -> Person:
    return replace(person, token=token)
