"""Renewing an access token."""

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from soapbatch import AuthenticationFailed, Secret, UnexpectedResponse, UsageError
from soapbatch.online import Environment, OAuthTokens, build_refresh_request, parse_token_response
from tests.support.online import CLIENT_SECRET, NOW, VECTORS, raised, read_vector

REFRESH = read_vector("oauth_refresh_response.json")
CODE = read_vector("oauth_code_response.json")
SOD = Environment.named("sod")
VALUE = "refresh+token/æ&="


def parse(body: object, status: int = 200, headers: dict[str, str] | None = None) -> OAuthTokens:
    """Read a response; what is no bytes is written as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_token_response(status, headers or {}, data, now=NOW, secrets=[Secret(CLIENT_SECRET), Secret(VALUE)])


@pytest.mark.parametrize("wrap", [str, Secret])
def test_a_refresh_is_a_form(wrap: type[Any]) -> None:
    """With every value escaped, and nothing in the address."""
    request = build_refresh_request(SOD, client_id="c789", client_secret=wrap(CLIENT_SECRET), refresh_token=wrap(VALUE))
    assert (request.method, request.url) == ("POST", "https://sod.superoffice.com/login/common/oauth/tokens")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode("ascii"), strict_parsing=True) == {
        "grant_type": ["refresh_token"],
        "client_id": ["c789"],
        "client_secret": [CLIENT_SECRET],
        "refresh_token": [VALUE],
    }
    assert CLIENT_SECRET not in repr(request)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": ""},
        {"client_id": None},
        {"client_secret": ""},
        {"client_secret": None},
        {"refresh_token": Secret("")},
        {"refresh_token": f"{VALUE}\ud800"},
    ],
)
def test_a_refresh_needs_all_of_them(changes: dict[str, Any]) -> None:
    """What is missing or no text is refused, and the others are not shown."""
    arguments: dict[str, Any] = {"client_id": "c789", "client_secret": CLIENT_SECRET, "refresh_token": VALUE}
    with pytest.raises(UsageError) as raising:
        build_refresh_request(SOD, **(arguments | changes))
    raised(raising, CLIENT_SECRET, VALUE)


def test_the_responses_of_the_vectors() -> None:
    """A refresh brings no refresh token: the old one is kept."""
    tokens = parse((VECTORS / "oauth_refresh_response.json").read_bytes())
    assert tokens == OAuthTokens(access_token=Secret(REFRESH["access_token"]), refresh_token=None, expires_in=3600)
    assert tokens.renew_after == 2880
    assert parse(CODE).refresh_token == Secret(CODE["refresh_token"])
    assert REFRESH["access_token"] not in repr(tokens)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1200, 1200),
        ("1200", 1200),
        (0.5, 0.5),
        (True, 1),
        (None, 1200),
        (..., 1200),
        (0, 1200),
        (-1, 1200),
        ("soon", 1200),
        ([3600], 1200),
        (10**400, 1200),
    ],
)
def test_a_lifetime_that_is_missing_is_the_shorter_documented_one(value: object, expected: float) -> None:
    """20 minutes."""
    body = {key: content for key, content in (REFRESH | {"expires_in": value}).items() if content is not ...}
    assert parse(body).expires_in == expected


@pytest.mark.parametrize("value", ["", None, 5, ["x"]])
def test_what_is_no_refresh_token_is_none(value: object) -> None:
    """The old one is kept then."""
    assert parse(REFRESH | {"refresh_token": value}).refresh_token is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", {}, {"access_token": None}, {"access_token": ""}, {"access_token": 5}]
)
def test_success_without_an_access_token(body: object) -> None:
    """The server contradicts itself."""
    with pytest.raises(UnexpectedResponse, match="sends no access token"):
        parse(body)


@pytest.mark.parametrize(
    ("status", "body", "message", "retryable"),
    [
        (400, {"error": "invalid_grant"}, "invalid_grant; the refresh token is revoked or was never valid", False),
        (200, {"error": "invalid_grant"}, "invalid_grant; the refresh token is revoked", False),
        (401, {"error": "invalid_client"}, "invalid_client; check client_id, client_secret", False),
        (
            400,
            {"error": "x", "error_description": f"no {CLIENT_SECRET} {VALUE}\n7T:abc"},
            r"x no \*\*\* \*\*\* \*\*\*; check",
            False,
        ),
        (503, {"error": "invalid_grant"}, "invalid_grant; the refresh token", False),
        (400, b"<html>", "HTTP 400; check client_id", False),
        (302, b"", "HTTP 302; check client_id", False),
        (503, b"<html>", "HTTP 503; try again later", True),
        (429, {}, "HTTP 429; try again later", True),
        (500, {"error": None, "error_description": 5}, "HTTP 500; try again later", True),
    ],
)
def test_refusals_say_what_to_do(status: int, body: object, message: str, retryable: bool) -> None:  # noqa: FBT001
    """Only a server that is in trouble is asked again."""
    with pytest.raises(AuthenticationFailed, match=message) as raising:
        parse(body, status, {"Retry-After": "3"})
    raised(raising, CLIENT_SECRET, VALUE, "7T:abc")
    assert raising.value.retryable is retryable
    assert (raising.value.retry_after, raising.value.refused_by, raising.value.applied) == (3, "server", "no")
