"""What the sign-in host of the embedded Online answers at each of its addresses.

Where the vendor's documentation shows no response, the one here is invented: the texts of refusals, and how an unknown
tenant or an unreadable request is answered.
"""

import binascii
import json
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import attrs
from lxml import etree

from soapbatch.model import SOAP11_ENVELOPE, XSI
from soapbatch.testing.faults import fault
from soapbatch.testing.online_journal import Visit
from soapbatch.testing.online_keys import verifies
from soapbatch.testing.online_registry import Registry
from soapbatch.testing.responses import Answer

ENDPOINTS: Final = {
    "/login/api/partnersystemuser/authenticate": "system_user",
    "/login/services/partnersystemuserservice.svc": "system_user_soap",
    "/login/.well-known/openid-configuration": "discovery",
    "/login/.well-known/jwks": "jwks",
    "/login/common/oauth/tokens": "tokens",
}
"""The endpoints by path in lower case: the server does not mind the case. `/api/state/{tenant}` comes on top."""
NAMESPACE: Final = "http://www.superoffice.com/superid/partnersystemuser/0.1"
REASONS: Final = {
    "Revoked": 1,
    "Expired": 3,
    "Denied": 4,
    "NeedsReapproval": 5,
    "InvalidTimestamp": 6,
    "InvalidSignature": 7,
}
"""The documented reasons for a refusal, with their numbers."""
STAMP_TOLERANCE: Final = timedelta(minutes=5)
"""How far a stamp may be from Online's clock. The real tolerance is not documented."""

_ACTION: Final = f"{NAMESPACE}/IPartnerSystemUserService/Authenticate"
_FIELDS: Final = ("SignedSystemToken", "ApplicationToken", "ContextIdentifier")
_ISSUER: Final = "SuperOffice AS"


@attrs.frozen
class _Request:
    """A request to PartnerSystemUser, over REST or SOAP, with values of any type."""

    signed: object
    client_secret: object
    tenant: object
    wants_jwt: bool


@attrs.define(kw_only=True)
class SignInHost:
    """The sign-in host.

    Attributes:
        valid_for: seconds from now to the ValidUntil of a state.
        refusal_status: the HTTP status of a refusal by PartnerSystemUser over REST.
        key_names: which of "kid" and "x5t" the header of a JWT has.
        token_lifetime: seconds for which an access token is valid.
        renews_refresh_tokens: whether a refresh brings a new refresh token, and ends the old one.
    """

    registry: Registry
    valid_for: float = 300.0
    refusal_status: int = 200
    key_names: Collection[str] = ("kid", "x5t")
    token_lifetime: float = 3600.0
    renews_refresh_tokens: bool = False

    def answer(self, visit: Visit, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request to the endpoint that `visit` names; header names are in lower case."""
        is_post = visit.endpoint in {"system_user", "system_user_soap", "tokens"}
        if visit.method != ("POST" if is_post else "GET"):
            return self._dated(Answer(405, {"Allow": "POST" if is_post else "GET"}))
        endpoints: dict[str, Callable[[], Answer]] = {
            "state": lambda: self._state(visit),
            "system_user": lambda: self._system_user(visit, headers, body),
            "system_user_soap": lambda: self._system_user_soap(visit, headers, body),
            "discovery": self._discovery,
            "jwks": lambda: _json(200, {"keys": [dict(key.jwk) for key in self._keys()]}),
            "tokens": lambda: self._tokens(visit, headers, body),
        }
        return self._dated(endpoints[visit.endpoint]())

    def state(self, name: str) -> dict[str, Any]:
        """Return what the state endpoint says about a tenant; one that it does not know is in state Unknown."""
        tenant = self.registry.tenants.get(name.casefold())
        until = self.registry.now() + timedelta(seconds=self.valid_for)
        has_address = tenant is not None and tenant.state not in {"Deleted", "Unknown"}
        root = f"https://{tenant.host}/{tenant.name}" if tenant is not None and has_address else None
        answer: dict[str, Any] = {
            "ContextIdentifier": tenant.name if tenant else name,
            "Endpoint": root,
            "State": tenant.state if tenant else "Unknown",
            "IsRunning": tenant is not None and tenant.is_running,
            "ValidUntil": f"{until:%Y-%m-%dT%H:%M:%S.%f}0Z",
            "Api": root and f"{root}/api",
        }
        return answer | ({"Version": tenant.version} if tenant else {})

    def _state(self, visit: Visit) -> Answer:
        return _json(200, self.state(visit.tenant or ""))

    def _discovery(self) -> Answer:
        url = self.registry.environment.url
        return _json(
            200,
            {
                "issuer": url,
                "authorization_endpoint": f"{url}/login/common/oauth/authorize",
                "token_endpoint": f"{url}/login/common/oauth/tokens",
                "end_session_endpoint": f"{url}/login/logout",
                "jwks_uri": f"{url}/login/.well-known/jwks",
                "scopes_supported": ["openid"],
                "response_types_supported": ["code", "id_token", "code id_token", "token id_token", "token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
                "grant_types_supported": ["implicit", "authorization_code", "refresh_token"],
            },
        )

    def _keys(self) -> list[Any]:
        self.registry.current_key()
        return self.registry.published_keys

    def _system_user(self, visit: Visit, headers: Mapping[str, str], body: bytes) -> Answer:
        if not headers.get("content-type", "").startswith("application/json"):
            return Answer(415)
        try:
            fields = json.loads(body)
            signed, secret, name = (fields[name] for name in _FIELDS)
            request = _Request(signed, secret, name, fields["ReturnTokenType"] == "JWT")
        except (ValueError, TypeError, KeyError):
            visit.outcome = "unreadable"
            failure = {"Error": True, "ErrorType": "ArgumentException", "ErrorMessage": "The request cannot be read"}
            return _json(400, {**failure, "ErrorSource": "PartnerSystemUser"})
        jwt, text = self._authenticate(visit, request)
        status = 200 if jwt else self.refusal_status
        return _json(status, {"IsSuccessful": jwt is not None, "Token": jwt, "ErrorMessage": text})

    def _system_user_soap(self, visit: Visit, headers: Mapping[str, str], body: bytes) -> Answer:
        if not headers.get("content-type", "").startswith("text/xml"):
            return Answer(415)
        if headers.get("soapaction", "").strip('"') != _ACTION:
            return fault(SOAP11_ENVELOPE, "Client", "The action is not understood", subcode="ActionNotSupported")
        texts = _texts(body)
        if texts is None:
            visit.outcome = "unreadable"
            return fault(SOAP11_ENVELOPE, "Client", "The request cannot be read", subcode="DeserializationFailed")
        signed, secret, name = (texts.get(name) for name in _FIELDS)
        jwt, text = self._authenticate(visit, _Request(signed, secret, name, texts.get("ReturnTokenType") == "Jwt"))
        fields = [("Token", jwt), ("ErrorMessage", text)]
        elements = "".join(
            f'<{name} i:nil="true"/>' if value is None else f"<{name}>{escape(value)}</{name}>"
            for name, value in fields
        )
        envelope = (
            f'<s:Envelope xmlns:s="{SOAP11_ENVELOPE}"><s:Body>'
            f'<AuthenticationResponse xmlns="{NAMESPACE}" xmlns:i="{XSI}">'
            f"<IsSuccessful>{'false' if jwt is None else 'true'}</IsSuccessful>{elements}"
            "</AuthenticationResponse></s:Body></s:Envelope>"
        )
        return Answer(200, {"Content-Type": "text/xml; charset=utf-8"}, (envelope.encode(),))

    def _authenticate(self, visit: Visit, request: _Request) -> tuple[str | None, str | None]:
        """Return a JWT and None, or None and the text of the refusal; `visit` gets the outcome."""
        name = request.tenant
        tenant = self.registry.tenants.get(name.casefold()) if isinstance(name, str) else None
        app = self.registry.app_of(request.client_secret)
        if app is None:
            visit.outcome = "unknown application token"
            return None, "The application token is not known"
        if tenant is None:
            visit.outcome = "unknown tenant"
            return None, "The context identifier is not known"
        visit.tenant = tenant.name
        if not request.wants_jwt:
            visit.outcome = "unsupported token type"
            return None, "The token type is not supported"
        reason = app.refusals.get(tenant.name) or self._objection(
            request.signed, app.system_tokens.get(tenant.name), lambda data, mark: verifies(app.private_key, data, mark)
        )
        if reason:
            visit.outcome = reason
            return None, f"Authorization error: {reason} ({REASONS[reason]})"
        visit.outcome = "succeeded"
        claims = self.registry.claims(tenant, issuer=_ISSUER, audience=f"spn:{tenant.serial}")
        claims["http://schemes.superoffice.net/identity/ticket"] = self.registry.issue_ticket(tenant)
        return self.registry.current_key().sign(claims, self.key_names), None

    def _objection(
        self, signed: object, system_token: str | None, is_signed: Callable[[bytes, bytes], bool]
    ) -> str | None:
        """Return the reason to refuse a signed token, or None."""
        # From the right: the system user token may hold dots.
        token, stamp, signature = [*str(signed).rsplit(".", 2), "", ""][:3]
        try:
            mark = b64decode(signature, validate=True)
        except (binascii.Error, ValueError):
            return "InvalidSignature"
        if not is_signed(f"{token}.{stamp}".encode(errors="replace"), mark):
            return "InvalidSignature"
        try:
            at = datetime.strptime(stamp, "%Y%m%d%H%M").replace(tzinfo=UTC)
        except ValueError:
            return "InvalidTimestamp"
        if abs(self.registry.now() - at) > STAMP_TOLERANCE:
            return "InvalidTimestamp"
        return None if token == system_token else "Denied"

    def _tokens(self, visit: Visit, headers: Mapping[str, str], body: bytes) -> Answer:
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        client_id, client_secret = _client(form, headers)
        app = self.registry.app_of(client_secret)
        if app is None or app.client_id != client_id:
            visit.outcome = "invalid_client"
            return _json(401, {"error": "invalid_client"})
        kind = form.get("grant_type")
        if kind not in {"authorization_code", "refresh_token"}:
            visit.outcome = "unsupported_grant_type"
            return _json(400, {"error": "unsupported_grant_type"})
        value = form.get("code" if kind == "authorization_code" else "refresh_token", "")
        grant = self.registry.grants.get(value)
        is_valid = grant is not None and grant.app is app and grant.is_code is (kind == "authorization_code")
        if grant is None or not is_valid or self.registry.clock() >= grant.expires:
            visit.outcome = "invalid_grant"
            return _json(400, {"error": "invalid_grant", "error_description": "The grant is not valid"})
        if grant.is_code and grant.redirect_uri != form.get("redirect_uri"):
            visit.outcome = "invalid_grant"
            return _json(400, {"error": "invalid_grant", "error_description": "The redirect_uri is another one"})
        visit.tenant, visit.outcome = grant.tenant.name, "succeeded"
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "access_token": self.registry.issue_access_token(grant.tenant, self.token_lifetime),
            "expires_in": int(self.token_lifetime),
        }
        if grant.is_code or self.renews_refresh_tokens:
            del self.registry.grants[value]
            answer["refresh_token"] = self.registry.issue_grant(app, grant.tenant)
        claims = self.registry.claims(grant.tenant, issuer=self.registry.environment.url, audience=app.client_id)
        if system_token := app.system_tokens.get(grant.tenant.name):
            claims["http://schemes.superoffice.net/identity/system_token"] = system_token
        return _json(200, answer | {"id_token": self.registry.current_key().sign(claims, self.key_names)})

    def _dated(self, answer: Answer) -> Answer:
        date = format_datetime(self.registry.now(), usegmt=True)
        return attrs.evolve(answer, headers={**answer.headers, "Date": date})


def _json(status: int, value: Mapping[str, Any]) -> Answer:
    return Answer(status, {"Content-Type": "application/json; charset=utf-8"}, (json.dumps(value).encode(),))


def _client(form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the id and the secret of a client, from the form or from Basic credentials."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id"), form.get("client_secret")
    try:
        client_id, _, secret = b64decode(credentials).decode().partition(":")
    except ValueError:
        return None, None
    return client_id, secret


def _texts(body: bytes) -> dict[str, str] | None:
    """Return the texts of the service's own elements in a SOAP 1.1 request, by name; None: it is none."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        envelope = etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        return None
    request = f"{{{SOAP11_ENVELOPE}}}Body/{{{NAMESPACE}}}AuthenticationRequest"
    if envelope.tag != f"{{{SOAP11_ENVELOPE}}}Envelope" or envelope.find(request) is None:
        return None
    return {etree.QName(leaf).localname: leaf.text or "" for leaf in envelope.iter(f"{{{NAMESPACE}}}*")}
