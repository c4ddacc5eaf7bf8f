"""The embedded server's logins and tickets: who gets one, how long it lasts, and how a bad one is told."""

import re

import pytest

from soapbatch import Binding, ServiceVersion
from soapbatch.errors import AccessDenied, AuthenticationFailed, Fault, OperationFailed, SoapBatchError
from soapbatch.testing import DEMO_USER, ManualClock, NetServer, User
from tests.support.raw_client import BINDINGS, Speaker, speaker

HOUR = 3600.0
BOB = User(name="bob", password="pass wörd <&>", associate_id=7, full_name="Bob Æ", generic={"badge": "12", "pin": ""})


def scene() -> tuple[NetServer, ManualClock, Speaker]:
    """Return a server that knows Bob, its clock, and somebody without a ticket."""
    clock = ManualClock()
    server = NetServer(clock=clock, users=[BOB])
    return server, clock, Speaker(server)


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("version", ServiceVersion)
async def test_a_password_gives_a_ticket(binding: Binding, version: ServiceVersion) -> None:
    """The reply says who it is for; the ticket opens Batch, and nothing else does."""
    server, _, speak = scene()
    speak.binding, speak.version = binding, version
    reply = await speak("AuthenticateUsernamePassword", user_name="bob", password="pass wörd <&>")
    assert (reply.response.associate, reply.response.associate_id, reply.response.full_name) == ("bob", 7, "Bob Æ")
    speak.ticket = reply.credentials.ticket
    assert re.fullmatch(r"7T:[A-Za-z0-9+/]{24}", str(speak.ticket))
    assert await speak("GetBatchTaskInfo", id=1) is None
    assert (server.tickets.attempts, server.tickets.logins) == (1, 1)


@pytest.mark.parametrize(("user", "password"), [("bob", "wrong"), ("eve", "x"), ("bob", None), (None, None)])
async def test_a_wrong_password_is_told_by_the_flag(user: str | None, password: str | None) -> None:
    """AuthenticationSucceeded is false in a reply that succeeded, as recorded."""
    server, _, speak = scene()
    answer = await speak.post("AuthenticateUsernamePassword", user_name=user, password=password)
    assert b"true</Succeeded>" in answer.content
    assert b"<AuthenticationSucceeded>false</AuthenticationSucceeded>" in answer.content
    with pytest.raises(AuthenticationFailed):
        await speak("AuthenticateUsernamePassword", user_name=user, password=password)
    assert (server.tickets.attempts, server.tickets.logins) == (2, 0)


async def test_logins_can_be_refused() -> None:
    """All of them, by the flag or by an exception, right password or not."""
    server, _, speak = scene()
    login = {"user_name": "bob", "password": BOB.password}
    server.tickets.refuse_logins = "flag"
    with pytest.raises(AuthenticationFailed):
        await speak("AuthenticateUsernamePassword", **login)
    server.tickets.refuse_logins = "exception"
    with pytest.raises(SoapBatchError) as caught:
        await speak("AuthenticateUsernamePassword", **login)
    answer = await speak.post("AuthenticateUsernamePassword", **login)
    assert b"SoAuthenticationException" in answer.content
    assert b"<AuthenticationSucceeded>false</AuthenticationSucceeded>" in answer.content
    assert "SoAuthenticationException" in str(caught.value)
    server.tickets.refuse_logins = None
    await speak("AuthenticateUsernamePassword", **login)
    assert (server.tickets.attempts, server.tickets.logins) == (4, 1)


async def test_the_other_ways_in() -> None:
    """Implicit and generic logins and access tokens, each only for whom the server knows that way."""
    server, _, speak = scene()
    server.tickets.add_user(DEMO_USER)
    for operation, arguments in (
        ("AuthenticateImplicit", {}),
        ("AuthenticateGeneric", {"authentication_data": {"badge": "13"}}),
        ("AuthenticateGeneric", {"authentication_data": None}),
        ("AuthenticateWithAccessToken", {"access_token": "8A:unknown"}),
        ("AuthenticateWithAccessToken", {"access_token": None}),
    ):
        with pytest.raises(AuthenticationFailed):
            await speak(operation, **arguments)
    server.tickets.implicit_user = DEMO_USER
    reply = await speak("AuthenticateImplicit")
    assert reply.response.associate == "demo"
    reply = await speak("AuthenticateGeneric", authentication_data={"pin": "", "badge": "12"})
    assert reply.response.associate == "bob"
    token = server.tickets.issue_access_token(DEMO_USER)
    reply = await speak("AuthenticateWithAccessToken", access_token=token)
    assert reply.response.associate == "demo"
    assert token.startswith("8A:")


@pytest.mark.parametrize(
    ("version", "is_accepted"), [(ServiceVersion.V85, False), (ServiceVersion.V86, True), (ServiceVersion.V88, True)]
)
async def test_an_access_token_may_stand_in_the_ticket_from_86_on(
    version: ServiceVersion, *, is_accepted: bool
) -> None:
    """Before that it is no ticket."""
    server, _, speak = scene()
    speak.version, speak.ticket = version, server.tickets.issue_access_token()
    if is_accepted:
        assert await speak("GetBatchTaskInfo", id=1) is None
        server.tickets.revoke(speak.ticket)
    with pytest.raises(OperationFailed, match="SoSessionException"):
        await speak("GetBatchTaskInfo", id=1)


async def test_each_use_moves_the_end_of_a_ticket() -> None:
    """Six hours after its last use it is over, and stays so."""
    server, clock, speak = scene()
    speak.ticket = server.tickets.issue()
    for _ in range(4):
        clock.advance(6 * HOUR - 1)
        await speak("GetBatchTaskInfo", id=1)
    assert server.tickets.expires(speak.ticket) == 4 * (6 * HOUR - 1) + 6 * HOUR
    clock.advance(6 * HOUR)
    for _ in range(2):
        with pytest.raises(OperationFailed, match="SoSessionException"):
            await speak("GetBatchTaskInfo", id=1)


async def test_tickets_can_be_revoked() -> None:
    """One by one, or all at once; revoking what is unknown changes nothing."""
    server, _, speak = scene()
    first, second, third = (server.tickets.issue(BOB) for _ in range(3))
    token = server.tickets.issue_access_token(BOB)
    server.tickets.revoke(first)
    server.tickets.revoke("7T:unknown")
    assert server.tickets.expires(first) is None
    for ticket, is_good in ((first, False), (second, True), (third, True), (token, True)):
        speak.ticket = ticket
        answer = await speak.post("GetBatchTaskInfo", id=1)
        assert (b"SoSessionException" not in answer.content) is is_good
    server.tickets.revoke_all()
    for ticket in (second, third, token):
        speak.ticket = ticket
        with pytest.raises(OperationFailed, match="SoSessionException"):
            await speak("GetBatchTaskInfo", id=1)


async def test_a_missing_ticket_is_told() -> None:
    """Batch and BLOB need one; SoPrincipal does not."""
    _, _, speak = scene()
    for ticket in (None, ""):
        speak.ticket = ticket
        with pytest.raises(OperationFailed, match="No credentials in request header"):
            await speak("GetBatchTaskInfo", id=1)
        with pytest.raises(OperationFailed, match="No credentials in request header"):
            await speak("CleanupBatchTask", batch_task_id=1)
    assert (await speak("GetSystemInfo")).company_name == "Example Company"


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_refused_ticket_is_told_in_three_ways(binding: Binding) -> None:
    """As a header failure, as a fault, or as HTTP 401; nothing was applied, says our reading of each."""
    server = NetServer()
    speak = speaker(server, binding=binding)
    server.tickets.revoke_all()
    with pytest.raises(OperationFailed) as failed:
        await speak("StopBatchJob", id=1)
    assert failed.value.error_type == "SoSessionException"
    server.ticket_refusals = "fault"
    with pytest.raises(Fault) as fault:
        await speak("StopBatchJob", id=1)
    assert fault.value.status == 500
    assert fault.value.exception_info is not None
    assert fault.value.exception_info.error_type == "SoSessionException"
    server.ticket_refusals = "401"
    with pytest.raises(AccessDenied) as denied:
        await speak("StopBatchJob", id=1)
    assert {error.value.applied for error in (failed, fault, denied)} == {"no"}


async def test_reprs_show_no_secret() -> None:
    """Neither users nor the store of tickets, nor the log of calls."""
    server, _, speak = scene()
    ticket, token = server.tickets.issue(), server.tickets.issue_access_token()
    await speak("AuthenticateUsernamePassword", user_name="bob", password=BOB.password)
    await speak("AuthenticateGeneric", authentication_data=BOB.generic)
    await speak("AuthenticateWithAccessToken", access_token=token)
    shown = repr((BOB, server.tickets, list(server.calls)))
    assert "bob" in shown
    for secret in (BOB.password, "badge", ticket, token):
        assert secret not in shown
