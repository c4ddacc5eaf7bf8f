"""What is repeated, how often, and when; what is never repeated."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from soapbatch import (
    AccessDenied,
    BatchTaskInfo,
    BindingRefused,
    Client,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    Fault,
    HttpError,
    LimitExceeded,
    Limits,
    OperationFailed,
    Retries,
    ServiceBusy,
    SoapBatchError,
    TenantMoved,
    UnexpectedResponse,
    UnreadableResponse,
    UsageError,
)
from soapbatch.errors import Applied
from soapbatch.model import ExceptionInfo, ReplyHeader
from soapbatch.model.services import SOAP11_ENVELOPE
from soapbatch.operations import (
    GET_BATCH_TASK_INFO,
    GET_BATCH_TASK_INFOS_BY_ASSOCIATES,
    GET_BATCH_TASK_INFOS_BY_STATE,
    OPERATIONS,
    START_BATCH_JOB,
)
from soapbatch.testing.faults import fault
from tests.support.clients import Reply, Step, answer, collect, now, replying, scripted, virtual

JOB = BatchTaskInfo(name="Export")


def with_applied(error: SoapBatchError, applied: Applied) -> SoapBatchError:
    """Return `error` with its `applied` set, as a transport would."""
    error.applied = applied
    return error


A_FAULT = fault(SOAP11_ENVELOPE, "Server", "for a reason")
SAYS_NO = ReplyHeader(succeeded=False, exception_info=ExceptionInfo(message="no", exception_type="My.Exception"))

# What happens each time, the error that is raised in the end, and how often a read and a write are sent (of at most 4).
KINDS: dict[str, tuple[Callable[[], Step | Reply | SoapBatchError], type[SoapBatchError], int, int]] = {
    "connect failed": (lambda: ConnectFailed("refused"), ConnectFailed, 4, 4),
    "pool timeout": (lambda: with_applied(DeadlineExceeded("no connection was free"), "no"), DeadlineExceeded, 4, 4),
    "connection lost": (lambda: ConnectionLost("reset"), ConnectionLost, 4, 1),
    "read timeout": (lambda: with_applied(DeadlineExceeded("of the client"), "unknown"), DeadlineExceeded, 4, 1),
    "cut short": (lambda: Reply(body=[b"<a>", ConnectionLost("reset")]), ConnectionLost, 4, 1),
    "408": (lambda: Reply(408), HttpError, 4, 1),
    "429": (lambda: Reply(429), ServiceBusy, 4, 1),
    "500": (lambda: Reply(500), HttpError, 4, 1),
    "502": (lambda: Reply(502), HttpError, 4, 1),
    "503": (lambda: Reply(503), ServiceBusy, 4, 1),
    "504": (lambda: Reply(504), HttpError, 4, 1),
    "301": (lambda: Reply(301, {"location": "/"}), HttpError, 1, 1),
    "401": (lambda: Reply(401), AccessDenied, 1, 1),
    "403": (lambda: Reply(403), AccessDenied, 1, 1),
    "404": (lambda: Reply(404), HttpError, 1, 1),
    "413": (lambda: Reply(413), HttpError, 1, 1),
    "415": (lambda: Reply(415), BindingRefused, 1, 1),
    "421": (lambda: Reply(421), TenantMoved, 1, 1),
    "501": (lambda: Reply(501), HttpError, 1, 1),
    "fault": (lambda: Reply(500, {}, list(A_FAULT.body)), Fault, 1, 1),
    "failed": (lambda: replying(GET_BATCH_TASK_INFO, None, header=SAYS_NO), OperationFailed, 1, 1),
    "empty": (lambda: Reply(200), UnreadableResponse, 1, 1),
    "not xml": (lambda: Reply(200, {}, [b"hello"]), UnreadableResponse, 1, 1),
    "truncated": (lambda: Reply(200, {}, [answer(START_BATCH_JOB, 1)[:-30]]), UnreadableResponse, 1, 1),
    "another answer": (lambda: replying(GET_BATCH_TASK_INFOS_BY_ASSOCIATES, []), UnexpectedResponse, 1, 1),
    "too large": (lambda: Reply(200, {}, [b" " * 2000]), LimitExceeded, 1, 1),
    "misused": (lambda: UsageError("the proxy settings cannot be used"), UsageError, 1, 1),
}
CALLS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "GetBatchTaskInfo": lambda client: client.batch.get_batch_task_info(1),
    "GetBatchTaskInfosByState": lambda client: client.batch.get_batch_task_infos_by_state("All"),
    "GetSystemInfo": lambda client: client.principal.get_system_info(),
    "GetOutputFromBatch": lambda client: client.blob.get_output_from_batch(1),
    "StartBatchJob": lambda client: client.batch.start_batch_job(JOB),
    "StopBatchJob": lambda client: client.batch.stop_batch_job(1),
    "UpdateBatchTask": lambda client: client.batch.update_batch_task(JOB),
    "DeleteBatchTasks": lambda client: client.batch.delete_batch_tasks([1]),
    "DeleteBatchTask": lambda client: client.batch.delete_batch_task(1),
    "CleanupBatchTask": lambda client: client.blob.cleanup_batch_task(1),
    "AuthenticateImplicit": lambda client: client.principal.authenticate_implicit(),
}


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("kind", KINDS)
@virtual
async def test_how_often_a_request_is_sent(kind: str, operation: str) -> None:
    """Reads are repeated after anything transient; what changes something, only if no byte of it has left."""
    step, error, reads, writes = KINDS[kind]
    client, script = scripted(step(), retries=Retries(attempts=4), limits=Limits(bytes=1500))
    async with client:
        with pytest.raises(error) as caught:
            await CALLS[operation](client)
    assert len(script.requests) == (reads if OPERATIONS[operation].is_read_only else writes)
    assert caught.value.operation == operation
    assert type(caught.value) is error


def test_which_operations_are_reads() -> None:
    """Only what begins with Get changes nothing."""
    assert {row.name for row in OPERATIONS.values() if row.is_read_only} == {
        name for name in OPERATIONS if name.startswith("Get")
    }


@virtual
async def test_a_repeated_read_returns_what_comes_in_the_end() -> None:
    """After two failures the third answer is the call's; requests are numbered in what is told of them."""
    client, script = scripted(ConnectFailed("refused"), Reply(503), replying(GET_BATCH_TASK_INFO, BatchTaskInfo(id=7)))
    async with client:
        info = await client.batch.get_batch_task_info(7)
    assert info == BatchTaskInfo(id=7)
    assert len(script.requests) == 3


@virtual
async def test_a_later_attempt_does_not_speak_for_an_earlier_one() -> None:
    """An attempt that was not sent says "no"; an earlier one of the same call may have been applied."""
    client, script = scripted(ConnectionLost("reset"), ConnectFailed("refused"), retries=Retries(attempts=3))
    async with client:
        with pytest.raises(ConnectFailed) as caught:
            await client.batch.get_batch_task_info(1)
    assert (caught.value.applied, len(script.requests)) == ("unknown", 3)


@virtual
async def test_a_start_that_could_not_be_sent_is_sent_once() -> None:
    """A job is started once the connection comes about, by one request that left."""
    client, script = scripted(ConnectFailed("refused"), ConnectFailed("refused"), replying(START_BATCH_JOB, 7))
    async with client:
        assert await client.batch.start_batch_job(JOB) == 7
    assert len(script.requests) == 3


@virtual
async def test_an_iterator_of_ids_is_sent_in_each_attempt() -> None:
    """Arguments that can be read only once are the same in every attempt."""
    client, script = scripted(ConnectFailed("refused"), Reply(404))
    async with client:
        with pytest.raises(HttpError):
            await client.batch.delete_batch_tasks(n for n in (17, 23))
    assert [b">17<" in request.body and b">23<" in request.body for request in script.requests] == [True, True]


@virtual
async def test_one_attempt_is_one_request() -> None:
    """With `attempts=1` nothing is ever repeated."""
    client, script = scripted(ConnectFailed("refused"), retries=Retries(attempts=1))
    async with client:
        with pytest.raises(ConnectFailed):
            await client.batch.get_batch_task_info(1)
    assert len(script.requests) == 1


@virtual
async def test_waits_double_up_to_a_bound() -> None:
    """The waits double from `first_wait`, with a jitter of at most as much, and never exceed `longest_wait`."""
    retries = Retries(attempts=7, first_wait=1, longest_wait=10)
    client, script = scripted(ConnectFailed("refused"), retries=retries)
    async with client:
        with pytest.raises(ConnectFailed):
            await client.batch.get_batch_task_info(1)
    waits = [later - earlier for earlier, later in pairwise(script.times)]
    slack = 1e-6  # of the virtual clock's floating point
    bounds = [(min(2**n, 10) - slack, min(2**n + 1, 10) + slack) for n in range(6)]
    assert [low <= wait <= high for (low, high), wait in zip(bounds, waits, strict=True)] == [True] * 6


# --- Retry-After --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503, 500])
@virtual
async def test_seconds_of_retry_after_are_waited(status: int) -> None:
    """The server's own wait, in seconds, takes the place of ours, however long."""
    client, script = scripted(Reply(status, {"retry-after": " 33 "}), replying(GET_BATCH_TASK_INFO))
    async with client:
        await client.batch.get_batch_task_info(1)
    assert script.times == [0, 33]


@pytest.mark.parametrize("is_aware", [True, False], ids=["GMT", "no-zone"])
@virtual
async def test_a_date_of_retry_after_is_waited_for(is_aware: bool) -> None:  # noqa: FBT001 - a case
    """A date is waited for as well, with or without a zone."""
    date = datetime.now(UTC) + timedelta(seconds=1000)
    text = format_datetime(date, usegmt=True) if is_aware else format_datetime(date.replace(tzinfo=None))
    client, script = scripted(Reply(503, {"retry-after": text}), replying(GET_BATCH_TASK_INFO), timeout=None)
    async with client:
        await client.batch.get_batch_task_info(1)
    assert 100 < script.times[1] <= 1000


@pytest.mark.parametrize(
    ("text", "at_most"),
    [
        pytest.param("0", 0, id="zero"),
        pytest.param("Mon, 23 Nov 2020 00:00:00 GMT", 0, id="past"),
        pytest.param("-5", 2, id="negative"),
        pytest.param("1.5", 2, id="fraction"),
        pytest.param("soon", 2, id="word"),
        pytest.param("Mon, 99 Nov 2020 00:00:00 GMT", 2, id="no-date"),
        pytest.param("Mon, 23 Nov 99999 00:00:00 GMT", 2, id="late-date"),
        pytest.param("Mon, 23 Nov 2020 00:00:00 +9999", 2, id="no-zone"),
        pytest.param("", 2, id="empty"),
    ],
)
@virtual
async def test_what_is_no_wait_is_passed_over(text: str, at_most: float) -> None:
    """A date that is past is not waited for; what cannot be read leaves our own schedule."""
    client, script = scripted(Reply(503, {"retry-after": text}), replying(GET_BATCH_TASK_INFO))
    async with client:
        await client.batch.get_batch_task_info(1)
    assert script.times[1] <= at_most


@pytest.mark.parametrize("seconds", ["60", "61", "9" * 400])
@virtual
async def test_a_wait_that_would_end_in_the_deadline_is_not_begun(seconds: str) -> None:
    """Where Retry-After reaches beyond the timeout, the failure is raised at once, and says when to come back."""
    client, script = scripted(Reply(503, {"retry-after": seconds}), timeout=60)
    async with client:
        with pytest.raises(ServiceBusy) as caught:
            await client.batch.get_batch_task_info(1)
        assert now() == 0
    assert caught.value.retry_after == float(seconds)
    assert caught.value.retryable
    assert len(script.requests) == 1


@pytest.mark.parametrize(("seconds", "requests"), [("3599", 2), ("3600", 2), ("3601", 1)])
@virtual
async def test_an_hour_is_the_longest_wait(seconds: str, requests: int) -> None:
    """A Retry-After of an hour is waited for; where the server asks for more, its answer is raised at once."""
    client, script = scripted(
        Reply(503, {"retry-after": seconds}), Reply(404), timeout=None, retries=Retries(attempts=2)
    )
    async with client:
        with pytest.raises(ServiceBusy if requests == 1 else HttpError) as caught:
            await client.batch.get_batch_task_info(1)
        assert now() == (float(seconds) if requests == 2 else 0)
    assert len(script.requests) == requests
    assert caught.value.retry_after == (None if requests == 2 else float(seconds))


@virtual
async def test_a_date_in_the_past_is_no_wait_at_all() -> None:
    """A Retry-After that is past lets the call be repeated at once."""
    client, script = scripted(
        Reply(503, {"retry-after": "Mon, 23 Nov 2020 00:00:00 GMT"}), replying(GET_BATCH_TASK_INFO)
    )
    async with client:
        await client.batch.get_batch_task_info(1)
    assert script.times == [0, 0]


@virtual
async def test_a_second_wait_that_would_end_in_the_deadline_is_not_begun() -> None:
    """The same holds for a later attempt, by what is left of the timeout."""
    client, script = scripted(Reply(503, {"retry-after": "40"}), timeout=60)
    async with client:
        with pytest.raises(ServiceBusy):
            await client.batch.get_batch_task_info(1)
        assert now() == 40
    assert len(script.requests) == 2


@virtual
async def test_a_start_is_not_repeated_whatever_the_server_asks_for() -> None:
    """Retry-After is no leave to send a start twice; the error passes it on."""
    client, script = scripted(Reply(503, {"retry-after": "1"}))
    async with client:
        with pytest.raises(ServiceBusy) as caught:
            await client.batch.start_batch_job(JOB)
    assert (caught.value.retry_after, caught.value.applied) == (1, "unknown")
    assert len(script.requests) == 1


# --- Streams, cancellation, records ------------------------------------------------------------------


@virtual
async def test_a_stream_is_repeated_until_it_has_begun() -> None:
    """A stream that fails before its first item begins again; one that fails later does not."""
    whole = answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=n) for n in range(3)])
    cut = whole[: whole.index(b"</BatchTaskInfo>") + 30]
    client, script = scripted(
        ConnectionLost("reset"),
        Reply(body=[whole[:100], ConnectionLost("x")]),
        Reply(body=[cut, ConnectionLost("late")]),
    )
    seen: list[BatchTaskInfo] = []
    async with client:
        with pytest.raises(ConnectionLost, match="late") as caught:
            await collect(client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state="All"), seen)
    assert [task.id for task in seen] == [0]
    assert len(script.requests) == 3
    assert caught.value.operation == "GetBatchTaskInfosByState"


@virtual
async def test_a_call_can_be_cancelled_between_attempts() -> None:
    """Cancelling while a call waits for its next attempt ends it at once."""
    client, script = scripted(ConnectFailed("refused"), retries=Retries(attempts=9, first_wait=100, longest_wait=100))
    async with client:
        task = asyncio.create_task(client.batch.get_batch_task_info(1, timeout=None))
        await asyncio.sleep(50)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert now() == 50
    assert len(script.requests) == 1


@virtual
async def test_a_retry_is_one_record(caplog: pytest.LogCaptureFixture) -> None:
    """A retry is one INFO record: operation, attempt, seconds to wait, and why. Nothing is written to stderr."""
    caplog.set_level(logging.INFO, "soapbatch")
    client, script = scripted(ConnectFailed("refused"), Reply(503, {"retry-after": "7"}), replying(GET_BATCH_TASK_INFO))
    async with client:
        await client.batch.get_batch_task_info(1)
    first, second = caplog.records
    assert {(record.name, record.levelname) for record in caplog.records} == {("soapbatch", "INFO")}
    wait = f"{script.times[1] - script.times[0]:.2f}"
    assert first.getMessage() == (
        f"GetBatchTaskInfo attempt 1 failed, the next one begins in {wait} s (ConnectFailed: refused)"
    )
    assert second.getMessage().startswith(
        "GetBatchTaskInfo attempt 2 failed, the next one begins in 7.00 s (ServiceBusy: GetBatchTaskInfo: HTTP 503"
    )
