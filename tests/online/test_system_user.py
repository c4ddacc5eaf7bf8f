"""Signing a system user token, and signing in with it over REST."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, strategies as st

from soapbatch import Secret, SystemUserRefused, UnexpectedResponse, UsageError
from soapbatch.errors import AuthenticationFailed
from soapbatch.online import (
    Environment,
    build_system_user_request,
    build_system_user_soap_request,
    parse_system_user_response,
    sign_system_token,
)
from tests.support.online import CLIENT_SECRET, NOW, TENANT, VECTORS, app_key, raised, read_vector

SIGNED = read_vector("signed_tokens.json")
REQUEST = read_vector("rest_request.json")
OK = read_vector("rest_response_ok.json")
SOD = Environment.named("sod")


@pytest.mark.parametrize("case", SIGNED, ids=lambda case: str(case["system_user_token"]))
@pytest.mark.parametrize("wrap", [str, Secret])
def test_signed_tokens_have_exactly_these_bytes(case: dict[str, str], wrap: type[Any]) -> None:
    """Dots and letters beyond ASCII included."""
    at = datetime.fromisoformat(case["at"])
    assert sign_system_token(wrap(case["system_user_token"]), app_key(), at=at) == case["signed_token"]


@given(st.integers(-14, 14), st.integers(0, 55))
def test_the_stamp_is_in_utc_and_cuts_seconds_off(hours: int, second: int) -> None:
    """Whatever time zone the time is in."""
    at = (NOW.replace(second=second)).astimezone(timezone(timedelta(hours=hours)))
    assert sign_system_token(SIGNED[0]["system_user_token"], app_key(), at=at) == SIGNED[0]["signed_token"]


@pytest.mark.parametrize(
    ("token", "key", "at", "message"),
    [
        ("", ..., NOW, "a system user token is a str or a Secret, and not empty"),
        (None, ..., NOW, "a system user token is a str or a Secret, and not empty"),
        ("My App-secret\ud800", ..., NOW, "token= holds half of a surrogate pair"),
        ("My App-secret", "app.pem", NOW, "key is a PrivateKey"),
        ("My App-secret", ..., NOW.replace(tzinfo=None), "a time needs a time zone"),
        ("My App-secret", ..., "now", "a time needs a time zone"),
    ],
)
def test_what_cannot_be_signed_is_refused(token: Any, key: Any, at: Any, message: str) -> None:
    """The error shows nothing of the token."""
    with pytest.raises(UsageError, match=message) as raising:
        sign_system_token(token, app_key() if key is ... else key, at=at)
    raised(raising, "My App-secret")


@pytest.mark.parametrize("wrap", [str, Secret])
def test_the_request_is_that_of_the_vectors(wrap: type[Any]) -> None:
    """Field by field; repr shows no body."""
    request = build_system_user_request(
        SOD, wrap(REQUEST["SignedSystemToken"]), tenant=TENANT, application_token=wrap(CLIENT_SECRET)
    )
    assert request.method == "POST"
    assert request.url == "https://sod.superoffice.com/Login/api/PartnerSystemUser/Authenticate"
    assert request.headers == {"Content-Type": "application/json", "Accept": "application/json"}
    assert list(json.loads(request.body).items()) == list(REQUEST.items())
    assert CLIENT_SECRET not in repr(request)


def test_letters_beyond_ascii_are_sent_as_utf8() -> None:
    """Not escaped, so that whoever masks the body finds the token in it."""
    request = build_system_user_request(SOD, SIGNED[2]["signed_token"], tenant=TENANT, application_token=CLIENT_SECRET)
    assert "Vær så god-Øl8Å".encode() in request.body


@pytest.mark.parametrize("build", [build_system_user_request, build_system_user_soap_request])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signed_token": None}, "signed_token= is a str or a Secret"),
        ({"application_token": 5}, "application_token= is a str or a Secret"),
        ({"tenant": "Cust/1"}, "context identifier"),
        ({"application_token": f"{CLIENT_SECRET}\udfff"}, "application_token= holds half of a surrogate pair"),
    ],
)
def test_what_cannot_be_sent_is_refused(build: Any, changes: dict[str, Any], message: str) -> None:
    """Before anything is written, and without showing it."""
    arguments = {"signed_token": SIGNED[0]["signed_token"], "tenant": TENANT, "application_token": CLIENT_SECRET}
    with pytest.raises(UsageError, match=message) as raising:
        build(SOD, **(arguments | changes))
    raised(raising, CLIENT_SECRET, SIGNED[0]["signed_token"])


def parse(body: object, *, status: int = 200, headers: dict[str, str] | None = None, now: datetime = NOW) -> Secret:
    """Read a response; what is no bytes is written as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    secrets = [Secret(CLIENT_SECRET), Secret("My App-k3J9")]
    return parse_system_user_response(status, headers or {}, data, now=now, secrets=secrets)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_the_jwt_is_returned(status: int) -> None:
    """JSON decides, whatever the status."""
    assert parse(OK, status=status) == Secret(OK["Token"])
    assert parse((VECTORS / "rest_response_ok.json").read_bytes(), status=status) == Secret(OK["Token"])


@pytest.mark.parametrize("token", [None, "", 5, ...])
def test_success_without_a_jwt_is_no_success(token: object) -> None:
    """The server contradicts itself."""
    body = {"IsSuccessful": True} | ({} if token is ... else {"Token": token})
    with pytest.raises(UnexpectedResponse, match="says that it was successful, and leaves Token empty"):
        parse(body)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize(
    ("text", "reason", "advice"),
    [
        ("Authorization error: Revoked (1)", "Revoked", "revoked the app's access and has to approve the app again"),
        ("Authorization error: InvalidRedirectUrl (2)", "InvalidRedirectUrl", "check the app's registration"),
        ("Authorization error: Expired (3)", "Expired", "sign in again"),
        ("Authorization error: Denied (4)", "Denied", "denied the app's access"),
        ("Authorization error: NeedsReapproval (5)", "NeedsReapproval", "has to approve the app again"),
        ("Authorization error: InvalidTimestamp (6)", "InvalidTimestamp", "check this machine's clock"),
        ("Authorization error: InvalidSignature (7)", "InvalidSignature", "check private_key"),
        ("Authorization error: Something (5)", "NeedsReapproval", "approve the app again"),
        ("The app needs re-approval", "NeedsReapproval", "approve the app again"),
        ("invalid time stamp", "InvalidTimestamp", "clock"),
        ("Calculated signature is invalid", None, "check the client secret"),
        ("Authorization error: NoError (0)", None, "check the client secret"),
        ("(8)", None, "check the client secret"),
        ("", None, "it does not say why; check the client secret"),
        (None, None, "it does not say why; check the client secret"),
        (17, None, "it does not say why"),
    ],
)
def test_refusals_say_what_to_do(status: int, text: object, reason: str | None, advice: str) -> None:
    """The server's text is kept; the reason is a hint out of it. Refusals are final."""
    with pytest.raises(SystemUserRefused) as raising:
        parse({"IsSuccessful": False, "ErrorMessage": text}, status=status)
    error = raising.value
    assert isinstance(error, AuthenticationFailed)
    assert error.reason == reason
    assert error.text == (text if isinstance(text, str) else "")
    assert advice in str(error)
    assert error.text in str(error)
    assert (error.status, error.refused_by, error.applied, error.retryable) == (status, "server", "no", False)


def test_the_text_of_a_refusal_is_masked_and_cut() -> None:
    """It may repeat what was sent, and be long."""
    text = f"Not known: {CLIENT_SECRET}\r\n My App-k3J9.202601020304 7T:abc {'x' * 1000}"
    with pytest.raises(SystemUserRefused, match=r"Not known: \*\*\* \*\*\*\.202601020304 \*\*\* xxx") as raising:
        parse({"IsSuccessful": False, "Token": OK["Token"], "ErrorMessage": text})
    raised(raising, CLIENT_SECRET, "My App-k3J9", "7T:abc", OK["Token"])
    assert len(str(raising.value)) < 800


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"{}",
        b"[1]",
        b"null",
        b'{"Error": true, "ErrorType": "X"}',
        b'{"IsSuccessful": "true", "Token": "x"}',
    ],
)
@pytest.mark.parametrize(
    ("status", "retryable"),
    [(200, False), (302, False), (400, False), (404, False), (408, True), (429, True), (500, True), (503, True)],
)
def test_without_a_verdict_the_status_decides(body: bytes, status: int, retryable: bool) -> None:  # noqa: FBT001
    """One error, and it says whether to try again; a redirect is not followed."""
    with pytest.raises(SystemUserRefused, match=f"it answers HTTP {status} with a body") as raising:
        parse(body, status=status, headers={"Retry-After": "7"})
    error = raising.value
    assert (error.reason, error.retryable, error.retry_after) == (None, retryable, 7)
    assert ("try again later" in str(error)) is retryable


@pytest.mark.parametrize(
    ("offset", "sentence"),
    [
        (600, "this machine's clock is 600 s ahead of the server's"),
        (-600, "this machine's clock is 600 s behind the server's"),
        (61, "this machine's clock is 61 s ahead of the server's"),
        (60, None),
        (-60, None),
        (0, None),
    ],
)
def test_a_wrong_clock_is_named(offset: int, sentence: str | None) -> None:
    """By its difference to the Date header, in any spelling of the header's name."""
    refusal = {"IsSuccessful": False, "ErrorMessage": "Authorization error: InvalidTimestamp (6)"}
    for name in ("Date", "date"):
        with pytest.raises(SystemUserRefused, match="check this machine's clock") as raising:
            parse(refusal, headers={name: "Fri, 02 Jan 2026 03:04:55 GMT"}, now=NOW + timedelta(seconds=offset))
        assert (sentence or "check this machine's clock") in str(raising.value)
        assert ("the server's" in str(raising.value)) is (sentence is not None)


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 02 Jan 2026 03:04:55", "Fri, 99 Jan 2026 03:04:55 GMT"])
def test_a_date_that_cannot_be_read_says_nothing(date: str) -> None:
    """Nor one without a time zone."""
    with pytest.raises(SystemUserRefused) as raising:
        parse(
            {"IsSuccessful": False, "ErrorMessage": "(6)"}, headers={"Date": date}, now=datetime(2000, 1, 1, tzinfo=UTC)
        )
    assert str(raising.value).endswith("check this machine's clock")


def test_now_needs_a_time_zone() -> None:
    """It is compared with the Date header."""
    with pytest.raises(UsageError, match="a time needs a time zone"):
        parse(OK, now=NOW.replace(tzinfo=None))
