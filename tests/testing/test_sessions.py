"""The embedded server's logins and tickets: who gets a ticket, how long it is valid, how the server refuses one."""

import re

import pytest

from soapbatch import Binding, ServiceVersion
from soapbatch.errors import AccessDenied, AuthenticationFailed, Fault, OperationFailed, SoapBatchError
from soapbatch.testing import DEMO_USER, ManualClock, NetServer, User
from tests.support.raw_client import BINDINGS, RawClient, raw_client

HOUR = 3600.0
BOB = User(name="bob", password="pass wörd <&>", associate_id=7, full_name="Bob Æ", generic={"badge": "12", "pin": ""})


def scene() -> tuple[NetServer, ManualClock, RawClient]:
    """Return a server with the user Bob, its clock, and a raw client without a ticket."""
    clock = ManualClock()
    server = NetServer(clock=clock, users=[BOB])
    return server, clock, RawClient(server)


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("version", ServiceVersion)
async def test_a_password_gives_a_ticket(binding: Binding, version: ServiceVersion) -> None:
    """The reply names the user, and its ticket is valid for Batch."""
    server, _, client = scene()
    client.binding, client.version = binding, version
    reply = await client("AuthenticateUsernamePassword", user_name="bob", password="pass wörd <&>")
    assert (reply.response.associate, reply.response.associate_id, reply.response.full_name) == ("bob", 7, "Bob Æ")
    client.ticket = reply.credentials.ticket
    assert re.fullmatch(r"7T:[A-Za-z0-9+/]{24}", str(client.ticket))
    assert await client("GetBatchTaskInfo", id=1) is None
    assert (server.tickets.attempts, server.tickets.logins) == (1, 1)


@pytest.mark.parametrize(("user", "password"), [("bob", "wrong"), ("eve", "x"), ("bob", None), (None, None)])
async def test_a_wrong_password_is_reported_by_the_flag(user: str | None, password: str | None) -> None:
    """AuthenticationSucceeded is false in a reply with Succeeded=true, as in the recordings."""
    server, _, client = scene()
    answer = await client.post("AuthenticateUsernamePassword", user_name=user, password=password)
    assert b"true</Succeeded>" in answer.content
    assert b"<AuthenticationSucceeded>false</AuthenticationSucceeded>" in answer.content
    with pytest.raises(AuthenticationFailed):
        await client("AuthenticateUsernamePassword", user_name=user, password=password)
    assert (server.tickets.attempts, server.tickets.logins) == (2, 0)


async def test_logins_can_be_refused() -> None:
    """`refuse_logins` refuses every login, by the flag or by an exception, even with the right password."""
    server, _, client = scene()
    login = {"user_name": "bob", "password": BOB.password}
    server.tickets.refuse_logins = "flag"
    with pytest.raises(AuthenticationFailed):
        await client("AuthenticateUsernamePassword", **login)
    server.tickets.refuse_logins = "exception"
    with pytest.raises(SoapBatchError) as caught:
        await client("AuthenticateUsernamePassword", **login)
    answer = await client.post("AuthenticateUsernamePassword", **login)
    assert b"SoAuthenticationException" in answer.content
    assert b"<AuthenticationSucceeded>false</AuthenticationSucceeded>" in answer.content
    assert "SoAuthenticationException" in str(caught.value)
    server.tickets.refuse_logins = None
    await client("AuthenticateUsernamePassword", **login)
    assert (server.tickets.attempts, server.tickets.logins) == (4, 1)


async def test_the_other_logins() -> None:
    """Implicit logins, generic logins and access tokens succeed only for the users whom the server knows by them."""
    server, _, client = scene()
    server.tickets.add_user(DEMO_USER)
    for operation, arguments in (
        ("AuthenticateImplicit", {}),
        ("AuthenticateGeneric", {"authentication_data": {"badge": "13"}}),
        ("AuthenticateGeneric", {"authentication_data": None}),
        ("AuthenticateWithAccessToken", {"access_token": "8A:unknown"}),
        ("AuthenticateWithAccessToken", {"access_token": None}),
    ):
        with pytest.raises(AuthenticationFailed):
            await client(operation, **arguments)
    server.tickets.implicit_user = DEMO_USER
    reply = await client("AuthenticateImplicit")
    assert reply.response.associate == "demo"
    reply = await client("AuthenticateGeneric", authentication_data={"pin": "", "badge": "12"})
    assert reply.response.associate == "bob"
    token = server.tickets.issue_access_token(DEMO_USER)
    reply = await client("AuthenticateWithAccessToken", access_token=token)
    assert reply.response.associate == "demo"
    assert token.startswith("8A:")


@pytest.mark.parametrize(
    ("version", "is_accepted"), [(ServiceVersion.V85, False), (ServiceVersion.V86, True), (ServiceVersion.V88, True)]
)
async def test_an_access_token_may_stand_in_the_ticket_from_86_on(
    version: ServiceVersion, *, is_accepted: bool
) -> None:
    """Older versions refuse an access token in the place of the ticket."""
    server, _, client = scene()
    client.version, client.ticket = version, server.tickets.issue_access_token()
    if is_accepted:
        assert await client("GetBatchTaskInfo", id=1) is None
        server.tickets.revoke(client.ticket)
    with pytest.raises(OperationFailed, match="SoSessionException"):
        await client("GetBatchTaskInfo", id=1)


async def test_each_use_extends_a_ticket() -> None:
    """A ticket expires six hours after its last use, and stays expired."""
    server, clock, client = scene()
    client.ticket = server.tickets.issue()
    for _ in range(4):
        clock.advance(6 * HOUR - 1)
        await client("GetBatchTaskInfo", id=1)
    assert server.tickets.expires(client.ticket) == 4 * (6 * HOUR - 1) + 6 * HOUR
    clock.advance(6 * HOUR)
    for _ in range(2):
        with pytest.raises(OperationFailed, match="SoSessionException"):
            await client("GetBatchTaskInfo", id=1)


async def test_tickets_can_be_revoked() -> None:
    """Tickets are revoked one by one, or all at once; revoking an unknown ticket changes nothing."""
    server, _, client = scene()
    first, second, third = (server.tickets.issue(BOB) for _ in range(3))
    token = server.tickets.issue_access_token(BOB)
    server.tickets.revoke(first)
    server.tickets.revoke("7T:unknown")
    assert server.tickets.expires(first) is None
    for ticket, is_good in ((first, False), (second, True), (third, True), (token, True)):
        client.ticket = ticket
        answer = await client.post("GetBatchTaskInfo", id=1)
        assert (b"SoSessionException" not in answer.content) is is_good
    server.tickets.revoke_all()
    for ticket in (second, third, token):
        client.ticket = ticket
        with pytest.raises(OperationFailed, match="SoSessionException"):
            await client("GetBatchTaskInfo", id=1)


async def test_a_missing_ticket_is_refused() -> None:
    """Batch and BLOB need a ticket; SoPrincipal does not."""
    _, _, client = scene()
    for ticket in (None, ""):
        client.ticket = ticket
        with pytest.raises(OperationFailed, match="No credentials in request header"):
            await client("GetBatchTaskInfo", id=1)
        with pytest.raises(OperationFailed, match="No credentials in request header"):
            await client("CleanupBatchTask", batch_task_id=1)
    assert (await client("GetSystemInfo")).company_name == "Example Company"


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_ticket_is_refused_in_three_ways(binding: Binding) -> None:
    """The server refuses a ticket by header blocks, by a fault, or by HTTP 401; nothing is applied."""
    server = NetServer()
    client = raw_client(server, binding=binding)
    server.tickets.revoke_all()
    with pytest.raises(OperationFailed) as failed:
        await client("StopBatchJob", id=1)
    assert failed.value.error_type == "SoSessionException"
    server.ticket_refusals = "fault"
    with pytest.raises(Fault) as fault:
        await client("StopBatchJob", id=1)
    assert fault.value.status == 500
    assert fault.value.exception_info is not None
    assert fault.value.exception_info.error_type == "SoSessionException"
    server.ticket_refusals = "401"
    with pytest.raises(AccessDenied) as denied:
        await client("StopBatchJob", id=1)
    assert {error.value.applied for error in (failed, fault, denied)} == {"no"}


async def test_reprs_show_no_secret() -> None:
    """The reprs of users, of the session store and of calls hide passwords, tickets and tokens."""
    server, _, client = scene()
    ticket, token = server.tickets.issue(), server.tickets.issue_access_token()
    await client("AuthenticateUsernamePassword", user_name="bob", password=BOB.password)
    await client("AuthenticateGeneric", authentication_data=BOB.generic)
    await client("AuthenticateWithAccessToken", access_token=token)
    shown = repr((BOB, server.tickets, list(server.calls)))
    assert "bob" in shown
    for secret in (BOB.password, "badge", ticket, token):
        assert secret not in shown
