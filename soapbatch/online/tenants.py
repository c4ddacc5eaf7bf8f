"""The state of a tenant: whether it runs, at which address, and for how long that holds.

Source: ONLINE section 1.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from soapbatch.errors import TenantUnavailable, UnexpectedResponse
from soapbatch.online.environments import DOMAIN, check_tenant
from soapbatch.online.responses import read_object

_SHORTEST_USE: Final = 30.0  # seconds (inferred): a clock that is off must not lead to a storm of requests
_LONGEST_USE: Final = 15 * 60.0  # seconds (inferred)
# The characters of an address that every parser of URLs reads alike. Credentials ("@"), a query, a fragment and escapes
# have no place in a tenant's address.
_PLAIN_URL = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._-]+)+/?", re.IGNORECASE)


@attrs.frozen
class StateTraits:
    """What a state means for a client.

    Attributes:
        number: the vendor's number of the state, which may stand for its name.
        is_running: whether the tenant takes calls.
        is_retryable: whether a tenant that takes no calls may take them again within minutes or hours.
    """

    number: int
    is_running: bool = False
    is_retryable: bool = False


TENANT_STATES: Final[Mapping[str, StateTraits]] = {
    "Unknown": StateTraits(0, is_retryable=True),
    "Provisioning": StateTraits(1, is_retryable=True),
    "Running": StateTraits(2, is_running=True, is_retryable=True),
    "Deleted": StateTraits(3),
    "Suspended": StateTraits(4),
    "OnlineMaintenance": StateTraits(5, is_running=True, is_retryable=True),
    "OfflineMaintenance": StateTraits(6, is_retryable=True),
    "ProvisioningFailed": StateTraits(8),
    "Deleting": StateTraits(10),
    "DeleteFailed": StateTraits(11),
    "MigrationPending": StateTraits(12),
}
"""The documented states by name. The numbers 7 and 9 are not assigned."""

_UNDOCUMENTED: Final = StateTraits(-1, is_retryable=True)  # inferred


@attrs.frozen(kw_only=True)
class TenantState:
    """What the sign-in host says about a tenant.

    Attributes:
        tenant: the context identifier, in the server's spelling.
        state: the name of the state. A state that is not documented keeps its name.
        is_running: whether the tenant takes calls.
        endpoint: the address of the tenant without a slash at the end, which is the base URL of a client; None: not
            said.
        valid_until: until when this holds (aware); None: not said.
        version: the installed release, for example "Release_11.10_2026.02.24-02"; None: not said.
    """

    tenant: str
    state: str
    is_running: bool
    endpoint: str | None = None
    valid_until: datetime | None = None
    version: str | None = None

    @property
    def is_retryable(self) -> bool:
        """Whether a tenant that is not running may be running again within minutes or hours."""
        return TENANT_STATES.get(self.state, _UNDOCUMENTED).is_retryable

    def base_url(self) -> str:
        """Return the address of the running tenant.

        Raises:
            TenantUnavailable: it is not running.
            UnexpectedResponse: it is running, and the sign-in host did not say where.
        """
        if not self.is_running:
            until = f", which holds until {self.valid_until:%Y-%m-%d %H:%M} UTC" if self.valid_until else ""
            advice = "try again later" if self.is_retryable else "ask the tenant's owner: waiting will not help"
            raise TenantUnavailable(
                f"tenant {self.tenant} is not running: its state is {self.state}{until}; {advice}",
                state=self.state,
                valid_until=self.valid_until,
                retryable=self.is_retryable,
            )
        if self.endpoint is None:
            raise UnexpectedResponse(f"the state of tenant {self.tenant} is {self.state}, and holds no Endpoint")
        return self.endpoint

    def usable_for(self, now: datetime) -> float:
        """Return for how many seconds from its arrival (`now`, aware) this state may be used without asking again.

        At least 30 s and at most 15 minutes (inferred), whatever `valid_until` says; 30 s where it says nothing.
        """
        left = (self.valid_until - now).total_seconds() if self.valid_until else 0.0
        return min(max(left, _SHORTEST_USE), _LONGEST_USE)


def parse_tenant_state(body: bytes, *, tenant: str, domain: str = DOMAIN) -> TenantState:
    """Read the response of the state endpoint. A state that is not running is returned like any other.

    The address in it will be sent a ticket and the client secret. So it must be https, lie in `domain`, name the tenant
    and hold nothing else (inferred: the vendor promises nothing of the kind).

    Args:
        body: of the response.
        tenant: the context identifier that was asked for; case does not matter.
        domain: where the address must lie; another one for tests and private clouds.

    Raises:
        UsageError: `tenant` is no context identifier.
        UnreadableResponse: the body is no JSON object.
        UnexpectedResponse: it is the state of another tenant, or its address is refused.
    """
    check_tenant(tenant)
    answer = read_object(body, f"the state of tenant {tenant}")
    identifier = answer.get("ContextIdentifier")
    if not isinstance(identifier, str) or identifier.casefold() != tenant.casefold():
        raise UnexpectedResponse(f"the state of tenant {tenant} was asked for, and another tenant's came")
    state = _state_name(answer.get("State"), tenant)
    is_running = answer.get("IsRunning")
    if not isinstance(is_running, bool):  # inferred: the field counts before the name where it is there
        is_running = TENANT_STATES.get(state, _UNDOCUMENTED).is_running
    version = answer.get("Version")
    return TenantState(
        tenant=identifier,
        state=state,
        is_running=is_running,
        endpoint=_endpoint(answer, tenant, domain),
        valid_until=_date(answer.get("ValidUntil")),
        version=version if isinstance(version, str) else None,
    )


def _state_name(value: object, tenant: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):  # inferred: the vendor's tables give numbers, too
        return next((name for name, traits in TENANT_STATES.items() if traits.number == value), str(value))
    if not isinstance(value, str) or not value:
        raise UnexpectedResponse(f"the state of tenant {tenant} holds no State")
    return value


def _endpoint(answer: Mapping[str, Any], tenant: str, domain: str) -> str | None:
    endpoint = answer.get("Endpoint")
    if not endpoint:
        api = answer.get("Api")
        if not isinstance(api, str) or not api.rstrip("/").endswith("/api"):
            return None
        endpoint = api.rstrip("/").removesuffix("/api")  # inferred: Api is documented as Endpoint + "/api"
    why = _objection(endpoint, tenant, domain)
    if why:
        raise UnexpectedResponse(
            f"the address of tenant {tenant} is refused, because it {why}: a ticket and the client secret would be "
            "sent there"
        )
    url = urlsplit(endpoint)
    port = f":{url.port}" if url.port not in {None, 443} else ""
    return f"https://{url.hostname}{port}{url.path.rstrip('/')}"


def _objection(endpoint: object, tenant: str, domain: str) -> str | None:
    """Return what is wrong with an address, or None."""
    if not isinstance(endpoint, str) or not _PLAIN_URL.fullmatch(endpoint):
        return "is not a plain https address of a host and a path"
    url = urlsplit(endpoint)
    host = url.hostname or ""
    if host != domain.lower() and not host.endswith(f".{domain.lower()}"):
        return f"is not in {domain} (pass domain= if it is right all the same)"
    segments = url.path.strip("/").split("/")
    if segments[0].casefold() != tenant.casefold() or not {".", ".."}.isdisjoint(segments):
        return "does not lead to this tenant"
    try:
        return None if url.port != 0 else "has no valid port"
    except ValueError:
        return "has no valid port"


def _date(value: object) -> datetime | None:
    """Return a date as .NET writes it, with seven fraction digits and a Z; None for anything else."""
    try:
        date = datetime.fromisoformat(value) if isinstance(value, str) else None
        if date is None or date.utcoffset() is not None:
            return date and date.astimezone(UTC)
        return date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
