"""Secrets do not show: in reprs, pickles, logs, hooks, and tracebacks that print the locals of every frame."""

import asyncio
import io
import linecache
import logging
import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import pytest
from rich.console import Console
from rich.traceback import Traceback

from soapbatch import (
    AccessToken,
    AuthenticationFailed,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    Client,
    ConnectionPool,
    DeadlineExceeded,
    EncodeError,
    Fault,
    FileTicketStore,
    Generic,
    Hooks,
    HttpError,
    Implicit,
    JobFailed,
    OperationFailed,
    ServiceVersion,
    SoapBatchError,
    Ticket,
    TransportError,
    UnreadableResponse,
    UsageError,
    UsernamePassword,
    build_request,
)
from soapbatch.auth import MemoryTicketStore, TicketStore
from soapbatch.auth.credentials import Credentials, as_provider
from soapbatch.auth.ticket_manager import IssuedTicket, TicketManager
from soapbatch.online import SystemUser
from soapbatch.operations import GET_BATCH_TASK_INFO
from soapbatch.soap import build_response
from soapbatch.testing import (
    Answer,
    Call,
    NetServer,
    ServerException,
    User,
    answering,
    delayed,
    failing,
    lost_reply,
    run_virtual,
)

# Every secret of this file holds this word, and nothing else that could be shown does.
WORD = "kanarie"
PASSWORD = f"{WORD}-pw&<1>'\""
UNENCODABLE = f"{WORD}-pw\0"
TICKET = f"7T:{WORD}TICKETAA=="
TOKEN = f"8A:{WORD}.TOKEN"
PIN = f"{WORD}-pin"
APPLICATION_TOKEN = f"{WORD}-app"
BYTES = WORD.encode()
NAIVE = datetime(2024, 2, 29)  # noqa: DTZ001 - a mistake on purpose

USER = User(name="anna", password=PASSWORD, associate_id=7, generic={"pin": PIN})
TESTS = str(Path(__file__).parent)


async def fetch() -> str:
    """Return an access token."""
    return TOKEN


HOLDERS = [
    pytest.param(lambda: UsernamePassword("anna", PASSWORD), id="UsernamePassword"),
    pytest.param(lambda: Generic({"pin": PIN}), id="Generic"),
    pytest.param(lambda: AccessToken(TOKEN), id="AccessToken"),
    pytest.param(lambda: Ticket(TICKET), id="Ticket"),
    pytest.param(lambda: IssuedTicket(Ticket(TICKET).value, 1), id="IssuedTicket"),
    pytest.param(lambda: as_provider(TICKET), id="text"),
    pytest.param(lambda: Client("https://localhost", ticket=TICKET, application_token=APPLICATION_TOKEN), id="Client"),
    pytest.param(
        lambda: build_request(
            "GetBatchTaskInfo", {"id": 1}, version=ServiceVersion.V88, ticket=TICKET, application_token=TOKEN
        ),
        id="Request",
    ),
    pytest.param(
        lambda: build_request(
            "AuthenticateUsernamePassword", {"user_name": "a", "password": PASSWORD}, version=ServiceVersion.V88
        ),
        id="login Request",
    ),
]


@pytest.mark.parametrize("make", HOLDERS)
def test_what_holds_a_secret_does_not_show_it(make: Callable[[], object]) -> None:
    """The repr and the text of whatever holds a secret are masked, alone and inside containers."""
    holder = make()
    assert WORD not in f"{holder!r} {holder} {[holder]} {holder!a}"
    assert WORD not in rich_text(holder)


@pytest.mark.parametrize("make", HOLDERS)
def test_what_holds_a_secret_is_not_pickled(make: Callable[[], object]) -> None:
    """Pickling whatever holds a secret is refused, with a reason that does not show it."""
    with pytest.raises(TypeError, match="pickled") as caught:
        pickle.dumps(make())
    assert WORD not in str(caught.value)


# --- Ways to look at an error -----------------------------------------------------------------------------------


def rich_text(value: object) -> str:
    """Return what rich prints of `value`, in full."""
    with io.StringIO() as out:
        Console(file=out, width=1000, color_system=None).print(value)
        return out.getvalue()


def rich_traceback(error: BaseException) -> str:
    """Return rich's traceback of `error` with the locals of each frame, in full.

    The source lines are left out: they hold no values, and colouring them takes two thirds of the time.
    """
    unlimited: dict[str, Any] = {"locals_max_length": None, "locals_max_string": None, "max_frames": 0}
    traceback_ = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_hide_dunder=False, **unlimited
    )
    for stack in traceback_.trace.stacks:
        for frame in stack.frames:
            frame.filename = f"<{frame.filename}>"  # rich takes such a name for code without source
    return rich_text(traceback_)


def shown_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and every error that a traceback shows before it."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    """Yield the entries of a traceback that are not of this folder."""
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(TESTS):
            yield trace
        trace = trace.tb_next


def escape_text(value: object) -> str:
    """Return the repr of a value, which works also for one that is not yet complete, as in a constructor."""
    return repr(value)


def line_values(error: BaseException) -> str:
    """Return, as cgitb does, each dotted name in the failing line of each frame with its value; and all locals."""
    shown = []
    for link in shown_chain(error):
        for entry in frames(link.__traceback__):
            frame = entry.tb_frame
            line = linecache.getline(frame.f_code.co_filename, entry.tb_lineno)
            for name in re.findall(r"[A-Za-z_][\w.]*", line):
                first, *rest = name.split(".")
                value = frame.f_locals.get(first, frame.f_globals.get(first))
                for attribute in rest:
                    value = getattr(value, attribute, None)
                shown.append(f"{name} = {escape_text(value)}")
            shown += [f"{name} = {escape_text(value)}" for name, value in frame.f_locals.items()]
    return "\n".join(shown)


def attributes(error: BaseException) -> str:
    """Return every attribute of an error and of those behind it, and what a pickle of each holds."""
    shown = []
    for link in shown_chain(error):
        shown += [repr(link), str(link), repr(link.args), repr(vars(link)), rich_text(vars(link))]
        if isinstance(link, SoapBatchError):
            shown.append(repr(pickle.dumps(link)))
    return "\n".join(shown)


def stdlib_locals(error: BaseException) -> str:
    """Return the standard library's traceback of `error` with locals, which fails if a repr does."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    for link in (shown, shown.__cause__, shown.__context__):
        if link is not None:  # the frames of this file hold the secret on purpose
            link.stack[:] = [frame for frame in link.stack if not frame.filename.startswith(TESTS)]
    return "".join(shown.format())


every_look = pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda error: "".join(traceback.format_exception(error)), id="plain"),
        pytest.param(stdlib_locals, id="traceback with locals"),
        pytest.param(rich_traceback, id="rich with locals"),
        pytest.param(line_values, id="cgitb"),
        pytest.param(attributes, id="attributes and pickle"),
    ],
)
Look = Callable[[BaseException], str]


@every_look
def test_the_looks_show_what_there_is_to_show(look: Look) -> None:
    """Each way to look at an error below finds a secret that is there: in a local, a line, or the message."""

    def careless(_held: str) -> None:
        raise UsageError(_held)

    careless.__code__ = careless.__code__.replace(co_filename=linecache.__file__, co_firstlineno=1)
    with pytest.raises(UsageError) as caught:
        careless(PASSWORD)
    assert WORD in look(caught.value)


# --- Mistakes in setting up -------------------------------------------------------------------------------------


PROXY = f"http://user:{WORD}@proxy.example:3128"
WRONG_TYPES: dict[str, Any] = {
    "bytes": BYTES,
    "bytearray": bytearray(BYTES),
    "a tuple": ("anna", PASSWORD),
    "a list": ["anna", PASSWORD],
    "a mapping": {"user": "anna", "password": PASSWORD},
    "a set": {PASSWORD},
}


def client_with(name: str, kind: str) -> Client:
    """Return a client with an argument of a wrong type. No local of this function holds it."""
    return Client("https://h", **{name: WRONG_TYPES[kind]})


def client_from_env_with(name: str, kind: str) -> Client:
    """Return a client of an environment, with an argument of a wrong type."""
    return Client.from_env({"SOAPBATCH_URL": "https://h"}, **{name: WRONG_TYPES[kind]})


MISTAKES = [("URL", ""), ("URL", "h"), ("URL", "http://crm.example.com"), ("VERSION", "5"), ("BINDING", "x")]
ENVIRONMENT = {
    "SOAPBATCH_URL": "https://h",
    "SOAPBATCH_USER": "anna",
    "SOAPBATCH_PASSWORD": PASSWORD,
    "SOAPBATCH_APP_TOKEN": APPLICATION_TOKEN,
}


def client_from_env(name: str, value: str) -> Client:
    """Return a client of an environment with secrets and a mistake. No local of this function holds one."""
    return Client.from_env(ENVIRONMENT | {f"SOAPBATCH_{name}": value})


@every_look
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: UsernamePassword(None, PASSWORD), id="no user"),  # type: ignore[arg-type]
        pytest.param(lambda: UsernamePassword("anna", BYTES), id="password as bytes"),  # type: ignore[arg-type]
        pytest.param(lambda: Ticket(BYTES), id="ticket as bytes"),  # type: ignore[arg-type]
        pytest.param(lambda: Ticket(TICKET, expires_at=NAIVE), id="naive expiry"),
        pytest.param(lambda: AccessToken(BYTES), id="token as bytes"),  # type: ignore[arg-type]
        pytest.param(lambda: Generic({"pin": BYTES}), id="value as bytes"),  # type: ignore[dict-item]
        pytest.param(lambda: Generic([("pin", PIN)]), id="pairs in a list"),  # type: ignore[arg-type]
        pytest.param(lambda: as_provider(BYTES), id="credentials as bytes"),  # type: ignore[arg-type]
        pytest.param(lambda: as_provider({"pin": PIN}), id="a mapping for credentials"),  # type: ignore[arg-type]
        pytest.param(
            lambda: Client(
                "http://crm.example.com",
                credentials=UsernamePassword("anna", PASSWORD),
                application_token=APPLICATION_TOKEN,
            ),
            id="password over plain HTTP",
        ),
        pytest.param(lambda: Client("crm.example.com", ticket=TICKET), id="no absolute URL"),
        pytest.param(
            lambda: Client("crm.example.com", application_token=APPLICATION_TOKEN), id="no absolute URL, with a token"
        ),
        pytest.param(
            lambda: Client("https://localhost", ticket=TICKET, credentials=Implicit()), id="ticket and credentials"
        ),
        *(
            pytest.param(partial(client_with, name, kind), id=f"{name} as {kind}")
            for name in ("ticket", "credentials", "application_token", "proxy")
            for kind in WRONG_TYPES
        ),
        *(
            pytest.param(partial(client_from_env_with, name, kind), id=f"from_env, {name} as {kind}")
            for name in ("ticket", "credentials", "application_token")
            for kind in WRONG_TYPES
        ),
        pytest.param(
            lambda: Client.from_env({"SOAPBATCH_URL": "https://h"}, ticket=TICKET, application_token=7),
            id="from_env, a ticket beside a mistake",
        ),
        *(pytest.param(partial(client_from_env, *mistake), id=f"from_env, {mistake[0]}") for mistake in MISTAKES),
        pytest.param(lambda: Ticket(TICKET, expires_at="soon"), id="expiry as text"),  # type: ignore[arg-type]
        pytest.param(lambda: Ticket(""), id="ticket empty"),
        pytest.param(lambda: AccessToken(""), id="token empty"),
        pytest.param(lambda: UsernamePassword("", PASSWORD), id="user empty"),
        pytest.param(lambda: ConnectionPool(max_connections=0, proxy=PROXY), id="proxy beside a mistake"),
        pytest.param(lambda: ConnectionPool(proxy=PROXY.replace("http", "htp")), id="proxy of an unknown kind"),
        pytest.param(lambda: Client("https://h", proxy=PROXY.replace("http", "htp")), id="proxy of a client"),
        pytest.param(
            lambda: Client("https://h", proxy=PROXY, http_client=httpx.AsyncClient()), id="proxy beside a client"
        ),
        pytest.param(lambda: Client("h", proxy=PROXY), id="proxy beside no URL"),
        pytest.param(
            lambda: build_request("NoSuchOperation", {}, version=ServiceVersion.V88, ticket=TICKET),
            id="request of an unknown operation",
        ),
        pytest.param(lambda: Client("https://localhost", ticket=BYTES), id="client, ticket as bytes"),  # type: ignore[arg-type]
        pytest.param(
            lambda: Client("https://localhost", application_token=BYTES),  # type: ignore[arg-type]
            id="client, application token as bytes",
        ),
        pytest.param(
            lambda: Client("https://localhost", credentials=BYTES),  # type: ignore[arg-type]
            id="client, credentials as bytes",
        ),
        pytest.param(
            lambda: Client("crm.example.com", credentials=TICKET),  # type: ignore[arg-type]
            id="client, credentials as text, no absolute URL",
        ),
        pytest.param(
            lambda: build_request(
                "AuthenticateUsernamePassword", {"user_name": 5, "password": PASSWORD}, version=ServiceVersion.V88
            ),
            id="request with a password",
        ),
        pytest.param(
            lambda: build_request(
                "AuthenticateUsernamePassword", {"user_name": "a", "password": BYTES}, version=ServiceVersion.V88
            ),
            id="request with a password as bytes",
        ),
        pytest.param(
            lambda: build_request("AuthenticateImplicit", {"password": PASSWORD}, version=ServiceVersion.V88),
            id="request with a password too many",
        ),
        pytest.param(
            lambda: build_request("AuthenticateWithAccessToken", {"access_token": BYTES}, version=ServiceVersion.V88),
            id="request with a token too early",
        ),
        pytest.param(
            lambda: build_request("NoSuchOperation", {"access_token": TOKEN}, version=ServiceVersion.V88),
            id="request with a token and no name",
        ),
        pytest.param(
            lambda: build_request(
                "AuthenticateGeneric",
                {"authentication_data": {"pin": PIN, "bytes": BYTES, "n": 1}},
                version=ServiceVersion.V88,
            ),
            id="request with data",
        ),
        pytest.param(
            lambda: build_request(
                "AuthenticateGeneric",
                [("authentication_data", {"pin": PIN})],  # type: ignore[arg-type]
                version=ServiceVersion.V88,
            ),
            id="request with pairs",
        ),
        pytest.param(
            lambda: build_request("GetBatchTaskInfo", {"id": 1}, version=ServiceVersion.V88, ticket=BYTES),  # type: ignore[arg-type]
            id="request with a ticket as bytes",
        ),
        pytest.param(
            lambda: build_request(
                "GetBatchTaskInfo",
                {"batch_task_id": 1},
                version=ServiceVersion.V88,
                application_token=bytearray(BYTES),  # type: ignore[arg-type]
            ),
            id="request with an application token as a bytearray",
        ),
        pytest.param(
            lambda: build_request("GetBatchTaskInfo", {"id": "x"}, version=ServiceVersion.V88, ticket=TICKET),
            id="request with a wrong argument",
        ),
        pytest.param(
            lambda: build_request("GetBatchTaskInfo", {"id": 1}, version=ServiceVersion.V88, ticket=UNENCODABLE),
            id="request with a ticket that XML cannot carry",
        ),
    ],
)
def test_a_mistake_does_not_show_the_secret(make: Callable[[], object], look: Look) -> None:
    """Credentials that are refused where they are made do not show in the error or in the frames behind it."""
    with pytest.raises(UsageError) as caught:
        make()
    assert WORD not in look(caught.value)


@every_look
@pytest.mark.parametrize("kind", WRONG_TYPES)
@pytest.mark.parametrize("operation", ["password", "token", "generic", "pairs"])
async def test_a_secret_of_a_wrong_type_does_not_show_in_a_call(kind: str, operation: str, look: Look) -> None:
    """A login by hand with a secret that is no text is refused before it is sent, and does not show."""
    if (kind, operation) == ("a mapping", "pairs"):
        pytest.skip("pairs are a mapping")
    async with Client("https://localhost", transport=httpx.MockTransport(_unreachable)) as client:
        principal = client.principal
        login: dict[str, Callable[[], Any]] = {
            "password": lambda: principal.authenticate_username_password("anna", WRONG_TYPES[kind]),
            "token": lambda: principal.authenticate_with_access_token(WRONG_TYPES[kind]),
            "generic": lambda: principal.authenticate_generic({"pin": WRONG_TYPES[kind]}),
            "pairs": lambda: principal.authenticate_generic(WRONG_TYPES[kind]),
        }
        with pytest.raises(UsageError) as caught:
            await login[operation]()
        assert WORD not in look(caught.value)


def _unreachable(_: httpx.Request) -> httpx.Response:
    raise AssertionError("a request was sent")


@every_look
async def test_the_password_of_a_proxy_in_the_environment_does_not_show(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that the environment names, and that cannot be used, does not show its password."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY.replace("http", "htp"))
    async with Client("https://localhost", ticket=TICKET) as client:
        with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
            await client.batch.get_batch_task_info(1)
    assert WORD not in look(caught.value)


def test_a_provider_has_a_repr_at_any_time() -> None:
    """An object whose constructor has not come to its end shows what it has."""
    for kind in (Ticket, UsernamePassword, AccessToken, Generic, SystemUser):
        assert repr(kind.__new__(kind)) == f"{kind.__name__}(...)"
    assert repr(UsernamePassword("anna", PASSWORD)) == "UsernamePassword(user='anna', password=Secret('***'))"


# --- Loggers ----------------------------------------------------------------------------------------------------


async def test_the_default_transport_has_no_loggers_but_ours(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a server puts into its reason phrase and its headers, only logger `soapbatch` says anything."""
    caplog.set_level(logging.DEBUG)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 500 {TICKET}\r\nX-Echo: {TICKET}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Client(url, ticket=TICKET, proxy=url.replace("//", f"//user:{WORD}@")) as client:
            with pytest.raises(HttpError) as caught:
                await client.batch.stop_batch_job(1)
    assert WORD not in f"{caught.value!r}{caplog.text}"
    assert {record.name.split(".")[0] for record in caplog.records} <= {"soapbatch", "asyncio"}


@pytest.mark.parametrize(
    ("field", "before", "after"),
    [("name", "job '", "' (task 42)"), ("description", "(task 42, '", "') failed"), ("result", " failed: ", "")],
)
@pytest.mark.parametrize("start", [0, 100, 179, 190, 199, 200])
async def test_the_message_of_a_failed_job_is_masked_before_it_is_cut(
    field: str, before: str, after: str, start: int
) -> None:
    """A token that crosses the 200th character of what a task says does not show in JobFailed, not even in part."""
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"
    said: dict[str, Any] = {field: ("x" * start + token + " y" * 200)[:254]}  # a description is no longer
    info = BatchTaskInfo(id=42, state=BatchTaskState.FAILED, **said)
    body = build_response(GET_BATCH_TASK_INFO, info, version=ServiceVersion.V88)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with Client("http://localhost", ticket=TICKET, transport=transport) as client:
        with pytest.raises(JobFailed) as caught:
            await client.jobs.attach(42).wait(timeout=5)
    assert "eyJ" not in str(caught.value)
    shown = str(caught.value).partition(before)[2]
    shown = shown.partition(after)[0] if after else shown
    assert len(shown) == 200
    assert shown.startswith("x" * start)


# --- Logins that fail -------------------------------------------------------------------------------------------

# What a talkative server may repeat: what it was sent, and tokens of whomever.
ECHO = f"<h1>Bad login</h1>{PASSWORD} {APPLICATION_TOKEN} {TICKET} {TOKEN}"
GONE = "SuperOffice.Exceptions.SoSessionException"


async def echo_fault(call: Call, _: object) -> Answer:
    """Answer with a fault that repeats the password, in text and in detail, as XML escapes it."""
    secret = PASSWORD.replace("&", "&amp;").replace("<", "&lt;")
    detail = f"<detail><a>{secret} {APPLICATION_TOKEN} {TOKEN}</a></detail>"
    fault = f"<faultcode>s:Server</faultcode><faultstring>{secret}</faultstring>{detail}"
    envelope = f'<s:Envelope xmlns:s="{call.binding.envelope}"><s:Body><s:Fault>{fault}</s:Fault></s:Body></s:Envelope>'
    return Answer(500, {"Content-Type": "text/xml"}, (envelope.encode(),))


async def fail_to_fetch() -> str:
    """Fail with a secret in the frame, as a callable that asks an issuer would."""
    request = {"client_secret": PIN}
    raise ConnectionResetError(len(request))


def refuse_by_flag(server: NetServer) -> None:
    """Refuse the login with AuthenticationSucceeded=false."""
    server.tickets.refuse_logins = "flag"


def refuse_by_exception(server: NetServer, words: str = ECHO) -> None:
    """Refuse everything in the reply's header, in words that repeat secrets."""
    server.intercept(None, failing(ServerException(GONE, words, words)), times=None)


def refuse_by_fault(server: NetServer) -> None:
    """Refuse everything with a fault of NetServer's own, in words that repeat secrets."""
    server.failures = "fault"
    refuse_by_exception(server)


def refuse_pin(server: NetServer) -> None:
    """Refuse everything in words that repeat the PIN."""
    refuse_by_exception(server, f"{PIN} {APPLICATION_TOKEN}")


def refuse_ticket(server: NetServer) -> None:
    """Refuse everything in words that repeat tickets."""
    refuse_by_exception(server, f"Ticket is not valid: {TICKET} {TOKEN}")


def refuse_ticket_then_login(server: NetServer) -> None:
    """Let in, then forget the ticket, and refuse the login that follows."""
    server.intercept("GetBatchTaskInfo", failing(ServerException(GONE, f"Ticket is not valid: {TICKET}")))
    server.intercept("AuthenticateUsernamePassword", _proceed)
    server.intercept("AuthenticateUsernamePassword", failing(ServerException(GONE, PASSWORD)), times=None)


async def _proceed(_: Call, proceed: Callable[[], Any]) -> Answer:
    """Let a call go its own way."""
    answer: Answer = await proceed()
    return answer


def intercepting(interceptor: Any) -> Callable[[NetServer], None]:
    """Return what puts `interceptor` before every call."""
    return lambda server: server.intercept(None, interceptor, times=None)


BY_PASSWORD = UsernamePassword("anna", PASSWORD)

FAILURES = [
    pytest.param(refuse_by_flag, BY_PASSWORD, AuthenticationFailed, id="flag"),
    pytest.param(refuse_by_exception, BY_PASSWORD, AuthenticationFailed, id="header"),
    pytest.param(refuse_by_fault, BY_PASSWORD, AuthenticationFailed, id="fault"),
    pytest.param(refuse_pin, Generic({"pin": PIN}), AuthenticationFailed, id="generic"),
    pytest.param(refuse_ticket, AccessToken(TOKEN, exchange=True), AuthenticationFailed, id="token exchanged"),
    pytest.param(refuse_ticket, AccessToken(TOKEN), OperationFailed, id="token"),
    pytest.param(refuse_ticket, Ticket(TICKET), OperationFailed, id="ticket"),
    pytest.param(refuse_ticket_then_login, BY_PASSWORD, AuthenticationFailed, id="ticket refused, then the login"),
    pytest.param(intercepting(echo_fault), BY_PASSWORD, Fault, id="fault of a stack"),
    pytest.param(
        intercepting(answering(500, {"Content-Type": "text/html"}, ECHO.encode())), BY_PASSWORD, HttpError, id="500"
    ),
    pytest.param(intercepting(answering(200, {}, ECHO.encode())), BY_PASSWORD, UnreadableResponse, id="unreadable"),
    pytest.param(intercepting(answering(200, {}, b"")), BY_PASSWORD, UnreadableResponse, id="empty"),
    pytest.param(intercepting(lost_reply), BY_PASSWORD, TransportError, id="connection lost"),
    pytest.param(intercepting(delayed(3600)), BY_PASSWORD, DeadlineExceeded, id="timeout"),
    pytest.param(refuse_by_flag, UsernamePassword("anna", UNENCODABLE), EncodeError, id="cannot be written"),
    pytest.param(refuse_by_flag, fail_to_fetch, AuthenticationFailed, id="callable"),
    pytest.param(refuse_by_flag, AccessToken(fail_to_fetch), AuthenticationFailed, id="token callable"),
]


async def failed_call(
    prepare: Callable[[NetServer], None],
    credentials: Credentials,
    events: list[object],
) -> SoapBatchError:
    """Make a call with a login that fails, and return the error."""
    server = NetServer(clock=asyncio.get_running_loop().time, users=[USER])
    prepare(server)
    hooks = Hooks(on_request=events.append, on_response=events.append)
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http_client,
        Client(
            "http://localhost",
            credentials=credentials,
            application_token=APPLICATION_TOKEN,
            binding=Binding.SOAP11,
            http_client=http_client,
            hooks=hooks,
        ) as client,
    ):
        try:
            await client.batch.get_batch_task_info(1)
        except SoapBatchError as error:
            return error
    raise AssertionError("the call worked")


@every_look
@pytest.mark.parametrize(("prepare", "credentials", "kind"), FAILURES)
def test_a_login_that_fails_does_not_show_its_secrets(
    prepare: Callable[[NetServer], None],
    credentials: Credentials,
    kind: type[SoapBatchError],
    look: Look,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However a login fails, its error, the locals behind it, every log record and every hook show no secret."""
    caplog.set_level(logging.DEBUG)
    events: list[object] = []
    error = run_virtual(failed_call(prepare, credentials, events))
    assert isinstance(error, kind)
    assert WORD not in look(error)
    for record in caplog.records:
        assert WORD not in f"{record.getMessage()} {record.args!r} {record.exc_text}"
    assert WORD not in repr(events)


def test_a_login_that_works_shows_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """The logs at DEBUG of everything, the wire log included, show the shape of a login and no secret or ticket."""
    caplog.set_level(logging.DEBUG)
    events: list[object] = []

    async def log_in() -> Ticket:
        server = NetServer(clock=asyncio.get_running_loop().time, users=[USER])
        hooks = Hooks(on_request=events.append, on_response=events.append)
        async with (
            httpx.AsyncClient(transport=httpx.ASGITransport(server)) as http_client,
            Client("http://localhost", credentials=BY_PASSWORD, http_client=http_client, hooks=hooks) as client,
        ):
            await client.batch.get_batch_task_info(1)
            return await client.ticket()

    ticket = run_virtual(log_in()).value.reveal()
    shown = f"{caplog.text} {[record.args for record in caplog.records]} {events}"
    assert "AuthenticateUsernamePassword" in shown
    assert "<SOAP-ENV:Envelope" in shown
    assert WORD not in shown
    assert ticket not in shown
    assert ticket.removeprefix("7T:") not in shown


# --- The two that hold state ------------------------------------------------------------------------------------


async def test_keepers_and_stores_do_not_show_their_tickets(tmp_path: Path) -> None:
    """What holds a ticket for others shows it neither in its own repr nor in what it hands out."""

    async def authenticate(*_: object) -> Any:
        raise AssertionError

    stores: list[TicketStore] = [MemoryTicketStore(), FileTicketStore(tmp_path / "ticket.json")]
    for store in stores:
        await store.put(Ticket(TICKET))
        keeper = TicketManager(as_provider(fetch), authenticate, ServiceVersion.V88, store=store)
        assert (await keeper.current()).value.reveal() == TICKET
        assert WORD not in rich_text([store, await store.get(), keeper, await keeper.current(), await keeper.ticket()])
