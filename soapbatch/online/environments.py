"""The environments of SuperOffice Online, and the addresses of their sign-in hosts.

A sign-in host answers for the state of tenants, system users, key sets and OAuth tokens. It serves no tenant: the hosts
that do are named by the state of the tenant alone.

Source: ONLINE sections 1 to 4.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

import attrs

from soapbatch.errors import UsageError
from soapbatch.model import Secret

DOMAIN: Final = "superoffice.com"
"""All hosts of SuperOffice Online are in this domain."""

# `stage` names the environment in older pages of the vendor. Its sign-in host is `qaonline` all the same (inferred).
_SIGN_IN_NAMES: Final = {"sod": "sod", "qaonline": "qaonline", "stage": "qaonline", "online": "online"}
_JSON: Final = {"Accept": "application/json"}
# A context identifier looks like Cust12345. The characters that it may have are not documented (inferred): these can
# stand in a path as they are.
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@attrs.frozen(kw_only=True)
class SignInRequest:
    """A request to a sign-in host. Redirects must not be followed: the body may hold secrets.

    Attributes:
        method: of HTTP.
        url: where to send it.
        headers: by name.
        body: the bytes to send. It may hold secrets, which is why repr leaves it out.
    """

    method: Literal["GET", "POST"]
    url: str
    headers: Mapping[str, str]
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen
class Environment:
    """One environment of SuperOffice Online: the addresses of its sign-in host.

    Attributes:
        name: "sod" (development), "qaonline" (stage) or "online" (production).
        domain: the domain of its hosts. A ticket and the client secret are sent to hosts in this domain only.
    """

    name: str
    domain: str = DOMAIN

    @classmethod
    def named(cls, name: str, *, domain: str = DOMAIN) -> "Environment":
        """Return the environment "sod", "qaonline", "online", or "stage", which is another name of the second.

        Args:
            name: of the environment.
            domain: another domain, for tests and private clouds.

        Raises:
            UsageError: no environment has this name.
        """
        if name not in _SIGN_IN_NAMES:
            raise UsageError(f"environment is one of 'sod', 'stage' (or 'qaonline') and 'online', not {name!r}")
        return cls(_SIGN_IN_NAMES[name], domain)

    @property
    def host(self) -> str:
        """The sign-in host. Hosts with a number in their name serve tenants and no sign-in."""
        return f"{self.name}.{self.domain}"

    @property
    def url(self) -> str:
        """The root of the sign-in host, which is the issuer of id_tokens, too."""
        return f"https://{self.host}"

    @property
    def system_user_url(self) -> str:
        """The address of PartnerSystemUser over REST."""
        return f"{self.url}/Login/api/PartnerSystemUser/Authenticate"

    @property
    def system_user_soap_url(self) -> str:
        """The address of PartnerSystemUser over SOAP."""
        return f"{self.url}/Login/services/PartnerSystemUserService.svc"

    @property
    def key_set_url(self) -> str:
        """The address of the public keys that JWTs are signed with."""
        return f"{self.url}/login/.well-known/jwks"

    @property
    def tokens_url(self) -> str:
        """The address of the OAuth token endpoint."""
        return f"{self.url}/login/common/oauth/tokens"

    def state_request(self, tenant: str) -> SignInRequest:
        """Return the request for the state of a tenant; it carries no secret. See `parse_tenant_state`.

        Raises:
            UsageError: `tenant` is no context identifier.
        """
        return SignInRequest(method="GET", url=f"{self.url}/api/state/{check_tenant(tenant)}", headers=_JSON)

    def key_set_request(self) -> SignInRequest:
        """Return the request for the public keys; it carries no secret. `parse_key_set` reads its response."""
        return SignInRequest(method="GET", url=self.key_set_url, headers=_JSON)


def check_tenant(tenant: str) -> str:
    """Return `tenant` if it looks like a context identifier, else raise UsageError."""
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
        raise UsageError(f"a tenant is named by its context identifier, for example 'Cust12345', not by {tenant!r}")
    return tenant


def revealed(**argument: object) -> str:
    """Return the text of the Secret that one argument, given by its name, holds, and that UTF-8 can carry.

    Raises:
        UsageError: it is no Secret, or no text.
    """
    ((name, value),) = argument.items()
    if not isinstance(value, Secret):
        raise UsageError(f"{name}= is a str or a Secret")
    text = value.reveal()
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UsageError(f"{name}= holds half of a surrogate pair")
    return text
