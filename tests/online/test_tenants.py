"""The state of a tenant, and the addresses that are trusted."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from soapbatch import TenantUnavailable, UnexpectedResponse, UnreadableResponse, UsageError
from soapbatch.online import TENANT_STATES, TenantState, parse_tenant_state
from tests.support.online import NOW, TENANT, read_vector

VECTORS = read_vector("tenant_states.json")
UNTIL = datetime(2026, 1, 2, 3, 9, 55, 934296, tzinfo=UTC)
HOME = "https://sod2.superoffice.com/Cust12345"
REFUSED = ["foreign_host", "plain_http", "other_tenant"]
ENDPOINTS = {
    "new": "https://online2.superoffice.com/Cust12345",
    "moved": "https://app.superoffice.com/Cust12345",
    "no_digits": "https://app-sod.superoffice.com/Cust12345",
    "deleted": None,
    "unknown": None,
}


def parse(tenant: str = TENANT, domain: str = "superoffice.com", **changes: Any) -> TenantState:
    """Read a good state with some fields changed; ... leaves one out."""
    answer = {key: value for key, value in (VECTORS["new"] | {"Endpoint": HOME} | changes).items() if value is not ...}
    return parse_tenant_state(json.dumps(answer).encode(), tenant=tenant, domain=domain)


@pytest.mark.parametrize("name", [name for name in VECTORS if name not in REFUSED])
def test_every_shape_of_a_state_is_read(name: str) -> None:
    """Old and new, with a port, with a slash, with fields and states to come."""
    state = parse_tenant_state(json.dumps(VECTORS[name]).encode(), tenant=TENANT)
    assert state.tenant == TENANT
    assert state.endpoint == ENDPOINTS.get(name, HOME)
    assert state.is_running is VECTORS[name]["IsRunning"]
    assert state.state == ("Running" if name == "numeric_state" else VECTORS[name]["State"])
    assert state.version == VECTORS[name].get("Version")
    if name != "valid_until_past":
        assert state.valid_until == UNTIL


@pytest.mark.parametrize("name", REFUSED)
def test_an_address_that_is_not_trusted_is_refused(name: str) -> None:
    """The address would be sent a ticket and the client secret."""
    with pytest.raises(UnexpectedResponse, match=r"is refused, because|another tenant's came"):
        parse_tenant_state(json.dumps(VECTORS[name]).encode(), tenant=TENANT)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://superoffice.com.evil.example/Cust12345",
        "https://evilsuperoffice.com/Cust12345",
        "https://evil.example/superoffice.com/Cust12345",
        "https://sod2.superoffice.com@evil.example/Cust12345",
        "https://evil.example\\@sod2.superoffice.com/Cust12345",
        "https://evil.example#@sod2.superoffice.com/Cust12345",
        "https://user:password@sod2.superoffice.com/Cust12345",
        "http://sod2.superoffice.com/Cust12345",
        "ftp://sod2.superoffice.com/Cust12345",
        "//sod2.superoffice.com/Cust12345",
        "sod2.superoffice.com/Cust12345",
        "https://sod2.superoffice.com",
        "https://sod2.superoffice.com/",
        "https://sod2.superoffice.com/Cust99999",
        "https://sod2.superoffice.com/x/Cust12345",
        "https://sod2.superoffice.com/Cust12345/../Cust99999",
        "https://sod2.superoffice.com/Cust12345/%2e%2e/Cust99999",
        "https://sod2.superoffice.com/Cust12345?x=https://evil.example",
        "https://sod2.superoffice.com/Cust12345#x",
        "https://sod2.superoffice.com./Cust12345",
        "https://sod2.superoffice.com:0/Cust12345",
        "https://sod2.superoffice.com:99999/Cust12345",
        "https://sod2.superoffice.com:x/Cust12345",
        "https://sod2.superoffice.com /Cust12345",
        "https://sod2.superoffice.com/Cust12345\n",
        "\thttps://sod2.superoffice.com/Cust12345",
        "https://[::1]/Cust12345",
        "https://söd2.superoffice.com/Cust12345",
        ["https://sod2.superoffice.com/Cust12345"],
        17,
    ],
)
def test_hostile_addresses_are_refused(endpoint: object) -> None:
    """Whatever a parser of URLs might make of them; in a state that is not running, too; and in Api."""
    states: list[dict[str, Any]] = [{}, {"State": "Suspended", "IsRunning": False}]
    for changes in states:
        with pytest.raises(UnexpectedResponse, match="is refused, because it"):
            parse(Endpoint=endpoint, **changes)
    if isinstance(endpoint, str) and not endpoint.endswith(("/", "\n", "x")):
        with pytest.raises(UnexpectedResponse, match="is refused, because it"):
            parse(Endpoint=None, Api=f"{endpoint}/api")


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("HTTPS://SOD2.SuperOffice.COM/cust12345/", "https://sod2.superoffice.com/cust12345"),
        ("https://superoffice.com/Cust12345", "https://superoffice.com/Cust12345"),
        ("https://a.b.superoffice.com:8443/Cust12345", "https://a.b.superoffice.com:8443/Cust12345"),
        ("https://sod2.superoffice.com:443/Cust12345/CS", "https://sod2.superoffice.com/Cust12345/CS"),
    ],
)
def test_good_addresses_are_brought_into_one_form(endpoint: str, expected: str) -> None:
    """Two spellings of one address compare equal: the same address again is no move."""
    assert parse(Endpoint=endpoint).base_url() == expected


def test_another_domain_is_trusted_on_request() -> None:
    """For tests and private clouds. Then the vendor's own is not."""
    endpoint = "https://crm.cloud.example/Cust12345"
    assert parse(Endpoint=endpoint, domain="Cloud.Example").endpoint == endpoint
    with pytest.raises(UnexpectedResponse, match=r"is not in superoffice\.com \(pass domain="):
        parse(Endpoint=endpoint)
    with pytest.raises(UnexpectedResponse, match=r"is not in cloud\.example"):
        parse(domain="cloud.example")


def test_case_does_not_matter_in_names_of_tenants() -> None:
    """The server's spelling is kept."""
    assert parse("cust12345").tenant == "Cust12345"
    with pytest.raises(UsageError, match="context identifier"):
        parse("Cust/12345")


@pytest.mark.parametrize("identifier", [..., None, 5, "", "Cust1234", "Cust123456"])
def test_the_state_of_another_tenant_is_refused(identifier: object) -> None:
    """So is one that does not say whose it is."""
    with pytest.raises(UnexpectedResponse, match="another tenant's came"):
        parse(ContextIdentifier=identifier)


@pytest.mark.parametrize("value", [..., None, "", True, 2.5, ["Running"]])
def test_a_state_needs_a_name(value: object) -> None:
    """Or a number."""
    with pytest.raises(UnexpectedResponse, match="holds no State"):
        parse(State=value)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"<html>", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1' + b"0" * 9999]
)
def test_what_is_no_object_is_unreadable(body: bytes) -> None:
    """A page of a gateway, for example."""
    with pytest.raises(UnreadableResponse, match="the state of tenant Cust12345 is no JSON object"):
        parse_tenant_state(body, tenant=TENANT)


def test_a_byte_order_mark_is_read_over() -> None:
    """JSON should have none, and .NET may write one."""
    assert parse_tenant_state(b"\xef\xbb\xbf" + json.dumps(VECTORS["old"]).encode(), tenant=TENANT).is_running


@pytest.mark.parametrize(
    ("state", "is_running", "expected", "retryable"),
    [
        ("Unknown", False, False, True),
        ("Provisioning", False, False, True),
        ("Running", True, True, True),
        ("Deleted", False, False, False),
        ("Suspended", False, False, False),
        ("OnlineMaintenance", True, True, True),
        ("OfflineMaintenance", False, False, True),
        ("ProvisioningFailed", False, False, False),
        ("Deleting", False, False, False),
        ("DeleteFailed", False, False, False),
        ("MigrationPending", False, False, False),
        ("Hibernating", False, False, True),
        ("Hibernating", True, True, True),
        ("Hibernating", ..., False, True),
        ("Running", ..., True, True),
        ("OnlineMaintenance", None, True, True),
        ("Suspended", "true", False, False),
        ("Running", False, False, True),
        (6, ..., False, True),
        (3, False, False, False),
        (7, False, False, True),
    ],
)
def test_the_table_of_states(state: object, is_running: object, expected: bool, retryable: bool) -> None:  # noqa: FBT001
    """IsRunning counts first, the name second; states that are not running raise when the address is asked for."""
    read = parse(State=state, IsRunning=is_running)
    assert read.is_running is expected
    assert read.is_retryable is retryable
    if expected:
        assert read.base_url() == HOME
        return
    with pytest.raises(TenantUnavailable, match="tenant Cust12345 is not running: its state is") as raising:
        read.base_url()
    assert raising.value.state == read.state
    assert raising.value.valid_until == UNTIL
    assert raising.value.retryable is retryable
    assert raising.value.applied == "no"
    assert ("waiting will not help" in str(raising.value)) is not retryable


def test_the_table_is_complete() -> None:
    """Eleven documented states; two numbers are not assigned."""
    assert sorted(traits.number for traits in TENANT_STATES.values()) == [0, 1, 2, 3, 4, 5, 6, 8, 10, 11, 12]


@pytest.mark.parametrize("endpoint", [None, "", ...])
def test_the_address_follows_from_api_where_there_is_no_endpoint(endpoint: object) -> None:
    """Without either, a tenant that runs cannot be reached, and one that does not is still unavailable."""
    api = "https://online2.superoffice.com/Cust12345/api"
    assert parse(Endpoint=endpoint).base_url() == api.removesuffix("/api")
    assert parse(Endpoint=endpoint, Api=f"{api}/").base_url() == api.removesuffix("/api")
    for bad in (None, ..., 5, "https://online2.superoffice.com/Cust12345/v1"):
        with pytest.raises(UnexpectedResponse, match="is Running, and holds no Endpoint"):
            parse(Endpoint=endpoint, Api=bad).base_url()
        with pytest.raises(TenantUnavailable, match="Deleted; ask the tenant's owner"):
            parse(Endpoint=endpoint, Api=bad, State="Deleted", IsRunning=False, ValidUntil=None).base_url()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-02T03:09:55.9342965Z", UNTIL),
        ("2026-01-02T03:09:55.934296", UNTIL),
        ("2026-01-02T04:09:55.934296+01:00", UNTIL),
        ("2026-01-02T03:09:55Z", UNTIL.replace(microsecond=0)),
        ("0001-01-01T00:00:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.9999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("soon", None),
        ("", None),
        (None, None),
        (..., None),
        (1767323395, None),
    ],
)
def test_dates_as_dotnet_writes_them(value: object, expected: datetime | None) -> None:
    """What is no date is not said, and no error."""
    read = parse(ValidUntil=value)
    assert read.valid_until == expected
    assert 30 <= read.usable_for(NOW) <= 900


@given(seconds=st.floats(-1e7, 1e7))
def test_a_state_is_used_for_half_a_minute_to_a_quarter_of_an_hour(seconds: float) -> None:
    """Between the two, until ValidUntil; without one, for the shortest time."""
    state = TenantState(tenant=TENANT, state="Running", is_running=True, valid_until=NOW + timedelta(seconds=seconds))
    usable = state.usable_for(NOW)
    assert 30 <= usable <= 900
    if 30 <= seconds <= 900:
        assert usable == pytest.approx(seconds, abs=1e-5)
    assert TenantState(tenant=TENANT, state="Running", is_running=True).usable_for(NOW) == 30


FIELDS = st.sampled_from(["ContextIdentifier", "Endpoint", "State", "Api", "ValidUntil", "IsRunning"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner),
    max_leaves=10,
)


@given(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_nothing_else_is_raised(body: bytes) -> None:
    """Any bytes are read, or raise one of ours."""
    try:
        state = parse_tenant_state(body, tenant=TENANT)
    except (UnreadableResponse, UnexpectedResponse):
        return
    assert state.endpoint is None or state.endpoint.startswith("https://")
