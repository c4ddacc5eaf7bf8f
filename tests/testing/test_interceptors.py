"""The embedded server in trouble: what interceptors do to calls, and what ASGI may hand to the app."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, Binding, UsageError
from soapbatch.errors import Fault, OperationFailed, ServiceBusy
from soapbatch.model import ExceptionInfo
from soapbatch.testing import (
    Answer,
    Call,
    ConnectionDropped,
    Interceptor,
    ManualClock,
    NetServer,
    ServerException,
    SessionRefused,
    answering,
    cut_reply,
    delayed,
    failing,
    lost_reply,
    lost_request,
    run_virtual,
)
from soapbatch.testing.interceptors import Proceed
from tests.support.raw_client import BINDINGS, Speaker, speaker

JOB = BatchTaskInfo(name="EndlessBatchPlugin")


def outcomes(speak: Speaker) -> list[str]:
    """Return what became of each call so far."""
    return [call.outcome for call in speak.server.calls]


async def started(speak: Speaker) -> int:
    """Return how many tasks there are."""
    return len(await speak("GetAllBatchTaskInfosByName", task_name=""))


@pytest.mark.parametrize(
    ("interceptor", "tasks", "outcome"),
    [
        pytest.param(lost_request, 0, "dropped", id="lost request"),
        pytest.param(lost_reply, 1, "succeeded", id="lost reply"),
        pytest.param(cut_reply, 1, "succeeded", id="cut reply"),
    ],
)
async def test_a_connection_may_die_anywhere(interceptor: Interceptor, tasks: int, outcome: str) -> None:
    """Before the operation is applied, after, or within the answer; the log knows whether it was."""
    speak = speaker()
    speak.server.intercept("StartBatchJob", interceptor)
    with pytest.raises(ConnectionDropped):
        await speak("StartBatchJob", batch_task_info=JOB)
    assert outcomes(speak) == [outcome]
    assert await started(speak) == tasks
    await speak("StartBatchJob", batch_task_info=JOB)
    assert await started(speak) == tasks + 1


async def test_a_storm_lasts_for_so_many_calls() -> None:
    """Of any operation, or of one; what an interceptor answers is not applied."""
    speak = speaker()
    speak.server.intercept(None, answering(429, {"Retry-After": "3"}, b"slow down"), times=2)
    for _ in range(2):
        answer = await speak.post("StartBatchJob", batch_task_info=JOB)
        assert (answer.status_code, answer.headers["retry-after"], answer.content) == (429, "3", b"slow down")
    assert await started(speak) == 0
    speak.server.intercept("StartBatchJob", answering(503), times=1)
    assert await started(speak) == 0
    with pytest.raises(ServiceBusy):
        await speak("StartBatchJob", batch_task_info=JOB)
    assert outcomes(speak) == ["intercepted", "intercepted", "succeeded", "succeeded", "intercepted"]


async def test_interceptors_take_turns() -> None:
    """The first added that fits a call takes it; without `times` it stays until all are cleared."""
    speak = speaker()
    speak.server.intercept("GetSystemInfo", answering(500))
    speak.server.intercept(None, answering(502))
    speak.server.intercept(None, answering(503), times=None)
    statuses = [(await speak.post("GetSystemInfo")).status_code for _ in range(5)]
    speak.server.clear_interceptors()
    assert [*statuses, (await speak.post("GetSystemInfo")).status_code] == [500, 502, 503, 503, 503, 200]


def test_only_operations_can_be_intercepted() -> None:
    """A misspelt name is refused, since it would never do anything."""
    with pytest.raises(UsageError, match="no operation"):
        NetServer().intercept("StartBatchJobs", lost_reply)


FAILURE = ServerException(
    "SuperOffice.Exceptions.SoSentryException",
    "You may not <&>",
    "No access",
    parameters={"host": "lab", "nil": None},
    inner=ExceptionInfo(message="inner", exception_type="System.Exception", parameters={"k": ""}),
)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_an_interceptor_may_fail_as_a_server_does(binding: Binding) -> None:
    """A ServerException becomes header blocks, or a fault, with all that it says."""
    speak = speaker(binding=binding)
    speak.server.intercept("StopBatchJob", failing(FAILURE), times=2)
    with pytest.raises(OperationFailed) as failed:
        await speak("StopBatchJob", id=1)
    assert failed.value.exception_info == FAILURE.info
    speak.server.failures = "fault"
    with pytest.raises(Fault) as fault:
        await speak("StopBatchJob", id=1)
    info = fault.value.exception_info
    assert info is not None
    assert info == FAILURE.info
    assert outcomes(speak) == ["SoSentryException"] * 2


async def test_an_interceptor_may_fail_after_the_operation() -> None:
    """Then it was applied all the same, and the log says so."""

    async def late(_: Call, proceed: Proceed) -> Answer:
        await proceed()
        raise SessionRefused("too late")

    speak = speaker()
    speak.server.intercept("StartBatchJob", late)
    with pytest.raises(OperationFailed, match="SoSessionException: too late"):
        await speak("StartBatchJob", batch_task_info=JOB)
    assert outcomes(speak) == ["succeeded"]
    assert await started(speak) == 1


async def test_an_error_in_an_interceptor_is_seen() -> None:
    """What is neither the server's nor the network's is a mistake in a test, and not swallowed."""
    speak = speaker()
    speak.server.intercept(None, failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await speak("GetSystemInfo")


def test_an_answer_may_be_late() -> None:
    """A delay is the running loop's time, also a virtual one; a caller who leaves cancels the call."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        speak = speaker(NetServer(clock=loop.time))
        speak.server.intercept("StartBatchJob", delayed(3600), times=2)
        task = await speak("StartBatchJob", batch_task_info=JOB)
        assert loop.time() == pytest.approx(3600)
        assert (await speak("GetBatchTaskInfo", id=task)).state is BatchTaskState.NEW
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await speak("StartBatchJob", batch_task_info=JOB)
        assert outcomes(speak) == ["succeeded", "succeeded", "cancelled"]
        await asyncio.sleep(2.5)
        assert (await speak("GetBatchTaskInfo", id=task)).state is BatchTaskState.STARTED
        assert await started(speak) == 1

    run_virtual(main())


# --- ASGI ---------------------------------------------------------------------------------------------------------

Message = MutableMapping[str, Any]


async def run_app(messages: list[Message], **scope: object) -> list[Message]:
    """Hand the app a scope and messages, and return what it sends."""
    sent: list[Message] = []
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting)

    async def send(message: Message) -> None:
        sent.append(message)

    path = {"path": "/Remote/Services88/Batch.svc", "method": "POST", "headers": [], "query_string": b""}
    await NetServer(clock=ManualClock())({"type": "http", **path, **scope}, receive, send)
    return sent


async def test_only_http_is_spoken() -> None:
    """Lifespan and websockets are refused, which is how an ASGI server learns that they are not there."""
    with pytest.raises(UsageError, match="HTTP"):
        await run_app([], type="lifespan")


async def test_a_client_may_leave_within_its_request() -> None:
    """Nothing is answered then."""
    half: Message = {"type": "http.request", "body": b"<", "more_body": True}
    assert await run_app([half, {"type": "http.disconnect"}]) == []


async def test_a_request_may_come_in_pieces_and_empty() -> None:
    """It is read to its end before anything is said of it."""
    pieces: list[Message] = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.request"}]
    start, end = await run_app(pieces)
    assert (start["status"], end["more_body"]) == (415, False)


async def test_a_request_has_an_end() -> None:
    """More than 64 MiB are refused with 413 while they come in."""
    piece: Message = {"type": "http.request", "body": bytes(33 * 1024 * 1024), "more_body": True}
    start, _ = await run_app([piece, piece, piece])
    assert start["status"] == 413


async def test_headers_of_an_answer_may_be_given() -> None:
    """Also the length, to say what is not true."""
    server = NetServer()
    server.intercept(None, answering(200, {"Content-Length": "0", "X-Strange": "ö"}))
    speak = speaker(server)
    answer = await speak.post("GetSystemInfo")
    assert isinstance(answer, httpx.Response)
    assert (answer.headers["content-length"], answer.headers["x-strange"]) == ("0", "ö")
