"""Renewing the access token of an interactive user with a refresh token (OAuth 2.0, RFC 6749 section 6).

Source: ONLINE section 4.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import attrs

from soapbatch.errors import AuthenticationFailed, UnexpectedResponse, UsageError, clean_traceback
from soapbatch.model import Secret
from soapbatch.online import responses
from soapbatch.online.environments import Environment, SignInRequest, revealed

_HEADERS: Final = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
# Two pages of the vendor contradict each other on the lifetime: 3600 s and 20 minutes. The shorter one is assumed where
# the response says nothing (inferred).
_ASSUMED_LIFETIME: Final = 20 * 60.0
_RENEWED_AT: Final = 0.8


@attrs.frozen(kw_only=True)
class OAuthTokens:
    """What the token endpoint returned.

    Attributes:
        access_token: `8A:...`; from Services86 on it stands where a ticket would. It does not slide.
        refresh_token: a new one, or None: keep the old one.
        expires_in: seconds from its arrival for which the access token is valid.
    """

    access_token: Secret
    refresh_token: Secret | None
    expires_in: float

    @property
    def renew_after(self) -> float:
        """Seconds from its arrival after which the access token is renewed: at 80 % of its lifetime."""
        return self.expires_in * _RENEWED_AT


@attrs.frozen
class _Answer:
    """The fields of a response. Its repr shows none of them."""

    fields: Mapping[str, Any] = attrs.field(repr=False)


def build_refresh_request(
    environment: Environment, *, client_id: str, client_secret: str | Secret, refresh_token: str | Secret
) -> SignInRequest:
    """Return the request for a new access token.

    The parameters are a form body, as RFC 6749 says. Some samples of the vendor put them into the query, where proxies
    log them (that the body is accepted, too, is inferred).

    Raises:
        UsageError: a value is no text, or empty.
    """
    secrets = (Secret.wrap(client_secret), Secret.wrap(refresh_token))
    del client_secret, refresh_token
    if not isinstance(client_id, str) or not client_id or Secret("") in secrets:
        raise UsageError("a refresh needs a client_id, a client_secret and a refresh_token, none of them empty")
    with clean_traceback():
        fields = {
            "grant_type": "refresh_token",
            "client_id": client_id,
            "client_secret": revealed(client_secret=secrets[0]),
            "refresh_token": revealed(refresh_token=secrets[1]),
        }
        body = urlencode(fields).encode("ascii")
        return SignInRequest(method="POST", url=environment.tokens_url, headers=_HEADERS, body=body)


def parse_token_response(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime, secrets: Iterable[Secret] = ()
) -> OAuthTokens:
    """Read the response of the token endpoint, to a refresh or to a code.

    Args:
        status: of HTTP.
        headers: by name.
        body: of the response.
        now: the time of this machine (aware).
        secrets: what was sent, to be masked where the server's text repeats it.

    Raises:
        AuthenticationFailed: there is no token; `retryable` says whether the same request may succeed later.
        UnexpectedResponse: the response is a success without an access token.
    """
    answer = _Answer(responses.try_object(body) or {})
    del body
    with clean_traceback():
        return _tokens(answer, status, headers, now=now, secrets=secrets)


def _tokens(
    answer: _Answer, status: int, headers: Mapping[str, str], *, now: datetime, secrets: Iterable[Secret]
) -> OAuthTokens:
    access_token, refresh_token, error, text = (
        answer.fields.get(name) for name in ("access_token", "refresh_token", "error", "error_description")
    )
    if status != 200 or error is not None:  # noqa: PLR2004 - OK
        is_transient = error is None and responses.is_transient(status)
        said = responses.shown(" ".join(part for part in (error, text) if isinstance(part, str)), secrets)
        raise AuthenticationFailed(
            f"the token endpoint gives no access token: {said or f'HTTP {status}'}; "
            f"{'try again later' if is_transient else _advice(error)}",
            refused_by="server",
            retryable=is_transient,
            retry_after=responses.retry_after(headers, now),
        )
    if not isinstance(access_token, str) or not access_token:
        raise UnexpectedResponse("the token endpoint answers HTTP 200, and sends no access token", status=status)
    return OAuthTokens(
        access_token=Secret(access_token),
        refresh_token=Secret(refresh_token) if isinstance(refresh_token, str) and refresh_token else None,
        expires_in=_lifetime(answer.fields.get("expires_in")),
    )


def _advice(error: object) -> str:
    """Return what to do about an error code of RFC 6749, section 5.2."""
    if error == "invalid_grant":
        return "the refresh token is revoked or was never valid: let the user sign in again"
    return "check client_id, client_secret and the environment"


def _lifetime(value: object) -> float:
    """Return the seconds of `expires_in`, a number or the text of one."""
    try:
        seconds = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    return seconds if 0 < seconds < math.inf else _ASSUMED_LIFETIME
