"""The client and its ticket, end to end against the embedded server, on one clock that costs nothing."""

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
    DeadlineExceeded,
    Fault,
    FileTicketStore,
    Generic,
    Implicit,
    InsecureTransport,
    NotInVersion,
    OperationFailed,
    Secret,
    ServiceVersion,
    SoapBatchError,
    Ticket,
    UsageError,
    UsernamePassword,
)
from soapbatch.auth import MemoryTicketStore, TicketStore
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_STATE
from soapbatch.testing import DEMO_USER, NetServer, Personality, ServerException, User, delayed, failing
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
    """Return a server on the loop's clock, with a job to start."""
    server = NetServer(clock=asyncio.get_running_loop().time, **options)
    server.define_job("Export", duration=30)
    return server


@contextlib.asynccontextmanager
async def connected(server: NetServer, **options: Any) -> AsyncGenerator[Client]:
    """Yield a client of a server in this process; by default one that logs in as the demo user."""
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
    """Make a call whose answer is read item by item."""
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
    """Credentials cause one login before the first call, in the client's binding, and none before later ones."""
    server = net_server(users=[DEMO_USER, PIN])
    server.tickets.implicit_user = DEMO_USER
    async with connected(server, credentials=credentials, binding=binding) as client:
        assert server.requests == 0
        await start(client)
        await start(client)
    assert (server.tickets.logins, server.counts["StartBatchJob"]) == (1, 2)
    assert {call.binding for call in server.calls} == {binding}


@pytest.mark.parametrize(
    ("exchange", "logins"), [pytest.param(False, 0, id="as it is"), pytest.param(True, 1, id="exchanged")]
)
@virtual
async def test_an_access_token_lets_in(*, exchange: bool, logins: int) -> None:
    """An access token works in the place of a ticket, and exchanged for one; before 86 it works in no way."""
    server = net_server()
    token = server.tickets.issue_access_token()
    async with connected(server, credentials=AccessToken(token, exchange=exchange)) as client:
        await start(client)
    assert server.tickets.logins == logins
    async with connected(server, credentials=AccessToken(token), version=ServiceVersion.V85) as client:
        with pytest.raises(NotInVersion):
            await start(client)


@virtual
async def test_a_ticket_from_elsewhere_lets_in() -> None:
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
    """With no binding pinned the login is what discovers it: the form is refused once, for the client's whole life."""
    server = net_server(personality=Personality.STRICT_SOAP11)
    async with connected(server, binding=None) as client:
        await asyncio.gather(*(start(client) for _ in range(10)))
        assert client.binding is Binding.SOAP11
    assert server.requests == 1 + 1 + 10


@virtual
async def test_without_credentials_only_the_principal_service_answers() -> None:
    """A client without credentials has no ticket to read out, and calls without one are the server's to refuse."""
    server = net_server()
    async with connected(server, credentials=None) as client:
        assert await client.principal.get_system_info() is not None
        with pytest.raises(UsageError, match="no credentials"):
            await client.ticket()
        with pytest.raises(OperationFailed, match="No credentials"):
            await start(client)


@pytest.mark.parametrize(
    "credentials", [pytest.param(DEMO, id="password"), pytest.param(Generic({"pin": "1234"}), id="generic")]
)
def test_a_password_does_not_cross_plain_http(credentials: UsernamePassword | Generic) -> None:
    """Passwords over plain HTTP to another host are refused when the client is made, unless that is allowed."""
    with pytest.raises(InsecureTransport):
        Client("http://crm.example.com", credentials=credentials)
    Client("http://crm.example.com", credentials=credentials, allow_insecure=True)


# --- Tickets that the server refuses ----------------------------------------------------------------------------


@every_refusal
@every_call
@pytest.mark.parametrize("loss", ["expired", "revoked"])
@virtual
async def test_a_lost_ticket_is_renewed_and_the_call_repeated(call: Call, refusals: Refusals, loss: str) -> None:
    """However the server says that the ticket is gone, the call is sent once more with a new one, and applied once."""
    server = net_server(ticket_refusals=refusals)
    async with connected(server) as client:
        await read(client)
        if loss == "expired":
            # Another clock, or another process: the client believes that its ticket has hours to go.
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
    """After more than 6 idle hours the client knows that its ticket has ended, and does not try it."""
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
    """With nothing to renew it with the server's own refusal is raised, after one request; nothing was applied."""
    server = net_server(ticket_refusals=refusals)
    async with connected(server, ticket="7T:unknown") as client:
        with pytest.raises(kind) as caught:
            await start(client)
    assert (caught.value.applied, caught.value.operation) == ("no", "StartBatchJob")
    assert (server.requests, server.tickets.attempts) == (1, 0)


@virtual
async def test_other_words_for_a_lost_ticket_can_be_configured() -> None:
    """`session_errors` names the types of exception that mean a lost ticket; any other is raised at once."""
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
    """A server that takes no ticket at all gets each call twice at most, and few logins."""
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
    """100 calls with credentials that the server refuses cause one login, and each gets an error with the user."""
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
    """A wrong password is an AuthenticationFailed with the name of the user and without the password."""
    server = net_server()
    async with connected(server, credentials=UsernamePassword("demo", "tr0ub4dor")) as client:
        with pytest.raises(AuthenticationFailed, match=r"AuthenticateUsernamePassword .* user 'demo'") as caught:
            await start(client)
    assert (caught.value.user, caught.value.refused_by) == ("demo", "flag")
    assert "tr0ub4dor" not in f"{caught.value!r} {caught.value.__cause__!r}"


# --- Deadlines, cancelling, closing -----------------------------------------------------------------------------


@virtual
async def test_a_login_counts_against_the_deadline_of_the_call() -> None:
    """A call with 2 s gives up in a login of 5 s, unsent; one with more time takes the same login."""
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
    """Cancelling one of two calls leaves them their login; cancelling both ends it, and the next call logs in."""
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
    """A client that is closed during a login gives it its grace, then ends it, and those who wait for it."""
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
    """100 calls at once with a ticket that the server has just forgotten all work, and cause exactly one login."""
    server = net_server(ticket_refusals=refusals)
    async with connected(server) as client:
        await start(client)
        server.tickets.revoke_all()
        await asyncio.gather(*(start(client) for _ in range(100)))
    assert server.tickets.logins == 2
    assert [call.outcome for call in server.calls].count("succeeded") == 2 + 101


@virtual
async def test_24_hours_of_one_call_a_minute_cause_one_login() -> None:
    """A ticket in use outlives its 6 hours: 1,440 calls in 24 hours work, with one login."""
    server = net_server()
    async with connected(server) as client:
        for _ in range(24 * 60):
            await read(client)
            await asyncio.sleep(60)
    assert (server.tickets.attempts, server.counts["GetBatchTaskInfo"]) == (1, 24 * 60)


@virtual
async def test_24_hours_over_tokens_of_one_hour_cause_no_failure() -> None:
    """Access tokens that end after an hour are fetched ahead of that: no call is refused, at most 29 are fetched."""
    server = net_server()
    fetched: list[str] = []

    async def fetch() -> Ticket:
        token = server.tickets.issue_access_token()
        asyncio.get_running_loop().call_later(HOUR, server.tickets.revoke, token)
        fetched.append(token)
        # The client takes the machine's date for now: only the distance counts.
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
    """Two clients, one after the other and at once, with one store: one login, and one more when the ticket is lost."""
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
    """`await client.ticket()` gives what another client takes as its credentials, without a login of its own."""
    server = net_server()
    async with connected(server) as client:
        ticket = await client.ticket()
    assert ticket.expires_at is not None
    async with connected(server, credentials=ticket) as client:
        await start(client)
    assert server.tickets.logins == 1
