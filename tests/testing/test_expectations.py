"""What a test can say about the calls that should have been made, and what it is told when they were not."""

import re

import pytest

from soapbatch import BatchTaskInfo, Binding, UsageError
from soapbatch.errors import ConnectionLost
from soapbatch.operations import START_BATCH_JOB
from soapbatch.testing import NetServer, delayed, failing, lost_reply, lost_request
from tests.support.clients import in_process, virtual


async def server_with_calls() -> NetServer:
    """Return a server that has had four calls."""
    server = NetServer(clock=lambda: 0.0)
    for name in ("Export", "Import"):
        server.define_job(name)
    async with in_process(server, binding=Binding.SOAP11) as client:
        await client.batch.start_batch_job(BatchTaskInfo(name="Export", description="nightly"))
        await client.batch.start_batch_job(BatchTaskInfo(name="Import"))
        await client.batch.get_batch_task_info(1)
        await client.batch.get_batch_task_info(2)
    return server


@virtual
async def test_calls_are_found_by_operation_and_arguments() -> None:
    """Arguments are named as parameters, or as the fields of a carrier; those that are not named may be anything."""
    server = await server_with_calls()
    assert [call.operation for call in server.calls_of()] == ["StartBatchJob"] * 2 + ["GetBatchTaskInfo"] * 2
    assert len(server.calls_of("StartBatchJob")) == len(server.calls_of(START_BATCH_JOB)) == 2
    (call,) = server.calls_of("StartBatchJob", name="Export")
    assert call is server.calls[0]
    assert server.calls_of("StartBatchJob", name="Export", description="nightly") == [call]
    assert server.calls_of("StartBatchJob", name="Export", description="daily") == []
    assert server.calls_of("StartBatchJob", batch_task_info=BatchTaskInfo(name="Import")) == [server.calls[1]]
    assert server.calls_of(id=2) == [server.calls[3]]
    assert server.calls_of("StartBatchJob", description=None) == [server.calls[1]]


@virtual
async def test_once_is_once() -> None:
    """The one call is returned; none and several are errors."""
    server = await server_with_calls()
    assert server.assert_called_once("GetBatchTaskInfo", id=2) is server.calls[3]
    with pytest.raises(AssertionError) as caught:
        server.assert_called_once("StartBatchJob")
    assert str(caught.value).splitlines() == [
        "StartBatchJob() was called twice, and should have been called once.",
        "The calls were:",
        "  StartBatchJob(name='Export', description='nightly'), succeeded",
        "  StartBatchJob(name='Import'), succeeded",
    ]


@virtual
async def test_the_nearest_calls_are_shown() -> None:
    """Calls of the operation come first, those with more equal arguments before others; differences are named."""
    server = await server_with_calls()
    with pytest.raises(AssertionError) as caught:
        server.assert_called_once("StartBatchJob", name="Export", description="daily")
    assert str(caught.value).splitlines() == [
        "StartBatchJob(name='Export', description='daily') was not called, and should have been called once.",
        "The server has had 4 other call(s); the nearest first:",
        "  StartBatchJob(name='Export', description='nightly'), succeeded: description is 'nightly'",
        "  StartBatchJob(name='Import'), succeeded: name is 'Import'; description is None",
        "  GetBatchTaskInfo(id=1), succeeded: another operation",
        "  GetBatchTaskInfo(id=2), succeeded: another operation",
    ]
    with pytest.raises(
        AssertionError, match=r"any operation\(id=3\) was not called(?s:.*)GetBatchTaskInfo\(id=1\), succeeded: id is 1"
    ):
        server.assert_called_once(id=3)


@virtual
async def test_never_is_never() -> None:
    """A call that should not have been made is shown, and so is what became of it."""
    server = await server_with_calls()
    server.assert_not_called("StopBatchJob")
    server.assert_not_called("StartBatchJob", name="Other")
    with pytest.raises(
        AssertionError, match=r"GetBatchTaskInfo\(id=1\) was called once, and should have been called never"
    ):
        server.assert_not_called("GetBatchTaskInfo", id=1)
    assert NetServer().calls_of() == []


def test_without_any_call_the_message_says_so() -> None:
    """The first thing to know is that nothing has reached the server."""
    with pytest.raises(AssertionError, match="No call has reached the server"):
        NetServer().assert_called_once("StartBatchJob")


@virtual
async def test_few_calls_are_shown() -> None:
    """Of many calls, five are shown and the others are counted."""
    server = NetServer()
    async with in_process(server, binding=Binding.SOAP11) as client:
        for number in range(8):
            await client.batch.get_batch_task_info(number)
    with pytest.raises(AssertionError) as caught:
        server.assert_not_called()
    lines = str(caught.value).splitlines()
    assert lines[0] == "any operation() was called 8 times, and should have been called never."
    assert len(lines) == 2 + 5 + 1
    assert lines[-1] == "  and 3 more"


@pytest.mark.parametrize(
    ("operation", "arguments", "words"),
    [
        (
            "StartBatchJob",
            {"nmae": "Export"},
            "StartBatchJob takes no nmae; what can be named is .*batch_task_info.*name",
        ),
        (None, {"nmae": "Export"}, "no operation takes nmae"),
        ("StartJob", {}, "StartJob"),
    ],
)
def test_a_misspelt_expectation_is_an_error(operation: str | None, arguments: dict[str, str], words: str) -> None:
    """A name that no call can have would make `assert_not_called` pass for ever."""
    with pytest.raises(UsageError, match=words):
        NetServer().assert_not_called(operation, **arguments)


@virtual
async def test_a_script_plays_one_step_a_call() -> None:
    """The first call loses its answer, the second is late, the third and later ones run undisturbed."""
    server = NetServer(clock=lambda: 0.0)
    server.define_job("Export")
    server.script("StartBatchJob", [lost_reply, delayed(2), None])
    async with in_process(server, binding=Binding.SOAP11) as client:
        with pytest.raises(ConnectionLost):
            await client.batch.start_batch_job(BatchTaskInfo(name="Export"))
        server_time = [await client.batch.start_batch_job(BatchTaskInfo(name="Export")) for _ in range(3)]
    assert server_time == [2, 3, 4]
    assert [call.outcome for call in server.calls] == ["succeeded"] * 4
    assert server.unused_interceptors() == []
    server.assert_interceptors_used()


@virtual
async def test_what_was_not_used_is_told() -> None:
    """An interceptor counts as used from its first call on; optional ones and those that were cleared do not count."""
    server = NetServer()
    server.intercept("GetBatchTaskInfo", delayed(1), times=20)
    server.intercept("StopBatchJob", lost_request)
    server.intercept("StopBatchJob", lost_request, optional=True)
    server.script(None, [], optional=True)
    server.script("StartBatchJob", [failing(ValueError())])
    async with in_process(server, binding=Binding.SOAP11) as client:
        await client.batch.get_batch_task_info(1)
    assert server.unused_interceptors() == ["lost_request for StopBatchJob", "failing for StartBatchJob (step 1 of 1)"]
    with pytest.raises(AssertionError, match=re.escape("lost_request for StopBatchJob; failing for StartBatchJob")):
        server.assert_interceptors_used()
    server.clear_interceptors()
    server.assert_interceptors_used()
