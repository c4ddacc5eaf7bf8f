"""The client and its ticket, end to end against the embedded server, in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import httpx
import pytest

from soapbatch import (
    AccessDenied,
    AccessToken,
    AuthenticationFailed,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    Client,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    Fault,
    FileTicketStore,
    Generic,
    Implicit,
    InsecureTransport,
    NotInVersion,
    OperationFailed,
    Retries,
    Secret,
    ServiceBusy,
    ServiceVersion,
    SoapBatchError,
    Ticket,
    UsageError,
    UsernamePassword,
)
from soapbatch.auth import MemoryTicketStore, TicketStore
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_STATE
from soapbatch.testing import (
    DEMO_USER,
    NetServer,
    Personality,
    ServerException,
    User,
    answering,
    cut_reply,
    delayed,
    failing,
    lost_reply,
    lost_request,
)
from tests.support.clients import now, virtual

Refusals: TypeAlias = Literal["header", "fault", "401"]

HOUR = 3600.0
BASE_URL = "http://localhost/SuperOffice"
DEMO = UsernamePassword("demo", "demo")
EXPORT = BatchTaskInfo(name="Export")

every_refusal = pytest.mark.parametrize(
    "refusals", [pytest.param("header", id="header"), pytest.param("fault", id="fault"), pytest.param("401", id="401")]
)


def net_server(**options: Any) -> NetServer:
    """Return a server on the event loop's clock, with a job to start."""
    server = NetServer(clock=asyncio.get_running_loop().time, **options)
    server.define_job("Export", duration=30)
    return server


@contextlib.asynccontextmanager
async def connected(server: NetServer, **options: Any) -> AsyncGenerator[Client]:
    """Yield a client of a server in this process. By default the client logs in as the demo user."""
    options.setdefault("binding", Binding.SOAP11)
    if "ticket" not in options:
        options.setdefault("credentials", DEMO)
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http_client,
        Client(BASE_URL, http_client=http_client, **options) as client,
    ):
        yield client


async def read(client: Client) -> object:
    """Make a call that reads."""
    return await client.batch.get_batch_task_info(1)


async def start(client: Client) -> object:
    """Make a call that must never be applied twice."""
    return await client.batch.start_batch_job(EXPORT)


async def stream(client: Client) -> object:
    """Make a call whose response is read item by item."""
    return [task async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.ALL)]


async def fetch_output(client: Client) -> object:
    """Make a call to another service."""
    task = await client.batch.start_batch_job(EXPORT)
    await client.blob.cleanup_batch_task(task)
    return task


every_call = pytest.mark.parametrize("call", [read, start, stream, fetch_output])
Call: TypeAlias = Callable[[Client], Awaitable[object]]


# --- Logging in -------------------------------------------------------------------------------------------------

PIN = User(name="pin", password="1234", associate_id=102, generic={"method": "card", "pin": "1234"})


@pytest.mark.parametrize("binding", [pytest.param(binding, id=binding.label) for binding in Binding])
@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(DEMO, id="password"),
        pytest.param(Implicit(), id="implicit"),
        pytest.param(Generic({"method": "card", "pin": "1234"}), id="generic"),
    ],
)
@virtual
async def test_the_first_call_logs_in(credentials: object, binding: Binding) -> None:
    """Credentials cause one login before the first call, in the client's binding, and none before later calls."""
    server = net_server(users=[DEMO_USER, PIN])
    server.tickets.implicit_user = DEMO_USER
    # Without a block beside the Body, a login without arguments would look like plain SOAP 1.2.
    options = {"credentials": credentials, "binding": binding, "application_token": "app"}
    async with connected(server, **options) as client:
        assert server.requests == 0
        await start(client)
        await start(client)
    assert (server.tickets.logins, server.counts["StartBatchJob"]) == (1, 2)
    assert {call.binding for call in server.calls} == {binding}


@pytest.mark.parametrize(
    ("exchange", "logins"), [pytest.param(False, 0, id="as it is"), pytest.param(True, 1, id="exchanged")]
)
@virtual
async def test_an_access_token_works(*, exchange: bool, logins: int) -> None:
    """An access token works in place of a ticket, and exchanged for one; before 86 every call raises NotInVersion."""
    server = net_server()
    token = server.tickets.issue_access_token()
    async with connected(server, credentials=AccessToken(token, exchange=exchange)) as client:
        await start(client)
    assert server.tickets.logins == logins
    async with connected(server, credentials=AccessToken(token), version=ServiceVersion.V85) as client:
        with pytest.raises(NotInVersion):
            await start(client)


@virtual
async def test_a_ticket_from_elsewhere_works() -> None:
    """`ticket=`, a Ticket and an async callable work without a login."""
    server = net_server()
    ticket = server.tickets.issue()

    async def fetch() -> str:
        return ticket

    ways: list[dict[str, object]] = [
        {"ticket": ticket},
        {"ticket": Secret(ticket)},
        {"credentials": Ticket(ticket)},
        {"credentials": fetch},
    ]
    for options in ways:
        async with connected(server, **options) as client:
            await start(client)
            assert (await client.ticket()).value == Secret(ticket)
    assert (server.tickets.attempts, server.counts["StartBatchJob"]) == (0, 4)


@virtual
async def test_a_login_finds_out_what_the_server_takes() -> None:
    """Without `binding=` the login discovers the binding: the server refuses one request in the client's lifetime."""
    server = net_server(personality=Personality.STRICT_SOAP11)
    async with connected(server, binding=None) as client:
        await asyncio.gather(*(start(client) for _ in range(10)))
        assert client.binding is Binding.SOAP11
    assert server.requests == 1 + 1 + 10


@virtual
async def test_without_credentials_only_the_principal_service_answers() -> None:
    """A client without credentials has no ticket to return, and sends no call that needs one."""
    server = net_server()
    async with connected(server, credentials=None) as client:
        assert await client.principal.get_system_info() is not None
        with pytest.raises(UsageError, match="no credentials"):
            await client.ticket()
        with pytest.raises(UsageError, match=r"no credentials: pass ticket= or credentials=") as caught:
            await start(client)
    assert (caught.value.operation, caught.value.applied) == ("StartBatchJob", "no")
    assert server.counts == {"GetSystemInfo": 1}


@pytest.mark.parametrize(
    "credentials", [pytest.param(DEMO, id="password"), pytest.param(Generic({"pin": "1234"}), id="generic")]
)
def test_a_password_does_not_cross_plain_http(credentials: UsernamePassword | Generic) -> None:
    """The constructor refuses passwords over plain HTTP to another host, unless the user allows them."""
    with pytest.raises(InsecureTransport):
        Client("http://crm.example.com", credentials=credentials)
    Client("http://crm.example.com", credentials=credentials, allow_insecure=True)


# --- Logins that fail and are repeated ---------------------------------------------------------------------------

LOGIN = "AuthenticateUsernamePassword"
TRANSIENT: dict[str, Any] = {
    "503": answering(503),
    "429": answering(429),
    "502": answering(502),
    "500": answering(500),
    "lost before": lost_request,
    "lost after": lost_reply,
    "cut": cut_reply,
}


@pytest.mark.parametrize("failure", TRANSIENT)
@every_call
@virtual
async def test_one_transient_failure_of_a_login_fails_no_call(call: Call, failure: str) -> None:
    """A login is repeated as a read is: one failure that passes costs the calls that wait for it a moment."""
    server = net_server()
    server.intercept(LOGIN, TRANSIENT[failure], times=2)
    async with connected(server) as client:
        await asyncio.gather(*(call(client) for _ in range(20)))
    assert server.counts[LOGIN] == 3
    assert now() < 2


@virtual
async def test_a_login_waits_as_long_as_the_server_asks() -> None:
    """Retry-After takes the place of our own wait."""
    server = net_server()
    server.intercept(LOGIN, answering(503, {"Retry-After": "40"}))
    async with connected(server) as client:
        await start(client)
    assert now() == 40
    assert (server.counts[LOGIN], server.counts["StartBatchJob"]) == (2, 1)


@virtual
async def test_a_login_that_keeps_failing_is_the_error_of_the_call() -> None:
    """After `Retries.attempts` the error is raised, says that it is of the login, and is not multiplied by the call."""
    server = net_server()
    server.intercept(LOGIN, answering(503), times=None)
    async with connected(server, retries=Retries(attempts=3)) as client:
        for call in (read, start):
            with pytest.raises(ServiceBusy, match=f"^the login failed: {LOGIN}: HTTP 503") as caught:
                await call(client)
            assert (caught.value.operation, caught.value.applied) == (LOGIN, "no")
            assert caught.value.retryable
    assert server.counts[LOGIN] == 3  # the second call meets the cool-down


@pytest.mark.parametrize("seconds", ["9", "11"])
@virtual
async def test_the_deadline_bounds_the_repeats_of_a_login(seconds: str) -> None:
    """A wait that would end in the deadline is not begun; the login's own error says more than a deadline."""
    server = net_server()
    server.intercept(LOGIN, answering(503, {"Retry-After": seconds}), times=None)
    async with connected(server, timeout=10) as client:
        with pytest.raises(ServiceBusy) as caught:
            await start(client)
    assert caught.value.retry_after == float(seconds)
    assert now() == (9 if seconds == "9" else 0)
    assert server.counts[LOGIN] == (2 if seconds == "9" else 1)


@pytest.mark.parametrize("told", ["flag", "exception"])
@virtual
async def test_a_refused_login_is_never_repeated(told: str) -> None:
    """Each attempt may count against the user: a login that the server refuses is sent once."""
    server = net_server()
    if told == "flag":
        server.tickets.refuse_logins = "flag"
    else:
        server.intercept(LOGIN, failing(ServerException("My.Refusal", "no")), times=None)
    async with connected(server) as client:
        with pytest.raises(AuthenticationFailed):
            await start(client)
    assert server.counts[LOGIN] == 1
    assert now() == 0


@virtual
async def test_a_login_by_hand_is_sent_once() -> None:
    """Only the client's own logins are repeated: who logs in by hand decides alone."""
    server = net_server()
    server.intercept(LOGIN, answering(503), times=None)
    async with connected(server, credentials=None) as client:
        with pytest.raises(ServiceBusy, match=f"^{LOGIN}: HTTP 503"):
            await client.principal.authenticate_username_password("demo", "demo")
    assert server.counts[LOGIN] == 1


@virtual
async def test_a_connection_that_breaks_during_a_login_is_said_to_be_the_logins() -> None:
    """The error does not ask to look whether the call was applied without saying that the call was not sent."""
    server = net_server()
    server.intercept(LOGIN, lost_reply, times=None)
    async with connected(server) as client:
        with pytest.raises(ConnectionLost, match=r"^the login failed: ") as caught:
            await start(client)
        assert (caught.value.operation, caught.value.applied) == (LOGIN, "no")
        with pytest.raises(ConnectionLost, match=r"^the login failed: (?!the login)"):
            await start(client)


# --- Tickets that the server refuses ----------------------------------------------------------------------------


@every_refusal
@every_call
@pytest.mark.parametrize("loss", ["expired", "revoked"])
@virtual
async def test_a_lost_ticket_is_renewed_and_the_call_repeated(call: Call, refusals: Refusals, loss: str) -> None:
    """For every kind of refusal, the call is sent once more with a new ticket, and applied once."""
    server = net_server(ticket_refusals=refusals)
    async with connected(server) as client:
        await read(client)
        if loss == "expired":
            # The server ends the ticket early: the client believes that it lasts for hours.
            await asyncio.sleep(5.5 * HOUR)
            server.tickets.revoke((await client.ticket()).value.reveal())
        else:
            server.tickets.revoke_all()
        server.calls.clear()
        await call(client)
    assert server.tickets.logins == 2
    applied = [seen.operation for seen in server.calls if seen.outcome == "succeeded"]
    assert len(server.calls) == len(applied) + 1
    assert len(applied) == len(set(applied))


@every_refusal
@virtual
async def test_a_ticket_that_ended_is_renewed_before_it_is_used(refusals: Refusals) -> None:
    """After more than 6 idle hours the client knows that its ticket has ended, and sends no request with it."""
    server = net_server(ticket_refusals=refusals)
    async with connected(server) as client:
        await read(client)
        await asyncio.sleep(7 * HOUR)
        await start(client)
    assert [call.operation for call in server.calls if call.outcome != "succeeded"] == []
    assert server.tickets.logins == 2


@pytest.mark.parametrize(
    ("refusals", "kind"),
    [
        pytest.param("header", OperationFailed, id="header"),
        pytest.param("fault", Fault, id="fault"),
        pytest.param("401", AccessDenied, id="401"),
    ],
)
@virtual
async def test_a_fixed_ticket_that_is_refused_fails_the_call(refusals: Refusals, kind: type[SoapBatchError]) -> None:
    """A fixed ticket cannot be renewed: after one request the server's refusal is raised, and nothing was applied."""
    server = net_server(ticket_refusals=refusals)
    async with connected(server, ticket="7T:unknown") as client:
        with pytest.raises(kind) as caught:
            await start(client)
    assert (caught.value.applied, caught.value.operation) == ("no", "StartBatchJob")
    assert (server.requests, server.tickets.attempts) == (1, 0)


@virtual
async def test_other_words_for_a_lost_ticket_can_be_configured() -> None:
    """`session_errors` names the types of exception that mean a lost ticket; any other type is raised at once."""
    server = net_server()
    expired = failing(ServerException("Partner.TicketExpiredException", "Gone"))
    async with connected(server, session_errors={"TicketExpiredException"}) as client:
        server.intercept("StartBatchJob", expired)
        await start(client)
    assert (server.tickets.logins, server.counts["StartBatchJob"]) == (2, 2)
    async with connected(server) as client:
        server.intercept("StartBatchJob", expired)
        with pytest.raises(OperationFailed, match="TicketExpiredException"):
            await start(client)
    assert (server.tickets.logins, server.counts["StartBatchJob"]) == (3, 3)


@virtual
async def test_a_call_is_repeated_once_only() -> None:
    """A server that takes no ticket gets each call at most twice, and few logins."""
    server = net_server()
    async with connected(server) as client:
        server.intercept(
            "StartBatchJob", failing(ServerException("SuperOffice.SoSessionException", "Gone")), times=None
        )
        for _ in range(60):
            with pytest.raises(OperationFailed) as caught:
                await start(client)
            assert (caught.value.error_type, caught.value.applied) == ("SoSessionException", "no")
            await asyncio.sleep(1)
    assert server.counts["StartBatchJob"] <= 60 + 13
    assert server.tickets.logins <= 13


# --- Refused logins ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refuse", "refused_by", "cause"),
    [
        pytest.param("flag", "flag", None, id="flag"),
        pytest.param("exception", "server", OperationFailed, id="header"),
        pytest.param("fault", "server", Fault, id="fault"),
    ],
)
@virtual
async def test_a_refused_login_is_not_retried(refuse: str, refused_by: str, cause: type[Exception] | None) -> None:
    """100 calls with credentials that the server refuses cause one login; each raises an error with the user."""
    server = net_server(failures="fault" if refuse == "fault" else "header")
    server.tickets.refuse_logins = "flag" if refuse == "flag" else "exception"
    async with connected(server) as client:
        errors = await asyncio.gather(*(start(client) for _ in range(100)), return_exceptions=True)
        for error in errors:
            assert isinstance(error, AuthenticationFailed)
            assert (error.user, error.refused_by, error.applied) == ("demo", refused_by, "no")
            assert type(error.__cause__) is (cause or type(None))
            assert "user 'demo'" in str(error)
        await asyncio.sleep(4.9)
        with pytest.raises(AuthenticationFailed):
            await start(client)
        assert server.tickets.attempts == 1
        server.tickets.refuse_logins = None
        await asyncio.sleep(0.2)
        await start(client)
    assert (server.tickets.attempts, server.tickets.logins) == (2, 1)
    assert server.counts["StartBatchJob"] == 1


@virtual
async def test_a_wrong_password_is_refused_by_the_flag() -> None:
    """A wrong password raises AuthenticationFailed with the user's name and without the password."""
    server = net_server()
    async with connected(server, credentials=UsernamePassword("demo", "tr0ub4dor")) as client:
        with pytest.raises(AuthenticationFailed, match=r"AuthenticateUsernamePassword .* user 'demo'") as caught:
            await start(client)
    assert (caught.value.user, caught.value.refused_by) == ("demo", "flag")
    assert "tr0ub4dor" not in f"{caught.value!r} {caught.value.__cause__!r}"


# --- Deadlines, cancelling, closing -----------------------------------------------------------------------------


@virtual
async def test_a_login_counts_against_the_deadline_of_the_call() -> None:
    """A call with 2 s gives up during a login of 5 s, unsent; a call with more time uses the same login."""
    server = net_server()
    server.intercept("AuthenticateUsernamePassword", delayed(5))
    async with connected(server) as client:
        patient = asyncio.create_task(start(client))
        with pytest.raises(DeadlineExceeded) as caught:
            await client.batch.start_batch_job(EXPORT, timeout=2)
        assert (caught.value.phase, caught.value.applied, now()) == ("login", "no", 2)
        await patient
    assert (server.tickets.logins, server.counts["StartBatchJob"]) == (1, 1)


@virtual
async def test_cancelled_calls_leave_no_login_behind() -> None:
    """Cancelling one of two calls leaves the login running; cancelling both ends it, and the next call logs in."""
    server = net_server()
    server.intercept("AuthenticateUsernamePassword", delayed(5), times=2)
    async with connected(server) as client:
        for survivors in (1, 0):
            calls = [asyncio.create_task(start(client)) for _ in range(2)]
            await asyncio.sleep(1)
            for call in calls[survivors:]:
                call.cancel()
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert [isinstance(outcome, int) for outcome in outcomes] == [True] * survivors + [False] * (2 - survivors)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            server.tickets.revoke_all()
        await start(client)
    started = [call for call in server.calls if (call.operation, call.outcome) == ("StartBatchJob", "succeeded")]
    assert len(started) == 2


@virtual
async def test_closing_ends_a_login() -> None:
    """A client that is closed during a login waits for the grace period, then ends the login and its waiters."""
    server = net_server()
    server.intercept("AuthenticateUsernamePassword", delayed(HOUR))
    async with connected(server, grace=3, timeout=None) as client:
        call = asyncio.create_task(start(client))
        await asyncio.sleep(1)
    assert now() == 4
    with pytest.raises(ClientClosed):
        await call
    assert server.counts["StartBatchJob"] == 0


# --- Many calls, long times -------------------------------------------------------------------------------------


@every_refusal
@virtual
async def test_100_calls_over_an_expiry_cause_one_login(refusals: Refusals) -> None:
    """100 calls at once with a ticket that the server has just revoked all work, and cause exactly one login."""
    server = net_server(ticket_refusals=refusals)
    async with connected(server) as client:
        await start(client)
        server.tickets.revoke_all()
        await asyncio.gather(*(start(client) for _ in range(100)))
    assert server.tickets.logins == 2
    assert [call.outcome for call in server.calls].count("succeeded") == 2 + 101


@virtual
async def test_24_hours_of_one_call_a_minute_cause_one_login() -> None:
    """Each use extends the ticket: 1,440 calls in 24 hours work, with one login."""
    server = net_server()
    async with connected(server) as client:
        for _ in range(24 * 60):
            await read(client)
            await asyncio.sleep(60)
    assert (server.tickets.attempts, server.counts["GetBatchTaskInfo"]) == (1, 24 * 60)


@virtual
async def test_24_hours_over_tokens_of_one_hour_cause_no_failure() -> None:
    """Access tokens of one hour are renewed in time: no call is refused, and at most 29 tokens are fetched."""
    server = net_server()
    fetched: list[str] = []

    async def fetch() -> Ticket:
        token = server.tickets.issue_access_token()
        asyncio.get_running_loop().call_later(HOUR, server.tickets.revoke, token)
        fetched.append(token)
        # The client uses the machine's date: only the difference counts.
        return Ticket(token, expires_at=datetime.now(UTC) + timedelta(hours=1))

    async with connected(server, credentials=AccessToken(fetch)) as client:
        for _ in range(24 * 60):
            await read(client)
            await asyncio.sleep(60)
    assert server.counts["GetBatchTaskInfo"] == 24 * 60
    assert {call.outcome for call in server.calls} == {"succeeded"}
    assert 24 <= len(fetched) <= 29


# --- Sharing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "file"])
@virtual
async def test_clients_share_a_ticket_through_a_store(kind: str, tmp_path: Any) -> None:
    """Clients with one store, in turn and at once, share one login; a lost ticket causes one more."""
    server = net_server()
    store: TicketStore = MemoryTicketStore() if kind == "memory" else FileTicketStore(tmp_path / "ticket.json")
    async with connected(server, ticket_store=store) as client:
        await start(client)
    async with connected(server, ticket_store=store) as one, connected(server, ticket_store=store) as other:
        await start(one)
        await start(other)
        assert server.tickets.logins == 1
        server.tickets.revoke_all()
        await start(one)
        await asyncio.sleep(1)  # the new ticket is stored in the background
        await start(other)
    assert server.tickets.logins == 2


@virtual
async def test_a_ticket_that_was_read_out_serves_another_client() -> None:
    """`await client.ticket()` returns credentials with which another client needs no login."""
    server = net_server()
    async with connected(server) as client:
        ticket = await client.ticket()
    assert ticket.expires_at is not None
    async with connected(server, credentials=ticket) as client:
        await start(client)
    assert server.tickets.logins == 1
