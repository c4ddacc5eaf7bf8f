"""What the embedded Online knows: apps, tenants, approvals, keys and grants, on a clock that tests drive."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from soapbatch.errors import UsageError
from soapbatch.model import ServiceVersion
from soapbatch.online import TENANT_STATES, Environment, PrivateKey
from soapbatch.testing.clock import WallClock
from soapbatch.testing.online_journal import SecretNames
from soapbatch.testing.online_keys import SigningKey, generate_private_key
from soapbatch.testing.server import NetServer
from soapbatch.testing.sessions import User

CLAIMS: Final = "http://schemes.superoffice.net/identity/"
CODE_LIFETIME: Final = 600.0  # seconds
_SYSTEM_USER: Final = User(name="system", password="", associate_id=6, full_name="System User")


@attrs.define(kw_only=True)
class RegisteredApp:
    """An app that is registered with the embedded Online.

    Attributes:
        name: for people; the system user tokens begin with it.
        client_id: for OAuth.
        client_secrets: those that are accepted, the newest first. One is the application token of every call.
        private_key: what the app signs with. The embedded Online uses its public half alone.
        system_tokens: the system user token by tenant, once a tenant has approved the app.
        refusals: by tenant, the documented reason for which sign-ins are refused, for example "Revoked".
    """

    name: str
    client_id: str
    client_secrets: list[str] = attrs.field(repr=False)
    private_key: PrivateKey
    system_tokens: dict[str, str] = attrs.field(factory=dict, repr=False)
    refusals: dict[str, str] = attrs.field(factory=dict)

    @property
    def client_secret(self) -> str:
        """The newest client secret."""
        return self.client_secrets[0]


@attrs.define(kw_only=True, eq=False)
class OnlineTenant:
    """A tenant of the embedded Online.

    Attributes:
        name: the context identifier.
        host: where it lives.
        state: by name; see `soapbatch.online.TENANT_STATES`.
        server: its NetServer. It keeps tasks and tickets wherever the tenant moves.
        serial: the serial number of its database.
        version: the installed release.
    """

    name: str
    host: str
    state: str = "Running"
    server: NetServer
    serial: str
    version: str = "Release_11.10_2026.02.24-02"

    @property
    def is_running(self) -> bool:
        """Whether the state is one in which the tenant takes calls."""
        return self.state in TENANT_STATES and TENANT_STATES[self.state].is_running


@attrs.define(kw_only=True)
class Grant:
    """A code or a refresh token, and what it is good for."""

    app: RegisteredApp
    tenant: OnlineTenant
    is_code: bool
    expires: float
    redirect_uri: str | None = None


@attrs.define(kw_only=True)
class Registry:
    """Everything that the embedded Online knows."""

    environment: Environment
    clock: Callable[[], float]
    wall: WallClock
    skew: float = 0.0
    names: SecretNames = attrs.field(factory=SecretNames)
    apps: list[RegisteredApp] = attrs.field(factory=list)
    tenants: dict[str, OnlineTenant] = attrs.field(factory=dict)
    signing_keys: list[SigningKey] = attrs.field(factory=list, repr=False)
    published_keys: list[SigningKey] = attrs.field(factory=list, repr=False)
    grants: dict[str, Grant] = attrs.field(factory=dict, repr=False)
    access_tokens: dict[str, tuple[OnlineTenant, float]] = attrs.field(factory=dict, repr=False)
    _numbers: dict[str, int] = attrs.field(factory=dict)

    def now(self) -> datetime:
        """Return the date by the clock of Online, which `skew` seconds set off from everybody else's."""
        return self.wall.date(self.clock()).astimezone(UTC) + timedelta(seconds=self.skew)

    def add_app(self, name: str, private_key: PrivateKey | None) -> RegisteredApp:
        """Register an app; without a key it gets a new one."""
        key = private_key or generate_private_key()
        app = RegisteredApp(name=name, client_id=secrets.token_hex(16), client_secrets=[], private_key=key)
        self.apps.append(app)
        self.add_client_secret(app)
        return app

    def add_client_secret(self, app: RegisteredApp) -> str:
        """Give an app a new client secret, before its others."""
        secret = secrets.token_hex(16)
        app.client_secrets.insert(0, self.names.add(secret, f"client secret of {app.name}"))
        return secret

    def app(self, name: str) -> RegisteredApp:
        """Return an app by name, or raise UsageError."""
        app = next((app for app in self.apps if app.name == name), None)
        if app is None:
            raise UsageError(f"the embedded Online has no app {name!r}: add_app({name!r}) makes one")
        return app

    def app_of(self, client_secret: object) -> RegisteredApp | None:
        """Return the app that a client secret belongs to, or None."""
        return next((app for app in self.apps if client_secret in app.client_secrets), None)

    def admits(self, client_secret: object) -> bool:
        """Return whether a call with this application token is taken."""
        return self.app_of(client_secret) is not None

    def tenant(self, name: str) -> OnlineTenant:
        """Return a tenant by name, in any case, or raise UsageError."""
        tenant = self.tenants.get(name.casefold())
        if tenant is None:
            raise UsageError(f"the embedded Online has no tenant {name!r}: add_tenant({name!r}) makes one")
        return tenant

    def approve(self, app: RegisteredApp, tenant: OnlineTenant) -> str:
        """Let an app into a tenant and return the system user token, which stays the same for good."""
        app.refusals.pop(tenant.name, None)
        if tenant.name not in app.system_tokens:
            token = f"{app.name}-{secrets.token_urlsafe(8)}"
            app.system_tokens[tenant.name] = self.names.add(token, f"system token of {app.name} for {tenant.name}")
        return app.system_tokens[tenant.name]

    def issue_ticket(self, tenant: OnlineTenant) -> str:
        """Return a new ticket of the tenant's system user."""
        return self._named(tenant.server.tickets.issue(_SYSTEM_USER), "ticket", tenant)

    def issue_access_token(self, tenant: OnlineTenant, lifetime: float) -> str:
        """Return a new access token that a tenant takes for `lifetime` seconds."""
        token = self._named(tenant.server.tickets.issue_access_token(), "access token", tenant)
        self.access_tokens[token] = (tenant, self.clock() + lifetime)
        return token

    def issue_grant(self, app: RegisteredApp, tenant: OnlineTenant, *, redirect_uri: str | None = None) -> str:
        """Return a new code, for `redirect_uri`, or without one a new refresh token."""
        is_code = redirect_uri is not None
        value = self._named(secrets.token_urlsafe(32), "code" if is_code else "refresh token", tenant)
        expires = self.clock() + CODE_LIFETIME if is_code else float("inf")
        self.grants[value] = Grant(app=app, tenant=tenant, is_code=is_code, expires=expires, redirect_uri=redirect_uri)
        return value

    def end_access_tokens(self) -> None:
        """Let tenants refuse the access tokens whose time is over."""
        for token, (tenant, end) in [*self.access_tokens.items()]:
            if self.clock() >= end:
                del self.access_tokens[token]
                tenant.server.tickets.revoke(token)

    def current_key(self) -> SigningKey:
        """Return the key that JWTs are signed with."""
        if not self.signing_keys:
            self.rotate(overlap=False)
        return self.signing_keys[-1]

    def rotate(self, *, overlap: bool) -> None:
        """Sign with a new key from now on. With `overlap`, the old one stays published."""
        self.signing_keys.append(SigningKey.generate())
        self.published_keys = self.signing_keys[-2:][::-1] if overlap else self.signing_keys[-1:]

    def claims(self, tenant: OnlineTenant, *, issuer: str, audience: str) -> dict[str, Any]:
        """Return the claims that every JWT about a tenant has, with `iat` as a text, as some real ones have it."""
        now = int(self.now().timestamp())
        root = f"https://{tenant.host}/{tenant.name}"
        own = {
            "associateid": "6",
            "identityprovider": "superoffice-online",
            "is_administrator": "False",
            "ctx": tenant.name,
            "company_name": "Example Company",
            "serial": tenant.serial,
            "netserver_url": f"{root}/Remote/{ServiceVersion.V88}/",
            "webapi_url": f"{root}/api/",
        }
        return {
            "sub": "system@example.com",
            **{CLAIMS + name: value for name, value in own.items()},
            "iat": str(now),
            "nbf": now - 60,
            "exp": now + 300,
            "iss": issuer,
            "aud": audience,
        }

    def _named(self, secret: str, kind: str, tenant: OnlineTenant) -> str:
        name = f"{kind} of {tenant.name}"
        self._numbers[name] = number = self._numbers.get(name, 0) + 1
        return self.names.add(secret, f"{kind} {number} of {tenant.name}")
