"""What went over the wire: `Hooks.on_exchange`, `error.exchange`, and what is kept of which exchange."""

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from soapbatch import (
    AuthenticationFailed,
    BatchTaskInfo,
    Binding,
    Client,
    ConnectFailed,
    ConnectionLost,
    Hooks,
    LimitExceeded,
    Limits,
    OperationFailed,
    ProtocolError,
    Retries,
    ServiceBusy,
    ServiceError,
    ServiceVersion,
    SoapBatchError,
    UnreadableResponse,
    UsernamePassword,
    VersionMismatch,
)
from soapbatch.calls import exchange as exchange_module
from soapbatch.calls.recorder import Recorder
from soapbatch.model import SHOWN, AuthenticateResponse, ExceptionInfo, ExchangeRecord, ReplyHeader
from soapbatch.operations import (
    AUTHENTICATE_USERNAME_PASSWORD,
    GET_BATCH_TASK_INFO,
    GET_BATCH_TASK_INFOS_BY_STATE,
    START_BATCH_JOB,
)
from soapbatch.testing import NetServer, User, answering
from tests.support.clients import BASE, Reply, Step, answer, in_process, replying, scripted, virtual
from tests.support.envelopes import fault11

URL = f"{BASE}/Remote/Services88/Batch.svc"
FAILED = ReplyHeader(succeeded=False, exception_info=ExceptionInfo(exception_type="A.B", message="no"))
FAULT = fault11("<faultcode>s:Server</faultcode><faultstring>no</faultstring>")
TASKS = [BatchTaskInfo(id=number, description="x" * 200) for number in range(1000)]


def watched(*steps: Step | Reply | BaseException, **options: Any) -> tuple[Client, list[ExchangeRecord]]:
    """Return a client of a script, and the list of what its hook is told."""
    records: list[ExchangeRecord] = []
    hooks = Hooks(on_exchange=records.append, headers=options.pop("headers", None))
    return scripted(*steps, hooks=hooks, **options)[0], records


# --- The hook -----------------------------------------------------------------------------------------------------


@virtual
async def test_a_record_says_everything() -> None:
    """Heads, bodies, sizes, times, attempt and outcome of one request."""
    body = answer(GET_BATCH_TASK_INFO, BatchTaskInfo(id=7, name="Export"))
    reply = Reply(200, {"Content-Type": "text/xml", "Server": "Kestrel"}, [body])
    client, records = watched(
        ConnectFailed("refused"),
        Step(reply, (("waiting", 0.5),)),
        headers=lambda: {"traceparent": "00-1-2-01"},
        ticket="7T:dGlja2V0",
    )
    async with client:
        await client.batch.get_batch_task_info(7)
    first, second = records
    action = f'"{ServiceVersion.V88.namespace}/Batch/GetBatchTaskInfo"'
    own = (("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", action))
    envelope = second.request_body
    assert second == ExchangeRecord(
        operation="GetBatchTaskInfo",
        version=ServiceVersion.V88,
        binding=Binding.SOAP11,
        attempt=2,
        started=second.started,
        milliseconds=pytest.approx(500),  # type: ignore[arg-type]  # it compares like a float
        outcome="ok",
        url=URL,
        request_headers=(*own, ("traceparent", "00-1-2-01"), ("Accept-Encoding", "gzip")),
        request_body=envelope,
        bytes_sent=len(envelope) - len("***") + len("7T:dGlja2V0"),
        status=200,
        response_headers=(("content-type", "text/xml"), ("server", "Kestrel")),
        response_body=body.decode(),
        bytes_received=len(body),
    )
    assert envelope.startswith('<?xml version="1.0"')
    assert "<Ticket>***</Ticket>" in envelope
    assert abs(second.started - datetime.now(UTC)) < timedelta(minutes=1)
    assert (first.attempt, first.outcome, first.status) == (1, "ConnectFailed", None)
    assert (first.response_headers, first.response_body, first.bytes_received) == ((), "", 0)
    assert first.request_body == envelope


@virtual
async def test_a_record_is_a_text() -> None:
    """The first line says what and when; then come the request and the response, or that there was none."""
    page = Reply(502, {"Content-Type": "text/html"}, [b"<h1>Bad Gateway</h1>"])
    client, records = watched(page, ConnectionLost("reset"), Reply(204))
    async with client:
        for _ in range(3):
            with pytest.raises(SoapBatchError):
                await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    first, second, third = (str(record).splitlines() for record in records)
    stamp = records[0].started.isoformat(timespec="milliseconds")
    assert first == [
        f"StartBatchJob Services88 attempt 1: HttpError, {stamp} + 0.0 ms",
        f"> POST {URL}",
        *(f"> {name}: {value}" for name, value in records[0].request_headers),
        f"> {records[0].bytes_sent} bytes",
        records[0].request_body,
        "< HTTP 502",
        "< content-type: text/html",
        "< 20 bytes",
        "<h1>Bad Gateway</h1>",
    ]
    assert second[-2:] == [records[1].request_body, "< no response"]
    assert third[-2:] == ["< HTTP 204", "< 0 bytes"]
    assert "Gateway" not in repr(records[0]), "the repr leaves bodies out"


async def test_records_of_calls_at_the_same_time_are_apart() -> None:
    """Each record holds the request and the response of one call, whatever else runs."""
    records: list[ExchangeRecord] = []
    server = NetServer()
    server.define_job("Export")
    async with in_process(server, hooks=Hooks(on_exchange=records.append), binding=Binding.SOAP11) as client:
        ids = await asyncio.gather(*(client.batch.start_batch_job(BatchTaskInfo(name="Export")) for _ in range(50)))
        records.clear()
        await asyncio.gather(*(client.batch.get_batch_task_info(id_) for id_ in ids))
    for record in records:
        asked = record.request_body.partition("<Id>")[2].partition("</Id>")[0] or record.request_body
        assert f">{asked.partition('<')[0]}<" in record.response_body
    assert len({record.request_body for record in records}) == 50


@virtual
async def test_a_stream_has_a_record() -> None:
    """One at its end: as ok, as abandoned, or by its error, which has it as well."""
    whole = answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=1), BatchTaskInfo(id=2)])
    cut = whole.index(b"</BatchTaskInfo>") + 30
    client, records = watched(
        Reply(body=[whole]), Reply(body=[whole[:cut], 1.0, whole[cut:]]), Reply(body=[whole[:cut], whole[:cut]])
    )
    async with client:
        assert [task.id async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All")] == [1, 2]
        stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All")
        await anext(stream)
        await stream.aclose()
        with pytest.raises(UnreadableResponse) as caught:
            assert [task async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All")]
    assert [record.outcome for record in records] == ["ok", "abandoned", "UnreadableResponse"]
    assert records[0].response_body == whole.decode()
    assert records[1].response_body == whole[:cut].decode()
    assert caught.value.exchange is records[2]
    assert records[2].response_body == whole[:cut].decode() * 2


async def test_what_the_hook_raises_costs_no_result(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback; the id of the job is returned, and the other hook is called."""
    seen: list[object] = []

    def fail(_: ExchangeRecord) -> None:
        raise LookupError

    hooks = Hooks(on_exchange=fail, on_response=seen.append)
    client, _ = scripted(replying(START_BATCH_JOB, 7), hooks=hooks)
    async with client:
        assert await client.batch.start_batch_job(BatchTaskInfo(name="Export")) == 7
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.getMessage() == "a hook failed that was told of ExchangeRecord"
    assert record.exc_info
    assert record.exc_info[0] is LookupError
    assert len(seen) == 1


# --- The error ----------------------------------------------------------------------------------------------------

EXPLAINED: list[tuple[Reply | BaseException, type[SoapBatchError], bool]] = [
    (Reply(500, {}, [b"<h1>Oops</h1>"]), ProtocolError, True),
    (Reply(401, {}, [b"who?"]), ProtocolError, True),
    (Reply(200, {}, [b""]), UnreadableResponse, True),
    (Reply(200, {}, [b"<a>"]), UnreadableResponse, True),
    (Reply(200, {}, [answer(GET_BATCH_TASK_INFO)]), ProtocolError, True),
    (Reply(200, {"Content-Encoding": "zstd"}, [b"?"]), ProtocolError, True),
    (Reply(500, {}, [FAULT]), ServiceError, True),
    (replying(START_BATCH_JOB, None, header=FAILED), OperationFailed, True),
    (ConnectFailed("refused"), ConnectFailed, False),
    (ConnectionLost("reset"), ConnectionLost, False),
    (Reply(200, {}, [b"<a>", ConnectionLost("reset")]), ConnectionLost, False),
]


@pytest.mark.parametrize(("step", "kind", "is_explained"), EXPLAINED)
async def test_an_error_has_the_exchange_that_explains_it(
    step: Reply | BaseException,
    kind: type[SoapBatchError],
    is_explained: bool,  # noqa: FBT001 - a column
) -> None:
    """An answer that is an error, or that is none, hangs on its error; a broken connection explains itself."""
    client, _ = scripted(step, retries=Retries(attempts=1))
    async with client:
        with pytest.raises(kind) as caught:
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    exchange = caught.value.exchange
    assert (exchange is not None) is is_explained
    if exchange is not None:
        assert isinstance(step, Reply)
        parts = [part for part in step.body if isinstance(part, bytes)]
        assert (exchange.outcome, exchange.status) == (kind_of(caught.value), step.status)
        assert exchange.response_body == (b"".join(parts).decode() if "Content-Encoding" not in step.headers else "")
        assert "StartBatchJob" in exchange.request_body


def kind_of(error: BaseException) -> str:
    """Return the name of an error's class."""
    return type(error).__name__


@virtual
async def test_an_error_has_its_last_attempt() -> None:
    """Of a call that was repeated, the last request and response; of one that worked in the end, nothing is told."""
    client, _ = scripted(
        Reply(503, {}, [b"first"]), Reply(503, {}, [b"second"]), retries=Retries(attempts=2, first_wait=1)
    )
    async with client:
        with pytest.raises(ServiceBusy) as caught:
            await client.batch.get_batch_task_info(1)
    assert caught.value.exchange is not None
    assert (caught.value.exchange.attempt, caught.value.exchange.response_body) == (2, "second")


async def test_an_error_of_a_login_has_the_exchange_of_the_login() -> None:
    """Also for each of the calls that waited for it, and while no login is tried."""
    server = NetServer(users=[User(name="demo", password="right", associate_id=1)])
    async with in_process(server, credentials=UsernamePassword("demo", "wrong"), binding=Binding.SOAP11) as client:
        for _ in range(2):
            with pytest.raises(AuthenticationFailed) as caught:
                await client.batch.get_batch_task_info(1)
            assert caught.value.exchange is not None
            assert caught.value.exchange.operation == "AuthenticateUsernamePassword"
            assert "wrong" not in str(caught.value.exchange)


async def test_a_login_that_the_answer_refuses_has_the_answer() -> None:
    """AuthenticationSucceeded=false is in the response, and so is what else the server says."""
    body = answer(AUTHENTICATE_USERNAME_PASSWORD, AuthenticateResponse(authentication_succeeded=False))
    client, _ = scripted(Reply(200, {}, [body]), ticket=None)
    async with client:
        with pytest.raises(AuthenticationFailed) as caught:
            await client.principal.authenticate_username_password("demo", "demo")
    assert caught.value.exchange is not None
    assert caught.value.exchange.response_body == body.decode()


async def test_a_call_that_waits_for_the_binding_has_the_exchange_of_the_read() -> None:
    """A start that was not sent, because the read before it failed in each form, shows an answer to the read."""
    mismatch = FAULT.replace(b"Server", b"VersionMismatch")
    client, _ = scripted(Reply(500, {}, [mismatch]), binding=None)
    async with client:
        with pytest.raises(VersionMismatch) as caught:
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    assert caught.value.exchange is not None
    assert (caught.value.exchange.operation, caught.value.exchange.binding) == ("GetBatchTaskInfo", Binding.DOCUMENTED)


async def test_an_error_with_its_exchange_can_be_handed_on() -> None:
    """It survives a pickle and a copy; its own text is as it was."""
    client, _ = scripted(Reply(500, {"Server": "nginx"}, [b"<h1>Oops</h1>"]))
    async with client:
        with pytest.raises(ProtocolError) as caught:
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    error = caught.value
    for other in (error.copy(), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert other.exchange == error.exchange
        assert str(other.exchange) == str(error.exchange)
        assert "Oops" not in str(other)


# --- What is shown of headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_shown"),
    [
        ("traceparent", True),
        ("TraceState", True),
        ("User-Agent", True),
        ("X-Tenant", False),
        ("Authorization", False),
        ("Ocp-Apim-Subscription-Key", False),
        ("Cookie", False),
    ],
)
async def test_a_header_of_the_callers_is_shown_if_it_is_known(name: str, *, is_shown: bool) -> None:
    """What the library does not know may be a secret: it is masked, also where the server repeats it."""
    value = "first=kanarie-1; second=kanarie-2"
    page = f"<p>{value}</p><p>kanarie-2</p>".encode()
    client, records = watched(Reply(500, {"X-Echo": value}, [page]), headers=lambda: {name: value})
    async with client:
        with pytest.raises(ProtocolError) as caught:
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    assert dict(records[0].request_headers)[name] == (value if is_shown else "***")
    assert ("kanarie" in records[0].response_body) is is_shown
    assert ("kanarie" in str(records[0].response_headers)) is is_shown
    says_secret = name not in {"traceparent", "TraceState", "User-Agent", "X-Tenant"}
    assert isinstance(caught.value, ProtocolError)
    assert ("kanarie" in caught.value.excerpt) is not says_secret


@pytest.mark.parametrize(
    ("name", "is_shown"),
    [
        ("Server", True),
        ("WWW-Authenticate", True),
        ("Proxy-Authenticate", True),
        ("Retry-After", True),
        ("X-Request-Id", True),
        ("Set-Cookie", False),
        ("Authentication-Info", False),
        ("X-Auth-Token", False),
        ("X-Session", False),
        ("X-Signature", False),
    ],
)
async def test_a_header_of_the_servers_is_shown_unless_its_name_speaks_of_a_secret(
    name: str, *, is_shown: bool
) -> None:
    """A server's session is as good as a ticket."""
    client, records = watched(Reply(500, {name: "value-1"}, [b"x"]))
    async with client:
        with pytest.raises(ProtocolError):
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    assert records[0].response_headers == ((name.lower(), "value-1" if is_shown else "***"),)


async def test_headers_are_cut_and_masked_in_each_reading() -> None:
    """At most 100 of them, each at most 1,024 characters long; a ticket in UTF-8 is found, too."""
    many = {f"x-{number}": "y" * (2000 if number < 10 else 20) for number in range(150)}
    secret = "blåbær<&>"
    echo: Any = [(b"x-utf-8", secret.encode()), (b"x-latin-1", secret.encode("latin-1"))]
    client, records = watched(Reply(500, many, [b"x"]), Reply(500, echo), ticket=secret)
    async with client:
        for _ in range(2):
            with pytest.raises(ProtocolError):
                await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    assert records[0].response_headers == tuple(
        (f"x-{number}", "y" * (1024 if number < 10 else 20)) for number in range(100)
    )
    assert records[1].response_headers == (("x-utf-8", "***"), ("x-latin-1", "***"))


# --- What is kept -------------------------------------------------------------------------------------------------


async def test_a_call_that_works_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a hook and without the wire log no record is made, and what was received is let go of."""
    kept: list[Recorder] = []

    class Watched(Recorder):
        """A recorder that a test can find, and that must not be asked for a record."""

        def __init__(self, *arguments: Any) -> None:
            """Be found."""
            super().__init__(*arguments)
            kept.append(self)

        def record(self, *_: Any, **__: Any) -> ExchangeRecord:
            """Fail."""
            pytest.fail("nobody asked for a record")  # pragma: no cover - not reached

    monkeypatch.setattr(exchange_module, "Recorder", Watched)
    client, _ = scripted(replying(GET_BATCH_TASK_INFO), replying(GET_BATCH_TASK_INFOS_BY_STATE, []))
    async with client:
        await client.batch.get_batch_task_info(1)
        assert [task async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All")] == []
    assert len(kept) == 2
    assert [recorder._head for recorder in kept] == [[], []]


def test_what_is_received_is_kept_by_reference() -> None:
    """The pieces themselves, up to the limit; a part of the one that crosses it; and then nothing more."""
    recorder = Recorder(None)  # type: ignore[arg-type]  # the request is not looked at
    pieces = [bytes([n]) * 30_000 for n in range(5)]
    for piece in pieces:
        recorder.received(piece)
    assert recorder._head[0] is pieces[0]
    assert recorder._head[1] is pieces[1]
    assert [len(piece) for piece in recorder._head] == [30_000, 30_000, 80 * 1024 - 60_000]
    recorder.forget()
    recorder.received(b"x")
    assert recorder._head == []


async def test_a_record_is_bounded() -> None:
    """However long request and response are, 65,536 characters of each are kept; the sizes are true."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"<a>" * 21845 + b"!"

    class Endless(httpx.AsyncBaseTransport):
        """Answers with 4 MiB of nonsense."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            """Answer."""
            await request.aread()
            return httpx.Response(500, content=pieces())

    async with Client(BASE, ticket="7T:dA==", binding=Binding.SOAP11, transport=Endless()) as client:
        with pytest.raises(ProtocolError) as caught:
            await client.batch.get_batch_task_infos_by_associates(range(50_000))
    exchange = caught.value.exchange
    assert exchange is not None
    assert len(exchange.request_body) == SHOWN - len("7T:dA==") + len("***")
    assert len(exchange.response_body) == SHOWN
    assert exchange.bytes_sent > 300_000
    assert len(pickle.dumps(exchange)) < 2 * SHOWN + 4096
    assert f"> {exchange.bytes_sent} bytes, of which at most {SHOWN} characters are shown\n" in str(exchange)


async def test_a_long_secret_hides_nothing_else() -> None:
    """What stands before it and behind it is shown, although it is longer than what is shown in all."""
    client, records = watched(replying(START_BATCH_JOB, 7))
    async with client:
        await client.batch.start_batch_job(BatchTaskInfo(name="Export", parameter_object={"p": "d" * 300_000}))
    assert records[0].request_body.endswith("<Key>p</Key><Value>***")
    assert "<Name>Export</Name>" in records[0].request_body


async def test_a_response_beyond_a_limit_is_shown_from_its_beginning() -> None:
    """LimitExceeded has what was read until then."""
    body = answer(GET_BATCH_TASK_INFOS_BY_STATE, TASKS)
    client, _ = scripted(Reply(body=[body]), limits=Limits(items=10))
    async with client:
        with pytest.raises(LimitExceeded) as caught:
            await client.batch.get_batch_task_infos_by_state("All")
    assert caught.value.exchange is not None
    assert caught.value.exchange.response_body == body[:SHOWN].decode()


async def test_answers_of_the_embedded_server_are_recorded() -> None:
    """Over ASGI as over a socket: a page in front of the server is shown whole."""
    server = NetServer()
    server.intercept(START_BATCH_JOB, answering(502, {"Content-Type": "text/html"}, b"<h1>Bad Gateway</h1>"))
    async with in_process(server, binding=Binding.SOAP11) as client:
        with pytest.raises(ProtocolError) as caught:
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    assert caught.value.exchange is not None
    assert caught.value.exchange.response_body == "<h1>Bad Gateway</h1>"
