"""What a call shows of itself: records, envelopes and events, and nothing that is secret."""

import asyncio
import functools
import logging
import unicodedata
from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, strategies as st

from soapbatch import (
    AuthenticationFailed,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    Client,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    Hooks,
    HttpError,
    OperationFailed,
    Retries,
    ServiceVersion,
    UsernamePassword,
)
from soapbatch.calls import RequestEvent, ResponseEvent, recorder
from soapbatch.model.secret import Secret
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE, START_BATCH_JOB
from soapbatch.testing import NetServer
from soapbatch.testing.requests import Personality
from tests.support.clients import BASE, Reply, Script, Step, answer, in_process, replying, scripted, virtual

URL = f"{BASE}/Remote/Services88/Batch.svc"
ALL: dict[str, Any] = {"state": BatchTaskState.ALL}


class Watcher:
    """Keeps what the hooks are told."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.requests: list[RequestEvent] = []
        self.responses: list[ResponseEvent] = []

    @property
    def hooks(self) -> Hooks:
        """The hooks of a client to watch."""
        return Hooks(on_request=self.requests.append, on_response=self.responses.append)

    @property
    def outcomes(self) -> list[tuple[str, int | None]]:
        """How the requests ended."""
        return [(event.outcome, event.status) for event in self.responses]


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Keep every record of the library."""
    with caplog.at_level(logging.DEBUG, "soapbatch"):
        yield caplog


def records(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    """Return the records of one logger."""
    return [record for record in caplog.records if record.name == name]


# --- Hooks ----------------------------------------------------------------------------------------------------------


@virtual
async def test_hooks_are_told_of_each_request_and_its_end() -> None:
    """`on_request` comes before and `on_response` after each request, with numbers, sizes and times."""
    watcher = Watcher()
    reply = replying(GET_BATCH_TASK_INFO)
    client, script = scripted(
        Step(ConnectFailed("refused"), (("connecting", 0.25),)),
        Step(reply, (("waiting", 0.5),)),
        hooks=watcher.hooks,
        version=ServiceVersion.V88,
    )
    async with client:
        await client.batch.get_batch_task_info(1)
    size = len(script.requests[0].body)
    first, second = watcher.requests
    assert first == RequestEvent(
        operation="GetBatchTaskInfo",
        version=ServiceVersion.V88,
        binding=Binding.SOAP11,
        attempt=1,
        url=URL,
        bytes_sent=size,
    )
    assert (second.attempt, second.bytes_sent) == (2, size)
    received = len(answer(GET_BATCH_TASK_INFO))
    assert watcher.responses == [
        ResponseEvent(request=first, status=None, bytes_received=0, milliseconds=250, outcome="ConnectFailed"),
        ResponseEvent(
            request=second,
            status=200,
            bytes_received=received,
            milliseconds=pytest.approx(500),  # type: ignore[arg-type]  # it compares like a float
            outcome="ok",
        ),
    ]


async def test_a_fallback_and_a_login_are_told_of() -> None:
    """Each request is told of: the refused form, the login, and the call itself."""
    watcher = Watcher()
    server = NetServer(personality=Personality.STRICT_SOAP11)
    async with in_process(server, credentials=UsernamePassword("demo", "demo"), hooks=watcher.hooks) as client:
        await client.batch.get_batch_task_info(1)
    assert [(event.operation, event.binding) for event in watcher.requests] == [
        ("AuthenticateUsernamePassword", Binding.DOCUMENTED),
        ("AuthenticateUsernamePassword", Binding.SOAP11),
        ("GetBatchTaskInfo", Binding.SOAP11),
    ]
    assert watcher.outcomes == [("BindingRefused", 415), ("ok", 200), ("ok", 200)]
    assert [event.request for event in watcher.responses] == watcher.requests


@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        pytest.param(Reply(500), ("HttpError", 500), id="500"),
        pytest.param(ConnectionLost("reset"), ("ConnectionLost", None), id="lost"),
        pytest.param(Reply(200, {}, [b"<a>"]), ("UnreadableResponse", 200), id="unreadable"),
        pytest.param(Step(Reply(), (("waiting", 100),)), ("CancelledError", None), id="timeout"),
        pytest.param(Reply(200, {}, [b"<a>", 100.0]), ("CancelledError", 200), id="timeout-reading"),
    ],
)
@virtual
async def test_how_a_request_ended(step: Step | Reply | ConnectionLost, outcome: tuple[str, int | None]) -> None:
    """The outcome is the name of the error that ended the request."""
    watcher = Watcher()
    client, _ = scripted(step, hooks=watcher.hooks, timeout=10)
    async with client:
        with pytest.raises((Exception, DeadlineExceeded)):
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    assert watcher.outcomes == [outcome]


@virtual
async def test_how_a_stream_ended() -> None:
    """A stream is told of once: as ok, as abandoned, by its error, or as ended with the client."""
    watcher = Watcher()
    whole = answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=1), BatchTaskInfo(id=2)])
    cut = whole.index(b"</BatchTaskInfo>") + 30
    client, _ = scripted(
        Reply(body=[whole]),
        Reply(body=[whole]),
        Reply(body=[whole[:cut], ConnectionLost("reset")]),
        Reply(body=[whole[:cut], whole[cut:]]),
        hooks=watcher.hooks,
        grace=0,
    )
    assert [task.id async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)] == [1, 2]
    stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)
    await anext(stream)
    await stream.aclose()
    with pytest.raises(ConnectionLost):
        assert [task async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)]
    stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)
    await anext(stream)
    await client.aclose()
    await stream.aclose()
    assert [outcome for outcome, _ in watcher.outcomes] == ["ok", "abandoned", "ConnectionLost", "ClientClosed"]


async def test_a_hook_adds_headers() -> None:
    """`headers` is asked before each request; what it returns is sent, and never takes the place of our own."""
    numbers = iter(range(10))

    def headers() -> dict[str, str]:
        return {"traceparent": f"00-{next(numbers)}", "Content-Type": "text/plain"}

    client, script = scripted(replying(GET_BATCH_TASK_INFO), hooks=Hooks(headers=headers))
    async with client:
        for _ in range(2):
            await client.batch.get_batch_task_info(1)
    assert [request.headers["traceparent"] for request in script.requests] == ["00-0", "00-1"]
    assert {request.headers["Content-Type"] for request in script.requests} == {"text/xml; charset=utf-8"}


@pytest.mark.parametrize("which", ["on_request", "headers"])
async def test_what_a_hook_raises_before_sending_is_raised(which: str) -> None:
    """A hook that fails before anything is sent ends the call with its own error, and nothing is sent."""

    def fail(*_: object) -> Any:
        raise LookupError(which)

    client, script = scripted(replying(START_BATCH_JOB, 7), hooks=Hooks(**{which: fail}))
    async with client:
        with pytest.raises(LookupError, match=which):
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    assert script.requests == []


async def test_what_an_observer_raises_costs_no_result(caplog: pytest.LogCaptureFixture) -> None:
    """What `on_response` raises is logged: the id of a job that was started is returned all the same."""

    def fail(_: object) -> None:
        raise LookupError

    reply = replying(START_BATCH_JOB, 7)
    client, _ = scripted(reply, hooks=Hooks(on_response=fail))
    async with client:
        assert await client.batch.start_batch_job(BatchTaskInfo(name="Export")) == 7
    assert reply.closed == 1
    assert "a hook failed that was told of ResponseEvent" in caplog.text


# --- Records --------------------------------------------------------------------------------------------------------


@virtual
async def test_a_record_for_each_request(logs: pytest.LogCaptureFixture) -> None:
    """Logger soapbatch has operation, version, attempt, outcome, status, milliseconds and bytes, at DEBUG."""
    client, script = scripted(
        ConnectFailed("refused"), Step(replying(GET_BATCH_TASK_INFO), (("waiting", 0.5),)), retries=Retries(attempts=2)
    )
    async with client:
        await client.batch.get_batch_task_info(1)
    size, received = len(script.requests[0].body), len(answer(GET_BATCH_TASK_INFO))
    assert [(record.levelname, record.getMessage()) for record in records(logs, "soapbatch") if record.args][1::2] == [
        ("DEBUG", f"GetBatchTaskInfo Services88 attempt 1: ConnectFailed, HTTP None, 0.0 ms, {size} bytes out, 0 in"),
        ("DEBUG", f"GetBatchTaskInfo Services88 attempt 2: ok, HTTP 200, 500.0 ms, {size} bytes out, {received} in"),
    ]


async def test_envelopes_are_shown_redacted(logs: pytest.LogCaptureFixture) -> None:
    """Logger soapbatch.wire shows what was sent and received; tokens, tickets and passwords are masked."""
    server = NetServer()
    credentials = UsernamePassword("demo", "pass<word>&1")
    async with in_process(server, credentials=credentials, application_token="app-token-1") as client:
        with pytest.raises(AuthenticationFailed):
            await client.batch.get_batch_task_info(1)
        await client.principal.authenticate_username_password("demo", "demo")
    messages = [record.getMessage() for record in records(logs, "soapbatch.wire")]
    first, second = messages
    assert first.startswith("AuthenticateUsernamePassword Services88 attempt 1: AuthenticationFailed, ")
    assert second.startswith("AuthenticateUsernamePassword Services88 attempt 1: ok, ")
    assert f"\n> POST {BASE}/Remote/Services88/SoPrincipal.svc\n> Content-Type: " in first
    assert " bytes\n<?xml" in first
    assert "\n< HTTP 200\n< content-type: " in first
    text = "\n".join(messages)
    assert ">demo</SoPrincipal:UserName>" in text
    assert 'xsd:string">***</SoPrincipal:Password>' in text
    assert ">***</SoPrincipal:ApplicationToken>" in text
    assert ">***</SoPrincipal:Ticket>" in text
    for secret in ("pass<word>", "pass&lt;word", "app-token-1", "7T:"):
        assert secret not in text


async def test_a_server_that_repeats_a_secret_is_masked(logs: pytest.LogCaptureFixture) -> None:
    """A ticket or token that stands somewhere in an answer is masked by its value, in UTF-16 too."""
    text = '<?xml version="1.0" encoding="utf-16"?><a>Ticket "abc-no-shape" and app-token-1 are unknown</a>'
    client, _ = scripted(
        Reply(200, {}, [text.encode("utf-16")]), ticket="abc-no-shape", application_token="app-token-1"
    )
    async with client:
        with pytest.raises(Exception, match="response"):
            await client.batch.get_batch_task_info(1)
    shown = records(logs, "soapbatch.wire")[-1].getMessage()
    assert 'Ticket "***" and *** are unknown' in shown


ENCODINGS = ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"]


@pytest.mark.parametrize("declared", ["", '<?xml version="1.0" encoding="utf-8"?>', '<?xml encoding="iso-8859-1"?>'])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("secret", ["blåbær<&>", "Ã¥Ã¤Ã", "þÿþÿ"])
async def test_an_encoding_hides_no_secret(
    logs: pytest.LogCaptureFixture, encoding: str, declared: str, secret: str
) -> None:
    """A secret is masked whole whatever the encoding of an answer is, and is said to be; cut short and damaged, too."""
    body = f"{declared}<a>{escape(secret)} p&#229;g&#229; <Password>{escape(secret)}".encode(encoding) + b"\xff\xc3\xc3"
    client, _ = scripted(Reply(500, {}, [body]), ticket=secret, application_token="pågå")
    async with client:
        with pytest.raises(HttpError):
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
    shown = records(logs, "soapbatch.wire")[-1].getMessage()
    assert "<a>*** *** <Password>***" in shown


@functools.cache
def representatives(encoding: str) -> list[str]:
    """Return the first and the last character of each class that an encoding has.

    A class is a Unicode category and a number of bytes in UTF-8.
    """
    is_unicode = encoding.startswith("utf")
    if is_unicode and encoding != "utf-8":
        return representatives("utf-8")
    classes: dict[tuple[str, int], list[str]] = {}
    for character in map(chr, range(0x110000)) if is_unicode else bytes(range(256)).decode(encoding, "ignore"):
        category = unicodedata.category(character)
        if category not in {"Cc", "Cs"}:
            classes.setdefault((category, len(character.encode())), [character])[1:] = [character]
    return sorted({character for ends in classes.values() for character in ends})


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_encoding_hides_any_character(encoding: str) -> None:
    """A secret of a character of whatever class is masked whole in each encoding that has it."""
    for character in representatives(encoding):
        assert masked(f"[{character}.]", encoding) == "<***>"


@given(st.sampled_from(ENCODINGS), st.data())
def test_no_encoding_hides_any_characters(encoding: str, data: st.DataObject) -> None:
    """A secret of characters of whatever classes is masked whole in each encoding that has them."""
    secret = data.draw(st.text(st.sampled_from(representatives(encoding)), min_size=2, max_size=8))
    assert masked(f"[{secret}]", encoding) == "<***>"


def masked(secret: str, encoding: str) -> str:
    """Return what is shown of an answer that holds a secret in angle brackets, and nothing else."""
    return recorder.shown(f"<{secret}>".encode(encoding), (Secret(secret),)).removeprefix("\ufeff")


async def test_envelopes_are_shown_only_where_they_are_wanted(logs: pytest.LogCaptureFixture) -> None:
    """With soapbatch.wire above DEBUG nothing is shown, of requests or of answers."""
    wire = logging.getLogger("soapbatch.wire")
    wire.setLevel(logging.INFO)
    try:
        async with in_process(NetServer()) as client:
            await client.batch.get_batch_task_info(1)
    finally:
        wire.setLevel(logging.NOTSET)
    assert records(logs, "soapbatch.wire") == []
    assert len(records(logs, "soapbatch")) == 2


async def test_a_long_answer_is_shown_in_part(logs: pytest.LogCaptureFixture) -> None:
    """Of an answer 64 KiB are shown at most."""
    whole = answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=n, description="x" * 200) for n in range(1000)])
    client, _ = scripted(Reply(body=[whole[:50_000], whole[50_000:100_000], whole[100_000:]]))
    async with client:
        assert len(await client.batch.get_batch_task_infos_by_state("All")) == 1000
    shown = records(logs, "soapbatch.wire")[-1].getMessage()
    note = f"{len(whole)} bytes, of which at most 65536 characters are shown"
    assert shown.endswith(f"\n< HTTP 200\n< {note}\n{whole[: 64 * 1024].decode()}")


def test_a_secret_at_the_end_of_what_is_shown() -> None:
    """A secret that the cut of a long answer would halve is masked before it is cut."""
    secret = "hunter2-" * 200
    for cut in (64 * 1024, 80 * 1024):
        for before in range(cut - 1610, cut + 10, 90):
            body = f"{secret * 20}{'x' * (before - 20 * len(secret))}{secret}{'y' * 20_000}".encode()
            assert "hunter2" not in recorder.shown(body, (Secret(secret),))


@virtual
async def test_a_call_that_is_cancelled_is_told_of(logs: pytest.LogCaptureFixture) -> None:
    """A cancelled request has its record and its event as well."""
    watcher = Watcher()
    client, _ = scripted(Step(Reply(), (("waiting", 100),)), hooks=watcher.hooks)
    async with client:
        task = asyncio.create_task(client.batch.get_batch_task_info(1))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert watcher.outcomes == [("CancelledError", None)]
    assert "CancelledError, HTTP None, 1000.0 ms" in logs.text


async def test_events_hold_no_secret() -> None:
    """Neither the repr nor any attribute of an event holds a ticket, a token or a password."""
    watcher = Watcher()
    server = NetServer()
    async with in_process(
        server, credentials=UsernamePassword("demo", "demo"), application_token="app-token-1", hooks=watcher.hooks
    ) as client:
        await client.batch.get_batch_task_info(1)
        with pytest.raises(OperationFailed):
            await client.batch.stop_batch_job(1)
        ticket = (await client.ticket()).value.reveal()
    text = f"{watcher.requests}{watcher.responses}"
    assert len(watcher.responses) == 3
    assert ticket not in text
    assert "app-token-1" not in text


async def test_nothing_is_told_of_what_is_not_sent() -> None:
    """A call that is refused before anything is sent has no record and no event."""
    watcher = Watcher()
    client = Client(BASE, ticket="7T:dA==", transport=Script(), hooks=watcher.hooks)
    await client.aclose()
    with pytest.raises(Exception, match="closed"):
        await client.batch.get_batch_task_info(1)
    assert (watcher.requests, watcher.responses) == ([], [])
