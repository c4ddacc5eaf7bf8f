"""Checking the JWT that PartnerSystemUser sends, and taking the ticket out of it.

Source: ONLINE section 3. The order of the checks is inferred from the vendor's documentation; the claims and what they
must be are documented.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from soapbatch.errors import TokenCheck, TokenNotTrusted, UsageError, clean_traceback
from soapbatch.model import Secret, redact
from soapbatch.online.environments import check_tenant
from soapbatch.online.extra import extra_is_missing
from soapbatch.online.key_sets import ALGORITHM, candidate_keys, is_key_named
from soapbatch.online.responses import as_list, try_object

ISSUER: Final = "SuperOffice AS"
CLAIMS: Final = "http://schemes.superoffice.net/identity/"
"""What the names of SuperOffice's own claims begin with."""
_DOTS: Final = 2


@attrs.frozen(kw_only=True)
class SystemUserClaims:
    """What a JWT that passed every check says.

    Attributes:
        ticket: the ticket of the system user. It slides like any other ticket.
        tenant: the context identifier, in the server's spelling.
        serial: the serial number of the tenant's database.
    """

    ticket: Secret
    tenant: str
    serial: str


def verify_system_token(
    jwt: str | Secret, jwks: Mapping[str, Any], *, tenant: str, now: datetime, leeway: float = 300
) -> SystemUserClaims:
    """Check a JWT and return what it says.

    The checks, in this order, and the `check` that an error names: three parts ("form"); the algorithm is RS256
    ("algorithm"); the key set has the key ("key"); the signature ("signature"); the issuer ("issuer"); `spn:` and the
    claim `serial` are among the audiences ("audience"); `exp` is there, and `now` lies between `nbf` and `exp`
    ("lifetime"); the claim `ctx` is our tenant ("tenant"); the claim `ticket` is there ("ticket"). `iat` decides
    nothing: it is a text in some JWTs.

    A JWT that names no key is checked with every key in the set. If none fits, the failed check is "key" and not
    "signature": the key may be a new one.

    Args:
        jwt: what `parse_system_user_response` returns.
        jwks: the parsed key set; see `parse_key_set`.
        tenant: the context identifier that the system user was signed in to. Case does not matter (inferred).
        now: the time (aware).
        leeway: seconds by which this machine's clock and the server's may differ.

    Raises:
        TokenNotTrusted: a check failed. The error shows nothing of the ticket.
        UsageError: an argument is of another type, or the extra `soapbatch[online]` is missing.
    """
    secret = Secret.wrap(jwt)
    del jwt
    if not isinstance(secret, Secret) or not isinstance(jwks, Mapping):
        raise UsageError("verify_system_token takes a JWT (a str or a Secret) and a parsed key set (a mapping)")
    if not isinstance(now, datetime) or now.utcoffset() is None:
        raise UsageError("now needs a time zone, for example datetime.now(UTC)")
    if not leeway >= 0:
        raise UsageError("leeway is a number of seconds, zero or more")
    check_tenant(tenant)
    with clean_traceback():
        return _checked(_signed_claims(secret, jwks), tenant, now.timestamp(), leeway)


def _distrusted(check: TokenCheck, why: str) -> TokenNotTrusted:
    return TokenNotTrusted(f"the JWT for the system user is not trusted: {redact(why)}", check=check)


def _signed_claims(secret: Secret, jwks: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the claims of a JWT whose signature is right."""
    try:
        from jwt import PyJWS, PyJWTError  # noqa: PLC0415 - from an extra
    except ImportError:
        raise extra_is_missing("cryptography and PyJWT") from None

    jws, token = PyJWS(), secret.reveal()
    not_a_jwt = _distrusted("form", "it is not three parts of base64url with a JSON object in the first")
    if token.count(".") != _DOTS or not token.isascii():
        raise not_a_jwt
    try:
        header = jws.get_unverified_header(token)
    except PyJWTError:
        raise not_a_jwt from None
    if header.get("alg") != ALGORITHM:
        raise _distrusted("algorithm", f"its algorithm is {header.get('alg')!r:.40} and not {ALGORITHM}")
    has_key = False
    for key in candidate_keys(jwks, header):
        has_key = True
        try:
            payload = jws.decode(token, key, algorithms=[ALGORITHM])
        except PyJWTError:
            continue
        claims = try_object(payload)
        if claims is None:
            raise _distrusted("form", "its second part is no JSON object")
        return claims
    if has_key and is_key_named(header):
        raise _distrusted("signature", "its signature is wrong")
    raise _distrusted("key", "no key of the key set fits it; the keys may have been changed since the set was read")


def _checked(claims: Mapping[str, Any], tenant: str, now: float, leeway: float) -> SystemUserClaims:
    if claims.get("iss") != ISSUER:
        raise _distrusted("issuer", f"its issuer is {claims.get('iss')!r:.100} and not {ISSUER!r}")
    serial, audience = _text(claims, "serial"), claims.get("aud")
    if not serial or f"spn:{serial}" not in as_list(audience):
        raise _distrusted("audience", f"its audience is {audience!r:.100}, and its serial number is {serial!r:.40}")
    _check_lifetime(claims, now, leeway)
    context = _text(claims, "ctx")
    if context is None or context.casefold() != tenant.casefold():
        raise _distrusted("tenant", f"it is for tenant {context!r:.70} and not for {tenant!r}")
    ticket = _text(claims, "ticket")
    if not ticket:
        raise _distrusted("ticket", "it holds no ticket")
    return SystemUserClaims(ticket=Secret(ticket), tenant=context, serial=serial)


def _check_lifetime(claims: Mapping[str, Any], now: float, leeway: float) -> None:
    end = _seconds(claims.get("exp"))
    start = _seconds(claims["nbf"]) if "nbf" in claims else -math.inf
    if end is None or start is None:
        raise _distrusted("lifetime", "the times exp or nbf are missing or no numbers")
    advice = "check this machine's clock"
    if now >= end + leeway:
        raise _distrusted("lifetime", f"it ended {now - end:.0f} s ago by this machine's clock; {advice}")
    if now < start - leeway:
        raise _distrusted("lifetime", f"it begins in {start - now:.0f} s by this machine's clock; {advice}")


def _seconds(value: object) -> float | None:
    """Return a time of a JWT as seconds since 1970, or None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:  # noqa: PLR2004 - year 30 million
        return None
    return float(value)


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(CLAIMS + name)
    return value if isinstance(value, str) else None
