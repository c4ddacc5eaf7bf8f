"""Starting a job exactly once, also if the answer is lost."""

import asyncio
import inspect
import logging
import re
from typing import Any

import pytest

from soapbatch import (
    AccessDenied,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    EncodeError,
    Fault,
    OperationFailed,
    ServiceBusy,
    ServiceVersion,
    SoapBatchError,
    StartOutcomeUnknown,
    UnexpectedResponse,
    UnreadableResponse,
    UsageError,
    UsernamePassword,
)
from soapbatch.jobs.jobs import Jobs, StartSpec
from soapbatch.jobs.marker import MARKER_KEY, Marker
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES, START_BATCH_JOB
from soapbatch.testing import (
    Answer,
    Call,
    ConnectionDropped,
    Interceptor,
    ServerException,
    SessionRefused,
    answering,
    cut_reply,
    delayed,
    failing,
    lost_reply,
    lost_request,
)
from soapbatch.testing.interceptors import Proceed
from tests.support.clients import Reply, replying, scripted
from tests.support.job_server import World, cancelled_at, in_world, slowly

S = BatchTaskState
NAME = "ExportArchiveBatchPlugin"
LIST = GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES
STARTED = b"""<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><h:Succeeded
xmlns:h="http://www.superoffice.net/ws/crm/NetServer/Services88">true</h:Succeeded></s:Header><s:Body><StartBatchJobResponse
xmlns="http://www.superoffice.net/ws/crm/NetServer/Services88"><Response>?</Response></StartBatchJobResponse></s:Body>
</s:Envelope>"""

FAULT = b"""<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Server</faultcode>
<faultstring>The backend did not answer in time</faultstring></s:Fault></s:Body></s:Envelope>"""

markers = pytest.mark.parametrize("marker", [*Marker])


async def applied(_: Call, proceed: Proceed) -> Answer:
    """Start the job, and answer 504 with a page, as a proxy does."""
    await proceed()
    return Answer(504, {"Content-Type": "text/html"}, (b"<h1>Gateway Timeout</h1>",))


async def unreadable(_: Call, proceed: Proceed) -> Answer:
    """Start the job, and answer 200 with a page."""
    await proceed()
    return Answer(200, {"Content-Type": "text/html"}, (b"<h1>Welcome</h1>",))


async def without_an_id(_: Call, proceed: Proceed) -> Answer:
    """Start the job, and answer that it succeeded, with an id that is not a number."""
    await proceed()
    return Answer(200, {"Content-Type": "text/xml"}, (STARTED,))


async def late(_: Call, proceed: Proceed) -> Answer:
    """Drop the connection, and start the job 50 seconds later, as if the request had stood in a queue."""

    async def apply() -> None:
        await asyncio.sleep(50)
        await proceed()

    task = asyncio.create_task(apply())
    task.add_done_callback(asyncio.Task.result)
    raise ConnectionDropped("dropped")


LOST = [
    # how the answer is lost, the error of the call, and whether the job was started
    pytest.param(lost_request, ConnectionLost, False, id="the request is lost"),
    pytest.param(lost_reply, ConnectionLost, True, id="the answer is lost"),
    pytest.param(cut_reply, ConnectionLost, True, id="the answer is cut"),
    pytest.param(late, ConnectionLost, True, id="the request comes late"),
    pytest.param(delayed(1e6), DeadlineExceeded, False, id="no answer, not started"),
    pytest.param(answering(500), SoapBatchError, False, id="500"),
    pytest.param(answering(502), SoapBatchError, False, id="502"),
    pytest.param(answering(503), ServiceBusy, False, id="503"),
    pytest.param(applied, SoapBatchError, True, id="504, started"),
    pytest.param(unreadable, UnreadableResponse, True, id="a page, started"),
    pytest.param(without_an_id, UnexpectedResponse, True, id="no id, started"),
]
lost_answers = pytest.mark.parametrize(("trouble", "kind", "is_started"), LOST)


def show_that_lists_show_tasks(world: World) -> None:
    """Give the server a task of another job: without any task, lists prove nothing."""
    world.server.tasks.add(BatchTaskInfo(name="Other", state=S.SUCCEEDED))


@in_world
async def test_a_start_is_one_call(world: World) -> None:
    """Name, parameters and description arrive unchanged; a start makes one call."""
    job = await world.client.jobs.start(NAME, parameters={"a": "1", "b": None}, description="Nightly")
    info = await job.info()
    assert (info.name, info.parameter_object, info.description) == (NAME, {"a": "1", "b": None}, "Nightly")
    assert world.server.counts == {"StartBatchJob": 1, "GetBatchTaskInfo": 1}


@lost_answers
@in_world
async def test_a_lost_answer_without_a_marker(
    world: World,
    trouble: Interceptor,
    kind: type[SoapBatchError],
    is_started: bool,  # noqa: FBT001 - a column
) -> None:
    """StartOutcomeUnknown is raised at once, and StartBatchJob is not sent again."""
    world.server.intercept(START_BATCH_JOB, trouble)
    with pytest.raises(StartOutcomeUnknown) as caught:
        await world.client.jobs.start(NAME, timeout=5)
    assert isinstance(caught.value.__cause__, kind)
    assert (caught.value.marker, caught.value.id, caught.value.name) == (None, None, NAME)
    assert caught.value.operation == "StartBatchJob"
    assert caught.value.version == ServiceVersion.V88
    assert caught.value.applied == ("yes" if kind is UnexpectedResponse else "unknown")
    assert "with a marker" in str(caught.value)
    await asyncio.sleep(300)
    assert world.server.counts == {"StartBatchJob": 1}
    assert len(world.tasks()) == is_started


@pytest.mark.parametrize("version", [ServiceVersion.V75, ServiceVersion.V88])
@markers
@pytest.mark.parametrize("trouble", [pytest.param(case.values[0], id=case.id) for case in LOST])
@in_world
async def test_a_lost_answer_with_a_marker_and_resend(
    world: World, trouble: Interceptor, marker: Marker, version: ServiceVersion
) -> None:
    """Exactly one job is started, and the handle is on that job."""
    others = [(await world.client.jobs.start(NAME, marker=marker)).id for _ in range(2)]
    world.server.intercept(START_BATCH_JOB, trouble)
    async with world.other_client(version=version, timeout=5) as client:
        job = await client.jobs.start(NAME, marker=marker, resend=True, description="Nightly", parameters={"a": "1"})
    await asyncio.sleep(300)
    assert [task.id for task in world.tasks()] == [*others, job.id]
    assert world.server.counts["StartBatchJob"] in {3, 4}


@in_world
async def test_a_start_of_less_than_a_second(world: World) -> None:
    """The end of a start holds to the fraction of a second, in the list before it and in the start itself."""
    for slow in (LIST.name, "StartBatchJob"):
        world.server.intercept(slow, delayed(60))
        before = world.now
        with pytest.raises(SoapBatchError):
            await world.client.jobs.start(NAME, if_running="fail", timeout=0.5)
        assert world.now - before == 0.5


@lost_answers
@markers
@in_world
async def test_a_lost_answer_with_a_marker_only(
    world: World,
    trouble: Interceptor,
    kind: type[SoapBatchError],
    is_started: bool,  # noqa: FBT001 - a column
    marker: Marker,
) -> None:
    """A start that arrived returns its handle; one that did not raises the call's error with `applied` "no"."""
    other = await world.client.jobs.start(NAME, marker=marker)
    world.server.intercept(START_BATCH_JOB, trouble)
    async with world.other_client(timeout=5) as client:
        if is_started:
            job = await client.jobs.start(NAME, marker=marker)
            assert [task.id for task in world.tasks()] == [other.id, job.id]
        else:
            with pytest.raises(kind) as caught:
                await client.jobs.start(NAME, marker=marker)
            assert caught.value.applied == "no"
            assert caught.value.__notes__ == ["the job was not started: lists read for 120 s do not show it"]
            assert 120 <= world.now <= 126
            assert world.server.counts[LIST.name] == 7  # after 0, 2, 6, 14, 30, 62 and 120 seconds
    await asyncio.sleep(300)
    assert world.server.counts["StartBatchJob"] == 2
    assert len(world.tasks()) == 1 + is_started


@in_world
async def test_the_request_is_sent_again_only_once(world: World) -> None:
    """If the second request is lost, too, its error is raised."""
    show_that_lists_show_tasks(world)
    world.server.intercept(START_BATCH_JOB, lost_request, times=None)
    with pytest.raises(ConnectionLost) as caught:
        await world.client.jobs.start(NAME, marker=Marker.PARAMETER, resend=True)
    assert caught.value.applied == "no"
    assert world.server.counts["StartBatchJob"] == 2
    assert world.now == 240


@markers
@in_world
async def test_a_list_that_fails_for_good_proves_nothing(world: World, marker: Marker) -> None:
    """StartOutcomeUnknown names the marker that the task carries; its cause is the error of the start."""
    world.server.intercept(START_BATCH_JOB, lost_reply)
    world.server.intercept(LIST, failing(ServerException("SuperOffice.SoSentryException", "no lists")), times=None)
    with pytest.raises(StartOutcomeUnknown) as caught:
        await world.client.jobs.start(NAME, marker=marker, resend=True)
    error = caught.value
    assert isinstance(error.__cause__, ConnectionLost)
    assert error.marker is not None
    assert re.fullmatch("[0-9a-f]{32}", error.marker)
    assert error.marker in str(error)
    (task,) = world.tasks()
    assert error.marker in (task.description or "") + str(task.parameter_object)
    assert any("SoSentryException" in note for note in error.__notes__)
    assert "; ." not in str(error)
    assert world.server.counts[LIST.name] == 1


@in_world
async def test_a_list_that_fails_for_a_while_is_repeated(world: World) -> None:
    """A start survives nine failed lists in a row, not ten, and honours Retry-After up to a minute."""
    world.server.intercept(START_BATCH_JOB, lost_reply)
    world.server.intercept(LIST, answering(503, {"Retry-After": "40"}), times=9)
    job = await world.client.jobs.start(NAME, marker=Marker.PARAMETER)
    assert [task.id for task in world.tasks()] == [job.id]
    assert world.now == 9 * 40
    world.server.intercept(START_BATCH_JOB, lost_reply)
    world.server.intercept(LIST, answering(503, {"Retry-After": "86400"}))
    await world.client.jobs.start(NAME, marker=Marker.PARAMETER)
    assert world.now == 9 * 40 + 60
    world.server.intercept(START_BATCH_JOB, lost_reply)
    world.server.intercept(LIST, lost_request, times=10)
    moment = world.now
    with pytest.raises(StartOutcomeUnknown):
        await world.client.jobs.start(NAME, marker=Marker.PARAMETER)
    assert world.now - moment == 2 + 4 + 8 + 16 + 5 * 30
    assert world.server.counts["StartBatchJob"] == 3


@in_world
async def test_failed_lists_count_only_in_a_row(world: World) -> None:
    """A list that works begins the count anew: of 18 lists that fail, no ten in a row, none ends the search."""
    await world.client.jobs.start(NAME)
    world.server.intercept(START_BATCH_JOB, lost_request)
    fails = [*[True] * 9, False, *[True] * 9]

    async def trouble(call: Call, proceed: Proceed) -> Answer:
        return await (lost_request(call, proceed) if fails.pop(0) else proceed())

    world.server.intercept(LIST, trouble, times=len(fails))
    with pytest.raises(ConnectionLost) as caught:
        await world.client.jobs.start(NAME, marker=Marker.PARAMETER, settle=600)
    assert (caught.value.applied, fails) == ("no", [])


@in_world
async def test_the_last_list_must_succeed(world: World) -> None:
    """If the last list fails, earlier lists without the marker prove nothing."""
    world.server.intercept(START_BATCH_JOB, lost_request)
    starting = asyncio.create_task(world.client.jobs.start(NAME, marker=Marker.PARAMETER, settle=60, resend=True))
    await asyncio.sleep(59)
    world.server.intercept(LIST, lost_request, times=None)
    with pytest.raises(StartOutcomeUnknown):
        await starting
    assert world.server.counts["StartBatchJob"] == 1


@in_world
async def test_at_least_two_lists_prove_it(world: World) -> None:
    """Two lists are read even with settle=0."""
    await world.client.jobs.start(NAME)
    world.server.intercept(START_BATCH_JOB, lost_request)
    with pytest.raises(ConnectionLost):
        await world.client.jobs.start(NAME, marker=Marker.PARAMETER, settle=0)
    assert world.server.counts[LIST.name] == 2
    assert world.now == 0


@in_world
async def test_a_start_that_succeeded_is_never_proven_not_to_have(world: World) -> None:
    """If the server said that it started the job and no list shows it, StartOutcomeUnknown is raised."""
    world.server.intercept(START_BATCH_JOB, answering(200, {"Content-Type": "text/xml"}, STARTED))
    with pytest.raises(StartOutcomeUnknown, match="no list shows it") as caught:
        await world.client.jobs.start(NAME, marker=Marker.PARAMETER, resend=True)
    assert caught.value.applied == "yes"
    assert "the job was started, but its id is unknown" in str(caught.value)
    assert world.server.counts["StartBatchJob"] == 1


@in_world
async def test_several_tasks_with_the_marker(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """If a proxy sent the request twice, the first task is used, and a warning names both."""

    async def twice(_: Call, proceed: Proceed) -> Answer:
        await proceed()
        await proceed()
        raise ConnectionDropped("dropped")

    world.server.intercept(START_BATCH_JOB, twice)
    with caplog.at_level(logging.WARNING, "soapbatch"):
        job = await world.client.jobs.start(NAME, marker=Marker.PARAMETER)
    assert [task.id for task in world.tasks()] == [job.id, job.id + 1]
    assert str([job.id, job.id + 1]) in caplog.text
    first, second = world.tasks()
    assert (first.state, second.state, second.result) == (S.NEW, S.FAILED, "Stopped on request")
    assert f"task {job.id + 1}, a second one of the same start, was stopped" in caplog.text


def proxy_fault(*, is_started: bool) -> Interceptor:
    """Return an interceptor that answers with a fault that is not NetServer's, with the job started or not."""

    async def intercept(_: Call, proceed: Proceed) -> Answer:
        if is_started:
            await proceed()
        return Answer(500, {"Content-Type": "text/xml"}, (FAULT,))

    return intercept


async def failed_late(_: Call, proceed: Proceed) -> Answer:
    """Start the job, and then fail with an exception of NetServer."""
    await proceed()
    raise ServerException("System.Exception", "too late")


EITHER_WAY = [
    # how the server fails, the error of the call, and the seconds until the start is disproved; None: it was started
    pytest.param(failing(ServerException("System.Exception", "no")), OperationFailed, 2, id="refuses"),
    pytest.param(failed_late, OperationFailed, None, id="refuses, started"),
    pytest.param(proxy_fault(is_started=False), Fault, 120, id="a proxy's fault"),
    pytest.param(proxy_fault(is_started=True), Fault, None, id="a proxy's fault, started"),
]


@pytest.mark.parametrize("told", ["header", "fault"])
@pytest.mark.parametrize(("trouble", "kind", "seconds"), EITHER_WAY)
@in_world
async def test_a_failure_that_may_have_come_after_the_start(
    world: World,
    trouble: Interceptor,
    kind: type[SoapBatchError],
    seconds: float | None,
    told: str,
) -> None:
    """With a marker the outcome is settled: the handle, or the server's error. Nothing is sent again."""
    show_that_lists_show_tasks(world)
    world.server.failures = told  # type: ignore[assignment]  # one of its values
    kind = Fault if told == "fault" else kind
    world.server.intercept(START_BATCH_JOB, trouble)
    if seconds is None:
        job = await world.client.jobs.start(NAME, marker=Marker.PARAMETER, resend=True)
        assert [task.id for task in world.tasks()][1:] == [job.id]
    else:
        with pytest.raises(kind) as caught:
            await world.client.jobs.start(NAME, marker=Marker.PARAMETER, resend=True)
        assert caught.value.applied == "no"
        assert caught.value.__notes__ == [f"the job was not started: lists read for {seconds} s do not show it"]
    assert world.now == (seconds or 0)
    assert world.server.counts["StartBatchJob"] == 1


@pytest.mark.parametrize(("trouble", "kind", "seconds"), EITHER_WAY)
@in_world
async def test_a_failure_without_a_marker_is_the_servers_own(
    world: World, trouble: Interceptor, kind: type[SoapBatchError], seconds: float | None
) -> None:
    """The server's error is raised with `applied` "unknown"."""
    world.server.intercept(START_BATCH_JOB, trouble)
    with pytest.raises(kind) as caught:
        await world.client.jobs.start(NAME)
    assert caught.value.applied == "unknown"
    assert world.server.counts == {"StartBatchJob": 1}
    assert len(world.tasks()) == (seconds is None)


@in_world
async def test_a_failure_that_cannot_be_settled(world: World) -> None:
    """If the list fails, too, StartOutcomeUnknown is raised with the server's error as its cause."""
    world.server.intercept(START_BATCH_JOB, failed_late)
    world.server.intercept(LIST, failing(ServerException("SuperOffice.SoSentryException", "no lists")), times=None)
    with pytest.raises(StartOutcomeUnknown, match=r"StartBatchJob failed \(OperationFailed\)") as caught:
        await world.client.jobs.start(NAME, marker=Marker.PARAMETER)
    assert isinstance(caught.value.__cause__, OperationFailed)
    assert caught.value.marker is not None


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        pytest.param(failing(SessionRefused("no")), OperationFailed, id="the ticket is refused"),
        pytest.param(answering(429), ServiceBusy, id="429: refused before dispatch"),
    ],
)
@in_world
async def test_a_refusal_before_dispatch_is_raised_at_once(
    world: World, trouble: Interceptor, kind: type[SoapBatchError]
) -> None:
    """If nothing can have started, the error is raised at once, with or without a marker, and nothing is listed."""
    for marker in (None, Marker.PARAMETER):
        world.server.intercept(START_BATCH_JOB, trouble)
        with pytest.raises(kind):
            await world.client.jobs.start(NAME, marker=marker, resend=marker is not None)
    assert world.server.counts == {"StartBatchJob": 2}


@in_world
async def test_what_is_wrong_before_sending(world: World) -> None:
    """EncodeError, ClientClosed and ConnectFailed are raised unchanged: nothing was sent."""
    with pytest.raises(EncodeError):
        await world.client.jobs.start(NAME, parameters={"a": "\0"}, marker=Marker.PARAMETER)
    client = world.other_client()
    await client.aclose()
    with pytest.raises(ClientClosed):
        await client.jobs.start(NAME, marker=Marker.PARAMETER)

    class Refusing:
        async def start_batch_job(self, *_: object, **__: object) -> int:
            raise ConnectFailed("refused")

    jobs = Jobs(Refusing(), world.client.blob, ServiceVersion.V88)  # type: ignore[arg-type]  # as much of one as is needed
    with pytest.raises(ConnectFailed):
        await jobs.start(NAME, marker=Marker.PARAMETER)
    assert world.server.requests == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"name": " "}, "blank", id="a blank name"),
        pytest.param({"name": None}, "not a NoneType", id="no name"),
        pytest.param({"name": ""}, "blank", id="an empty name"),
        pytest.param({"parameters": ["a"]}, "parameters is a mapping", id="parameters"),
        pytest.param({"description": 5}, "description is text", id="description"),
        pytest.param({"marker": "parameter"}, r"Marker\.PARAMETER", id="a marker as text"),
        pytest.param({"settle": "5"}, "settle is a number", id="settle"),
        pytest.param({"settle": float("nan")}, "settle is a number", id="settle: not a number"),
        pytest.param({"settle": float("inf")}, "settle is a number", id="settle: infinite"),
        pytest.param({"settle": None}, "settle is a number", id="settle: none"),
        pytest.param({"timeout": float("nan")}, "timeout is a number of seconds, from 0 to", id="timeout"),
        pytest.param({"timeout": float("inf")}, "timeout is a number", id="timeout: infinite"),
        pytest.param({"timeout": 1e18}, "timeout is a number", id="timeout: absurd"),
        pytest.param({"on_header": 5}, "on_header is a function", id="on_header"),
        pytest.param({"if_running": "atach"}, "if_running is 'start' or 'attach' or 'fail'", id="if_running"),
        pytest.param({"resend": True}, "needs a marker", id="resend without a marker"),
        pytest.param({"marker": Marker.PARAMETER, "parameters": {MARKER_KEY: "x"}}, MARKER_KEY, id="the key is taken"),
        pytest.param(
            {"marker": Marker.DESCRIPTION, "description": "x" * 210}, "to 209 characters", id="no room in description"
        ),
        pytest.param(
            {"marker": Marker.DESCRIPTION, "description": "\U0001f600" * 105},
            "to 209 characters",
            id="no room in description: characters of two units",
        ),
    ],
)
@in_world
async def test_what_is_refused_before_sending(world: World, arguments: dict[str, Any], words: str) -> None:
    """A wrong argument is a UsageError that says what to do; nothing is sent."""
    with pytest.raises(UsageError, match=words):
        await world.client.jobs.start(**({"name": NAME} | arguments))
    assert world.server.requests == 0


@pytest.mark.parametrize("description", [None, "", "Nightly", "x" * 209])
@in_world
async def test_what_a_task_with_a_marker_looks_like(world: World, description: str | None) -> None:
    """The marker follows the text of the description, or is one more parameter."""
    job = await world.client.jobs.start(NAME, description=description, marker=Marker.DESCRIPTION)
    text = (await job.info()).description or ""
    assert re.fullmatch(rf"{description + ' ' if description else ''}\[soapbatch:[0-9a-f]{{32}}\]", text)
    job = await world.client.jobs.start(NAME, description=description, marker=Marker.PARAMETER, parameters={"a": "1"})
    info = await job.info()
    assert (info.description or "", list(info.parameter_object or ())) == (description or "", ["a", MARKER_KEY])


@in_world
async def test_the_log_names_the_marker(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A DEBUG record says what to look for, also for a start that is cancelled."""
    with caplog.at_level(logging.DEBUG, "soapbatch"):
        job = await world.client.jobs.start(NAME, marker=Marker.PARAMETER)
    marker = ((await job.info()).parameter_object or {})[MARKER_KEY]
    assert f"{MARKER_KEY!r}: {marker!r}" in caplog.text


@pytest.mark.parametrize("trouble", [None, lost_reply, lost_request, late])
@in_world
async def test_cancelling_a_start_at_every_await(world: World, trouble: Interceptor | None) -> None:
    """After a cancellation at any await there is at most one job, and no asyncio task is left."""
    step = 0
    is_cancelled = True
    while is_cancelled:
        step += 1
        for task in world.tasks():
            world.server.tasks.delete(task.id or 0)
        show_that_lists_show_tasks(world)
        world.server.clear_interceptors()
        world.server.intercept(START_BATCH_JOB, slowly(trouble))
        try:
            await cancelled_at(step, world.client.jobs.start(NAME, marker=Marker.PARAMETER, resend=True), [])
            is_cancelled = False
        except asyncio.CancelledError:
            await asyncio.sleep(100)
        assert len(world.tasks()) <= 2
        assert len(asyncio.all_tasks()) == 1
    assert step > 3
    assert len(world.tasks()) == 2


def test_start_run_and_start_many_take_the_same_arguments() -> None:
    """`run` and the dictionaries of `start_many` take each argument of `start`; both docstrings name each."""
    start, run = (inspect.signature(method).parameters for method in (Jobs.start, Jobs.run))
    assert {*start} == {*run} - {"stop_timeout"} == {"self", *StartSpec.__annotations__}
    for name in StartSpec.__annotations__:
        assert start[name].default == run[name].default
        for method in (Jobs.start, Jobs.run):
            assert f"    {name}: " in (inspect.getdoc(method) or "")


CUT: dict[str, Any] = {
    "cut": lambda tasks, _: list(tasks)[:1],
    "old": lambda tasks, _: [info for info in tasks if info.id < 2],
}


@markers
@pytest.mark.parametrize("change", CUT)
@pytest.mark.parametrize("trouble", [lost_reply, lost_request])
@in_world
async def test_lists_that_miss_a_task_prove_nothing(
    world: World, trouble: Interceptor, change: str, marker: Marker
) -> None:
    """They show tasks of the job, but not the last one that this client has started: they are cut, or old."""
    for _ in range(2):
        await world.client.jobs.start(NAME)
    world.change_lists(CUT[change])
    world.server.intercept(START_BATCH_JOB, trouble)
    with pytest.raises(StartOutcomeUnknown, match="they do not show task 2 of that job, which the server has"):
        await world.client.jobs.start(NAME, marker=marker, resend=True, settle=5)
    assert world.server.counts["StartBatchJob"] == 3


@markers
@pytest.mark.parametrize("others", [1, 5])
@in_world
async def test_tasks_that_lists_need_not_show(world: World, others: int, marker: Marker) -> None:
    """Tasks of this client that have vanished, and those of other jobs, are no reason to doubt the lists."""
    show_that_lists_show_tasks(world)
    vanished = await world.client.jobs.start(NAME)
    world.server.tasks.delete(vanished.id)
    for _ in range(others):
        await world.client.jobs.start("EndlessBatchPlugin")
    world.server.intercept(START_BATCH_JOB, lost_request)
    with pytest.raises(ConnectionLost) as caught:
        await world.client.jobs.start(NAME, marker=marker, settle=5)
    assert caught.value.applied == "no"
    assert world.server.counts["GetBatchTaskInfo"] == min(others + 1, 3)


async def refused_afterwards(_: Call, proceed: Proceed) -> Answer:
    """Start the job, and answer 401, as a gateway does whose own session has ended meanwhile."""
    await proceed()
    return Answer(401, {}, ())


@pytest.mark.parametrize("marker", [None, *Marker])
@in_world
async def test_a_gateway_that_refuses_the_ticket_afterwards(world: World, marker: Marker | None) -> None:
    """A start with a mark looks for its task before it is sent again; one without takes the status at its word."""
    world.server.intercept(START_BATCH_JOB, refused_afterwards)
    async with world.other_client(credentials=UsernamePassword("demo", "demo")) as client:
        job = await client.jobs.start(NAME, marker=marker)
    ids = [info.id for info in world.tasks()]
    assert len(ids) == (2 if marker is None else 1)
    assert job.id == ids[-1]


@markers
@pytest.mark.parametrize("times", [1, 2])
@in_world
async def test_a_ticket_that_a_gateway_refuses(world: World, times: int, marker: Marker) -> None:
    """A start that was refused before it was passed on is sent once more with a new ticket, and not again."""
    world.server.intercept(START_BATCH_JOB, answering(401), times=times)
    async with world.other_client(credentials=UsernamePassword("demo", "demo")) as client:
        if times == 1:
            await client.jobs.start(NAME, marker=marker)
        else:
            with pytest.raises(AccessDenied) as caught:
                await client.jobs.start(NAME, marker=marker)
            assert caught.value.applied == "no"
    assert world.server.counts["AuthenticateUsernamePassword"] == 2
    assert world.server.counts["StartBatchJob"] == 2
    assert len(world.tasks()) == 2 - times


@markers
@in_world
async def test_a_ticket_that_a_gateway_refuses_for_lists_too(world: World, marker: Marker) -> None:
    """Nothing is sent again that was not looked for; the error is that of the start, and says so."""
    world.server.intercept(START_BATCH_JOB, refused_afterwards)
    world.server.intercept(LIST, answering(403), times=None)
    async with world.other_client(credentials=UsernamePassword("demo", "demo")) as client:
        with pytest.raises(AccessDenied) as caught:
            await client.jobs.start(NAME, marker=marker)
    assert (caught.value.status, caught.value.operation, caught.value.applied) == (401, "StartBatchJob", "no")
    (note,) = caught.value.__notes__
    assert note.startswith("the tasks of the job could not be listed, so StartBatchJob was not repeated: ")
    assert "HTTP 403" in note
    assert len(world.tasks()) == 1


@markers
@in_world
async def test_a_ticket_that_netserver_refuses(world: World, marker: Marker) -> None:
    """NetServer refuses a ticket before it runs anything: the start is sent again without a list."""
    async with world.other_client(credentials=UsernamePassword("demo", "demo")) as client:
        await client.jobs.start(NAME, marker=marker)
        world.server.tickets.revoke_all()
        await client.jobs.start(NAME, marker=marker)
    assert world.server.counts[LIST.name] == 0
    assert len(world.tasks()) == 2


async def test_a_call_that_renews_no_ticket_at_401() -> None:
    """`renew=False`: the error is raised, and the next call has a new ticket."""
    tickets = iter(["7T:b25l", "7T:dHdv"])

    async def ticket() -> str:
        return next(tickets)

    client, script = scripted(
        Reply(401), replying(GET_BATCH_TASK_INFO), ticket=None, credentials=ticket, binding=Binding.SOAP11
    )
    async with client:
        with pytest.raises(AccessDenied) as caught:
            await client.batch.start_batch_job(BatchTaskInfo(name=NAME), renew=False)
        assert caught.value.applied == "no"
        await client.batch.get_batch_task_info(1)
    assert [b"7T:b25l" in request.body for request in script.requests] == [True, False]
