"""The client: who to call, as whom, how, and for how long."""

import asyncio
import warnings
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Final, NoReturn, Self
from urllib.parse import urlsplit

import httpx

from soapbatch.auth import Credentials, Ticket, TicketStore, as_provider, check_transport_security
from soapbatch.calls import BatchAgent, BlobAgent, CallContext, Hooks, PrincipalAgent, Settings
from soapbatch.errors import UsageError
from soapbatch.jobs import Jobs
from soapbatch.model import Binding, Limits, Retries, Secret, ServiceVersion, SoTimeZone
from soapbatch.soap import SESSION_LOST, UnknownCallback, ignore_unknown
from soapbatch.transport import ClientTransport, ConnectionPool, HttpClient, Sender, SendState

TIMEOUT: Final = 60.0
"""Seconds that a call may take in all, unless said otherwise."""
GRACE: Final = 5.0
"""Seconds that running calls get to finish when the client is closed."""

_HINTS: Final = {
    "transport": ": for example ConnectionPool() or httpx.ASGITransport(app); an httpx.AsyncClient is for http_client=",
    "http_client": ": an httpx.AsyncClient or an httpx2.AsyncClient; an httpx transport is for transport=",
}
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
        base_url: str,
        *,
        ticket: Secret | str | None = None,
        credentials: Credentials | None = None,
        application_token: Secret | str | None = None,
        version: ServiceVersion = ServiceVersion.V88,
        binding: Binding | None = None,
        timeout: float | None = TIMEOUT,
        limits: Limits | None = None,
        retries: Retries | None = None,
        hooks: Hooks | None = None,
        on_unknown: UnknownCallback = ignore_unknown,
        time_zone: SoTimeZone | None = None,
        path_prefix: str = "/Remote",
        transport: httpx.AsyncBaseTransport | None = None,
        http_client: HttpClient | None = None,
        ticket_store: TicketStore | None = None,
        session_errors: Iterable[str] = (SESSION_LOST,),
        allow_insecure: bool = False,
        grace: float = GRACE,
    ) -> None:
        """Set up; nothing is opened or sent.

        Args:
            base_url: everything before `/Remote/...`, for example `https://crm.example.com/SuperOffice`.
            ticket: the short form of `credentials=Ticket(ticket)`.
            credentials: where tickets come from: Ticket, UsernamePassword, AccessToken, Implicit, Generic, or any
                async callable that returns one. Without any, requests carry no ticket: enough for `client.principal`.
            application_token: the app's client secret; SuperOffice Online requires it.
            version: of the services to call.
            binding: which form of envelope to send. None: the documented one, and SOAP 1.1 from then on if the
                server refuses it before dispatch.
            timeout: seconds for a whole call: queueing, login, connecting, retries, reading, parsing. None: no limit.
            limits: how large a response may be.
            retries: how transient failures are retried, where that is safe.
            hooks: whom to tell of requests and responses, and where further HTTP headers come from.
            on_unknown: called with each element, value and header block that this release does not know.
            time_zone: which zone times without one are in; for Batch, and only with a pinned SOAP11 or SOAP12.
            path_prefix: what stands between the base URL and `Services88`; "" on a NetServer without `Remote`.
            transport: what carries requests instead of a `ConnectionPool`: any `httpx.AsyncBaseTransport`, such as
                `httpx.ASGITransport(app)` or `httpx.MockTransport(handler)`. It is closed with the client.
            http_client: an `httpx.AsyncClient`, or httpx2's, to send through; it stays yours to close, and its own
                timeouts hold beside `timeout` (httpx's default: 5 seconds).
            ticket_store: where to share the ticket with other processes.
            session_errors: types of exception with which the server says that a ticket is not valid (any more).
            allow_insecure: let passwords cross plain HTTP to other hosts. `httpx.ASGITransport` and
                `httpx.MockTransport` reach no other host, and need no leave.
            grace: seconds that running calls get to finish when the client is closed.

        Raises:
            UsageError: the arguments contradict each other, or `base_url` is not one.
            InsecureTransport: a password would cross plain HTTP to another host.
        """
        # No traceback shows a plain secret: each is wrapped in place before anything can raise.
        application_token, ticket = Secret.wrap(application_token), Secret.wrap(ticket)
        _check_types(
            base_url=(base_url, str),
            application_token=(application_token, Secret | None),
            version=(version, ServiceVersion),
            binding=(binding, Binding | None),
            timeout=(timeout, int | float | None),
            limits=(limits, Limits | None),
            retries=(retries, Retries | None),
            hooks=(hooks, Hooks | None),
            on_unknown=(on_unknown, Callable),
            time_zone=(time_zone, SoTimeZone | None),
            path_prefix=(path_prefix, str),
            transport=(transport, httpx.AsyncBaseTransport | None),
            http_client=(http_client, HttpClient | None),
            ticket_store=(ticket_store, TicketStore | None),
            grace=(grace, int | float),
        )
        for is_wrong, message in (
            (ticket is not None and credentials is not None, "pass ticket= or credentials=, not both"),
            (transport is not None and http_client is not None, "pass transport= or http_client=, not both"),
            (time_zone is not None and (binding is None or binding.is_documented), _NO_TIME_ZONE),
            (not (timeout is None or timeout >= 0), "timeout= is a number of seconds, or None for no limit"),
            (path_prefix[:1] not in {"", "/"}, 'path_prefix= begins with a slash, or is ""'),
            (isinstance(session_errors, str), "session_errors= is a list of names, not one"),
        ):
            if is_wrong:
                _refuse(message)
        if problem := _problem_of(base_url):
            del base_url  # it may hold a password
            _refuse(problem)
        if isinstance(transport, httpx.ASGITransport | httpx.MockTransport):
            allow_insecure = True  # nothing leaves the process
        source = credentials if ticket is None else ticket
        provider = None if source is None else as_provider(source)
        if provider is not None:
            check_transport_security(base_url, provider, allow_insecure=allow_insecure)
        if transport is None:
            transport = ConnectionPool() if http_client is None else ClientTransport(http_client)
        settings = Settings(
            base_url=base_url.rstrip("/"),
            path_prefix=path_prefix,
            version=version,
            binding=binding,
            application_token=application_token,
            time_zone=time_zone,
            timeout=timeout,
            limits=limits or Limits(),
            retries=retries or Retries(),
            hooks=hooks or Hooks(),
            on_unknown=on_unknown,
            session_errors=frozenset(session_errors),
            allow_insecure=allow_insecure,
        )

        self._context = CallContext(settings, Sender(transport), provider, ticket_store)
        self._grace = grace
        self._closing: asyncio.Task[None] | None = None

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
        return Jobs(self.batch, self.blob, self.version)

    @property
    def version(self) -> ServiceVersion:
        """The service version that it calls."""
        return self._context.settings.version

    @property
    def binding(self) -> Binding | None:
        """The form of envelope that it sends; None until the first answer has shown which the server takes."""
        return self._context.binding

    async def ticket(self) -> Ticket:
        """Return a ticket that is valid now, with its expiry, obtaining one if need be: to hand to another process.

        Raises:
            UsageError: the client has no credentials.
            AuthenticationFailed: they give no ticket.
            DeadlineExceeded: obtaining one took longer than the client's timeout.
        """
        tickets, lifetime, timeout = self._context.tickets, self._context.lifetime, self._context.settings.timeout
        if tickets is None:
            _refuse("this client has no credentials: pass ticket= or credentials=")
        ended = partial(lifetime.ended, "obtaining a ticket", SendState(phase="login"), timeout)
        return await lifetime.within(timeout, tickets.ticket(), ended)

    async def aclose(self) -> None:
        """Close the client: new calls are refused, running ones get `grace` seconds, then end in ClientClosed.

        Idempotent; several may wait for it at once, and cancelling one of them does not stop it.
        """
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
        if context is not None and context.lifetime.is_used and self._closing is None:
            message = f"{self!r} was never closed: use 'async with', or await client.aclose()"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)


def _refuse(message: str) -> NoReturn:
    raise UsageError(message)


def _check_types(**values: tuple[object, Any]) -> None:
    """Refuse an argument that is not of its type, without showing it."""
    for name, (value, expected) in values.items():
        if not isinstance(value, expected):
            wanted = getattr(expected, "__name__", str(expected))
            _refuse(f"{name}= takes {wanted}, not {type(value).__name__}{_HINTS.get(name, '')}")


def _problem_of(base_url: str) -> str | None:
    """Return why `base_url` cannot be used, or None."""
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError as error:
        return f"base_url is not a URL: {error}"
    if port == 0 or any(character.isspace() for character in base_url):
        return "base_url is not a URL: it holds white space, or the port 0"
    if parts.path.endswith(".svc"):
        return "base_url is everything before /Remote/Services88: leave the service's own path out"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "base_url must be absolute, for example https://crm.example.com/SuperOffice"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "base_url must hold no user, password, query or fragment: pass credentials="
    return None
