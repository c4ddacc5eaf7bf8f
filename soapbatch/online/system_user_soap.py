"""Signing in a system user over SOAP 1.1: the same exchange as over REST, for hosts that serve SOAP alone.

The vendor recommends REST. Source: ONLINE section 2, "PartnerSystemUser over SOAP".
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from soapbatch.errors import UsageError, clean_traceback
from soapbatch.model import SOAP11_ENVELOPE, Secret, escape_text
from soapbatch.online.environments import Environment, SignInRequest, check_tenant, revealed
from soapbatch.online.system_user import Verdict, conclude
from soapbatch.online.xml_texts import texts_of

NAMESPACE: Final = "http://www.superoffice.com/superid/partnersystemuser/0.1"
_HEADERS: Final = {
    "Content-Type": "text/xml; charset=utf-8",
    "SOAPAction": f'"{NAMESPACE}/IPartnerSystemUserService/Authenticate"',
}
_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    f'<s:Envelope xmlns:s="{SOAP11_ENVELOPE}"><s:Header>'
    f'<ApplicationToken xmlns="{NAMESPACE}">{{application_token}}</ApplicationToken>'
    f'<ContextIdentifier xmlns="{NAMESPACE}">{{tenant}}</ContextIdentifier></s:Header>'
    f'<s:Body><AuthenticationRequest xmlns="{NAMESPACE}"><SignedSystemToken>{{signed_token}}</SignedSystemToken>'
    "<ReturnTokenType>Jwt</ReturnTokenType></AuthenticationRequest></s:Body></s:Envelope>"
)


def build_system_user_soap_request(
    environment: Environment, signed_token: str | Secret, *, tenant: str, application_token: str | Secret
) -> SignInRequest:
    """Return the SOAP request that exchanges a signed token for a JWT; see `build_system_user_request`."""
    signed, secret = Secret.wrap(signed_token), Secret.wrap(application_token)
    del signed_token, application_token
    check_tenant(tenant)
    with clean_traceback():
        body = _ENVELOPE.format(
            application_token=_escaped(application_token=secret),
            tenant=tenant,
            signed_token=_escaped(signed_token=signed),
        )
        return SignInRequest(method="POST", url=environment.system_user_soap_url, headers=_HEADERS, body=body.encode())


def parse_system_user_soap_response(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime, secrets: Iterable[Secret] = ()
) -> Secret:
    """Return the JWT in the response to the SOAP request; arguments and errors as `parse_system_user_response`.

    A SOAP fault, which the service does not declare, is a refusal with the text of the fault.
    """
    verdict = _verdict(body)
    del body
    with clean_traceback():
        return conclude(verdict, status=status, headers=headers, now=now, secrets=secrets)


def _verdict(body: bytes) -> Verdict:
    try:
        texts = texts_of(body)
    except ValueError:
        texts = {}
    fault = texts.get("faultstring")
    if fault is not None:
        return Verdict(is_successful=False, jwt=None, text=fault)
    flag, token, text = (texts.get(f"{NAMESPACE} {name}") for name in ("IsSuccessful", "Token", "ErrorMessage"))
    is_successful = None if flag is None else flag.strip() in {"true", "1"}
    jwt = None if token is None else Secret(token)
    return Verdict(is_successful=is_successful, jwt=jwt, text=text or "")


def _escaped(**argument: object) -> str:
    try:
        return escape_text(revealed(**argument))
    except ValueError:
        raise UsageError(f"{''.join(argument)}= holds a character that XML cannot carry") from None
