"""The binding: found out once, pinned on demand, and never the reason for sending anything twice."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from soapbatch import (
    BatchTaskInfo,
    Binding,
    BindingRefused,
    Client,
    ConnectFailed,
    ConnectionLost,
    Fault,
    HttpError,
    OperationFailed,
    Retries,
    SoapBatchError,
    UnreadableResponse,
    UsernamePassword,
    VersionMismatch,
)
from soapbatch.model.services import SOAP11_ENVELOPE, SOAP12_ENVELOPE
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_STATE, START_BATCH_JOB
from soapbatch.testing import NetServer
from soapbatch.testing.faults import FaultCode, fault
from soapbatch.testing.requests import Personality
from tests.support.clients import Reply, Script, Step, in_process, replying, scripted, until

DOCUMENTED, SOAP11, SOAP12 = Binding
JOB = BatchTaskInfo(name="Export")


def a_fault(envelope: str, code: FaultCode) -> Reply:
    """Return a fault as a reply."""
    told = fault(envelope, code, "for a reason")
    return Reply(told.status, {"content-type": told.headers["Content-Type"]}, list(told.body))


def started() -> Reply:
    """Return the reply to a start."""
    return replying(START_BATCH_JOB, 7)


def form_of(script: Script) -> list[Binding]:
    """Return the bindings of the requests."""
    return [
        SOAP11 if "SOAPAction" in request.headers else (SOAP12 if b":Header>" in request.body else DOCUMENTED)
        for request in script.requests
    ]


REFUSALS = [
    pytest.param(lambda: Reply(415), id="415"),
    pytest.param(lambda: Reply(415, {"content-type": "text/html"}, [b"<html>no</html>"]), id="415-html"),
    pytest.param(lambda: a_fault(SOAP11_ENVELOPE, "VersionMismatch"), id="VersionMismatch-1.1"),
    pytest.param(lambda: a_fault(SOAP12_ENVELOPE, "VersionMismatch"), id="VersionMismatch-1.2"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refused_form_is_repeated_as_soap11_once_and_for_all(
    refusal: Callable[[], Reply], caplog: pytest.LogCaptureFixture
) -> None:
    """A start refused for its form is repeated as SOAP 1.1; later calls begin there; one INFO record says so."""
    caplog.set_level(logging.INFO, "soapbatch")
    client, script = scripted(refusal(), started(), started(), binding=None)
    async with client:
        assert client.binding is None
        assert await client.batch.start_batch_job(JOB) == 7
        assert client.binding is SOAP11
        assert await client.batch.start_batch_job(JOB) == 7
    assert form_of(script) == [DOCUMENTED, SOAP11, SOAP11]
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "SOAP 1.1" in caplog.text
    assert client._context.settings.base_url in caplog.text


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_both_forms_refused_is_the_end(refusal: Callable[[], Reply]) -> None:
    """Where SOAP 1.1 is refused as well, that refusal is raised; nothing was applied."""
    client, script = scripted(refusal(), refusal(), binding=None)
    async with client:
        with pytest.raises((BindingRefused, VersionMismatch)) as caught:
            await client.batch.start_batch_job(JOB)
    assert caught.value.applied == "no"
    assert form_of(script) == [DOCUMENTED, SOAP11]


@pytest.mark.parametrize("binding", Binding)
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_pinned_binding_never_changes(refusal: Callable[[], Reply], binding: Binding) -> None:
    """With `binding=` a refusal of the form is raised; nothing is sent in another form."""
    client, script = scripted(refusal(), binding=binding)
    async with client:
        with pytest.raises((BindingRefused, VersionMismatch)):
            await client.batch.start_batch_job(JOB)
        assert client.binding is binding
    assert form_of(script) == [binding]


FAILURES = [
    pytest.param(ConnectFailed("refused"), ConnectFailed, None, id="ConnectFailed"),
    pytest.param(ConnectionLost("reset"), ConnectionLost, None, id="ConnectionLost"),
    pytest.param(Reply(500, {}, [b"<html>error</html>"]), HttpError, None, id="500"),
    pytest.param(Reply(401), HttpError, None, id="401"),
    pytest.param(Reply(404), HttpError, None, id="404"),
    pytest.param(Reply(200), UnreadableResponse, None, id="empty-200"),
    pytest.param(Reply(200, {}, [b"<html/>"]), UnreadableResponse, None, id="html-200"),
    pytest.param(a_fault(SOAP12_ENVELOPE, "Client"), Fault, DOCUMENTED, id="Sender"),
    pytest.param(a_fault(SOAP11_ENVELOPE, "Server"), Fault, DOCUMENTED, id="Server"),
]


@pytest.mark.parametrize(("step", "error", "afterwards"), FAILURES)
async def test_no_other_failure_leads_to_another_form(
    step: Reply | SoapBatchError, error: type[SoapBatchError], afterwards: Binding | None
) -> None:
    """A start that fails for any other reason is sent once; only an answer of the service settles the binding."""
    client, script = scripted(step, binding=None, retries=Retries(attempts=1))
    async with client:
        with pytest.raises(error):
            await client.batch.start_batch_job(JOB)
        assert client.binding is afterwards
    assert form_of(script) == [DOCUMENTED]


async def test_a_form_once_taken_stays() -> None:
    """After a success in the documented form, a 415 is an error like any other."""
    client, script = scripted(started(), Reply(415), binding=None)
    async with client:
        await client.batch.start_batch_job(JOB)
        with pytest.raises(BindingRefused):
            await client.batch.start_batch_job(JOB)
        assert client.binding is DOCUMENTED
    assert form_of(script) == [DOCUMENTED, DOCUMENTED]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(lambda: Reply(200), id="empty-200"),
        pytest.param(lambda: a_fault(SOAP12_ENVELOPE, "Client"), id="Sender"),
        pytest.param(lambda: a_fault(SOAP12_ENVELOPE, "Server"), id="Receiver"),
        pytest.param(lambda: a_fault(SOAP11_ENVELOPE, "Client"), id="Client"),
    ],
)
@pytest.mark.parametrize("binding", [None, SOAP11])
async def test_what_may_be_a_refusal_says_which_bindings_there_are(
    reply: Callable[[], Reply], binding: Binding | None
) -> None:
    """A form that is refused in some other way, pinned or not, leads to an error that tells to try another binding."""
    client, _ = scripted(reply(), binding=binding)
    async with client:
        with pytest.raises(SoapBatchError, match=r"DOCUMENTED.*SOAP11.*SOAP12; try another one with binding="):
            await client.batch.start_batch_job(JOB)


# --- Discovery shared -------------------------------------------------------------------------------------------


async def test_first_calls_at_once_share_one_discovery() -> None:
    """Fifty first calls at once send one documented request; the rest is SOAP 1.1, each start once."""
    server = NetServer(personality=Personality.STRICT_SOAP11)
    server.define_job("Export")
    async with in_process(server) as client:
        ids = await asyncio.gather(*(client.batch.start_batch_job(JOB) for _ in range(50)))
    assert len(set(ids)) == 50 == server.counts["StartBatchJob"]
    assert server.requests == 51


async def test_a_discovery_that_fails_is_taken_over_by_the_next() -> None:
    """Where the first call fails before the form is known, the next in the queue finds out."""
    client, script = scripted(
        Step(ConnectionLost("reset"), (("waiting", 0.0),)), Reply(415), started(), started(), binding=None
    )
    async with client:
        first, *others = await asyncio.gather(
            *(client.batch.start_batch_job(JOB) for _ in range(3)), return_exceptions=True
        )
        assert isinstance(first, ConnectionLost)
        assert others == [7, 7]
    assert form_of(script) == [DOCUMENTED, DOCUMENTED, SOAP11, SOAP11]


async def test_a_cancelled_discovery_is_taken_over_by_the_next() -> None:
    """Where the first call is cancelled before the form is known, the next in the queue finds out."""
    client, script = scripted(Step(started(), (("waiting", 3600),)), Reply(415), started(), binding=None)
    async with client:
        first = asyncio.create_task(client.batch.start_batch_job(JOB))
        second = asyncio.create_task(client.batch.start_batch_job(JOB))
        await until(lambda: script.requests)
        first.cancel()
        assert await second == 7
        with pytest.raises(asyncio.CancelledError):
            await first
    assert form_of(script) == [DOCUMENTED, DOCUMENTED, SOAP11]


async def test_a_login_finds_out_for_the_call_behind_it() -> None:
    """The login is the first request: it discovers the form, and the call behind it begins there."""
    server = NetServer(personality=Personality.STRICT_SOAP11)
    async with in_process(server, credentials=UsernamePassword("demo", "demo")) as client:
        await client.batch.get_batch_task_info(1)
        assert client.binding is SOAP11
    assert server.requests == 3
    assert server.counts == {"AuthenticateUsernamePassword": 1, "GetBatchTaskInfo": 1}


async def test_a_stream_finds_out_too() -> None:
    """A streamed first call falls back like any other."""
    server = NetServer(personality=Personality.STRICT_SOAP11)
    id_ = server.tasks.add(BatchTaskInfo(state="New"))
    async with in_process(server) as client:
        stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All")
        assert [task.id async for task in stream] == [id_]
        assert client.binding is SOAP11


# --- Each personality and each binding ----------------------------------------------------------------------------

LENIENT, STRICT11, STRICT12 = Personality.LENIENT, Personality.STRICT_SOAP11, Personality.STRICT_SOAP12
RUNS: dict[tuple[Personality, Binding | None], Binding | type[SoapBatchError]] = {
    (LENIENT, None): DOCUMENTED,
    (LENIENT, DOCUMENTED): DOCUMENTED,
    (LENIENT, SOAP11): SOAP11,
    (LENIENT, SOAP12): SOAP12,
    (STRICT11, None): SOAP11,
    (STRICT11, DOCUMENTED): BindingRefused,
    (STRICT11, SOAP11): SOAP11,
    (STRICT11, SOAP12): BindingRefused,
    (STRICT12, None): UnreadableResponse,
    (STRICT12, DOCUMENTED): UnreadableResponse,
    (STRICT12, SOAP11): BindingRefused,
    (STRICT12, SOAP12): SOAP12,
}


@pytest.mark.parametrize(
    ("personality", "binding", "outcome"),
    [
        pytest.param(personality, binding, outcome, id=f"{personality.name}-{binding.name if binding else None}")
        for (personality, binding), outcome in RUNS.items()
    ],
)
async def test_each_personality_and_each_binding(
    personality: Personality, binding: Binding | None, outcome: Binding | type[SoapBatchError]
) -> None:
    """What each stack makes of each form, and what no binding leads to; a start happens at most once."""
    server = NetServer(personality=personality)
    server.define_job("Export")
    client: Client = in_process(server, binding=binding)
    async with client:
        if isinstance(outcome, Binding):
            id_ = await client.batch.start_batch_job(JOB)
            info = await client.batch.get_batch_task_info(id_)
            assert info is not None
            assert info.name == "Export"
            assert client.binding is outcome
            assert {call.binding for call in server.calls} == {outcome}
        else:
            with pytest.raises(outcome) as caught:
                await client.batch.start_batch_job(JOB)
            assert not list(server.tasks.find())
            assert "inding" in str(caught.value)
    assert server.counts["StartBatchJob"] == isinstance(outcome, Binding)


async def test_an_answer_that_says_no_settles_the_form() -> None:
    """Succeeded=false in the documented form is an answer: the form is taken, and stays."""
    server = NetServer(unknown_task="exception")
    async with in_process(server) as client:
        with pytest.raises(OperationFailed):
            await client.batch.get_batch_task_info(1)
        assert client.binding is DOCUMENTED
