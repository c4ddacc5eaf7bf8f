"""What the tests of SuperOffice Online share: the vectors, an embedded world, and a look at what an error shows."""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
import httpx
import pytest

from soapbatch import Binding, Client, OperationFailed, Secret, ServiceVersion, build_request, parse_response
from soapbatch.online import (
    OnlineApp,
    PrivateKey,
    SignInRequest,
    SystemUser,
    TenantState,
    build_system_user_request,
    build_system_user_soap_request,
    parse_key_set,
    parse_system_user_response,
    parse_system_user_soap_response,
    parse_tenant_state,
    sign_system_token,
    verify_system_token,
)
from soapbatch.testing import ManualClock, Online, OnlineTenant, RegisteredApp, SigningKey

VECTORS = Path(__file__).parents[2] / "fixtures" / "online"
TENANT = "Cust12345"
NOW = datetime(2026, 1, 2, 3, 4, 55, tzinfo=UTC)
CLIENT_SECRET = "83d0f3bcb9afbc7eb9d0682e9b86db52"


def read_vector(name: str) -> Any:
    """Return what a JSON file of the vectors holds."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


@functools.cache
def app_key() -> PrivateKey:
    """Return the app's private key."""
    return PrivateKey.read(VECTORS / "app_private.xml")


@functools.cache
def signing_key() -> SigningKey:
    """Return a key that JWTs can be signed with, which takes a while to make."""
    return SigningKey.generate()


def _frames(traceback: TracebackType | None) -> Iterator[Mapping[str, object]]:
    while traceback is not None:
        if "/tests/" not in traceback.tb_frame.f_code.co_filename:
            yield traceback.tb_frame.f_locals
        traceback = traceback.tb_next


def _shown(value: object) -> str:
    try:
        return repr(value)
    except AttributeError:
        return f"an incomplete {type(value)}"  # its constructor raised


def everything_in(error: BaseException | None) -> str:
    """Return all that a report about an error may show: texts, attributes, and locals of frames outside the tests."""
    if error is None:
        return ""
    pieces = [str(error), repr(error), repr(vars(error))]
    pieces += [f"{name} = {_shown(value)}" for names in _frames(error.__traceback__) for name, value in names.items()]
    return "\n".join([*pieces, everything_in(error.__cause__), everything_in(error.__context__)])


def raised(raising: "pytest.ExceptionInfo[Any]", *secrets: str) -> str:
    """Return the text of an error after a look that it shows none of `secrets`, nor a part of one."""
    shown = everything_in(raising.value)
    for secret in secrets:
        assert secret not in shown
        assert len(secret) < 64 or not any(secret[at : at + 32] in shown for at in range(0, len(secret) - 32, 32))
    return str(raising.value)


@attrs.define(kw_only=True)
class World:
    """An embedded Online with one app that one tenant has approved, and an HTTP client that ends in it."""

    online: Online
    app: RegisteredApp
    tenant: OnlineTenant
    token: str
    clock: ManualClock
    http: httpx.AsyncClient

    def now(self) -> datetime:
        """Return the time of the client's machine."""
        return NOW + timedelta(seconds=self.clock())

    async def send(self, request: SignInRequest) -> httpx.Response:
        """Send a request that the pure functions built."""
        headers = dict(request.headers)
        return await self.http.request(request.method, request.url, headers=headers, content=request.body)

    def signed(self, token: str | None = None, *, key: PrivateKey | None = None, at: datetime | None = None) -> str:
        """Return a signed token."""
        return sign_system_token(token or self.token, key or self.app.private_key, at=at or self.now())

    async def jwt(self, *, soap: bool = False, signed: str | None = None, **changes: str) -> Secret:
        """Sign the system user in and return the JWT, or raise."""
        build = build_system_user_soap_request if soap else build_system_user_request
        parse = parse_system_user_soap_response if soap else parse_system_user_response
        arguments = {"tenant": self.tenant.name, "application_token": self.app.client_secret} | changes
        response = await self.send(build(self.online.environment, signed or self.signed(), **arguments))
        return parse(response.status_code, response.headers, response.content, now=self.now())

    async def key_set(self) -> Mapping[str, Any]:
        """Return the key set."""
        response = await self.send(self.online.environment.key_set_request())
        return parse_key_set(response.content)

    async def ticket(self, **changes: Any) -> str:
        """Sign the system user in and return the ticket, after every check."""
        jwt = await self.jwt(**changes)
        keys = await self.key_set()
        return verify_system_token(jwt, keys, tenant=self.tenant.name, now=self.now()).ticket.reveal()

    async def state(self, name: str = TENANT) -> TenantState:
        """Return the state of a tenant."""
        response = await self.send(self.online.environment.state_request(name))
        return parse_tenant_state(response.content, tenant=name)

    async def call(self, ticket: str | None, *, host: str | None = None, **options: Any) -> httpx.Response:
        """Send GetBatchTaskInfo to the tenant and return the response."""
        arguments: dict[str, Any] = {
            "version": ServiceVersion.V88,
            "binding": Binding.SOAP11,
            "application_token": self.app.client_secret,
        }
        request = build_request("GetBatchTaskInfo", {"id": 1}, ticket=ticket, **(arguments | options))
        url = f"https://{host or self.tenant.host}/{self.tenant.name}{request.path}"
        return await self.http.post(url, headers=dict(request.headers), content=request.body)

    async def outcome(self, ticket: str | None, **options: Any) -> str:
        """Call the tenant and return "" or the type of the exception."""
        response = await self.call(ticket, **options)
        version = options.get("version", ServiceVersion.V88)
        try:
            parse_response("GetBatchTaskInfo", response.content, version=version, status=response.status_code)
        except OperationFailed as error:
            return error.error_type or "failed"
        return ""


@contextlib.asynccontextmanager
async def world(name: str = TENANT, **tenant: Any) -> AsyncGenerator[World]:
    """Yield a new world, in process."""
    clock = ManualClock()
    online = Online(clock=clock, epoch=NOW, signing_key=signing_key())
    app = online.add_app("My App", private_key=app_key())
    home = online.add_tenant(name, **tenant)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(online)) as http:
        yield World(online=online, app=app, tenant=home, token=online.approve(app, home), clock=clock, http=http)


@attrs.define(kw_only=True)
class Service:
    """An embedded Online, and an app of ours that is registered there, on the clock of the event loop.

    Attributes:
        online: the embedded Online.
        registered: the app, as Online knows it.
        tenant: the first tenant, which has approved the app.
        token: the system user token there.
        app: our side.
    """

    online: Online
    registered: RegisteredApp
    tenant: OnlineTenant
    token: str
    app: OnlineApp

    def client(self, credentials: Any = None, tenant: str = TENANT, **options: Any) -> Client:
        """Return a client of a tenant, with the system user unless there are other credentials."""
        return self.app.client(tenant, credentials or SystemUser(self.token), **options)

    def hosts(self, endpoint: str = "tenant") -> list[str]:
        """Return the hosts that were sent requests to an endpoint, in order."""
        return [visit.host for visit in self.online.journal if visit.endpoint == endpoint]

    def secrets_at(self, *hosts: str) -> set[str]:
        """Return the names of the secrets that these hosts were sent."""
        return {name for visit in self.online.journal if visit.host in hosts for name in visit.secrets}


def wall_clock() -> datetime:
    """Return the date of the running loop's time."""
    return NOW + timedelta(seconds=asyncio.get_running_loop().time())


class Lines(httpx.AsyncBaseTransport):
    """The lines to an embedded Online: hosts can be cut off, or answer by themselves.

    Attributes:
        refused: hosts that refuse connections.
        answers: what a host answers in place of Online, by its name.
    """

    def __init__(self, online: Online) -> None:
        """Lead to `online`."""
        self._inner = httpx.ASGITransport(online)
        self.refused: set[str] = set()
        self.answers: dict[str, Callable[[], httpx.Response]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or do not."""
        if request.url.host in self.refused:
            raise httpx.ConnectError("refused") from ConnectionRefusedError()
        if answer := self.answers.get(request.url.host):
            return answer()
        return await self._inner.handle_async_request(request)


@contextlib.asynccontextmanager
async def service(*, lines: bool = False, skew: float = 0, **options: Any) -> AsyncGenerator[Service]:
    """Yield a service in process; to be used under virtual time.

    Args:
        lines: whether the transport is `Lines`, as `service.app._transport`.
        skew: seconds that our clock is ahead of Online's.
        options: arguments of `OnlineApp`.
    """
    loop = asyncio.get_running_loop()
    online = Online(clock=loop.time, epoch=NOW, signing_key=signing_key())
    registered = online.add_app("My App", private_key=app_key())
    tenant = online.add_tenant(TENANT)
    tenant.server.define_job("ExportAll", duration=60, output=b"the output")
    arguments: dict[str, Any] = {
        "environment": "sod",
        "client_secret": registered.client_secret,
        "private_key": registered.private_key,
        "transport": Lines(online) if lines else httpx.ASGITransport(online),
        "now": lambda: wall_clock() + timedelta(seconds=skew),
        "max_rate": None,
    }
    async with OnlineApp(**(arguments | options)) as app:
        token = online.approve(registered, tenant)
        yield Service(online=online, registered=registered, tenant=tenant, token=token, app=app)
