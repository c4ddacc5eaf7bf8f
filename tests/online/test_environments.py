"""The addresses of sign-in hosts."""

import pytest

from soapbatch import UsageError
from soapbatch.online import Environment
from tests.support.online import TENANT, read_vector


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("sod", "sod.superoffice.com"),
        ("stage", "qaonline.superoffice.com"),
        ("qaonline", "qaonline.superoffice.com"),
        ("online", "online.superoffice.com"),
    ],
)
def test_each_environment_has_a_sign_in_host(name: str, host: str) -> None:
    """`stage` is another name of `qaonline`. No host has a number."""
    environment = Environment.named(name)
    assert environment.host == host
    assert environment.state_request(TENANT).url == f"https://{host}/api/state/Cust12345"
    assert environment.system_user_url == f"https://{host}/Login/api/PartnerSystemUser/Authenticate"
    assert environment.system_user_soap_url == f"https://{host}/Login/services/PartnerSystemUserService.svc"


def test_the_addresses_are_those_of_the_discovery_document() -> None:
    """Nobody needs to ask for the document."""
    document = read_vector("openid-configuration.json")
    environment = Environment.named("sod")
    assert environment.url == document["issuer"]
    assert environment.tokens_url == document["token_endpoint"]
    assert environment.key_set_url == document["jwks_uri"] == environment.key_set_request().url


def test_requests_for_public_things_carry_nothing() -> None:
    """The state and the key set need no credential."""
    environment = Environment.named("online", domain="cloud.example")
    for request in (environment.state_request(TENANT), environment.key_set_request()):
        assert request.method == "GET"
        assert request.url.startswith("https://online.cloud.example/")
        assert request.headers == {"Accept": "application/json"}
        assert request.body == b""


@pytest.mark.parametrize("name", ["", "SOD", "sod2", "production", "qastage", "online.superoffice.com"])
def test_other_environments_are_refused(name: str) -> None:
    """The error lists those that there are."""
    with pytest.raises(UsageError, match="environment is one of 'sod', 'stage'"):
        Environment.named(name)


@pytest.mark.parametrize(
    "tenant", ["", "Cust/1", "../Cust1", "Cust1?", "Cust 1", "Cust1\n", "Cüst1", "C" * 65, None, 1]
)
def test_only_a_context_identifier_goes_into_an_address(tenant: str) -> None:
    """Anything that would change the address is refused."""
    with pytest.raises(UsageError, match="named by its context identifier"):
        Environment.named("sod").state_request(tenant)
