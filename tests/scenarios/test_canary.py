"""Marked secrets go through everything that can fail, and turn up in no log, error, traceback, hook or warning."""

import asyncio
import contextlib
import logging
import pickle
import ssl
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import attrs
import httpx
import httpx2
import httpx_aiohttp
import pytest
from rich.traceback import Traceback

from soapbatch import (
    AccessToken,
    BatchTaskInfo,
    Binding,
    Client,
    Generic,
    Hooks,
    InsecureTransport,
    Limits,
    Retries,
    SoapBatchError,
    Ticket,
    UsageError,
    UsernamePassword,
)
from soapbatch.auth import TicketEvent
from soapbatch.calls import CallEvent, RequestEvent
from soapbatch.model import ExchangeRecord
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_STATE
from soapbatch.testing import NetServer, User
from soapbatch.transport import ConnectionPool
from tests.support.clients import BASE, upstream_of
from tests.support.fault_server import FAULTS, HTML, Answer, Authority, FaultServer
from tests.support.telemetry import Telemetry

# Kept in globals: the frames of these tests are in the tracebacks, too, and their locals are looked at.
CORES = {
    "ticket": "cAnArYtIcKeT",
    "application token": "cAnArYaPpToKeN",
    "password": "cAnArYpAsSwOrD",
    "access token": "cAnArYaCcEsStOkEn",
    "generic value": "cAnArYgEnErIc",
    "header": "cAnArYhEaDeR",
}
TICKET = f"7T:{CORES['ticket']}=="
APPLICATION_TOKEN = f"{CORES['application token']}<&>'\""
PASSWORD = f"{CORES['password']}<&>'\" é\r"
ACCESS_TOKEN = f"8A:{CORES['access token']}.x-y_z"
GENERIC = f"{CORES['generic value']}<&>"
HEADERS = {"X-Api-Key": CORES["header"], "Cookie": f"session={CORES['header']}; theme=dark"}


class Witness(logging.Handler):
    """Everything that was ever shown, as text, by where it was shown."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__(logging.NOTSET)
        self.seen: dict[str, list[str]] = {}

    def saw(self, where: str, *things: object) -> None:
        """Take note."""
        self.seen.setdefault(where, []).extend(str(thing) for thing in things)

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a log record, its arguments and whatever else it holds."""
        self.saw(f"log {record.name.partition('.')[0]}", record.getMessage(), repr(vars(record)))
        if record.exc_info and record.exc_info[1]:
            self.saw_error(record.exc_info[1])

    def saw_error(self, error: BaseException) -> None:
        """Take note of an error, of what hangs on it, and of the locals that its traceback reaches."""
        waiting, done = [error], set[int]()
        while waiting:
            link = waiting.pop()
            if id(link) in done:
                continue
            done.add(id(link))
            self.saw(
                "error", str(link), repr(link), repr(link.args), repr(getattr(link, "__notes__", "")), repr(vars(link))
            )
            for value in vars(link).values():
                self.saw("attribute", str(value), repr(value))
            if isinstance(link, SoapBatchError):
                self.saw("pickle", pickle.dumps(link))
                if link.exchange is not None:
                    self.saw_exchange("error.exchange", link.exchange)
            self.saw("link", *traceback.TracebackException.from_exception(link, capture_locals=True).format())
            waiting += [behind for behind in (link.__cause__, link.__context__) if behind is not None]
            if isinstance(link, BaseExceptionGroup):
                waiting += link.exceptions
        # What rich would show; drawing it takes long, and shows no more.
        trace = Traceback.extract(
            type(error),
            error,
            error.__traceback__,
            show_locals=True,
            locals_max_length=1 << 30,
            locals_max_string=1 << 30,
        )
        for stack in trace.stacks:
            self.saw("rich", stack.exc_value, *getattr(stack, "notes", ()))
            for frame in stack.frames:
                self.saw("rich", *(f"{name} = {node}" for name, node in (frame.locals or {}).items()))

    def saw_exchange(self, where: str, exchange: ExchangeRecord) -> None:
        """Take note of what went over the wire."""
        self.saw(where, exchange, repr(exchange), attrs.astuple(exchange), pickle.dumps(exchange))

    def leaks(self) -> list[str]:
        """Return where a secret was seen, and some of its surroundings."""
        return [
            f"the {name} in {where}: {text[max(0, text.index(core) - 200) : text.index(core) + 60]!r}"
            for where, texts in self.seen.items()
            for text in texts
            for name, core in CORES.items()
            if core in text
        ]


@pytest.fixture
def witness() -> Iterator[Witness]:
    """Look at every logger at DEBUG, and at every warning."""
    witness = Witness()
    names = ("", "soapbatch", "soapbatch.wire", "httpx", "httpcore", "httpx2", "httpcore2", "aiohttp", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(witness)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield witness
        witness.saw("warning", *(f"{warning.message!r}" for warning in caught))
    logging.getLogger().removeHandler(witness)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    assert witness.leaks() == []


# --- What is done with the secrets: credentials of the client, and a call ---------------------------------------------


async def a_stream(client: Client) -> None:
    """Read a stream to its end."""
    async for _ in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All"):
        pass


SCENARIOS: dict[str, tuple[Callable[[], Any], Callable[[Client], Awaitable[object]]]] = {
    "start": (lambda: Ticket(TICKET), lambda client: client.batch.start_batch_job(BatchTaskInfo(name="Export"))),
    "read": (lambda: Ticket(TICKET), lambda client: client.batch.get_batch_task_info(1)),
    "stream": (lambda: Ticket(TICKET), a_stream),
    "password": (lambda: UsernamePassword("demo", PASSWORD), lambda client: client.batch.get_batch_task_info(1)),
    "access token": (lambda: AccessToken(ACCESS_TOKEN), lambda client: client.batch.get_batch_task_info(1)),
    "exchange": (
        lambda: AccessToken(ACCESS_TOKEN, exchange=True),
        lambda client: client.batch.get_batch_task_info(1),
    ),
    "generic": (lambda: Generic({"key": GENERIC}), lambda client: client.batch.get_batch_task_info(1)),
    "login by password": (
        lambda: None,
        lambda client: client.principal.authenticate_username_password("demo", PASSWORD),
    ),
    "login by token": (lambda: None, lambda client: client.principal.authenticate_with_access_token(ACCESS_TOKEN)),
    "login by pairs": (lambda: None, lambda client: client.principal.authenticate_generic({"key": GENERIC})),
}


@attrs.frozen
class SeenScope:
    """A scope of hooks, and what it is told."""

    witness: Witness
    inner: Any

    @property
    def headers(self) -> Mapping[str, str]:
        """Return those of the scope."""
        headers: Mapping[str, str] = self.inner.headers
        self.witness.saw("hook", repr(headers))
        return headers

    def ended(self, event: object) -> None:
        """Take note, and tell the scope."""
        self.witness.saw("hook", repr(event))
        self.inner.ended(event)


def seen_hooks(witness: Witness, inner: Any) -> Hooks:
    """Return hooks that take note of each event, and hand it on to those of `inner`."""

    def saw(event: object) -> None:
        witness.saw("hook", repr(event))

    @contextlib.contextmanager
    def around_call(event: CallEvent) -> Iterator[SeenScope]:
        saw(event)
        with inner.around_call(event) as scope:
            yield SeenScope(witness, scope)

    @contextlib.contextmanager
    def around_request(event: RequestEvent, call: SeenScope) -> Iterator[SeenScope]:
        with inner.around_request(event, call.inner) as scope:
            yield SeenScope(witness, scope)

    def on_ticket(event: TicketEvent) -> None:
        saw(event)
        inner.on_ticket(event)

    return Hooks(
        around_call=around_call,
        around_request=around_request,
        on_request=saw,
        on_response=saw,
        on_exchange=lambda exchange: witness.saw_exchange("on_exchange", exchange),
        headers=lambda: HEADERS,
        on_ticket=on_ticket,
    )


async def try_out(witness: Witness, url: str, scenario: str, **options: Any) -> bool:
    """Play a scenario against a server, take note of everything, and tell whether it failed."""
    credentials, call = SCENARIOS[scenario]
    telemetry = Telemetry()
    hooks = seen_hooks(witness, telemetry.hooks(polls=True))
    retries = Retries(attempts=2, first_wait=0.001)
    settings: dict[str, Any] = {"timeout": 2, "binding": Binding.SOAP11, "retries": retries} | options
    client = Client(
        url,
        credentials=credentials(),
        application_token=APPLICATION_TOKEN,
        hooks=hooks,
        grace=0,
        **settings,
    )
    witness.saw("client", repr(client), str(client), repr(client._context.settings), repr(client._context.tickets))
    try:
        witness.saw("result", repr(await call(client)))
    except SoapBatchError as error:
        witness.saw_error(error)
        return True
    finally:
        await client.aclose()
        witness.saw("span", *(span.to_json() for span in telemetry.spans()))
        witness.saw("metric", repr(telemetry.metrics()))
    return False


# What `Client` is given besides its address.
OPTIONS: dict[str, Callable[[ssl.SSLContext], dict[str, Any]]] = {
    "pool": lambda context: {"transport": ConnectionPool(verify=context)},
    "transport of httpx": lambda context: {"transport": httpx.AsyncHTTPTransport(verify=context)},
    "client": lambda context: {"http_client": httpx.AsyncClient(verify=context)},
    "client of httpx2": lambda context: {"http_client": httpx2.AsyncClient(verify=context)},
    "client of aiohttp": lambda context: {"http_client": httpx_aiohttp.HttpxAiohttpClient(verify=context)},
}


@pytest.mark.parametrize(
    ("scenario", "transport"),
    [*((scenario, "pool") for scenario in SCENARIOS), *(("password", name) for name in OPTIONS if name != "pool")],
)
async def test_no_fault_shows_a_secret(scenario: str, transport: str, witness: Witness) -> None:
    """Every fault of the matrix, in front of a server that refuses the ticket or the login and repeats it."""
    authority = Authority()
    netserver = NetServer()
    netserver.define_job("Export")

    async def row(fault: str) -> bool:
        is_tls = fault.startswith("tls")
        async with FaultServer(upstream_of(netserver), fault=fault, authority=authority if is_tls else None) as server:
            context = authority.client if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            timeout = 0.2 if fault in {"never-answer", "slow-drip"} else 5
            options = OPTIONS[transport](context)
            failed = await try_out(witness, server.url, scenario, timeout=timeout, **options)
            if "http_client" in options:
                await options["http_client"].aclose()
            return failed

    assert all(await asyncio.gather(*map(row, FAULTS))), "something succeeded that should not"
    places = {"error", "rich", "hook", "log soapbatch", "metric", "span", "pickle", "on_exchange", "error.exchange"}
    assert places <= witness.seen.keys()


def echoed(body: bytes, headers: Mapping[str, str]) -> dict[str, Answer]:
    """Return answers that repeat the whole request, as proxies and careless servers do."""
    text = body.decode()
    head_lines = "\n".join(f"{name}: {value}" for name, value in headers.items())
    key = headers.get("x-api-key", "")
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    head = b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    fault = f"<s:Fault><faultcode>s:Client</faultcode><faultstring>{escaped}</faultstring>"
    tail = f"<faultactor>{escaped}</faultactor><detail><a>{escaped}</a></detail></s:Fault></s:Body></s:Envelope>"
    xml = {"Content-Type": "text/xml"}
    return {
        "html": (500, {"Content-Type": "text/html"}, HTML + body),
        "plain": (403, {"Content-Type": "text/plain"}, body),
        "itself": (200, xml, body),
        "fault": (500, xml, head + f"{fault}{tail}".encode()),
        "no xml": (200, xml, b"received: " + body),
        "utf-16": (200, {"Content-Type": "text/xml; charset=utf-16"}, text.replace("UTF-8", "UTF-16").encode("utf-16")),
        "latin-1": (502, {"Content-Type": "text/plain; charset=latin-1"}, text.encode("latin-1", "replace")),
        "cut": (500, {"Content-Type": "text/plain"}, body[: len(body) // 2]),
        "headers": (502, {"X-Echo": f"key {key}", f"X-{key}": "1", "Set-Cookie": "a=b"}, head_lines.encode()),
        "long": (500, {"Content-Type": "text/plain"}, body * (80 * 1024 // len(body) + 1) if body else b""),
    }


@pytest.mark.parametrize("kind", list(echoed(b"", {})))
async def test_a_server_that_repeats_everything_shows_no_secret(kind: str, witness: Witness) -> None:
    """Answers that repeat the request, in pages, faults and other encodings, in every binding."""

    async def upstream(body: bytes, headers: Mapping[str, str]) -> Answer:
        return echoed(body, headers)[kind]

    async with FaultServer(upstream) as server:
        rows = [
            try_out(witness, server.url, scenario, binding=binding, retries=Retries(attempts=1))
            for scenario in SCENARIOS
            for binding in Binding
        ]
        assert all(await asyncio.gather(*rows))


@pytest.mark.parametrize("refusal", ["flag", "exception", "none"])
async def test_a_login_shows_no_secret(refusal: Any, witness: Witness) -> None:
    """Logins that are refused in each way, and logins that succeed, in every binding; and the ticket they give."""
    user = User(name="demo", password=PASSWORD, associate_id=1, generic={"key": GENERIC})
    netserver = NetServer(users=[user])
    netserver.tickets._access_tokens[ACCESS_TOKEN] = user
    netserver.tickets.refuse_logins = None if refusal == "none" else refusal
    issued: set[str] = set()
    async with FaultServer(upstream_of(netserver)) as server:
        for binding in Binding:
            for scenario in SCENARIOS:
                is_fixed = scenario in {"start", "read", "stream"}
                failed = await try_out(witness, server.url, scenario, binding=binding)
                assert failed == (is_fixed or (refusal != "none" and scenario != "access token")), scenario
            issued |= netserver.tickets._sessions.keys()
    shown = "\n".join(text for texts in witness.seen.values() for text in texts)
    assert [ticket for ticket in issued if ticket in shown] == []


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda: Client("http://crm.example", credentials=UsernamePassword("demo", PASSWORD)), id="insecure"
        ),
        pytest.param(
            lambda: Client(BASE, ticket=TICKET, credentials=Ticket(TICKET), application_token=APPLICATION_TOKEN),
            id="both",
        ),
        pytest.param(lambda: Client("nowhere", ticket=TICKET, application_token=APPLICATION_TOKEN), id="url"),
        pytest.param(lambda: Client(f"https://demo:{CORES['password']}@crm.example"), id="password-in-url"),
    ],
)
def test_a_client_that_cannot_be_made_shows_no_secret(make: Callable[[], Client], witness: Witness) -> None:
    """The errors of the constructor, and the locals of its frames, hold no secret."""
    with pytest.raises((UsageError, InsecureTransport)) as caught:
        make()
    witness.saw_error(caught.value)


async def test_a_value_that_cannot_be_written_shows_no_secret(witness: Witness) -> None:
    """EncodeError for a password with a character that XML forbids says where it is and not what."""
    client = Client(BASE, application_token=APPLICATION_TOKEN, limits=Limits())
    with pytest.raises(UsageError) as caught:
        await client.principal.authenticate_username_password("demo", f"{PASSWORD}\0")
    witness.saw_error(caught.value)
    with pytest.raises(UsageError) as caught:
        await client.principal.authenticate_generic({"key": f"{GENERIC}\0"})
    witness.saw_error(caught.value)
    await client.aclose()


def test_the_witness_finds_what_is_there() -> None:
    """A secret in a local of a frame, a note, a cause or a log record is found: a canary that cannot sing is none."""

    def fail() -> None:
        shown = PASSWORD  # noqa: F841 - in the locals
        raise ValueError

    for spoil in ("locals", "note", "cause", "log", "attribute"):
        witness = Witness()
        try:
            fail() if spoil == "locals" else int("x")
        except ValueError as error:
            if spoil == "note":
                error.add_note(PASSWORD)
            elif spoil == "cause":
                error.__cause__ = KeyError(PASSWORD)
            elif spoil == "attribute":
                vars(error)["hint"] = PASSWORD
            elif spoil == "log":
                witness.handle(logging.LogRecord("soapbatch", 10, "", 1, "%s", (PASSWORD,), None))
            witness.saw_error(error)
        assert witness.leaks(), spoil
