"""What the tests of SuperOffice Online share: the vectors, an embedded world, and a look at what an error shows."""

import contextlib
import functools
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
import httpx
import pytest

from soapbatch import Binding, OperationFailed, Secret, ServiceVersion, build_request, parse_response
from soapbatch.online import (
    PrivateKey,
    SignInRequest,
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


def everything_in(error: BaseException | None) -> str:
    """Return all that a report about an error may show: texts, attributes, and locals of frames outside the tests."""
    if error is None:
        return ""
    pieces = [str(error), repr(error), repr(vars(error))]
    pieces += [repr(dict(names)) for names in _frames(error.__traceback__)]
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
