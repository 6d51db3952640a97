"""`POST /oauth/token`: access tokens for service accounts, by client credentials (RFC 6749, 4.4)."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bioscope_gql.errors import InvalidCredentials, InvalidInput, RateLimited
from bioscope_gql.policy import Visit
from bioscope_gql.resolvers import serviceaccounts
from bioscope_gql.services import Services
from bioscope_gql.transport.addresses import client_address
from bioscope_gql.transport.bodies import Body
from bioscope_gql.transport.http import answer_early
from bioscope_gql.transport.masking import is_lost_database
from bioscope_gql.transport.negotiation import parse_content_type
from bioscope_gql.transport.requests import Malformed

PATH = "/oauth/token"
FORM = "application/x-www-form-urlencoded"
BODY_BYTES = 8192
STALL_SECONDS = 10.0
GRANT = "client_credentials"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(eq=False)
class Refused(Exception):
    """An error as RFC 6749, 5.2 has it."""

    error: str
    description: str
    status: int = 400
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        content = {"error": self.error, "error_description": self.description}
        return JSONResponse(content, self.status, {**NO_STORE, **self.headers})


class TokenEndpoint:
    """One route, for machines only: people sign in by GraphQL."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._proxies = services.settings.app.trusted_proxies

    def route(self) -> Route:
        """The route that leads here."""
        return Route(PATH, self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        body = Body(request, receive, BODY_BYTES, stall_seconds=STALL_SECONDS)
        try:
            response = await self._answer(request, body)
        except ClientDisconnect:
            return
        if body.is_ended:
            await response(scope, receive, send)
        else:
            await answer_early(response, body, send)

    async def _answer(self, request: Request, body: Body) -> Response:
        try:
            return await self._issue(request, await parameters(request, body))
        except Refused as refusal:
            return refusal.response()
        except Malformed as error:
            return Refused("invalid_request", error.message, error.status).response()
        except Exception as error:
            if not is_lost_database(error):
                raise
            message = "The database does not answer at the moment. Try again in a few seconds."
            return Refused("temporarily_unavailable", message, 503, {"Retry-After": "5"}).response()

    async def _issue(self, request: Request, sent: Mapping[str, str]) -> Response:
        client_id, secret = credentials(request, sent)
        if "grant_type" not in sent:
            raise Refused("invalid_request", f"grant_type is missing. Send grant_type={GRANT}.")
        if sent["grant_type"] != GRANT:
            raise Refused("unsupported_grant_type", f"Only grant_type={GRANT} is known here.")
        wanted = sent["scope"].split(" ") if "scope" in sent else None
        try:
            issued = await serviceaccounts.issue(
                self._services, client_id, secret, wanted, self._visit(request)
            )
        except InvalidCredentials as error:
            raise unknown_client(error.message) from None
        except InvalidInput as error:
            raise Refused("invalid_scope", error.message) from None
        except RateLimited as error:
            after = {"Retry-After": str(error.retry_after_seconds)}
            raise Refused("temporarily_unavailable", error.message, 429, after) from None
        content = {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": issued.seconds,
            "scope": " ".join(issued.scopes),
        }
        return JSONResponse(content, headers=NO_STORE)

    def _visit(self, request: Request) -> Visit:
        address = client_address(request.scope, trusted_proxies=self._proxies)
        request_id = request.scope.get("state", {}).get("request_id")
        return Visit(request_id, address, request.headers.get("user-agent"))


async def parameters(request: Request, body: Body) -> dict[str, str]:
    """What the form says; as the RFC wants it, without a value means left out, and nothing stands twice.

    Raises:
        Refused, Malformed: it is no such form, or too long.
        ClientDisconnect: the client went away.
    """
    if request.method != "POST":
        raise Refused("invalid_request", "Send a POST.", 405, {"Allow": "POST"})
    if parse_content_type(request.headers.get("content-type"))[0] != FORM:
        raise Refused("invalid_request", f"Send a form: Content-Type {FORM}.", 415)
    try:
        text = (await body.read()).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise Refused("invalid_request", "The form can't be read. Encode it as a URL's query is.") from None
    if len({name for name, _ in pairs}) != len(pairs):
        raise Refused("invalid_request", "A parameter stands twice. Send each once.")
    return {name: value for name, value in pairs if value}


def credentials(request: Request, sent: Mapping[str, str]) -> tuple[str, str]:
    """The client's id and secret, from the one place where they stand.

    Raises:
        Refused: they stand nowhere, in two places, or can't be read.
    """
    header = request.headers.get("authorization")
    if header is None:
        if "client_id" not in sent or "client_secret" not in sent:
            raise unknown_client("Send client_id and client_secret, in the form or by Basic authentication.")
        return sent["client_id"], sent["client_secret"]
    if "client_secret" in sent:
        raise Refused("invalid_request", "The secret stands in two places. Send it in one of them.")
    kind, _, coded = header.partition(" ")
    try:
        if kind.lower() != "basic":
            raise ValueError(kind)
        client_id, colon, secret = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
        if not colon or sent.get("client_id", client_id) != client_id:
            raise ValueError(client_id)
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (ValueError, binascii.Error):
        raise unknown_client("The Authorization header is no Basic authentication of one client.") from None


def unknown_client(message: str) -> Refused:
    headers = {"WWW-Authenticate": 'Basic realm="bioscope", charset="UTF-8"'}
    return Refused("invalid_client", message, 401, headers)
