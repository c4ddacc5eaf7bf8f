"""Every check of a JWT, and the keys that it is checked with."""

import json
import math
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, strategies as st

from soapbatch import ProtocolError, Secret, TokenNotTrusted, UnexpectedResponse, UnreadableResponse, UsageError
from soapbatch.online import SystemUserClaims, parse_key_set, verify_system_token
from tests.support.online import NOW, TENANT, VECTORS, raised, read_vector, signing_key

JWTS = read_vector("jwts.json")
TOKENS = {name: case["jwt"] for name, case in JWTS["tokens"].items()}
CLAIMS = read_vector("system_user_claims.json")
JWKS = read_vector("jwks.json")
PREFIX = "http://schemes.superoffice.net/identity/"
SETS = ["jwks", "jwks_rotated", "jwks_overlap", "jwks_minimal", "jwks_with_strangers"]
VERDICTS = {
    "bad_expired": "lifetime",
    "bad_not_yet": "lifetime",
    "bad_issuer": "issuer",
    "bad_audience": "audience",
    "bad_serial": "audience",
    "bad_other_tenant": "tenant",
    "bad_no_ticket": "ticket",
    "bad_signature": "signature",
    "bad_stranger": "signature",
    "bad_alg_none": "algorithm",
    "bad_alg_hs256": "algorithm",
    "bad_not_a_jwt": "form",
}
BEFORE_KEYS = {"algorithm", "form"}


def verify(token: str | Secret, jwks: Mapping[str, Any] = JWKS, **changes: Any) -> SystemUserClaims:
    """Check a JWT at the time of the vectors."""
    arguments: dict[str, Any] = {"tenant": TENANT, "now": NOW} | changes
    return verify_system_token(token, jwks, **arguments)


def signed(names: tuple[str, ...] = ("kid", "x5t"), **claims: Any) -> str:
    """Return a JWT of the test's own key with other claims; ... leaves one out."""
    changed = {key: value for key, value in (CLAIMS | claims).items() if value is not ...}
    return signing_key().sign(changed, names)


def own_keys(**changes: Any) -> dict[str, Any]:
    """Return a key set with the test's own key, and other fields in it; ... leaves one out."""
    key = {name: value for name, value in ({**signing_key().jwk} | changes).items() if value is not ...}
    return {"keys": [key]}


def refused(token: str, jwks: Mapping[str, Any] = JWKS, **changes: Any) -> TokenNotTrusted:
    """Return the error for a JWT, after a look that it shows nothing of it."""
    with pytest.raises(TokenNotTrusted, match="the JWT for the system user is not trusted: ") as raising:
        verify(token, jwks, **changes)
    raised(raising, *([token] if len(token) > 20 else []), JWTS["ticket"], "7T:forged")
    assert isinstance(raising.value, ProtocolError)
    assert (raising.value.applied, raising.value.retryable) == ("no", False)
    return raising.value


@pytest.mark.parametrize("jwks", SETS)
@pytest.mark.parametrize("name", TOKENS)
def test_every_jwt_gets_its_verdict(name: str, jwks: str) -> None:
    """With each key set: what the rotated set lacks is the key, unless an earlier check fails."""
    key_set = read_vector(f"{jwks}.json")
    has_key = jwks in ({"jwks_rotated", "jwks_overlap"} if name == "ok_next_key" else {*SETS} - {"jwks_rotated"})
    expected = VERDICTS.get(name)
    if not has_key and expected not in BEFORE_KEYS:
        expected = "key"
    if expected is None:
        claims = verify(TOKENS[name], key_set)
        assert claims == SystemUserClaims(ticket=Secret(JWTS["ticket"]), tenant=TENANT, serial="1801550193")
        assert verify(Secret(TOKENS[name]), key_set) == claims
        assert JWTS["ticket"] not in repr(claims)
    else:
        assert refused(TOKENS[name], key_set).check == expected


def test_every_verdict_is_known() -> None:
    """A JWT that is new among the vectors fails here."""
    assert {name for name, case in JWTS["tokens"].items() if case["expect"].startswith("refuse")} == VERDICTS.keys()


@given(st.data())
def test_no_character_of_a_jwt_can_be_changed(data: st.DataObject) -> None:
    """Any other character at any place: refused, before the claims are looked at."""
    token = TOKENS["ok"]
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.=+/ æ\0").filter(lambda character: character != token[at]))
    changed = token[:at] + other + token[at + 1 :]
    assert refused(changed).check in {"form", "algorithm", "key", "signature"}


@given(st.text() | st.text("eyJ.=A_-", max_size=40))
def test_no_text_passes(token: str) -> None:
    """Whatever it is, TokenNotTrusted is what is raised."""
    assert refused(token).check in {"form", "algorithm", "key"}


@pytest.mark.parametrize(
    ("edges", "is_valid"),
    [
        ({"exp": 0}, True),
        ({"exp": 1}, True),
        ({"exp": -299}, True),
        ({"exp": -300}, False),
        ({"exp": -301}, False),
        ({"nbf": 300}, True),
        ({"nbf": 301}, False),
        ({"nbf": 299.5, "exp": -299.5}, True),
        ({"nbf": ...}, True),
    ],
)
def test_the_lifetime_has_five_minutes_of_leeway(edges: dict[str, Any], is_valid: bool) -> None:  # noqa: FBT001
    """At both ends; the end itself is outside."""
    claims: dict[str, Any] = {name: value if value is ... else NOW.timestamp() + value for name, value in edges.items()}
    token = signed(**claims)
    if is_valid:
        assert verify(token, own_keys()).tenant == TENANT
    else:
        error = refused(token, own_keys())
        assert error.check == "lifetime"
        assert "check this machine's clock" in str(error)


@given(leeway=st.integers(0, 3600), clock=st.integers(-4000, 4000))
def test_a_clock_that_is_off_by_less_than_the_leeway_does_not_matter(leeway: int, clock: int) -> None:
    """The JWT of the vectors begins a minute before `now` and ends five after it."""
    now = NOW + timedelta(seconds=clock)
    if -60 - leeway <= clock < 300 + leeway:
        assert verify(TOKENS["ok"], now=now, leeway=leeway).tenant == TENANT
    else:
        assert refused(TOKENS["ok"], now=now, leeway=leeway).check == "lifetime"


@pytest.mark.parametrize(
    ("check", "claims"),
    [
        ("issuer", {"iss": ...}),
        ("issuer", {"iss": ["SuperOffice AS"]}),
        ("issuer", {"iss": "superoffice as"}),
        ("issuer", {"iss": JWTS["ticket"]}),
        ("audience", {"aud": ...}),
        ("audience", {"aud": []}),
        ("audience", {"aud": ["spn:", "1801550193"]}),
        ("audience", {f"{PREFIX}serial": ...}),
        ("audience", {f"{PREFIX}serial": "", "aud": "spn:"}),
        ("audience", {f"{PREFIX}serial": 1801550193}),
        ("lifetime", {"exp": ...}),
        ("lifetime", {"exp": None}),
        ("lifetime", {"exp": "1767323395"}),
        ("lifetime", {"exp": True}),
        ("lifetime", {"exp": math.inf}),
        ("lifetime", {"exp": math.nan}),
        ("lifetime", {"exp": 10**400}),
        ("lifetime", {"nbf": "1767323035"}),
        ("lifetime", {"nbf": None}),
        ("lifetime", {"nbf": -math.inf}),
        ("tenant", {f"{PREFIX}ctx": ...}),
        ("tenant", {f"{PREFIX}ctx": ""}),
        ("tenant", {f"{PREFIX}ctx": [TENANT]}),
        ("tenant", {f"{PREFIX}ctx": "Cust123456"}),
        ("ticket", {f"{PREFIX}ticket": ""}),
        ("ticket", {f"{PREFIX}ticket": None}),
        ("ticket", {f"{PREFIX}ticket": [JWTS["ticket"]]}),
    ],
)
def test_claims_that_are_missing_or_wrong(check: str, claims: dict[str, Any]) -> None:
    """Each is refused by its check."""
    payload = {key: value for key, value in (CLAIMS | claims).items() if value is not ...}
    headers = {name: signing_key().jwk[name] for name in ("kid", "x5t")}
    token = pyjwt.PyJWS().encode(json.dumps(payload).encode(), signing_key()._key, algorithm="RS256", headers=headers)
    assert refused(token, own_keys()).check == check


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["other", "spn:1801550193"]},
        {f"{PREFIX}ctx": "cust12345"},
        {"iat": ...},
        {"iat": "never"},
        {"iat": 9e12},
        {"exp": NOW.timestamp() + 0.5},
    ],
)
def test_claims_that_do_not_matter(claims: dict[str, Any]) -> None:
    """Several audiences, another case of the tenant's name, and whatever `iat` is."""
    payload = {key: value for key, value in (CLAIMS | claims).items() if value is not ...}
    token = pyjwt.PyJWS().encode(json.dumps(payload).encode(), signing_key()._key, algorithm="RS256")
    assert verify(token, own_keys()).ticket == Secret(JWTS["ticket"])


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"\xff", b"[" * 10_000])
def test_claims_that_are_no_object(payload: bytes) -> None:
    """Signed well, all the same."""
    token = pyjwt.PyJWS().encode(payload, signing_key()._key, algorithm="RS256")
    assert refused(token, own_keys()).check == "form"


def test_a_critical_header_is_not_ignored() -> None:
    """RFC 7515, section 4.1.11: what is not understood and critical is refused; nor may the payload be detached."""
    sign = pyjwt.PyJWS().encode
    detached = sign(b"{}", signing_key()._key, algorithm="RS256", headers={"b64": False})
    assert refused(detached, own_keys()).check == "key"  # no key makes it valid
    head, payload, signature = signed().split(".")
    header = json.loads(urlsafe_b64decode(head + "==")) | {"crit": ["future"], "future": 1}
    changed = urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    assert refused(f"{changed}.{payload}.{signature}", own_keys()).check in {"form", "signature"}


KID, X5T = (str(JWKS["keys"][0][name]) for name in ("kid", "x5t"))


@pytest.mark.parametrize(
    ("names", "changes", "check"),
    [
        (("kid", "x5t"), {}, None),
        (("kid",), {}, None),
        (("kid",), {"kid": ...}, None),
        (("x5t",), {"x5t": ...}, None),
        (("kid",), {"kid": lambda kid: kid.lower(), "x5t": ...}, None),
        (("x5t",), {"kid": ..., "x5t": lambda x5t: f"{x5t}="}, None),
        ((), {"kid": ..., "x5t": ...}, None),
        ((), {"use": ..., "alg": ..., "x5c": ...}, None),
        (("kid", "x5t"), {"kid": "another"}, None),
        (("kid", "x5t"), {"kid": ..., "x5t": ...}, "key"),
        (("kid", "x5t"), {"kid": KID, "x5t": X5T}, "key"),
        (("kid",), {"kid": 5, "x5t": ["x"]}, "key"),
        (("kid",), {"use": "enc"}, "key"),
        (("kid",), {"alg": "RS512"}, "key"),
        (("kid",), {"kty": "EC"}, "key"),
        (("kid",), {"n": "***"}, "key"),
        (("kid",), {"n": ...}, "key"),
        (("kid",), {"n": 5}, "key"),
        (("kid",), {"e": ...}, "key"),
        (("kid",), {"n": "AQAB"}, "key"),
        (("kid",), {"e": "AA"}, "key"),
        (("kid",), {"n": "A" * 2000}, "key"),
        (("kid",), {"n": "_" * 2000}, "key"),
        ((), {"n": JWKS["keys"][0]["n"]}, "key"),
        (("kid",), {"n": JWKS["keys"][0]["n"]}, "signature"),
    ],
)
def test_how_the_key_is_found(names: tuple[str, ...], changes: dict[str, Any], check: str | None) -> None:
    """By kid in either spelling, by x5t, or by trying; what cannot be used is as good as missing."""
    called = {name: change(signing_key().jwk[name]) if callable(change) else change for name, change in changes.items()}
    key_set = own_keys(**called)
    if check is None:
        assert verify(signed(names), key_set).tenant == TENANT
    else:
        assert refused(signed(names), key_set).check == check


def test_every_key_is_tried_where_none_is_named() -> None:
    """Among strangers of all kinds."""
    strangers = [*read_vector("jwks_with_strangers.json")["keys"], *read_vector("jwks_rotated.json")["keys"], None, 5]
    key_set = {"keys": [*strangers, *own_keys()["keys"]]}
    assert verify(signed(()), key_set).tenant == TENANT
    assert refused(signed(()), {"keys": strangers}).check == "key"


def test_a_name_of_a_key_need_not_be_base64() -> None:
    """It is compared as it is."""
    key = {**signing_key().jwk, "kid": "a", "x5t": None}
    jwt = pyjwt.encode({}, signing_key()._key, algorithm="RS256", headers={"kid": "a"})
    with pytest.raises(TokenNotTrusted) as raising:
        verify_system_token(jwt, {"keys": [key]}, tenant=TENANT, now=NOW)
    assert raising.value.check == "issuer"


def test_a_key_that_is_too_short_is_not_used() -> None:
    """RS256 asks for 2048 bits."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    numbers = key.public_key().public_numbers()
    text = urlsafe_b64encode(numbers.n.to_bytes(128)).rstrip(b"=").decode()
    with pytest.warns(pyjwt.warnings.InsecureKeyLengthWarning):
        token = pyjwt.encode(CLAIMS, key, algorithm="RS256")
    assert refused(token, {"keys": [{"kty": "RSA", "n": text, "e": "AQAB"}]}).check == "key"


@pytest.mark.parametrize("key_set", [{}, {"keys": []}, {"keys": None}, {"keys": {}}, {"keys": "RSA"}, {"keys": [[]]}])
def test_a_key_set_without_keys(key_set: dict[str, Any]) -> None:
    """It has no key that fits, and does not parse as a response."""
    assert refused(TOKENS["ok"], key_set).check == "key"
    with pytest.raises(UnexpectedResponse, match="holds no RSA key for signatures"):
        parse_key_set(json.dumps(key_set).encode())


@pytest.mark.parametrize("name", SETS)
def test_a_key_set_is_parsed(name: str) -> None:
    """As it is."""
    assert parse_key_set((VECTORS / f"{name}.json").read_bytes()) == read_vector(f"{name}.json")


def test_what_is_no_key_set_is_unreadable() -> None:
    """A page of a gateway, for example."""
    with pytest.raises(UnreadableResponse, match="the key set of the sign-in host is no JSON object"):
        parse_key_set(b"<html>")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token": None}, "takes a JWT"),
        ({"token": b"a.b.c"}, "takes a JWT"),
        ({"jwks": [JWKS]}, "and a parsed key set"),
        ({"tenant": ""}, "context identifier"),
        ({"now": NOW.replace(tzinfo=None)}, "now needs a time zone"),
        ({"now": 1767323095}, "now needs a time zone"),
        ({"leeway": -1}, "leeway is a number of seconds"),
        ({"leeway": math.nan}, "leeway is a number of seconds"),
    ],
)
def test_wrong_arguments_are_usage_errors(changes: dict[str, Any], message: str) -> None:
    """None of them shows the JWT."""
    arguments: dict[str, Any] = {"token": TOKENS["ok"], "jwks": JWKS} | changes
    with pytest.raises(UsageError, match=message) as raising:
        verify(**arguments)
    raised(raising, TOKENS["ok"])


@pytest.mark.parametrize("missing", ["jwt", "cryptography.hazmat.primitives.asymmetric.rsa"])
def test_without_the_extra_it_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ImportError reaches the caller."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=r"needs cryptography and PyJWT: install soapbatch\[online\]") as raising:
        verify(TOKENS["ok"])
    raised(raising, TOKENS["ok"])


def test_the_clock_of_the_vectors() -> None:
    """The vectors say what time it is."""
    assert datetime.fromtimestamp(JWTS["now"], NOW.tzinfo) == NOW
