"""How each kind of credentials becomes a ticket."""

import asyncio
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from soapbatch import (
    AccessToken,
    AuthenticationFailed,
    ConnectFailed,
    Fault,
    Generic,
    Implicit,
    InsecureTransport,
    NotInVersion,
    OperationFailed,
    Secret,
    ServiceVersion,
    SoapBatchError,
    Ticket,
    UnexpectedResponse,
    UsageError,
    UsernamePassword,
)
from soapbatch.auth import fetch_application_token
from soapbatch.auth.credentials import Credentials, as_provider, check_transport_security
from soapbatch.model.headers import ExceptionInfo, SoCredentials
from soapbatch.model.principal import AuthenticateResponse
from soapbatch.operations import Operation

V85, V86, V88 = ServiceVersion.V85, ServiceVersion.V86, ServiceVersion.V88
TICKET = Secret("7T:MgA5ADsAMQA3AA")
TOKEN = Secret("8A:Cust12345.abc")
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
ISSUED = AuthenticateResponse(credentials=SoCredentials(ticket=TICKET), authentication_succeeded=True)


@attrs.define
class PrincipalService:
    """A stand-in for the SoPrincipal service: records each login, and returns or raises `answer`."""

    answer: AuthenticateResponse | SoapBatchError = ISSUED
    logins: list[tuple[str, Mapping[str, object]]] = attrs.field(factory=list)

    async def __call__(
        self, operation: Operation[AuthenticateResponse], arguments: Mapping[str, object]
    ) -> AuthenticateResponse:
        """Record a login, and answer it."""
        self.logins.append((operation.name, arguments))
        if isinstance(self.answer, SoapBatchError):
            raise self.answer
        return self.answer


async def obtain(
    credentials: Credentials | str | Secret, service: PrincipalService, version: ServiceVersion = V88
) -> Ticket:
    """Obtain a ticket as a client does."""
    return await as_provider(credentials).obtain(service, version)


async def fetch_text() -> str:
    """Return a token as text."""
    return TOKEN.reveal()


async def fetch_secret() -> Secret:
    """Return a token as a Secret."""
    return TOKEN


async def fetch_with_end() -> Ticket:
    """Return a token with its expiry."""
    return Ticket(TOKEN, expires_at=NOON)


@pytest.mark.parametrize(
    ("credentials", "version", "operation", "arguments"),
    [
        pytest.param(
            UsernamePassword("anna", "pw"),
            V88,
            "AuthenticateUsernamePassword",
            {"user_name": "anna", "password": Secret("pw")},
            id="password",
        ),
        pytest.param(
            UsernamePassword("anna", Secret("")),
            V85,
            "AuthenticateUsernamePassword",
            {"user_name": "anna", "password": Secret("")},
            id="empty password",
        ),
        pytest.param(Implicit(), V88, "AuthenticateImplicit", {}, id="implicit"),
        pytest.param(
            Generic({"method": "card", "pin": Secret("1234"), "hint": None}),
            V88,
            "AuthenticateGeneric",
            {"authentication_data": {"method": Secret("card"), "pin": Secret("1234"), "hint": None}},
            id="generic",
        ),
        pytest.param(
            AccessToken(TOKEN, exchange=True),
            V86,
            "AuthenticateWithAccessToken",
            {"access_token": TOKEN},
            id="token exchanged",
        ),
        pytest.param(
            AccessToken(fetch_text, exchange=True),
            V88,
            "AuthenticateWithAccessToken",
            {"access_token": TOKEN},
            id="fetched token exchanged",
        ),
    ],
)
async def test_a_login_is_one_operation(
    credentials: Credentials, version: ServiceVersion, operation: str, arguments: Mapping[str, object]
) -> None:
    """Credentials that log in send one operation and take the ticket from its response. They can log in again."""
    service = PrincipalService()
    assert await obtain(credentials, service, version) == Ticket(TICKET)
    assert service.logins == [(operation, arguments)]
    assert as_provider(credentials).renews(version)


@pytest.mark.parametrize(
    ("credentials", "ticket", "renews"),
    [
        pytest.param("7T:MgA5ADsAMQA3AA", Ticket(TICKET), False, id="text"),
        pytest.param(TICKET, Ticket(TICKET), False, id="secret"),
        pytest.param(Ticket("7T:MgA5ADsAMQA3AA"), Ticket(TICKET), False, id="ticket"),
        pytest.param(
            Ticket(TICKET, expires_at=NOON), Ticket(TICKET, expires_at=NOON), False, id="ticket with an expiry"
        ),
        pytest.param(AccessToken(TOKEN), Ticket(TOKEN, sliding=False), False, id="token"),
        pytest.param(AccessToken(TOKEN.reveal()), Ticket(TOKEN, sliding=False), False, id="token as text"),
        pytest.param(AccessToken(fetch_secret), Ticket(TOKEN, sliding=False), True, id="fetched token"),
        pytest.param(
            AccessToken(fetch_with_end),
            Ticket(TOKEN, expires_at=NOON, sliding=False),
            True,
            id="fetched token with an expiry",
        ),
        pytest.param(fetch_text, Ticket(TOKEN), True, id="callable returning text"),
        pytest.param(fetch_secret, Ticket(TOKEN), True, id="callable returning a secret"),
        pytest.param(fetch_with_end, Ticket(TOKEN, expires_at=NOON), True, id="callable returning a ticket"),
    ],
)
async def test_a_ticket_that_is_there_needs_no_login(
    credentials: Credentials | str | Secret, ticket: Ticket, *, renews: bool
) -> None:
    """Tickets, tokens from 86 on, and callables give a ticket without a login. Only callables can renew it."""
    service = PrincipalService()
    assert await obtain(credentials, service, V86) == ticket
    assert service.logins == []
    assert as_provider(credentials).renews(V86) is renews


@pytest.mark.parametrize("exchange", [pytest.param(False, id="as it is"), pytest.param(True, id="to be exchanged")])
async def test_before_86_there_is_no_place_for_an_access_token(*, exchange: bool) -> None:
    """Services before 86 take no token: nothing is fetched or sent, and the error names the first version that does."""
    service = PrincipalService()
    fetched = []

    async def fetch() -> Secret:
        fetched.append(1)
        return TOKEN

    with pytest.raises(NotInVersion, match="AuthenticateWithAccessToken came with Services86") as caught:
        await obtain(AccessToken(fetch, exchange=exchange), service, V85)
    assert caught.value.since is V86
    assert (service.logins, fetched) == ([], [])


def failure(kind: type[OperationFailed] | type[Fault], info: ExceptionInfo | None) -> OperationFailed | Fault:
    """Return the error that a login's response causes."""
    return kind(
        "AuthenticateUsernamePassword: SoSessionException: no such user",
        exception_info=info,
        operation="AuthenticateUsernamePassword",
        version=V88,
    )


NO_SUCH_USER = ExceptionInfo(message="no such user", exception_type="SuperOffice.Exceptions.SoSessionException")


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(failure(OperationFailed, NO_SUCH_USER), id="in the header"),
        pytest.param(failure(OperationFailed, None), id="in the header, without a reason"),
        pytest.param(failure(Fault, NO_SUCH_USER), id="as a fault"),
    ],
)
async def test_a_server_that_refuses_a_login_is_named(refusal: OperationFailed | Fault) -> None:
    """A login that the server refuses raises AuthenticationFailed with the user; the server's error is the cause."""
    with pytest.raises(AuthenticationFailed) as caught:
        await obtain(UsernamePassword("anna", "pw"), PrincipalService(refusal))
    error = caught.value
    assert (error.user, error.refused_by, error.applied) == ("anna", "server", "no")
    assert (error.operation, error.version) == ("AuthenticateUsernamePassword", V88)
    assert str(error) == (
        "AuthenticateUsernamePassword gives no ticket to user 'anna': SoSessionException: no such user"
    )
    assert error.__cause__ is refusal
    assert refusal.__traceback__ is None


async def test_a_flag_that_refuses_a_login_is_named() -> None:
    """A response with AuthenticationSucceeded=false raises AuthenticationFailed with the user and the call."""
    flagged = AuthenticationFailed("no", operation="AuthenticateUsernamePassword", version=V88)
    with pytest.raises(
        AuthenticationFailed, match=r"gives no ticket to user 'anna': .* check the credentials"
    ) as caught:
        await obtain(UsernamePassword("anna", "pw"), PrincipalService(flagged))
    error = caught.value
    assert (error.user, error.refused_by, error.applied) == ("anna", "flag", "no")
    assert (error.operation, error.version) == ("AuthenticateUsernamePassword", V88)
    assert (error.__cause__, error.__context__) == (None, None)


async def test_a_refusal_names_no_user_where_the_credentials_do_not() -> None:
    """Credentials without a user's name leave `user` None and out of the message."""
    with pytest.raises(AuthenticationFailed, match=r"^AuthenticateImplicit gives no ticket: ") as caught:
        await obtain(Implicit(), PrincipalService(AuthenticationFailed("no")))
    assert caught.value.user is None


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(failure(Fault, None), id="fault that NetServer did not write"),
        pytest.param(ConnectFailed("refused"), id="no connection"),
        pytest.param(UsageError("wrong"), id="usage"),
    ],
)
async def test_other_failures_of_a_login_come_through(error: SoapBatchError) -> None:
    """A login that fails without being refused raises the error of the call."""
    with pytest.raises(type(error)) as caught:
        await obtain(UsernamePassword("anna", "pw"), PrincipalService(error))
    assert caught.value is error


@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(None, id="no credentials"),
        pytest.param(SoCredentials(), id="no ticket"),
        pytest.param(SoCredentials(ticket=""), id="an empty ticket"),
        pytest.param(SoCredentials(ticket=Secret("")), id="an empty secret"),
    ],
)
async def test_a_login_without_a_ticket_is_an_unexpected_response(credentials: SoCredentials | None) -> None:
    """A response that claims success and holds no ticket raises UnexpectedResponse."""
    service = PrincipalService(AuthenticateResponse(credentials=credentials, authentication_succeeded=True))
    with pytest.raises(UnexpectedResponse, match="leaves Ticket empty"):
        await obtain(Implicit(), service)


async def fail_to_fetch() -> str:
    """Fail like a callable that cannot reach its issuer."""
    raise ConnectionResetError("no answer from the issuer")


@pytest.mark.parametrize(
    "credentials", [pytest.param(fail_to_fetch, id="callable"), pytest.param(AccessToken(fail_to_fetch), id="token")]
)
async def test_a_callable_that_fails_is_named(credentials: Credentials) -> None:
    """The error of a user's callable is the cause, without frames or locals. A note keeps the place as text."""
    with pytest.raises(AuthenticationFailed, match=r"fail_to_fetch gave no ticket.*ConnectionResetError") as caught:
        await obtain(credentials, PrincipalService())
    error = caught.value
    assert isinstance(error.__cause__, ConnectionResetError)
    assert error.__cause__.__traceback__ is None
    assert "in fail_to_fetch" in error.__notes__[0]
    assert "raise ConnectionResetError(" in error.__notes__[0]


async def test_an_error_of_ours_comes_through_a_callable() -> None:
    """A callable may use another client: the error of that client is raised unchanged."""
    refused = ConnectFailed("refused")

    async def ask_another_client() -> str:
        raise refused

    with pytest.raises(ConnectFailed) as caught:
        await obtain(ask_another_client, PrincipalService())
    assert caught.value is refused


async def test_a_callable_that_is_not_async_is_refused() -> None:
    """A callable whose result cannot be awaited causes an error that names the callable and hides the result."""

    def fetch_at_once() -> str:
        return "7T:plain"

    with pytest.raises(UsageError, match=r"fetch_at_once must be async \('async def'\): it returned str") as caught:
        await obtain(fetch_at_once, PrincipalService())  # type: ignore[arg-type]  # the test
    assert caught.value.__cause__ is None
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    assert not any("7T:plain" in repr(frame.locals) for frame in frames if frame.name != "fetch_at_once")


async def test_any_awaitable_of_a_callable_is_awaited() -> None:
    """A callable may return a task or a future as well as a coroutine."""

    async def fetch() -> str:
        return "7T:fetched"

    assert await obtain(lambda: asyncio.ensure_future(fetch()), PrincipalService()) == Ticket("7T:fetched")


async def test_a_callable_object_is_named_by_its_class() -> None:
    """The error names a callable without `__qualname__` by its class, and a wrong result by its type."""

    class Issuer:
        async def __call__(self) -> Any:
            return {"access_token": "8A:canary"}

    with pytest.raises(UsageError, match=r"Issuer must return a ticket .* returned dict") as caught:
        await obtain(Issuer(), PrincipalService())
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("text", ["7T:abc\n", "7T:abc\r\n", "\n 7T:abc\t", "7T:abc"])
@pytest.mark.parametrize("wrap", [str, Secret])
def test_white_space_around_a_token_is_dropped(text: str, wrap: Callable[[str], str | Secret]) -> None:
    """A ticket or token that was read from a file ends in a line break; a password keeps what it has."""
    assert Ticket(wrap(text)).value == Secret("7T:abc")
    assert AccessToken(wrap(text)).token == Secret("7T:abc")
    assert UsernamePassword("anna", wrap(text)).password == Secret(text)
    assert Generic({"k": wrap(text)}).data == {"k": Secret(text)}


async def test_white_space_around_the_ticket_of_a_callable_is_dropped() -> None:
    """The same holds for what a callable returns."""

    async def read_file() -> str:
        return "7T:abc\r\n"

    assert (await obtain(read_file, PrincipalService())).value == Secret("7T:abc")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ticket(""),
        lambda: Ticket(" \n"),
        lambda: UsernamePassword("", "x"),
        lambda: AccessToken(""),
        lambda: Generic([]),  # type: ignore[arg-type]
    ],
)
def test_refused_credentials_can_be_shown(make: Callable[[], object]) -> None:
    """The repr of an object that its constructor refused works: a traceback with locals shows the half-made object."""
    with pytest.raises(UsageError) as caught:
        make()
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "UsageError" in "".join(frames.format())
    kind = next(
        value
        for frame, _ in traceback.walk_tb(caught.value.__traceback__)
        for value in frame.f_locals.values()
        if hasattr(value, "sends_password")
    )
    assert repr(kind) == f"{type(kind).__name__}(...)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: Ticket(""), "not empty", id="empty ticket"),
        pytest.param(lambda: Ticket(Secret("")), "not empty", id="empty secret"),
        pytest.param(lambda: Ticket(b"7T:x"), "a str or a Secret", id="bytes for a ticket"),  # type: ignore[arg-type]
        pytest.param(
            lambda: Ticket("7T:x", expires_at=datetime(2024, 1, 1)),  # noqa: DTZ001 - the test
            "expires_at is a datetime with a time zone",
            id="naive expiry",
        ),
        pytest.param(
            lambda: Ticket("7T:x", renew_at="2024-01-01"),  # type: ignore[arg-type]
            "renew_at is a datetime with a time zone",
            id="text for a time",
        ),
        pytest.param(lambda: UsernamePassword("", "pw"), "not empty", id="empty user"),
        pytest.param(lambda: UsernamePassword(None, "pw"), "user", id="no user"),  # type: ignore[arg-type]
        pytest.param(lambda: UsernamePassword("anna", None), "password", id="no password"),  # type: ignore[arg-type]
        pytest.param(lambda: AccessToken(""), "not empty", id="empty token"),
        pytest.param(lambda: AccessToken(None), "async callable", id="no token"),  # type: ignore[arg-type]
        pytest.param(lambda: Generic({"a": 1}), "mapping", id="number as a value"),  # type: ignore[dict-item]
        pytest.param(lambda: Generic({1: "a"}), "mapping", id="number as a key"),  # type: ignore[dict-item]
        pytest.param(lambda: Generic([("a", "b")]), "mapping", id="list of pairs"),  # type: ignore[arg-type]
        pytest.param(lambda: as_provider(None), "got NoneType", id="no credentials"),  # type: ignore[arg-type]
        pytest.param(lambda: as_provider(Implicit), "got type", id="class instead of an instance"),  # type: ignore[arg-type]
    ],
)
def test_credentials_of_the_wrong_kind_are_refused(make: Callable[[], object], message: str) -> None:
    """The constructor refuses credentials that cannot work, and says what it takes."""
    with pytest.raises(UsageError, match=message):
        make()


PASSWORD = UsernamePassword("anna", "pw")


@pytest.mark.parametrize(
    ("url", "credentials", "is_refused"),
    [
        pytest.param("http://crm.example.com", PASSWORD, True, id="password"),
        pytest.param("http://crm.example.com", Generic({"pin": "1234"}), True, id="generic"),
        pytest.param("HTTP://CRM.EXAMPLE.COM/x", PASSWORD, True, id="upper case"),
        pytest.param("http://localhost.example.com", PASSWORD, True, id="a name that begins with localhost"),
        pytest.param("http://localhost@crm.example.com", PASSWORD, True, id="localhost as the user"),
        pytest.param("http://127.0.0.1.example.com", PASSWORD, True, id="a name that begins like an address"),
        pytest.param("http://10.0.0.1:8080", PASSWORD, True, id="private address"),
        pytest.param("http://[fe80::1]", PASSWORD, True, id="link-local address"),
        pytest.param("http://[::]", PASSWORD, True, id="any address"),
        pytest.param("https://crm.example.com", PASSWORD, False, id="https"),
        pytest.param("HTTPS://crm.example.com", PASSWORD, False, id="https in upper case"),
        pytest.param("http://localhost:8080/x", PASSWORD, False, id="localhost"),
        pytest.param("http://LocalHost", PASSWORD, False, id="localhost in mixed case"),
        pytest.param("http://127.0.0.1", PASSWORD, False, id="127.0.0.1"),
        pytest.param("http://127.8.9.10:81", PASSWORD, False, id="127.0.0.0/8"),
        pytest.param("http://[::1]:8080", PASSWORD, False, id="::1"),
        pytest.param("http://crm.example.com", Ticket("7T:x"), False, id="ticket"),
        pytest.param("http://crm.example.com", AccessToken("8A:x"), False, id="token"),
        pytest.param("http://crm.example.com", Implicit(), False, id="implicit"),
        pytest.param("http://crm.example.com", fetch_text, False, id="callable"),
    ],
)
def test_passwords_cross_plain_http_to_this_machine_only(
    url: str, credentials: Credentials, *, is_refused: bool
) -> None:
    """Credentials that send a password are refused over plain HTTP to other hosts, unless that is allowed."""
    provider = as_provider(credentials)
    check_transport_security(url, provider, allow_insecure=True)
    if not is_refused:
        check_transport_security(url, provider, allow_insecure=False)
        return
    with pytest.raises(InsecureTransport, match="use https, or allow it with allow_insecure=True") as caught:
        check_transport_security(url, provider, allow_insecure=False)
    assert caught.value.applied == "no"


@pytest.mark.parametrize("token", [" token\r\n", Secret("token\n")])
async def test_an_application_token_of_a_callable_has_no_white_space_around_it(token: str | Secret) -> None:
    """A line break at the end of a file is no part of a token."""

    async def source() -> str | Secret:
        return token

    assert await fetch_application_token(source) == Secret("token")


async def test_an_application_token_of_white_space_is_refused() -> None:
    """It is as good as none."""

    async def source() -> str:
        return " \n"

    with pytest.raises(UsageError, match=r"must return an application token .*, and returned str"):
        await fetch_application_token(source)
