"""Signing in a system user over REST: the signed token, the request, and the response with a JWT or a refusal.

Source: ONLINE section 2.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from soapbatch.errors import SystemUserRefused, UnexpectedResponse, UsageError, clean_traceback
from soapbatch.model import Secret
from soapbatch.online import responses
from soapbatch.online.environments import Environment, SignInRequest, check_tenant, revealed
from soapbatch.online.private_key import PrivateKey

_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}

# The vendor's table of authorization errors, by number. 0 is NoError.
_REASONS: Final = {
    1: "Revoked",
    2: "InvalidRedirectUrl",
    3: "Expired",
    4: "Denied",
    5: "NeedsReapproval",
    6: "InvalidTimestamp",
    7: "InvalidSignature",
}
_ADVICE: Final = {
    "Revoked": "an administrator of the tenant revoked the app's access and has to approve the app again",
    "InvalidRedirectUrl": "check the app's registration with the vendor",
    "Expired": "the approval or the signed token is too old: sign in again, and ask for a new approval if that fails",
    "Denied": "an administrator of the tenant denied the app's access and has to approve the app",
    "NeedsReapproval": "an administrator of the tenant has to approve the app again",
    "InvalidTimestamp": "check this machine's clock",
    "InvalidSignature": "check private_key: it must be this app's key for this environment",
}
_UNKNOWN_ADVICE: Final = (
    "check the client secret (application token), the system user token, the private key and the tenant"
)
_NUMBER = re.compile(r"\(([1-7])\)")
# The words of each name, however they are joined: "NeedsReapproval", "needs re-approval".
_NAMES: Final = {
    name: re.compile(rf"\b{pattern}\b", re.IGNORECASE)
    for name, pattern in {
        "NeedsReapproval": r"needs[\s_-]*re[\s_-]*approval",
        "InvalidTimestamp": r"invalid[\s_-]*time[\s_-]*stamp",
        "InvalidSignature": r"invalid[\s_-]*signature",
        "InvalidRedirectUrl": r"invalid[\s_-]*redirect[\s_-]*ur[li]",
        "Revoked": "revoked",
        "Denied": "denied",
        "Expired": "expired",
    }.items()
}


@attrs.frozen(kw_only=True)
class Verdict:
    """What a response of PartnerSystemUser says, over REST or SOAP. Its repr shows neither the JWT nor the text.

    Attributes:
        is_successful: the field of the response; None where the response cannot be read.
        jwt: None where there is none.
        text: the server's own text, unmasked.
    """

    is_successful: bool | None
    jwt: Secret | None
    text: str = attrs.field(repr=False)


def sign_system_token(token: str | Secret, key: PrivateKey, *, at: datetime) -> str:
    """Return a system user token with a time stamp, signed: what PartnerSystemUser takes for a password.

    Sign right before sending and keep no signed token: how old a stamp may be is not documented.

    Args:
        token: the system user token of the app and the tenant, for example "My App-k3J9xQ2mPz". It is not trimmed.
        key: the app's private key for the environment.
        at: the time now (aware). The stamp is in UTC, and seconds are cut off.

    Raises:
        UsageError: the token is no text or empty, the key is no PrivateKey, or `at` has no time zone.
    """
    secret = Secret.wrap(token)
    del token
    if not isinstance(secret, Secret) or secret == Secret(""):
        raise UsageError("a system user token is a str or a Secret, and not empty")
    if not isinstance(key, PrivateKey):
        raise UsageError("key is a PrivateKey: PrivateKey.read(...) makes one from text, bytes or a path")
    stamp = f"{_check_aware(at).astimezone(UTC):%Y%m%d%H%M}"
    with clean_traceback():
        signs = f"{revealed(token=secret)}.{stamp}"
        return f"{signs}.{b64encode(key.sign(signs.encode())).decode('ascii')}"


def _check_aware(at: datetime) -> datetime:
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise UsageError("a time needs a time zone, for example datetime.now(UTC)")
    return at


def build_system_user_request(
    environment: Environment, signed_token: str | Secret, *, tenant: str, application_token: str | Secret
) -> SignInRequest:
    """Return the REST request that exchanges a signed token for a JWT.

    Args:
        environment: where to.
        signed_token: what `sign_system_token` returns.
        tenant: its context identifier.
        application_token: the app's client secret for the environment.

    Raises:
        UsageError: `tenant` is no context identifier.
    """
    signed, secret = Secret.wrap(signed_token), Secret.wrap(application_token)
    del signed_token, application_token
    check_tenant(tenant)
    with clean_traceback():
        fields = {
            "SignedSystemToken": revealed(signed_token=signed),
            "ApplicationToken": revealed(application_token=secret),
            "ContextIdentifier": tenant,
            "ReturnTokenType": "JWT",
        }
        body = json.dumps(fields, ensure_ascii=False).encode()
        return SignInRequest(method="POST", url=environment.system_user_url, headers=_HEADERS, body=body)


def parse_system_user_response(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime, secrets: Iterable[Secret] = ()
) -> Secret:
    """Return the JWT in the response to the REST request. `verify_system_token` must check it before it is used.

    A JSON object with IsSuccessful decides, whatever the status; without one, the status does (inferred: samples show
    refusals with status 200, and the vendor's own client takes any other status for a failure).

    Args:
        status: of HTTP.
        headers: by name.
        body: of the response.
        now: the time of this machine (aware), which an error compares with the server's Date header.
        secrets: what was sent, to be masked where the server's text repeats it.

    Raises:
        SystemUserRefused: there is no JWT.
        UnexpectedResponse: the server says that it was successful, and sends no JWT.
    """
    verdict = _verdict(responses.try_object(body) or {})
    del body
    with clean_traceback():
        return conclude(verdict, status=status, headers=headers, now=now, secrets=secrets)


def _verdict(answer: Mapping[str, Any]) -> Verdict:
    is_successful, token, text = (answer.get(name) for name in ("IsSuccessful", "Token", "ErrorMessage"))
    return Verdict(
        is_successful=is_successful if isinstance(is_successful, bool) else None,
        jwt=Secret(token) if isinstance(token, str) else None,
        text=text if isinstance(text, str) else "",
    )


def conclude(
    verdict: Verdict, *, status: int, headers: Mapping[str, str], now: datetime, secrets: Iterable[Secret]
) -> Secret:
    """Return the JWT of a response, or raise; see `parse_system_user_response`."""
    _check_aware(now)
    if verdict.is_successful:
        if verdict.jwt is None or verdict.jwt == Secret(""):
            raise UnexpectedResponse(
                "PartnerSystemUser says that it was successful, and leaves Token empty", status=status
            )
        return verdict.jwt
    text = responses.shown(verdict.text, secrets)
    if verdict.is_successful is None:
        raise SystemUserRefused(
            f"PartnerSystemUser gives no JWT: it answers HTTP {status} with a body that it does not answer with; "
            f"{'try again later' if responses.is_transient(status) else 'is this the sign-in host?'}",
            text=text,
            status=status,
            retryable=responses.is_transient(status),
            retry_after=responses.retry_after(headers, now),
        )
    reason = _reason(text)
    advice = _UNKNOWN_ADVICE if reason is None else _ADVICE[reason]
    difference = responses.clock_difference(headers, now)
    if difference:
        advice = f"{advice}; this machine's clock is {difference}"
    raise SystemUserRefused(
        f"PartnerSystemUser gives no JWT: {text or 'it does not say why'}; {advice}",
        reason=reason,
        text=text,
        status=status,
    )


def _reason(text: str) -> str | None:
    """Return the documented name that a refusal's text shows, by name or by "(number)", or None."""
    for name, pattern in _NAMES.items():
        if pattern.search(text):
            return name
    number = _NUMBER.search(text)
    return _REASONS[int(number[1])] if number else None
