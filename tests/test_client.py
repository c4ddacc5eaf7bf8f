"""The client itself: what it takes, what it shows of itself, and the ticket that it hands out."""

import asyncio
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from soapbatch import (
    AccessToken,
    AuthenticationFailed,
    BatchTaskInfo,
    Binding,
    Client,
    ClientClosed,
    ConnectionPool,
    DeadlineExceeded,
    Generic,
    Implicit,
    InsecureTransport,
    OperationFailed,
    Retries,
    ServiceVersion,
    SoapBatchError,
    Ticket,
    UsageError,
    UsernamePassword,
)
from soapbatch.auth.ticket_stores import MemoryTicketStore
from soapbatch.client import settings_from
from soapbatch.model import SoTimeZone
from soapbatch.model.secret import Secret
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE
from soapbatch.testing import DEMO_USER, ManualClock, NetServer, ServerException, User, failing, serve
from tests.support.clients import BASE, Script, in_process, now, replying, scripted, virtual

BAD_SECONDS: list[Any] = [float("nan"), float("inf"), -float("inf"), -1, -0.001, 1e18, 366 * 86400 + 1, True]
OSLO = SoTimeZone(so_time_zone_location_code="Europe/Oslo")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"ticket": "7T:x", "credentials": Implicit()}, "ticket= or credentials=", id="two-credentials"),
        pytest.param(
            {"transport": Script(), "http_client": httpx.AsyncClient()},
            "transport= or http_client=",
            id="two-transports",
        ),
        pytest.param({"time_zone": OSLO}, "time_zone= needs binding=", id="time-zone-and-no-binding"),
        pytest.param({"time_zone": OSLO, "binding": Binding.DOCUMENTED}, "time_zone=", id="time-zone-documented"),
        pytest.param({"base_url": "crm.example.com"}, "must be absolute", id="no-scheme"),
        pytest.param({"base_url": "ftp://crm.example.com"}, "must be absolute", id="wrong-scheme"),
        pytest.param({"base_url": "https://[::1"}, "not a URL: Invalid IPv6", id="no-url"),
        pytest.param({"base_url": "https:///path"}, "must be absolute", id="no-host"),
        pytest.param({"base_url": "https://u:p@crm.example.com"}, "no user, password", id="user-in-url"),
        pytest.param({"base_url": "https://:p@crm.example.com"}, "no user, password", id="password-in-url"),
        pytest.param({"base_url": "https://crm.example.com/?a=1"}, "query", id="query"),
        pytest.param({"base_url": "https://crm.example.com/#a"}, "fragment", id="fragment"),
        pytest.param({"ticket": ""}, "not empty", id="empty-ticket"),
        pytest.param({"credentials": 7}, "credentials are", id="no-credentials"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(arguments: dict[str, Any], message: str) -> None:
    """The constructor raises UsageError and says what to do instead."""
    with pytest.raises(UsageError, match=message):
        Client(**{"base_url": BASE} | arguments)


@pytest.mark.parametrize("credentials", [UsernamePassword("demo", "demo"), Generic({"key": "value"})])
def test_passwords_do_not_cross_plain_http(credentials: UsernamePassword | Generic) -> None:
    """A password and plain HTTP to another host are refused, unless that is allowed or the host is this machine."""
    with pytest.raises(InsecureTransport):
        Client("http://crm.example.com", credentials=credentials)
    Client("http://crm.example.com", credentials=credentials, allow_insecure=True)
    Client("http://127.0.0.1:1", credentials=credentials)
    Client("https://crm.example.com", credentials=credentials)


async def test_a_client_shows_whom_it_calls_and_no_secret() -> None:
    """Its repr names the server and the version, and says when it is closed; it cannot be pickled."""
    assert repr(Client.__new__(Client)) == "<Client>"
    client = Client(BASE, ticket="7T:c2VjcmV0", application_token="app-secret", version=ServiceVersion.V86)
    assert repr(client) == f"<Client {BASE} Services86>"
    assert (client.version, client.binding) == (ServiceVersion.V86, None)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(client)
    await client.aclose()
    assert repr(client) == f"<Client {BASE} Services86 closed>"


async def test_the_agents_are_made_once() -> None:
    """`client.batch` is the same object each time."""
    async with Client(BASE) as client:
        assert client.batch is client.batch
        assert client.principal is client.principal
        assert client.blob is client.blob
        assert client.jobs is client.jobs


@pytest.mark.parametrize(
    ("base_url", "path_prefix", "expected"),
    [
        (f"{BASE}/", "/Remote", f"{BASE}/Remote/Services88/Batch.svc"),
        (BASE, "/Remote", f"{BASE}/Remote/Services88/Batch.svc"),
        (BASE, "", f"{BASE}/Services88/Batch.svc"),
    ],
)
async def test_where_requests_go(base_url: str, path_prefix: str, expected: str) -> None:
    """The URL is the base URL, with or without a slash at its end, the prefix, the version and the agent."""
    script = Script(ClientClosed("enough"))
    async with Client(base_url, ticket="7T:x", path_prefix=path_prefix, transport=script) as client:
        with pytest.raises(ClientClosed):
            await client.batch.get_batch_task_info(1)
    assert [request.url for request in script.requests] == [expected]


async def test_tokens_and_time_zone_are_sent() -> None:
    """Ticket, application token and time zone are in the envelope; SoPrincipal gets the application token only."""
    script = Script(ClientClosed("enough"))
    async with Client(
        BASE,
        ticket=Secret("7T:dGlja2V0"),
        application_token=Secret("app"),
        time_zone=OSLO,
        binding=Binding.SOAP11,
        transport=script,
    ) as client:
        for call in (client.batch.get_batch_task_info(1), client.principal.get_system_info()):
            with pytest.raises(ClientClosed):
                await call
    batch, principal = (request.body for request in script.requests)
    assert all(text in batch for text in (b"7T:dGlja2V0", b">app<", b"Europe/Oslo"))
    assert b">app<" in principal
    assert b"7T:dGlja2V0" not in principal
    assert b"Europe/Oslo" not in principal


async def returned_ticket(server: NetServer) -> str:
    """Return a ticket, as a caller's own callable does."""
    return server.tickets.issue()


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(lambda server: Ticket(server.tickets.issue()), id="Ticket"),
        pytest.param(lambda _: UsernamePassword("demo", "demo"), id="UsernamePassword"),
        pytest.param(lambda server: AccessToken(server.tickets.issue_access_token()), id="AccessToken"),
        pytest.param(lambda server: AccessToken(server.tickets.issue_access_token(), exchange=True), id="exchanged"),
        pytest.param(lambda _: Implicit(), id="Implicit"),
        pytest.param(lambda _: Generic({"key": "plugin"}), id="Generic"),
        pytest.param(lambda server: lambda: returned_ticket(server), id="callable"),
    ],
)
async def test_every_kind_of_credentials_lets_in(credentials: Any) -> None:
    """A client obtains its ticket by itself before the first call that needs one, and once."""
    server = NetServer(users=[User(name="demo", password="demo", associate_id=1, generic={"key": "plugin"})])
    server.tickets.implicit_user = DEMO_USER
    async with in_process(server, credentials=credentials(server)) as client:
        assert await client.batch.get_batch_task_info(1) is None
        assert await client.batch.get_batch_task_info(2) is None
        ticket = await client.ticket()
    assert ticket.value.reveal()[:3] in {"7T:", "8A:"}
    assert server.tickets.attempts <= 1


async def test_the_ticket_can_be_handed_to_another_client() -> None:
    """`ticket()` logs in if need be and returns the ticket with its end; another client may use it."""
    server = NetServer()
    async with in_process(server, credentials=UsernamePassword("demo", "demo")) as client:
        ticket = await client.ticket()
    assert ticket.expires_at is not None
    assert timedelta(hours=5) < ticket.expires_at - datetime.now(UTC) <= timedelta(hours=6)
    async with in_process(server, credentials=ticket) as client:
        assert await client.batch.get_batch_task_info(1) is None
    assert server.tickets.logins == 1


async def test_a_store_shares_the_ticket() -> None:
    """Two clients with one store log in once."""
    server = NetServer()
    store = MemoryTicketStore()
    for _ in range(2):
        async with in_process(server, credentials=UsernamePassword("demo", "demo"), ticket_store=store) as client:
            await client.batch.get_batch_task_info(1)
    assert server.tickets.logins == 1


async def test_a_refused_login_names_the_user() -> None:
    """AuthenticationFailed names the operation and the user, and that nothing was applied; the call is not sent."""
    server = NetServer()
    async with in_process(server, credentials=UsernamePassword("demo", "wrong")) as client:
        with pytest.raises(AuthenticationFailed, match="'demo'") as caught:
            await client.batch.get_batch_task_info(1)
    error = caught.value
    assert (error.operation, error.user, error.applied) == ("AuthenticateUsernamePassword", "demo", "no")
    assert server.counts["GetBatchTaskInfo"] == 0


@virtual
async def test_asking_for_the_ticket_ends_with_the_timeout() -> None:
    """`ticket()` raises DeadlineExceeded where the credentials never give one."""

    async def never() -> str:
        await asyncio.sleep(1_000_000)
        return ""

    async with Client(BASE, credentials=never, timeout=30, transport=Script()) as client:
        with pytest.raises(DeadlineExceeded, match="obtaining a ticket") as caught:
            await client.ticket()
        assert now() == 30
    assert (caught.value.phase, caught.value.timeout, caught.value.applied) == ("login", 30, "no")


@pytest.mark.parametrize("told", ["header", "fault", "401"])
@pytest.mark.parametrize("binding", [Binding.DOCUMENTED, Binding.SOAP11])
async def test_a_refused_ticket_is_renewed_and_the_call_repeated_once(told: Any, binding: Binding) -> None:
    """However the server refuses a ticket, one login follows and one repeat, for a start too; then the call is done."""
    server = NetServer(ticket_refusals=told)
    server.define_job("Export")
    async with in_process(server, credentials=UsernamePassword("demo", "demo"), binding=binding) as client:
        await client.batch.get_batch_task_info(1)
        server.tickets.revoke_all()
        id_ = await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    assert [task.id for task in server.tasks.find()] == [id_]
    assert server.counts["StartBatchJob"] == 2
    assert server.tickets.logins == 2


@pytest.mark.parametrize("told", ["header", "fault", "401"])
async def test_a_refused_ticket_that_cannot_be_renewed_fails_the_call(told: Any) -> None:
    """With a fixed ticket the refusal itself is raised, after one request; nothing was applied."""
    server = NetServer(ticket_refusals=told)
    async with in_process(server, ticket="7T:dW5rbm93bg==", binding=Binding.DOCUMENTED) as client:
        with pytest.raises(SoapBatchError) as caught:
            await client.batch.delete_batch_task(1)
    assert caught.value.applied == "no"
    assert server.counts["DeleteBatchTask"] == 1


async def test_a_session_error_of_ones_own_is_understood() -> None:
    """`session_errors` names other exceptions that mean that the ticket is gone."""
    for names, logins in ((["MyLicenceException"], 2), ([], 1)):
        server = NetServer(clock=ManualClock())
        async with in_process(server, credentials=UsernamePassword("demo", "demo"), session_errors=names) as client:
            await client.batch.get_batch_task_info(1)
            server.intercept("GetBatchTaskInfo", failing(ServerException("My.MyLicenceException", "no seat")))
            if logins == 2:
                assert await client.batch.get_batch_task_info(1) is None
            else:
                with pytest.raises(OperationFailed, match="no seat"):
                    await client.batch.get_batch_task_info(1)
        assert server.tickets.logins == logins


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        pytest.param({"base_url": 3}, "base_url= takes str", id="base_url"),
        pytest.param({"base_url": "https://exa mple.com"}, "white space", id="white space"),
        pytest.param({"base_url": "https://example.com:99999"}, "not a URL", id="port"),
        pytest.param({"base_url": "https://x/Remote/Services86", "version": 88}, "must agree", id="two versions"),
        pytest.param({"application_token": b"hush"}, "application_token= takes", id="application_token"),
        pytest.param({"version": 89}, "no such version; there are", id="version"),
        pytest.param({"version": object()}, "no such version", id="version of a foreign kind"),
        pytest.param({"proxy": "http://p:1", "http_client": httpx.AsyncClient()}, "default transport", id="proxy"),
        pytest.param({"binding": "SOAP11"}, "binding= takes", id="binding"),
        pytest.param({"timeout": "5"}, "timeout= takes", id="timeout"),
        *(
            pytest.param({"timeout": bad}, "timeout= is a number of seconds", id=f"timeout {bad}")
            for bad in BAD_SECONDS
        ),
        *(pytest.param({"grace": bad}, "grace= is a number of seconds", id=f"grace {bad}") for bad in BAD_SECONDS),
        *(
            pytest.param({"retries": Retries(**{name: bad})}, "retries= takes", id=f"{name} {bad}")
            for name in ("first_wait", "longest_wait")
            for bad in BAD_SECONDS
        ),
        *(pytest.param({"retries": Retries(attempts=n)}, "retries= takes", id=f"attempts {n}") for n in (0, -1, True)),
        pytest.param({"retries": Retries(attempts=1.5)}, "retries= takes", id="attempts 1.5"),  # type: ignore[arg-type]
        pytest.param({"limits": {}}, "limits= takes", id="limits"),
        *(
            pytest.param({"path_prefix": prefix}, "path_prefix= begins with a slash", id=f"path_prefix {prefix!a}")
            for prefix in ("Remote", "/a?b", "/a#b", "?", "/a b", "/a\n", "/\ud800", "/\0")
        ),
        pytest.param({"session_errors": "SoSessionException"}, "list of names", id="session_errors"),
        pytest.param({"transport": httpx.AsyncClient()}, "httpx.AsyncClient is for http_client=", id="transport"),
        pytest.param({"transport": httpx.HTTPTransport()}, "transport= takes", id="blocking transport"),
        pytest.param({"on_unknown": "log"}, "on_unknown= takes", id="on_unknown"),
        pytest.param({"ticket_store": {}}, "ticket_store= takes", id="ticket_store"),
        pytest.param({"grace": None}, "grace= takes", id="grace"),
        pytest.param({"http_client": object()}, "http_client= takes", id="http_client"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(changed: dict[str, Any], says: str) -> None:
    """What cannot work is refused when the client is made, in words that say what to pass, and without its value."""
    with pytest.raises(UsageError, match=says) as caught:
        Client(**{"base_url": "https://crm.example.com"} | changed)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("seconds", [*BAD_SECONDS, "5"])
async def test_a_call_takes_seconds_that_a_timer_can_bear(seconds: Any) -> None:
    """NaN would put the timers of the whole loop out of order: it is refused before anything is sent."""
    client, script = scripted(replying(GET_BATCH_TASK_INFO))
    async with client:
        with pytest.raises(UsageError, match="timeout is a number of seconds, from 0 to 31622400") as caught:
            await client.batch.get_batch_task_info(1, timeout=seconds)
        assert (caught.value.operation, caught.value.applied) == ("GetBatchTaskInfo", "no")
        with pytest.raises(UsageError):
            await anext(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All", options={"timeout": seconds}))
        assert script.requests == []
        for good in (None, 0.5, 366 * 86400):
            await client.batch.get_batch_task_info(1, timeout=good)


@pytest.mark.parametrize("seconds", BAD_SECONDS)
def test_a_pool_keeps_connections_for_seconds_that_a_timer_can_bear(seconds: Any) -> None:
    """The same holds for `keep_alive`."""
    with pytest.raises(UsageError, match="keep_alive is a number of seconds"):
        ConnectionPool(keep_alive=seconds)


async def test_a_shared_transport_that_was_closed_is_named() -> None:
    """A client whose transport another one has closed is not closed: the error says what to share, and how."""
    server = NetServer()
    async with serve(server) as url:
        pool = ConnectionPool()
        async with Client(url, ticket=server.tickets.issue(), transport=pool) as other:
            async with Client(url, ticket=server.tickets.issue(), transport=pool) as client:
                await client.batch.get_batch_task_info(1)
            with pytest.raises(ClientClosed, match=r"transport of this client is closed.*async with ConnectionPool"):
                await other.batch.get_batch_task_info(1)
        with pytest.raises(ClientClosed, match="the client is closed"):
            await other.batch.get_batch_task_info(1)


@pytest.mark.parametrize("version", [86, "86", "Services86", "services86", ServiceVersion.V86])
def test_a_version_may_be_a_number_or_a_text(version: Any) -> None:
    """What people type first is understood."""
    assert Client("https://crm.example.com", version=version).version is ServiceVersion.V86


def test_the_address_may_say_version_and_prefix() -> None:
    """A base URL as SuperOffice hands it out is understood; an argument agrees with it, or replaces a default."""
    client = Client("https://online2.superoffice.com/Cust12345/Remote/Services86/")
    assert client.version is ServiceVersion.V86
    assert client._context.settings.base_url == "https://online2.superoffice.com/Cust12345"
    assert Client("https://crm.example.com/Services87")._context.settings.path_prefix == ""
    assert Client("https://crm.example.com/Services87", path_prefix="/x")._context.settings.path_prefix == "/x"
    assert Client("https://crm.example.com").version is ServiceVersion.V88


async def test_arguments_of_the_default_transport() -> None:
    """`verify`, `proxy`, `trust_env` and `max_connections` reach the pool."""
    client = Client("https://crm.example.com", proxy="http://proxy:3128", trust_env=False, max_connections=3)
    pool = client._context.sender._transport
    assert isinstance(pool, ConnectionPool)
    assert (pool._max_connections, pool._trust_env, str(pool._proxy and pool._proxy.url)) == (
        *(3, False),
        "http://proxy:3128",
    )


# --- The environment ----------------------------------------------------------------------------------------------


def test_a_client_of_the_environment(tmp_path: Path) -> None:
    """Each variable is an argument; what is passed by hand takes its place; an empty variable counts as absent."""
    client = Client.from_env(
        {
            "SOAPBATCH_URL": "https://crm.example.com/SuperOffice",
            "SOAPBATCH_TICKET": "7T:dGlja2V0",
            "SOAPBATCH_APP_TOKEN": "",
            "SOAPBATCH_VERSION": "86",
            "SOAPBATCH_BINDING": "SOAP11",
        },
        timeout=5,
    )
    settings = client._context.settings
    assert (settings.base_url, settings.timeout) == ("https://crm.example.com/SuperOffice", 5)
    assert (client.version, client.binding) == (ServiceVersion.V86, Binding.SOAP11)
    assert settings.application_token is None
    file = tmp_path / "password"
    file.write_text("hush\n", encoding="utf-8")
    ways = ({"SOAPBATCH_PASSWORD": "hush"}, {"SOAPBATCH_PASSWORD_FILE": str(file)})
    users = [settings_from({"SOAPBATCH_URL": "https://x", "SOAPBATCH_USER": "ada"} | way) for way in ways]
    assert [found["credentials"] for found in users] == [UsernamePassword("ada", "hush")] * 2


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        pytest.param({}, "set SOAPBATCH_URL", id="nothing"),
        pytest.param({"SOAPBATCH_USER": "ada"}, "needs SOAPBATCH_PASSWORD", id="no password"),
        pytest.param({"SOAPBATCH_BINDING": "hush"}, "one of documented, soap11, soap12", id="binding"),
        pytest.param({"SOAPBATCH_VERSION": "hush"}, "no such version", id="version"),
        pytest.param({"SOAPBATCH_USER": "a", "SOAPBATCH_PASSWORD_FILE": "/hush"}, "cannot be read", id="file"),
    ],
)
def test_what_the_environment_lacks_is_said(environ: dict[str, str], says: str) -> None:
    """A variable that is missing or wrong is named, without its value."""
    url = {} if not environ else {"SOAPBATCH_URL": "https://crm.example.com"}
    with pytest.raises(UsageError, match=says) as caught:
        Client.from_env(url | environ)
    assert "hush" not in str(caught.value)


async def test_a_timeout_of_a_call_is_a_number() -> None:
    """A call's own timeout that is none is refused before anything is sent."""
    client, script = scripted()
    async with client:
        with pytest.raises(UsageError, match="number of seconds"):
            await client.batch.stop_batch_job(1, timeout="5")  # type: ignore[arg-type]
    assert script.requests == []


@pytest.mark.parametrize("method", ["authenticate_username_password", "authenticate_generic"])
async def test_a_password_does_not_cross_plain_http(method: str) -> None:
    """A login by hand is refused over plain HTTP to another host, as it is with `credentials=`."""
    arguments: dict[str, Any] = (
        {"user_name": "u", "password": "p"} if "username" in method else {"authentication_data": {"k": "p"}}
    )
    async with Client("http://far.example") as client:
        with pytest.raises(InsecureTransport, match="https"):
            await getattr(client.principal, method)(**arguments)


async def test_none_is_no_argument() -> None:
    """A parameter that is None is refused by name: left out, the server would make of it what it likes."""
    client, script = scripted()
    async with client:
        with pytest.raises(UsageError, match="associate_ids must not be None"):
            await client.batch.get_batch_task_infos_by_associates(None)  # type: ignore[arg-type]
    assert script.requests == []
