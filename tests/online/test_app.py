"""`OnlineApp` and `Client.online`: what they take, what they refuse, what they show, and how they are closed."""

import asyncio
import json
import pickle
import sys
from typing import Any

import httpx
import pytest

from soapbatch import (
    AccessToken,
    Binding,
    Client,
    ClientClosed,
    Generic,
    Implicit,
    NotInVersion,
    Secret,
    ServiceVersion,
    Ticket,
    UsageError,
    UsernamePassword,
)
from soapbatch.online import OnlineApp, RefreshToken, SystemUser, Tenant
from soapbatch.testing import ForwardingTransport, Online, answering, delayed, serve
from tests.support.clients import virtual
from tests.support.online import TENANT, VECTORS, Service, app_key, raised, service, signing_key, wall_clock

SECRET = "83d0f3bcb9afbc7eb9d0682e9b86db52"
TOKEN = "My App-k3J9xQ2mPz"
KEY = (VECTORS / "app_private.xml").read_text(encoding="utf-8")
REFRESH = RefreshToken("a-refresh-token", client_id="id")


def app(**options: Any) -> OnlineApp:
    """Return an app that sends nothing."""
    return OnlineApp(**({"environment": "sod", "client_secret": SECRET, "private_key": KEY} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"environment": "prod"}, "environment is one of"),
        ({"client_secret": None}, "requires the app's client secret in every call"),
        ({"client_secret": ""}, "requires the app's client secret"),
        ({"client_secret": 7}, "requires the app's client secret"),
        ({"private_key": b"junk"}, "the file with the private key|the path of a file"),
        ({"private_key": 7}, "a private key is read from text, bytes or a path, not from int"),
        ({"private_key": (VECTORS / "app_public.xml").read_bytes()}, "public half"),
        ({"max_rate": 0}, "max_rate is"),
        ({"transport": httpx.MockTransport(lambda _: httpx.Response(200)), "http_client": httpx.AsyncClient()}, "both"),
        ({"transport": httpx.MockTransport(lambda _: httpx.Response(200)), "trust_env": False}, "of the default"),
    ],
)
def test_what_an_app_refuses(options: dict[str, Any], message: str) -> None:
    """A UsageError before anything is opened; it shows neither the secret nor the key."""
    with pytest.raises(UsageError, match=message) as raising:
        app(**options)
    raised(raising, SECRET, KEY[300:400])


@pytest.mark.parametrize("source", [KEY, KEY.encode(), VECTORS / "app_private.xml", app_key(), None])
def test_a_private_key_in_any_form(source: Any) -> None:
    """Text, bytes, a path, a PrivateKey, or none at all."""
    ours = app(private_key=source)
    assert repr(ours) == "<OnlineApp at sod.superoffice.com>"
    assert ours.environment.host == "sod.superoffice.com"
    assert (ours._identity.private_key is None) is (source is None)


@pytest.mark.parametrize(
    ("credentials", "options", "message"),
    [
        (UsernamePassword("a", "b"), {}, "takes no user name and password"),
        (Implicit(), {}, "takes no user name and password"),
        (Generic({"a": "b"}), {}, "takes no user name and password"),
        (SystemUser(TOKEN), {"version": 83}, "serves Services84 to Services88, not Services83"),
        (SystemUser(TOKEN), {"version": "75"}, "serves Services84 to Services88"),
        (SystemUser(TOKEN), {"version": 99}, "there is no such version"),
        (REFRESH, {"version": 85}, "from Services86 on, not in Services85"),
        (AccessToken("8A:x"), {"version": 84}, "from Services86 on"),
        (7, {}, "credentials are"),
        (SystemUser(TOKEN), {"application_token": "x"}, "the client secret belongs to the app"),
        (SystemUser(TOKEN), {"transport": None}, "share its transport"),
        (SystemUser(TOKEN), {"proxy": "http://x"}, "share its transport"),
        (SystemUser(TOKEN), {"allow_insecure": True}, "over https alone"),
        (SystemUser(TOKEN), {"path_prefix": ""}, "has /Remote"),
        (SystemUser(TOKEN), {"ticket": "7T:x"}, "ticket= or credentials="),
    ],
)
async def test_what_a_client_refuses(credentials: Any, options: dict[str, Any], message: str) -> None:
    """With the reason, before anything is sent."""
    async with app() as ours:
        with pytest.raises(UsageError, match=message) as raising:
            ours.client(TENANT, credentials, **options)
        raised(raising, SECRET, TOKEN)


async def test_what_names_no_tenant() -> None:
    """A UsageError."""
    async with app() as ours:
        for name in ("", "../x", "a b", 7):
            with pytest.raises(UsageError, match="context identifier"):
                ours.tenant(name)  # type: ignore[arg-type]


async def test_the_defaults() -> None:
    """Services88, SOAP 1.1, and ten calls a second for all clients of a tenant."""
    async with app() as ours:
        one, two = ours.client(TENANT, SystemUser(TOKEN)), ours.client(TENANT, "7T:dA==")
        assert (one.version, one.binding) == (ServiceVersion.V88, Binding.SOAP11)
        rate = one._context.settings.max_rate
        assert rate is not None
        assert rate.rate == 10
        assert two._context.settings.max_rate is rate is ours.tenant(TENANT.upper()).max_rate
        third = ours.client(TENANT, Ticket("7T:x"), version=84, binding=Binding.SOAP12, max_rate=None, timeout=3)
        assert (third.version, third.binding) == (ServiceVersion.V84, Binding.SOAP12)
        assert third._context.settings.max_rate is None
        assert third._context.settings.timeout == 3


async def test_a_system_user_needs_a_private_key() -> None:
    """Said when the client is made."""
    async with app(private_key=None) as ours:
        with pytest.raises(UsageError, match="a system user needs the app's private key: pass private_key="):
            ours.client(TENANT, SystemUser(TOKEN))


@pytest.mark.parametrize("make", [lambda: SystemUser(""), lambda: SystemUser(7)])  # type: ignore[arg-type]
def test_what_is_no_system_user(make: Any) -> None:
    """Empty, or no text."""
    with pytest.raises(UsageError, match="SystemUser takes a system user token"):
        make()


@pytest.mark.parametrize(
    ("value", "options"),
    [("", {"client_id": "id"}), (7, {"client_id": "id"}), ("x", {"client_id": ""}), ("x", {"client_id": 7})],
)
def test_what_is_no_refresh_token(value: Any, options: Any) -> None:
    """Empty, or no text."""
    with pytest.raises(UsageError, match="RefreshToken takes a token"):
        RefreshToken(value, **options)
    with pytest.raises(UsageError, match="on_change is a function"):
        RefreshToken("x", client_id="id", on_change="save")  # type: ignore[arg-type]


async def test_what_is_shown() -> None:
    """No secret; and nothing that holds one is pickled."""
    async with app() as ours:
        tenant = ours.tenant(TENANT)
        shown = repr([ours, tenant, SystemUser(TOKEN), REFRESH, ours._identity, OnlineApp.__new__(OnlineApp)])
        assert "https://sod.superoffice.com/api/state/Cust12345" in shown
        for secret in (SECRET, TOKEN, "a-refresh-token"):
            assert secret not in shown
        assert isinstance(tenant, Tenant)
        for holder in (ours, SystemUser(TOKEN)):
            with pytest.raises(TypeError, match="cannot be pickled"):
                pickle.dumps(holder)


async def test_a_secret_is_replaced() -> None:
    """By one that is one."""
    async with app() as ours:
        assert ours.client_secret == Secret(SECRET)
        ours.client_secret = "another"
        assert await ours._current_secret() == Secret("another")
        with pytest.raises(UsageError, match="requires the app's client secret"):
            ours.client_secret = ""


@virtual
async def test_pinned_keys_are_not_fetched() -> None:
    """`signing_keys=` is trusted instead of what the sign-in host publishes; a key that is not in it is not."""
    async with service(signing_keys={"keys": [signing_key().jwk]}) as here, here.client() as client:
        await client.batch.get_batch_task_info(1)
        here.online.rotate_keys()
        here.online.expire_tickets()
        with pytest.raises(Exception, match="no key of the key set fits it"):
            await client.batch.get_batch_task_info(1)
        assert here.online.counts["jwks"] == 0


def test_a_key_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said when the app is made."""
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"install soapbatch\[online\]") as raising:
        app()
    raised(raising, SECRET, KEY[300:400])
    app(private_key=None)


@virtual
async def test_closing() -> None:
    """A client leaves the transport of its app open; the app ends what it asks, and refuses calls from then on."""
    async with service() as here:
        async with here.client() as client:
            await client.batch.get_batch_task_info(1)
        async with here.client() as client:
            await client.batch.get_batch_task_info(1)
            await asyncio.sleep(1000)
            here.online.intercept("state", delayed(20))
            await client.batch.get_batch_task_info(1)  # which starts to ask for the state in the background
            await here.app.aclose()
            await here.app.aclose()
        with pytest.raises(ClientClosed):
            await here.app.tenant(TENANT).state()


@virtual
async def test_without_the_extra() -> None:
    """A UsageError says what to install: when a key is read, or a JWT is checked. A ticket needs no extra."""
    async with service() as here, here.client() as client, here.client(here.online.issue_ticket(here.tenant)) as other:
        answer = await recorded_jwt(here)
        here.online.intercept("system_user", answering(200, {}, answer))
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in sys.modules if name.split(".")[0] == "jwt"]:
                patch.setitem(sys.modules, name, None)
            with pytest.raises(UsageError, match=r"install soapbatch\[online\]") as raising:
                await client.batch.get_batch_task_info(1)
            raised(raising, here.token, here.registered.client_secret)
            await other.batch.get_batch_task_info(1)


async def recorded_jwt(here: Service) -> bytes:
    """Return an answer of PartnerSystemUser with a JWT, made while the extra is there."""
    key = here.online._registry.current_key()
    return json.dumps({"IsSuccessful": True, "Token": key.sign({}), "ErrorMessage": None}).encode()


# --- Client.online -----------------------------------------------------------------------------------------------


def online(**options: Any) -> Client:
    """Return a client that sends nothing."""
    defaults = {"environment": "sod", "application_token": SECRET, "system_user": TOKEN, "private_key": KEY}
    return Client.online(TENANT, **(defaults | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"environment": "prod"}, "environment is one of"),
        ({"application_token": None}, "application_token= of Client.online"),
        ({"private_key": None}, "pass private_key="),
        ({"private_key": b"junk"}, "private key"),
        ({"credentials": REFRESH}, "system_user= or credentials=, not both"),
        ({"system_user": ""}, "SystemUser takes"),
        ({"system_user": None, "credentials": UsernamePassword("a", "b")}, "takes no user name and password"),
        ({"version": 80}, "serves Services84 to Services88"),
        ({"allow_insecure": True}, "over https alone"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_what_client_online_refuses(options: dict[str, Any], message: str) -> None:
    """As an app does, and no secret is shown."""
    with pytest.raises((UsageError, TypeError), match=message) as raising:
        online(**options)
    raised(raising, SECRET, TOKEN, KEY[300:400])


async def test_client_online_is_a_client_of_its_class() -> None:
    """A subclass stays one; app options and client options are told apart."""

    class Mine(Client):
        """A client of an application."""

    client = Mine.online(
        TENANT, environment="stage", application_token=SECRET, credentials="7T:x", max_rate=3, timeout=5, proxy=None
    )
    assert isinstance(client, Mine)
    settings = client._context.settings
    assert (settings.timeout, settings.max_rate and settings.max_rate.rate) == (5, 3)
    assert "qaonline.superoffice.com" in repr(client)
    await client.aclose()


@virtual
async def test_client_online_closes_its_app() -> None:
    """The transport, and what is asked in the background."""
    async with service() as here:
        arguments: Any = {
            "environment": "sod",
            "application_token": here.registered.client_secret,
            "system_user": here.token,
            "private_key": here.registered.private_key,
            "transport": here.app._transport,
            "now": wall_clock,
        }
        async with Client.online(TENANT, **arguments) as client:
            await client.batch.get_batch_task_info(1)
            await asyncio.sleep(1000)
            here.online.intercept("state", delayed(20))
            await client.batch.get_batch_task_info(1)


async def test_client_online_over_sockets() -> None:
    """From a customer number to a job, by real HTTP: one socket is all the hosts."""
    world = Online(epoch=None, signing_key=signing_key())
    registered, tenant = world.add_app("My App", private_key=app_key()), world.add_tenant(TENANT)
    tenant.server.define_job("ExportAll", duration=0, output=b"the output")
    token = world.approve(registered, tenant)
    async with (
        serve(world) as url,
        Client.online(
            TENANT,
            environment="sod",
            application_token=registered.client_secret,
            system_user=token,
            private_key=VECTORS / "app_private.xml",
            transport=ForwardingTransport(url),
        ) as client,
    ):
        job = await client.jobs.start("ExportAll")
        world.move(TENANT, "sod3.superoffice.com")
        await job.wait()
        assert await job.output() == b"the output"
        assert {visit.host for visit in world.journal} == {f"sod{n}.superoffice.com" for n in ("", 2, 3)}
        assert world.counts["state"] == 2


async def test_an_access_token_of_ones_own() -> None:
    """An app takes what a client takes, beside its own credentials."""
    async with app() as ours:
        client = ours.client(TENANT, AccessToken("8A:x"))
        assert client.version is ServiceVersion.V88
        with pytest.raises(NotInVersion):
            await ours.client(TENANT, Ticket("7T:x"), version=87).blob.get_output_from_batch(1)
