"""Machines of the laboratory: service accounts, and who speaks by them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from bioscope_gql.vocabulary import uuid7
from tests.lab import Json, Lab, Person

CREATE = """
mutation ($input: CreateServiceAccountInput!) {
  createServiceAccount(input: $input) {
    __typename
    ... on ServiceAccountCreated {
      clientId clientSecret
      serviceAccount { id name clientId scopes createdAt lastUsedAt expiresAt revokedAt }
    }
    ... on Problem { code message }
    ... on InvalidInput { fields { code path } }
  }
}
"""
REVOKE = """
mutation ($id: ID!) {
  revokeServiceAccount(id: $id) {
    __typename
    ... on ServiceAccount { id revokedAt }
    ... on Problem { code }
    ... on NotFound { ids }
  }
}
"""


@dataclass
class Machine(Person):
    """A service account with a token; `admin` made it."""

    client_id: str = ""
    secret: str = ""
    admin: Person | None = None

    async def fresh_token(self, **form: str) -> "Machine":
        self.token = (await token_for(self.lab, self.client_id, self.secret, **form)).json()["access_token"]
        return self

    async def revoke(self) -> Any:
        assert self.admin is not None
        return await self.admin.ask(REVOKE, id=self.id)


async def token_for(lab: Lab, client_id: str, secret: str, **form: str) -> httpx.Response:
    data = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, **form}
    return await lab.http.post("/oauth/token", data=data)


async def a_machine(lab: Lab, *scopes: str, admin: Person | None = None, **more: Any) -> Machine:
    """An account with these scopes, signed in with all of them."""
    admin = admin or await lab.an_admin()
    lab.people += 1
    given: Json = {"name": f"machine{lab.people}", "scopes": scopes, **more}
    made = await admin.ask(CREATE, input=given)
    assert made["__typename"] == "ServiceAccountCreated", made
    machine = Machine(
        lab,
        given["name"],
        id=made["serviceAccount"]["id"],
        client_id=made["clientId"],
        secret=made["clientSecret"],
        admin=admin,
    )
    return await machine.fresh_token()


async def grant_to(lab: Lab, dataset: str, machine: Machine, level: str) -> None:
    """Access to a dataset for a machine, as its owner would give it."""
    await lab.db.execute(
        "insert into dataset_grants (id, dataset, service_account, level) values ($1, $2, $3, $4)",
        uuid7(), UUID(dataset), UUID(machine.id), level,
    )  # fmt: skip
