"""An app at SuperOffice Online: one client secret, one private key, and the clients of many tenants."""

import os
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar, cast

import httpx

from soapbatch.auth import (
    AccessToken,
    Credentials,
    Generic,
    Implicit,
    SecretSource,
    Ticket,
    UsernamePassword,
    fetch_application_token,
)
from soapbatch.calls import RateLimit
from soapbatch.client import Client
from soapbatch.errors import UsageError
from soapbatch.model import Binding, Secret, ServiceVersion
from soapbatch.online.credentials import AppIdentity, OnlineCredentials, RefreshToken, SystemUser, bound
from soapbatch.online.environments import DOMAIN, Environment, check_tenant
from soapbatch.online.private_key import PrivateKey, hold, read_held
from soapbatch.online.published_keys import PublishedKeys
from soapbatch.online.sign_in import SignInHost, utc_now
from soapbatch.online.tenant_address import Tenant
from soapbatch.transport import MAX_CONNECTIONS, HttpClient, Sender, SharedTransport, choose_transport

C = TypeVar("C", bound=Client)

MAX_RATE: Final = 10.0
"""Calls a second that the vendor's checklist allows an app."""
TIMEOUT: Final = 30.0
"""Seconds that a request to the sign-in host may take, unless said otherwise."""

_TRANSPORT_OPTIONS: Final = ("transport", "http_client", "verify", "proxy", "trust_env", "max_connections")
_APP_OPTIONS: Final = frozenset({"environment", "max_rate", "domain", "signing_keys", "now", *_TRANSPORT_OPTIONS})
_OLDEST: Final = ServiceVersion.V84
_OF_THE_APP: Final = {
    "application_token": "the client secret belongs to the app: OnlineApp(client_secret=...)",
    **dict.fromkeys(
        _TRANSPORT_OPTIONS,
        "the clients of an app share its transport: OnlineApp(transport=...)",
    ),
    "allow_insecure": "SuperOffice Online is reached over https alone",
    "path_prefix": "SuperOffice Online has /Remote in every address",
}
_NO_PASSWORDS: Final = (
    "SuperOffice Online takes no user name and password, and knows no user by the connection: sign-in goes through "
    "SuperID. Use SystemUser(...) for a server, and RefreshToken(...) for a person"
)
_IS_MISSING: Final = (
    "SuperOffice Online requires the app's client secret in every call: pass client_secret= "
    "(application_token= of Client.online)"
)


class OnlineApp:
    """An app at one environment of SuperOffice Online.

        async with OnlineApp(environment="online", client_secret=SECRET, private_key=PrivateKey.read("app.xml")) as app:
            async with app.client("Cust12345", SystemUser("My App-k3J9xQ2mPz")) as client:
                job = await client.jobs.start("ExportAll")

    It keeps what is per app: the connections, the key set of the sign-in host, and of each tenant where it is and how
    many calls a second it gets. Nothing is opened or sent before the first call. It belongs to the event loop of that
    call. Close the clients before the app.
    """

    def __init__(
        self,
        *,
        environment: str,
        client_secret: Secret | str | SecretSource,
        private_key: PrivateKey | str | bytes | os.PathLike[str] | None = None,
        max_rate: float | None = MAX_RATE,
        domain: str = DOMAIN,
        signing_keys: Mapping[str, Any] | None = None,
        timeout: float = TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
        http_client: HttpClient | None = None,
        verify: bool | ssl.SSLContext = True,
        proxy: str | Secret | httpx.Proxy | None = None,
        trust_env: bool = True,
        max_connections: int = MAX_CONNECTIONS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Set up; nothing is opened or sent.

        Args:
            environment: "sod" (development), "stage" or "online" (production).
            client_secret: of the app in this environment, which is the application token of every call. An async
                callable that returns it is asked before each request: it should keep what it has fetched. It can be
                replaced later: see `client_secret`.
            private_key: of the app in this environment, for system users; see `PrivateKey.read` for what is read.
            max_rate: calls a second to one tenant at most, by all clients of this app together; more wait in order.
                None: no limit.
            domain: of the hosts of tenants; another one for tests and private clouds.
            signing_keys: a parsed key set (JWKS) to trust instead of the one that the sign-in host publishes.
            timeout: seconds that a request to the sign-in host may take.
            transport: carries all requests of the app and its clients, and is closed with the app; see `Client`.
            http_client: an `httpx.AsyncClient` to send through instead; it stays yours to close.
            verify: of the default transport, as the next three: see `ConnectionPool`.
            proxy: URL of a proxy for everything.
            trust_env: whether HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and the like hold.
            max_connections: how many requests may be on their way at once; more wait.
            now: returns the time of this machine (aware), for tests.

        Raises:
            UsageError: an argument is missing or wrong, or the extra `soapbatch[online]` is missing.
        """
        secret, key = Secret.token(client_secret), hold(private_key)
        proxy = Secret.wrap(proxy)
        del client_secret, private_key
        self._client_secret = _checked(secret)
        self._limit = None if max_rate is None else RateLimit(max_rate).rate
        self._transport = choose_transport(
            *(transport, http_client),
            verify=verify,
            proxy=proxy,
            trust_env=trust_env,
            max_connections=max_connections,
        )
        self._sender = Sender(self._transport)
        host = SignInHost(Environment.named(environment, domain=domain), self._sender, timeout=timeout, now=now)
        self._identity = AppIdentity(
            host=host,
            keys=PublishedKeys(host, signing_keys),
            client_secret=self._current_secret,
            private_key=read_held(key),
        )
        self._tenants: dict[str, Tenant] = {}

    @property
    def environment(self) -> Environment:
        """The environment, with the addresses of its sign-in host."""
        return self._identity.host.environment

    @property
    def client_secret(self) -> Secret | SecretSource:
        """The client secret, or the callable that returns it. A new one holds from the next request of each client."""
        return self._client_secret

    @client_secret.setter
    def client_secret(self, value: Secret | str | SecretSource) -> None:
        """Replace the client secret, for all clients of the app."""
        secret = Secret.token(value)
        del value
        self._client_secret = _checked(secret)

    def tenant(self, name: str) -> Tenant:
        """Return a tenant by its context identifier (customer number), in any case: the same object each time.

        Raises:
            UsageError: `name` is no context identifier.
        """
        key = check_tenant(name).casefold()
        if key not in self._tenants:
            limit = None if self._limit is None else RateLimit(self._limit)
            self._tenants[key] = Tenant(name, self._identity.host, max_rate=limit)
        return self._tenants[key]

    def client(
        self, tenant: str, credentials: OnlineCredentials | Credentials | str | Secret | None = None, **options: Any
    ) -> Client:
        """Return a client of a tenant; nothing is opened or sent.

        It calls Services88 in SOAP 1.1, unless `options` say otherwise.

        Args:
            tenant: its context identifier, for example "Cust12345".
            credentials: SystemUser or RefreshToken; or a ticket, an AccessToken, or an async callable that returns one.
            options: further arguments of `Client`: version, timeout, limits, retries, hooks, ticket_store, ...

        Raises:
            UsageError: an argument is wrong, or belongs to the app: the client secret and the transport do. Versions
                before Services84 and passwords are refused: SuperOffice Online does not know them.
        """
        credentials = Secret.wrap(credentials)
        return self.open(Client, tenant, credentials, options, closes_app=False)

    async def aclose(self) -> None:
        """Close the connections, and end what is still asked of the sign-in host. Idempotent."""
        for tenant in self._tenants.values():
            await tenant.aclose()
        await self._identity.keys.aclose()
        await self._sender.aclose()

    async def __aenter__(self) -> Self:
        """Return the app itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the app."""
        await self.aclose()

    def __repr__(self) -> str:
        """Return the environment; no secrets."""
        identity = getattr(self, "_identity", None)
        return "<OnlineApp>" if identity is None else f"<OnlineApp at {identity.host.environment.host}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: it holds secrets and connections."""
        raise TypeError("an OnlineApp cannot be pickled: make one in each process")

    async def _current_secret(self) -> Secret:
        secret = self._client_secret
        return secret if isinstance(secret, Secret) else await fetch_application_token(secret)

    def open(
        self,
        kind: type[C],
        tenant: str,
        credentials: OnlineCredentials | Credentials | Secret | None,
        options: Mapping[str, Any],
        *,
        closes_app: bool,
    ) -> C:
        """Return a client of the class `kind`; see `client`. `closes_app`: the app is closed with the client."""
        place = self.tenant(tenant)
        for name in options:
            if name in _OF_THE_APP:
                raise UsageError(f"{name}= is no argument here: {_OF_THE_APP[name]}")
        version = _version(options.get("version"))
        _check_credentials(credentials, version, self._identity)
        if isinstance(credentials, SystemUser | RefreshToken):
            credentials = bound(credentials, self._identity, place.name)
        elif isinstance(credentials, Secret):
            credentials = Ticket(credentials)
        arguments: dict[str, Any] = {
            "binding": Binding.SOAP11,  # it saves the trip that ends in 415
            "max_rate": place.max_rate,
            **options,
            "version": version,
            "credentials": credentials,
            "application_token": self._current_secret,
            "transport": SharedTransport(self._transport, self.aclose if closes_app else None),
        }
        return kind(place, **arguments)


def open_online(
    kind: type[C],
    tenant: str,
    *,
    application_token: Secret | SecretSource,
    system_user: Secret | None,
    private_key: Any,
    credentials: OnlineCredentials | Credentials | Secret | None,
    options: Mapping[str, Any],
) -> C:
    """Return a client, of the class `kind`, with an app of its own that is closed with it; see `Client.online`."""
    if system_user is not None and credentials is not None:
        raise UsageError("pass system_user= or credentials=, not both")
    app_options = {name: value for name, value in options.items() if name in _APP_OPTIONS}
    client_options = {name: value for name, value in options.items() if name not in _APP_OPTIONS}
    app = OnlineApp(client_secret=application_token, private_key=private_key, **app_options)
    source = credentials if system_user is None else SystemUser(system_user)
    return app.open(kind, tenant, source, client_options, closes_app=True)


def _checked(secret: object) -> Secret | SecretSource:
    """Return a client secret if it is one."""
    is_text = isinstance(secret, Secret) and secret != Secret("")
    if is_text or callable(secret):
        return cast("Secret | SecretSource", secret)
    raise UsageError(_IS_MISSING)


def _version(value: ServiceVersion | int | str | None) -> ServiceVersion:
    """Return the version to call; a UsageError for one that SuperOffice Online does not serve."""
    try:
        version = ServiceVersion.V88 if value is None else ServiceVersion.of(value)
    except ValueError as error:
        failure = UsageError(str(error))
    else:
        if version >= _OLDEST:
            return version
        failure = UsageError(
            f"SuperOffice Online serves Services84 to Services88, not {version}: older services were removed there"
        )
    raise failure


def _check_credentials(credentials: object, version: ServiceVersion, identity: AppIdentity) -> None:
    if isinstance(credentials, UsernamePassword | Generic | Implicit):
        raise UsageError(_NO_PASSWORDS)
    if isinstance(credentials, SystemUser) and identity.private_key is None:
        raise UsageError("a system user needs the app's private key: pass private_key=")
    if isinstance(credentials, RefreshToken | AccessToken) and version < ServiceVersion.V86:
        raise UsageError(f"an access token stands in place of a ticket from Services86 on, not in {version}")
