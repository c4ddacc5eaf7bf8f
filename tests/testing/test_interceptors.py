"""Interceptors of the embedded server, and its ASGI interface."""

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
from tests.support.raw_client import BINDINGS, RawClient, raw_client

JOB = BatchTaskInfo(name="EndlessBatchPlugin")


def outcomes(client: RawClient) -> list[str]:
    """Return the outcome of each call so far."""
    return [call.outcome for call in client.server.calls]


async def count_tasks(client: RawClient) -> int:
    """Return how many tasks the server has."""
    return len(await client("GetAllBatchTaskInfosByName", task_name=""))


@pytest.mark.parametrize(
    ("interceptor", "tasks", "outcome"),
    [
        pytest.param(lost_request, 0, "dropped", id="lost request"),
        pytest.param(lost_reply, 1, "succeeded", id="lost reply"),
        pytest.param(cut_reply, 1, "succeeded", id="cut reply"),
    ],
)
async def test_a_connection_can_be_lost_at_any_time(interceptor: Interceptor, tasks: int, outcome: str) -> None:
    """The connection is lost before the operation, after it, or within the answer; `Call.outcome` says which."""
    client = raw_client()
    client.server.intercept("StartBatchJob", interceptor)
    with pytest.raises(ConnectionDropped):
        await client("StartBatchJob", batch_task_info=JOB)
    assert outcomes(client) == [outcome]
    assert await count_tasks(client) == tasks
    await client("StartBatchJob", batch_task_info=JOB)
    assert await count_tasks(client) == tasks + 1


async def test_an_interceptor_applies_to_a_number_of_calls() -> None:
    """`times` counts calls of one operation, or of any; a call that `answering` answers does not run."""
    client = raw_client()
    client.server.intercept(None, answering(429, {"Retry-After": "3"}, b"slow down"), times=2)
    for _ in range(2):
        answer = await client.post("StartBatchJob", batch_task_info=JOB)
        assert (answer.status_code, answer.headers["retry-after"], answer.content) == (429, "3", b"slow down")
    assert await count_tasks(client) == 0
    client.server.intercept("StartBatchJob", answering(503), times=1)
    assert await count_tasks(client) == 0
    with pytest.raises(ServiceBusy):
        await client("StartBatchJob", batch_task_info=JOB)
    assert outcomes(client) == ["intercepted", "intercepted", "succeeded", "succeeded", "intercepted"]


async def test_interceptors_take_turns() -> None:
    """The interceptor that was added first gets the call; with `times=None` it stays until all are cleared."""
    client = raw_client()
    client.server.intercept("GetSystemInfo", answering(500))
    client.server.intercept(None, answering(502))
    client.server.intercept(None, answering(503), times=None)
    statuses = [(await client.post("GetSystemInfo")).status_code for _ in range(5)]
    client.server.clear_interceptors()
    assert [*statuses, (await client.post("GetSystemInfo")).status_code] == [500, 502, 503, 503, 503, 200]


def test_only_operations_can_be_intercepted() -> None:
    """A misspelt name is refused: its interceptor would never be called."""
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
    """A ServerException becomes header blocks, or a fault, with all of its fields."""
    client = raw_client(binding=binding)
    client.server.intercept("StopBatchJob", failing(FAILURE), times=2)
    with pytest.raises(OperationFailed) as failed:
        await client("StopBatchJob", id=1)
    assert failed.value.exception_info == FAILURE.info
    client.server.failures = "fault"
    with pytest.raises(Fault) as fault:
        await client("StopBatchJob", id=1)
    info = fault.value.exception_info
    assert info is not None
    assert info == FAILURE.info
    assert outcomes(client) == ["SoSentryException"] * 2


async def test_an_interceptor_may_fail_after_the_operation() -> None:
    """The operation has run then, and the call's outcome says so."""

    async def late(_: Call, proceed: Proceed) -> Answer:
        await proceed()
        raise SessionRefused("too late")

    client = raw_client()
    client.server.intercept("StartBatchJob", late)
    with pytest.raises(OperationFailed, match="SoSessionException: too late"):
        await client("StartBatchJob", batch_task_info=JOB)
    assert outcomes(client) == ["succeeded"]
    assert await count_tasks(client) == 1


async def test_an_error_in_an_interceptor_is_raised() -> None:
    """Any other exception is a mistake in a test, and is raised."""
    client = raw_client()
    client.server.intercept(None, failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await client("GetSystemInfo")


def test_an_answer_can_be_delayed() -> None:
    """The delay follows the running loop's time, also a virtual one; a caller's timeout cancels the call."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        client = raw_client(NetServer(clock=loop.time))
        client.server.intercept("StartBatchJob", delayed(3600), times=2)
        task = await client("StartBatchJob", batch_task_info=JOB)
        assert loop.time() == pytest.approx(3600)
        assert (await client("GetBatchTaskInfo", id=task)).state is BatchTaskState.NEW
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await client("StartBatchJob", batch_task_info=JOB)
        assert outcomes(client) == ["succeeded", "succeeded", "cancelled"]
        await asyncio.sleep(2.5)
        assert (await client("GetBatchTaskInfo", id=task)).state is BatchTaskState.STARTED
        assert await count_tasks(client) == 1

    run_virtual(main())


# --- ASGI ---------------------------------------------------------------------------------------------------------

Message = MutableMapping[str, Any]


async def run_app(messages: list[Message], **scope: object) -> list[Message]:
    """Call the app with a scope and messages, and return what it sends."""
    sent: list[Message] = []
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting)

    async def send(message: Message) -> None:
        sent.append(message)

    path = {"path": "/Remote/Services88/Batch.svc", "method": "POST", "headers": [], "query_string": b""}
    await NetServer(clock=ManualClock())({"type": "http", **path, **scope}, receive, send)
    return sent


async def test_only_http_is_accepted() -> None:
    """Lifespan and websockets raise an error, by which an ASGI server learns that the app does not support them."""
    with pytest.raises(UsageError, match="HTTP"):
        await run_app([], type="lifespan")


async def test_a_client_may_disconnect_within_its_request() -> None:
    """The server sends no answer then."""
    half: Message = {"type": "http.request", "body": b"<", "more_body": True}
    assert await run_app([half, {"type": "http.disconnect"}]) == []


async def test_a_request_may_come_in_pieces_and_empty() -> None:
    """The server reads a request to its end before it answers."""
    pieces: list[Message] = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.request"}]
    start, end = await run_app(pieces)
    assert (start["status"], end["more_body"]) == (415, False)


async def test_a_request_has_a_largest_size() -> None:
    """The server answers 413 as soon as it has received more than 64 MiB."""
    piece: Message = {"type": "http.request", "body": bytes(33 * 1024 * 1024), "more_body": True}
    start, _ = await run_app([piece, piece, piece])
    assert start["status"] == 413


async def test_an_answer_can_have_any_headers() -> None:
    """Even a Content-Length that is wrong."""
    server = NetServer()
    server.intercept(None, answering(200, {"Content-Length": "0", "X-Strange": "ö"}))
    client = raw_client(server)
    answer = await client.post("GetSystemInfo")
    assert isinstance(answer, httpx.Response)
    assert (answer.headers["content-length"], answer.headers["x-strange"]) == ("0", "ö")
