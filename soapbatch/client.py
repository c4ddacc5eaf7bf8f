"""The client: who to call, as whom, how, and for how long."""

import asyncio
import os
import ssl
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self, cast

import httpx

from soapbatch.auth import (
    Credentials,
    SecretSource,
    Ticket,
    TicketStore,
    UsernamePassword,
    as_provider,
    check_transport_security,
)
from soapbatch.calls import (
    BatchAgent,
    BlobAgent,
    CallContext,
    Hooks,
    Location,
    PrincipalAgent,
    RateLimit,
    Settings,
)
from soapbatch.errors import UsageError
from soapbatch.jobs import Jobs
from soapbatch.model import (
    SECONDS,
    Address,
    Binding,
    Limits,
    Retries,
    Secret,
    ServiceVersion,
    SoTimeZone,
    is_seconds,
    kind_of,
    parse_address,
    problem_of_prefix,
)
from soapbatch.soap import SESSION_LOST, UnknownCallback, ignore_unknown
from soapbatch.transport import MAX_CONNECTIONS, HttpClient, Sender, SendState, choose_transport

TIMEOUT: Final = 60.0
"""Seconds that a call may take in all, unless said otherwise."""
GRACE: Final = 5.0
"""Seconds that running calls get to finish when the client is closed."""

_HINTS: Final = {
    "transport": ": for example ConnectionPool() or httpx.ASGITransport(app); an httpx.AsyncClient is for http_client=",
    "http_client": ": an httpx.AsyncClient or an httpx2.AsyncClient; an httpx transport is for transport=",
}
_SECRETS: Final = frozenset({"ticket", "credentials", "application_token", "proxy"})  # arguments that may hold one
_SECRET_VARIABLES: Final = frozenset({"SOAPBATCH_TICKET", "SOAPBATCH_PASSWORD", "SOAPBATCH_APP_TOKEN"})
_NO_RETRIES: Final = f"retries= takes attempts of 1 or more, and first_wait and longest_wait that are each {SECONDS}"
_NO_TIME_ZONE: Final = (
    "time_zone= needs binding=Binding.SOAP11 or Binding.SOAP12: the documented form has no place for it"
)


class Client:
    """A client of one NetServer, in one service version.

        async with Client("https://crm.example.com/SuperOffice", ticket="7T:...") as client:
            info = await client.batch.get_batch_task_info(42)

    It belongs to the event loop of its first call. Nothing is opened or sent before that. Any number of calls may
    run at once; cancelling one leaves nothing behind.

    Attributes:
        batch: start, stop, change, delete and list batch tasks.
        principal: log in, and ask what the server is.
        blob: the output of finished tasks.
        jobs: start jobs, wait for them, and know what became of each.
    """

    def __init__(
        self,
        base_url: str | Location,
        *,
        ticket: Secret | str | None = None,
        credentials: Credentials | None = None,
        application_token: Secret | str | SecretSource | None = None,
        version: ServiceVersion | int | str | None = None,
        binding: Binding | None = None,
        timeout: float | None = TIMEOUT,
        limits: Limits | None = None,
        retries: Retries | None = None,
        max_rate: float | RateLimit | None = None,
        hooks: Hooks | None = None,
        on_unknown: UnknownCallback = ignore_unknown,
        time_zone: SoTimeZone | None = None,
        path_prefix: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        http_client: HttpClient | None = None,
        verify: bool | ssl.SSLContext = True,
        proxy: str | Secret | httpx.Proxy | None = None,
        trust_env: bool = True,
        max_connections: int = MAX_CONNECTIONS,
        ticket_store: TicketStore | None = None,
        session_errors: Iterable[str] = (SESSION_LOST,),
        allow_insecure: bool = False,
        grace: float = GRACE,
    ) -> None:
        """Set up; nothing is opened or sent.

        Args:
            base_url: everything before `/Remote/...`, for example `https://crm.example.com/SuperOffice`. A URL with
                `/Remote/Services88/`, `/Batch.svc` or `?wsdl` behind that is understood, too. Or what knows the URL of
                a server that moves; `soapbatch.online` makes such clients.
            ticket: the short form of `credentials=Ticket(ticket)`.
            credentials: where tickets come from: Ticket, UsernamePassword, AccessToken, Implicit, Generic, or any
                async callable that returns one. Without any, requests carry no ticket: enough for `client.principal`.
            application_token: the app's client secret; SuperOffice Online requires it. An async callable that returns
                it is asked before each request: it should keep what it has fetched.
            version: of the services to call: a ServiceVersion, 88 or "88". None: the one that `base_url` names, or
                Services88.
            binding: which form of envelope to send. None: the first read or login finds out. It is sent in the
                documented form, then in SOAP 1.1, then in SOAP 1.2, until the service answers and sees the ticket. A
                call that changes something is sent once: GetBatchTaskInfo(0) finds the binding before it.
            timeout: seconds for a whole call: queueing, login, connecting, retries, reading, parsing. None: no limit.
            limits: how large a response may be.
            retries: how transient failures are retried, where that is safe.
            max_rate: requests a second at most; more wait in order. Clients that are given the same `RateLimit` share
                it. None: no limit.
            hooks: whom to tell of calls, requests, jobs and tickets, and where further HTTP headers come from; for
                example `soapbatch.integrations.opentelemetry.OpenTelemetry()`.
            on_unknown: called with each element, value and header block that this release does not know.
            time_zone: which zone times without one are in; for Batch, and only with a pinned SOAP11 or SOAP12.
            path_prefix: what stands between the base URL and `Services88`; "" on a NetServer without `Remote`. None:
                what `base_url` says, or `/Remote`.
            transport: what carries requests instead of a `ConnectionPool`: any `httpx.AsyncBaseTransport`, such as
                `httpx.ASGITransport(app)` or `httpx.MockTransport(handler)`. It is closed with the client.
            http_client: an `httpx.AsyncClient`, or httpx2's, to send through; it stays yours to close, and its own
                timeouts hold beside `timeout` (httpx's default: 5 seconds). The loggers of such a client, "httpx" and
                "httpcore", are not this library's: they show reason phrases, response headers and proxy headers
                unmasked, as `ConnectionPool` does not.
            verify: of the default transport, as the next three: see `ConnectionPool`. An `ssl.SSLContext` with your CA
                certificates; False accepts every certificate.
            proxy: URL of a proxy for everything.
            trust_env: whether HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and the like hold.
            max_connections: how many requests may be on their way at once; more wait.
            ticket_store: where to share the ticket with other processes.
            session_errors: types of exception with which the server says that a ticket is not valid (any more).
            allow_insecure: let passwords cross plain HTTP to other hosts, and let passwords, tickets and tokens cross
                plain HTTP to a proxy on another machine. The proxies of a transport that is not this library's are not
                known. `httpx.ASGITransport` and `httpx.MockTransport` reach no other host.
            grace: seconds that running calls get to finish when the client is closed.

        Raises:
            UsageError: the arguments contradict each other, or `base_url` is not one.
            InsecureTransport: a password would cross plain HTTP to another host.
        """
        # No traceback shows a plain secret: each is wrapped in place before anything can raise.
        application_token, ticket = Secret.token(application_token), Secret.wrap(ticket)
        credentials, proxy = cast("Credentials | None", Secret.wrap(credentials)), Secret.wrap(proxy)
        _check_types(
            base_url=(base_url, str | Location),
            application_token=(application_token, Secret | Callable | None),
            binding=(binding, Binding | None),
            timeout=(timeout, int | float | None),
            limits=(limits, Limits | None),
            retries=(retries, Retries | None),
            max_rate=(max_rate, int | float | RateLimit | None),
            hooks=(hooks, Hooks | None),
            on_unknown=(on_unknown, Callable),
            time_zone=(time_zone, SoTimeZone | None),
            path_prefix=(path_prefix, str | None),
            transport=(transport, httpx.AsyncBaseTransport | None),
            http_client=(http_client, HttpClient | None),
            ticket_store=(ticket_store, TicketStore | None),
            grace=(grace, int | float),
        )
        for is_wrong, message in (
            (ticket is not None and credentials is not None, "pass ticket= or credentials=, not both"),
            (time_zone is not None and (binding is None or binding.is_documented), _NO_TIME_ZONE),
            (not (timeout is None or is_seconds(timeout)), f"timeout= is {SECONDS}, or None for no limit"),
            (not is_seconds(grace), f"grace= is {SECONDS}"),
            (not (retries is None or _is_usable(retries)), _NO_RETRIES),
            (isinstance(session_errors, str), "session_errors= is a list of names, not one"),
        ):
            if is_wrong:
                raise UsageError(message)
        if problem := problem_of_prefix(path_prefix or ""):
            raise UsageError(problem)
        location = base_url if isinstance(base_url, Location) else None
        where = _where(str(base_url), version)
        del base_url  # it may hold a password
        if isinstance(where, str):
            raise UsageError(where)
        address, version = where
        if isinstance(transport, httpx.ASGITransport | httpx.MockTransport):
            allow_insecure = True  # nothing leaves the process
        source = credentials if ticket is None else ticket
        provider = None if source is None else as_provider(source)
        if provider is not None:
            check_transport_security(address.base_url, provider, allow_insecure=allow_insecure)
        carrier = choose_transport(
            *(transport, http_client),
            verify=verify,
            proxy=proxy,
            trust_env=trust_env,
            max_connections=max_connections,
        )
        settings = Settings(
            base_url=address.base_url,
            location=location,
            path_prefix=next(prefix for prefix in (path_prefix, address.path_prefix, "/Remote") if prefix is not None),
            version=version,
            binding=binding,
            application_token=application_token,
            max_rate=RateLimit(max_rate) if isinstance(max_rate, int | float) else max_rate,
            time_zone=time_zone,
            timeout=timeout,
            limits=limits or Limits(),
            retries=retries or Retries(),
            hooks=hooks or Hooks(),
            on_unknown=on_unknown,
            session_errors=frozenset(session_errors),
            allow_insecure=allow_insecure,
        )

        self._context = CallContext(settings, Sender(carrier), provider, ticket_store)
        self._grace = grace
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return a client with the settings of the environment.

        | variable | argument |
        |---|---|
        | SOAPBATCH_URL | `base_url`; required |
        | SOAPBATCH_TICKET | `ticket` |
        | SOAPBATCH_USER and SOAPBATCH_PASSWORD, or SOAPBATCH_PASSWORD_FILE | `credentials=UsernamePassword(...)` |
        | SOAPBATCH_APP_TOKEN | `application_token` |
        | SOAPBATCH_VERSION | `version`, for example 88 |
        | SOAPBATCH_BINDING | `binding`: documented, soap11 or soap12 |

        A variable that is empty counts as absent. The password file is read at once; a line break at its end is no part
        of the password.

        Args:
            environ: the variables; None: those of the process.
            options: further arguments of `Client`, which take the place of the environment's.

        Raises:
            UsageError: SOAPBATCH_URL is missing, or a variable cannot be used; its value is not shown.
        """
        options = {name: Secret.wrap(value) if name in _SECRETS else value for name, value in options.items()}
        environ = {
            name: cast("str", Secret.wrap(value)) if name in _SECRET_VARIABLES else value
            for name, value in (os.environ if environ is None else environ).items()
            if name.startswith("SOAPBATCH_") and value
        }
        return cls(**(settings_from(environ) | options))

    @classmethod
    def online(
        cls,
        tenant: str,
        *,
        environment: str,
        application_token: Secret | str | SecretSource,
        system_user: Secret | str | None = None,
        private_key: Any = None,
        credentials: Any = None,
        **options: Any,
    ) -> Self:
        """Return a client of one tenant of SuperOffice Online. A service with many tenants uses `online.OnlineApp`.

            async with Client.online(
                "Cust12345",
                environment="online",
                application_token=SECRET,
                system_user="My App-k3J9xQ2mPz",
                private_key="app.pem",
            ) as client: ...

        Nothing is opened or sent before the first call. It needs the extra `soapbatch[online]` for system users.

        Args:
            tenant: its context identifier (customer number).
            environment: "sod" (development), "stage" or "online" (production).
            application_token: the app's client secret in this environment; or an async callable that returns it.
            system_user: the system user token of the app and the tenant.
            private_key: the app's, for the system user: RSAKeyValue XML or PEM as text, bytes or path, or a
                `soapbatch.online.PrivateKey`.
            credentials: in place of a system user: a `soapbatch.online.RefreshToken`, a Ticket, an AccessToken, or an
                async callable that returns a ticket.
            options: further arguments of `OnlineApp` (max_rate, domain, transport, proxy, ...) and of `Client`.

        Raises:
            UsageError: an argument is missing or wrong, or SuperOffice Online cannot do it; see `OnlineApp.client`.
        """
        application_token, system_user = Secret.token(application_token), Secret.wrap(system_user)
        credentials = Secret.wrap(credentials)
        # The wing stands above the client, and makes clients: this is its way into a script.
        from soapbatch.online import hold, open_online  # noqa: PLC0415 - as above

        private_key = hold(private_key)
        return open_online(
            cls,
            tenant,
            application_token=application_token,
            system_user=system_user,
            private_key=private_key,
            credentials=credentials,
            options={"environment": environment, **options},
        )

    @cached_property
    def batch(self) -> BatchAgent:
        """Start, stop, change, delete and list batch tasks."""
        return BatchAgent(self._context)

    @cached_property
    def principal(self) -> PrincipalAgent:
        """Log in, and ask what the server is."""
        return PrincipalAgent(self._context)

    @cached_property
    def blob(self) -> BlobAgent:
        """The output of finished tasks."""
        return BlobAgent(self._context)

    @cached_property
    def jobs(self) -> Jobs:
        """Start jobs, wait for them, watch and stop them, and know what became of each."""
        settings = self._context.settings
        shortest_poll = settings.location.shortest_poll if settings.location else 0.0
        return Jobs(
            *(self.batch, self.blob, self.version, settings.base_url),
            shortest_poll=shortest_poll,
            polls=BatchAgent(self._context, "poll"),
            on_job=settings.hooks.on_job,
        )

    @property
    def version(self) -> ServiceVersion:
        """The service version that it calls."""
        return self._context.settings.version

    @property
    def binding(self) -> Binding | None:
        """The form of envelope that the client sends; None: not known yet.

        A binding that one client has found saves the next client the search: `Client(..., binding=client.binding)`.
        """
        return self._context.search.binding

    async def ticket(self) -> Ticket:
        """Return a ticket that is valid now, with its expiry, obtaining one if need be: to hand to another process.

        Raises:
            UsageError: the client has no credentials.
            AuthenticationFailed: they give no ticket.
            DeadlineExceeded: obtaining one took longer than the client's timeout.
        """
        tickets = self._context.require_tickets("ticket()")
        lifetime, timeout = self._context.lifetime, self._context.settings.timeout
        ended = partial(lifetime.ended, "obtaining a ticket", SendState(phase="login"), timeout)
        return await lifetime.within(timeout, tickets.ticket(), ended)

    async def aclose(self) -> None:
        """Close the client: new calls are refused, running ones get `grace` seconds, then end in ClientClosed.

        Idempotent; several may wait for it at once, and cancelling one of them does not stop it.

        Raises:
            UsageError: called from another event loop than the client's; the client goes on.
        """
        if self._context.lifetime.is_elsewhere:
            raise UsageError("this client belongs to another event loop, and was not closed: close it there")
        if self._closing is None:
            self._context.lifetime.is_closing = True
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if "jobs" in vars(self):
            await self.jobs.aclose()
        await self._context.aclose(self._grace)

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.aclose()

    def __repr__(self) -> str:
        """Return whom it calls; no secrets."""
        if not hasattr(self, "_closing"):
            return "<Client>"  # its constructor raised, and a traceback shows its locals
        settings = self._context.settings
        return f"<Client {settings.base_url} {settings.version}{' closed' if self._closing else ''}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: it holds secrets and connections."""
        raise TypeError("a Client cannot be pickled: make one in each process")

    def __del__(self) -> None:
        """Warn if it was used and never closed."""
        context = getattr(self, "_context", None)
        if context is not None and context.lifetime.loop is not None and self._closing is None:
            message = f"{self!r} was never closed: use 'async with', or await client.aclose()"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)


def _check_types(**values: tuple[object, Any]) -> None:
    """Refuse an argument that is not of its type, without showing it."""
    for name, (value, expected) in values.items():
        if not isinstance(value, expected):
            wanted = getattr(expected, "__name__", str(expected))
            raise UsageError(f"{name}= takes {wanted}, not {kind_of(value)}{_HINTS.get(name, '')}")


def _is_usable(retries: Retries) -> bool:
    is_count = isinstance(retries.attempts, int) and not isinstance(retries.attempts, bool) and retries.attempts >= 1
    return is_count and is_seconds(retries.first_wait) and is_seconds(retries.longest_wait)


def _where(base_url: str, version: ServiceVersion | int | str | None) -> tuple[Address, ServiceVersion] | str:
    """Return the address that `base_url` means, and the version to call; or what is wrong with them."""
    try:
        address = parse_address(base_url)
        wanted = None if version is None else ServiceVersion.of(version)
    except ValueError as error:
        return str(error)
    if wanted is None or address.version in {None, wanted}:
        return address, wanted or address.version or ServiceVersion.V88
    return f"base_url= names {address.version}, and version= says {wanted}: they must agree"


def settings_from(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of `Client` that the environment gives; see `Client.from_env`.

    Raises:
        UsageError: SOAPBATCH_URL is missing, or a variable cannot be used.
    """

    def value_of(name: str) -> str | None:
        return environ.get(f"SOAPBATCH_{name}") or None

    found: dict[str, Any] = {
        "base_url": value_of("URL"),
        "ticket": Secret.wrap(value_of("TICKET")),
        "application_token": Secret.wrap(value_of("APP_TOKEN")),
        "version": value_of("VERSION"),
        "binding": _binding_named(value_of("BINDING")),
    }
    if (user := value_of("USER")) is not None:
        password = Secret.wrap(value_of("PASSWORD"))
        if password is None and (file := value_of("PASSWORD_FILE")) is not None:
            password = secret_in(file)
        if password is None:
            raise UsageError("SOAPBATCH_USER needs SOAPBATCH_PASSWORD, or SOAPBATCH_PASSWORD_FILE with a path")
        found["credentials"] = UsernamePassword(user, password)
    if found["base_url"] is None:
        raise UsageError("set SOAPBATCH_URL to the base URL, for example https://crm.example.com/SuperOffice")
    return {name: value for name, value in found.items() if value is not None}


def _binding_named(name: str | None) -> Binding | None:
    try:
        return None if name is None else Binding.labelled(name)
    except ValueError as error:
        raise UsageError(f"SOAPBATCH_BINDING: {error}") from None


def secret_in(file: str) -> Secret:
    """Return the password in a file, which may end in a line break that is no part of it.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        return Secret(Path(file).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r"))
    except (OSError, ValueError) as error:
        failure = UsageError(f"SOAPBATCH_PASSWORD_FILE cannot be read: {type(error).__name__}")
    raise failure
