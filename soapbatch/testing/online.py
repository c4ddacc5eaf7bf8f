"""The embedded SuperOffice Online: one ASGI app that is a sign-in host, all tenant hosts, and the rest of the world.

    online = Online(clock=clock)
    tenant = online.add_tenant("Cust12345")
    app = online.add_app("My App")                        # app.client_secret, app.private_key
    token = online.approve(app, tenant)                   # the system user token
    transport = httpx.ASGITransport(online)               # in process, also under a VirtualTimeLoop
    online.move("Cust12345", "sod3.superoffice.com")      # its old host answers 421 from now on

The Host header of a request says which host it is for, so that one socket of `serve` can be all of them. Each tenant
has a NetServer of its own, `tenant.server`, that moves with it. It needs the extra `soapbatch[online]`.

What a real Online answers is documented in part only; `online_sign_in` says what is invented.
"""

import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from soapbatch.errors import UsageError
from soapbatch.model import ServiceVersion
from soapbatch.online import Environment, PrivateKey
from soapbatch.testing.clock import WallClock
from soapbatch.testing.faults import Refusal
from soapbatch.testing.interceptors import Interception, Interceptions, Proceed, check_interceptors_used
from soapbatch.testing.online_journal import Visit
from soapbatch.testing.online_keys import SigningKey
from soapbatch.testing.online_registry import OnlineTenant, RegisteredApp, Registry
from soapbatch.testing.online_sign_in import ENDPOINTS, REASONS, SignInHost
from soapbatch.testing.requests import Personality
from soapbatch.testing.responses import Answer
from soapbatch.testing.server import NetServer, Receive, Scope, Send, dropping, headers_of, read_body, send_answer

_VISITS_KEPT: Final = 100_000
_STATE: Final = "/api/state/"
_HTML: Final = {"Content-Type": "text/html; charset=utf-8"}
_NOT_FOUND: Final = Answer(404, _HTML, (b"<h1>404 Not Found</h1>",))
_MISDIRECTED: Final = Answer(421, _HTML, (b"<h1>Wrong subdomain used to access tenant</h1>",))
_MAINTENANCE: Final = Answer(503, _HTML, (b"<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>",))
_OLDEST: Final = ServiceVersion.V84

Endpoint: TypeAlias = Literal[
    "state", "system_user", "system_user_soap", "discovery", "jwks", "tokens", "tenant", "api"
]
VisitInterceptor: TypeAlias = Callable[[Any, Proceed], Awaitable[Answer]]
"""Gets the `Visit` and a coroutine function that answers it; those for a NetServer fit, too."""


class Online:
    """An ASGI app that serves all of SuperOffice Online.

    Attributes:
        environment: which one, with the address of its sign-in host.
        sign_in: the sign-in host, whose attributes may be changed while it runs.
        journal: the latest 100,000 requests, oldest first. It holds no secret.
        counts: how many requests there were, by endpoint.
    """

    def __init__(
        self,
        environment: str = "sod",
        *,
        domain: str = "superoffice.com",
        clock: Callable[[], float] = time.monotonic,
        epoch: datetime | None = None,
        signing_key: SigningKey | None = None,
    ) -> None:
        """Start without apps and tenants.

        Args:
            environment: "sod", "stage" or "online".
            domain: of all hosts.
            clock: returns seconds and never goes back: a `ManualClock`, or the `time` of the running loop.
            epoch: the date at the clock's present reading (aware); None: what the machine says it is.
            signing_key: what JWTs are signed with; None: a new one.
        """
        self._arguments = {name: value for name, value in locals().items() if name != "self"}
        self.environment = Environment.named(environment, domain=domain)
        keys = [] if signing_key is None else [signing_key]
        self._registry = Registry(
            environment=self.environment,
            clock=clock,
            wall=WallClock(clock, epoch),
            signing_keys=[*keys],
            published_keys=[*keys],
        )
        self.sign_in = SignInHost(registry=self._registry)
        self.journal: deque[Visit] = deque(maxlen=_VISITS_KEPT)
        self.counts: Counter[str] = Counter()
        self._interceptions = Interceptions()

    def reset(self, **changes: Any) -> None:
        """Begin anew, without apps, tenants, journal and interceptors.

        Args:
            changes: arguments of the constructor that are to differ from those that Online was made with. The next
                `reset` begins again with those that Online was made with.
        """
        arguments = self._arguments
        Online.__init__(self, **(arguments | changes))
        self._arguments = arguments

    def now(self) -> datetime:
        """Return the date of the clock, without the `skew`: what a machine with the right time says."""
        return self._registry.wall.date(self._registry.clock())

    def add_app(self, name: str, *, private_key: PrivateKey | None = None) -> RegisteredApp:
        """Register an app and return it, with a client id, a client secret and, unless it is given, a private key."""
        return self._registry.add_app(name, private_key)

    def add_client_secret(self, app: RegisteredApp, *, keep_old: bool = True) -> str:
        """Give an app a new client secret and return it; without `keep_old`, the others are refused from now on."""
        secret = self._registry.add_client_secret(app)
        if not keep_old:
            del app.client_secrets[1:]
        return secret

    def add_tenant(self, name: str, *, host: str | None = None, **server: Any) -> OnlineTenant:
        """Add a running tenant.

        Args:
            name: its context identifier, for example "Cust12345".
            host: where it lives; None: the environment's name with a 2.
            server: arguments of its NetServer. Without them, it takes SOAP 1.1 alone.
        """
        home = host or f"{self.environment.name}2.{self.environment.domain}"

        registry = self._registry
        arguments: dict[str, Any] = {
            "clock": registry.clock,
            "epoch": registry.wall.date(registry.clock()),
            "personality": Personality.STRICT_SOAP11,
            "accepts_application_token": registry.admits,
        }
        tenant = OnlineTenant(
            name=name,
            host=home,
            server=NetServer(**{**arguments, **server}),
            serial=str(1801550193 + len(registry.tenants)),
        )
        registry.tenants[name.casefold()] = tenant
        return tenant

    @property
    def tenants(self) -> list[OnlineTenant]:
        """All tenants, in the order in which they were added."""
        return [*self._registry.tenants.values()]

    def tenant(self, name: str) -> OnlineTenant:
        """Return a tenant by name; an unknown one is a UsageError."""
        return self._registry.tenant(name)

    def app(self, name: str) -> RegisteredApp:
        """Return an app by name; an unknown one is a UsageError."""
        return self._registry.app(name)

    def approve(self, app: RegisteredApp, tenant: OnlineTenant) -> str:
        """Let an app into a tenant and return the system user token, which stays the same for good."""
        return self._registry.approve(app, tenant)

    def revoke(self, app: RegisteredApp, tenant: OnlineTenant, reason: str = "Revoked") -> None:
        """Refuse new sign-ins of an app to a tenant, and its codes and refresh tokens. Issued tickets go on.

        Args:
            app: which.
            tenant: to which.
            reason: a documented one: "Revoked", "Expired", "Denied", "NeedsReapproval", ...
        """
        if reason not in REASONS:
            raise UsageError(f"the documented reasons are {', '.join(REASONS)}, not {reason!r}")
        app.refusals[tenant.name] = reason
        grants = self._registry.grants
        for value in [value for value, grant in grants.items() if grant.app is app and grant.tenant is tenant]:
            del grants[value]

    def move(self, name: str, host: str) -> None:
        """Let a tenant live on another host: its former one answers 421 from now on."""
        self.tenant(name).host = host

    def set_state(self, name: str, state: str) -> None:
        """Put a tenant into a state, by name. One that is not documented is not running."""
        self.tenant(name).state = state

    def rotate_keys(self, *, overlap: bool = False) -> None:
        """Sign JWTs with a new key from now on. The old key leaves the key set, unless `overlap` is true."""
        self._registry.current_key()
        self._registry.rotate(overlap=overlap)

    def expire_tickets(self, name: str | None = None) -> None:
        """Refuse all tickets and access tokens issued so far, of one tenant or of all."""
        for tenant in [self.tenant(name)] if name else self.tenants:
            tenant.server.tickets.revoke_all()

    def skew(self, seconds: float) -> None:
        """Set Online's clock ahead of everybody else's, or behind it with a negative number."""
        self._registry.skew = seconds

    def issue_ticket(self, tenant: OnlineTenant) -> str:
        """Return a new ticket of a tenant's system user, without a sign-in."""
        return self._registry.issue_ticket(tenant)

    def issue_refresh_token(self, app: RegisteredApp, tenant: OnlineTenant) -> str:
        """Return a refresh token, as a person has after signing in."""
        return self._registry.issue_grant(app, tenant)

    def issue_code(self, app: RegisteredApp, tenant: OnlineTenant, redirect_uri: str) -> str:
        """Return a code, as the redirect to `redirect_uri` carries after a sign-in. It lives 10 minutes."""
        return self._registry.issue_grant(app, tenant, redirect_uri=redirect_uri)

    def intercept(
        self, endpoint: Endpoint, interceptor: VisitInterceptor, *, times: int | None = 1, optional: bool = False
    ) -> None:
        """Put `interceptor` around the next requests to an endpoint.

        Args:
            endpoint: see `Visit.endpoint`; "tenant" are all calls to tenants' services.
            interceptor: for example `delayed(5)`, `answering(200, {}, b"junk")` or `lost_reply`.
            times: for how many requests; None: for all.
            optional: whether `assert_interceptors_used` passes if no request comes to the interceptor.
        """
        self._interceptions.add(Interception(endpoint, interceptor, times, optional))

    def unused_interceptors(self) -> list[str]:
        """Return a description of each interceptor, of Online and of the tenants' servers, that was not used."""
        own = [str(interception) for interception in self._interceptions.unused()]
        for tenant in self.tenants:
            own += [f"{unused} of {tenant.name}" for unused in tenant.server.unused_interceptors()]
        return own

    def assert_interceptors_used(self) -> None:
        """Check that at least one request has come to each interceptor, of Online and of the tenants' servers.

        Raises:
            AssertionError: an interceptor was not used.
        """
        __tracebackhide__ = True
        check_interceptors_used(self.unused_interceptors())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request: the ASGI interface."""
        if scope["type"] != "http":
            raise UsageError("the embedded Online speaks HTTP and nothing else")
        try:
            body = await read_body(receive)
        except Refusal as refusal:
            await send_answer(refusal.answer, send)
            return
        if body is None:
            return
        headers = headers_of(scope)
        visit = self._visit(scope, headers, body)
        self.journal.append(visit)
        self.counts[visit.endpoint] += 1

        async def proceed() -> Answer:
            answer = self._answer(visit, headers, body)
            return answer if answer is not None else await _collected(self._server(visit), scope, body)

        async def observed(message: MutableMapping[str, Any]) -> None:
            visit.status = message.get("status", visit.status)
            await send(message)

        async with dropping(scope):
            interceptor: VisitInterceptor | None = self._interceptions.take(visit.endpoint)
            if interceptor is not None:
                await send_answer(await interceptor(visit, proceed), observed)
            elif (answer := self._answer(visit, headers, body)) is not None:
                await send_answer(answer, observed)
            else:
                await self._server(visit)(scope, _replayed(body, receive), observed)

    def _visit(self, scope: Scope, headers: Mapping[str, str], body: bytes) -> Visit:
        server = scope.get("server") or ("", None)
        host = (headers.get("host") or server[0]).rpartition("@")[2].partition(":")[0].lower()
        path: str = scope["path"]
        endpoint, tenant = "", None
        if host == self.environment.host:
            endpoint = "state" if path.lower().startswith(_STATE) else ENDPOINTS.get(path.lower(), "")
            tenant = path[len(_STATE) :] if endpoint == "state" else None
        if not endpoint:
            known = self._registry.tenants.get(path.strip("/").partition("/")[0].casefold())
            tenant = known.name if known else None
            if known and host.endswith(self.environment.domain):
                is_api = path.lower().rstrip("/").endswith(f"{known.name}/api".lower())
                endpoint = "api" if is_api else "tenant"
        secrets = self._registry.names.find(scope["headers"], scope["query_string"], body)
        return Visit(
            at=self._registry.clock(),
            method=scope["method"],
            host=host,
            path=path,
            endpoint=endpoint,
            tenant=tenant,
            secrets=secrets,
        )

    def _answer(self, visit: Visit, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """Answer a request; None: the tenant's NetServer is to."""
        if visit.endpoint not in {"tenant", "api", ""}:
            return self.sign_in.answer(visit, headers, body)
        tenant = self._registry.tenants.get((visit.tenant or "").casefold())
        is_old = any(f"/{version}/".lower() in visit.path.lower() for version in ServiceVersion if version < _OLDEST)
        answer = None
        if tenant is None or not visit.endpoint or is_old:
            answer = _NOT_FOUND
        elif visit.host != tenant.host:
            answer = _MISDIRECTED
        elif not tenant.is_running:
            answer = _MAINTENANCE
        elif visit.endpoint == "api" and visit.method != "GET":
            answer = Answer(405, {"Allow": "GET"})
        elif visit.endpoint == "api":
            versions = {"NetServerVersion": tenant.version, "Services": "Services87", "ServicesCurrent": "Services88"}
            answer = Answer(200, {"Content-Type": "application/json"}, (json.dumps(versions).encode(),))
        self._registry.end_access_tokens()
        return answer

    def _server(self, visit: Visit) -> NetServer:
        return self.tenant(visit.tenant or "").server


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that begins with a body that has been read."""
    messages = [{"type": "http.request", "body": body}]

    async def receive_again() -> MutableMapping[str, Any]:
        return messages.pop() if messages else await receive()

    return receive_again


async def _collected(server: NetServer, scope: Scope, body: bytes) -> Answer:
    """Return the whole answer of a NetServer."""
    status, headers, pieces = 0, dict[str, str](), list[bytes]()

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        headers.update((name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ()))
        pieces.append(message.get("body", b""))

    # Without the extension, a connection that the NetServer drops is raised here, and dropped for Online as a whole.
    await server({**scope, "extensions": {}}, receive, send)
    return Answer(status, headers, tuple(pieces))
