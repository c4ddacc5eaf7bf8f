"""A handle on a job: read the task, stop the job, fetch its output."""

import asyncio
import copy
import io
import math
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from soapbatch import (
    BatchTaskCancellationBehaviour,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    ConnectionLost,
    JobGone,
    LimitExceeded,
    Limits,
    NotInVersion,
    OperationFailed,
    ServiceVersion,
    UsageError,
    UsernamePassword,
)
from soapbatch.jobs.job import Job
from soapbatch.operations import GET_OUTPUT_FROM_BATCH, STOP_BATCH_JOB
from soapbatch.testing import (
    DEMO_USER,
    ServerException,
    failing,
    lost_reply,
)
from tests.support.job_server import World, in_world, started

S = BatchTaskState
B = BatchTaskCancellationBehaviour


def with_behaviour(world: World, behaviour: BatchTaskCancellationBehaviour | str | None) -> Job:
    """Return a handle on a running task with this `cancellation_behaviour`."""
    world.server.define_job("Job", duration=math.inf)
    id_ = world.server.tasks.add(BatchTaskInfo(name="Job", state=S.STARTED, cancellation_behaviour=behaviour))
    return world.client.jobs.attach(id_)


# --- Handles ---------------------------------------------------------------------------------------------------------


@in_world
async def test_a_handle_is_an_id(world: World) -> None:
    """To make a handle sends nothing. A handle pickles to its number, and a copy of a handle is the handle itself."""
    job = world.client.jobs.attach(4711)
    assert world.server.requests == 0
    assert (job.id, repr(job), job.is_over) == (4711, "<Job 4711>", False)
    assert pickle.loads(pickle.dumps(job)) == 4711  # noqa: S301 - our own pickle
    assert type(pickle.loads(pickle.dumps([job]))[0]) is int  # noqa: S301 - our own pickle
    assert copy.copy(job) is job
    assert copy.deepcopy([job])[0] is job


@pytest.mark.parametrize("id_", ["4711", 1.0, None, True])
@in_world
async def test_attaching_to_something_else_is_refused(world: World, id_: object) -> None:
    """An id of a wrong type, for example text from a queue, is a UsageError that names the type."""
    with pytest.raises(UsageError, match=type(id_).__name__):
        world.client.jobs.attach(id_)  # type: ignore[arg-type]  # what is refused


@in_world
async def test_info_reads_now(world: World) -> None:
    """`info` makes one call and returns the task. The handle then knows whether the job has ended."""
    job = await started(world, duration=10)
    assert (await job.info()).state == S.NEW
    assert not job.is_over
    await asyncio.sleep(60)
    assert (await job.info()).state == S.SUCCEEDED
    assert job.is_over
    assert world.reads == 2


@pytest.mark.parametrize("answer", ["nil", "exception"])
@pytest.mark.parametrize("told", ["header", "fault"])
@in_world
async def test_an_unknown_task_is_gone(world: World, answer: str, told: str) -> None:
    """`info` and `wait` raise JobGone, in whichever way the server says that it does not know the task."""
    world.server.unknown_task = answer  # type: ignore[assignment]  # one of its values
    world.server.failures = told  # type: ignore[assignment]  # one of its values
    job = world.client.jobs.attach(4711)
    for look in (job.info, job.wait):
        with pytest.raises(JobGone, match="4711") as caught:
            await look()
        assert (caught.value.id, caught.value.info) == (4711, None)
        assert (caught.value.version, caught.value.applied) == (ServiceVersion.V88, "yes")
    assert job.is_over


# --- Stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "force", "confirm", "is_stopped"),
    [
        pytest.param(B.CAN_CANCEL, False, False, True, id="can be"),
        pytest.param(None, False, False, True, id="says nothing"),
        pytest.param("CancelAtLeisure", False, False, True, id="says something new"),
        pytest.param(B.CANCEL_WITH_WARNING, False, False, None, id="warning, not confirmed"),
        pytest.param(B.CANCEL_WITH_WARNING, False, True, True, id="warning, confirmed"),
        pytest.param(B.CANCEL_WITH_WARNING, True, False, True, id="warning, forced"),
        pytest.param(B.CANNOT_CANCEL, False, False, None, id="cannot be"),
        pytest.param(B.CANNOT_CANCEL, False, True, None, id="cannot be, confirmed"),
        pytest.param(B.CANNOT_CANCEL, True, False, False, id="cannot be, forced: the server says no"),
    ],
)
@in_world
async def test_stopping(
    world: World,
    behaviour: B | str | None,
    force: bool,  # noqa: FBT001 - a column
    confirm: bool,  # noqa: FBT001 - a column
    is_stopped: bool | None,  # noqa: FBT001 - columns
) -> None:
    """`cancellation_behaviour` decides whether StopBatchJob is sent; None: `stop` raises UsageError instead."""
    job = with_behaviour(world, behaviour)
    if is_stopped is None:
        with pytest.raises(UsageError, match=behaviour):
            await job.stop(force=force, confirm=confirm)
    else:
        assert await job.stop(force=force, confirm=confirm) is is_stopped
    assert world.state(job) == (S.FAILED if is_stopped else S.STARTED)
    assert world.server.counts["StopBatchJob"] == (is_stopped is not None)
    assert world.server.counts["GetBatchTaskInfo"] == (not force)


@in_world
async def test_stopping_what_has_ended(world: World) -> None:
    """`stop` returns False and sends no StopBatchJob."""
    job = await world.client.jobs.start("ExportArchiveBatchPlugin")
    await job.wait()
    assert await job.stop() is False
    assert world.server.counts["StopBatchJob"] == 0


@pytest.mark.parametrize("force", [False, True])
@in_world
async def test_stopping_what_is_gone(world: World, force: bool) -> None:  # noqa: FBT001 - a case
    """`stop` raises JobGone, whether the reading or StopBatchJob finds that the task is gone."""
    job = world.client.jobs.attach(4711)
    with pytest.raises(JobGone) as caught:
        await job.stop(force=force)
    assert (caught.value.id, caught.value.version) == (4711, ServiceVersion.V88)
    assert job.is_over
    assert world.server.counts["StopBatchJob"] == force


@in_world
async def test_stopping_in_versions_that_know_no_behaviour(world: World) -> None:
    """Before Services88 a task has no `cancellation_behaviour`, so it is not read."""
    job = with_behaviour(world, B.CAN_CANCEL)
    async with world.other_client(version=ServiceVersion.V87, binding=Binding.DOCUMENTED) as client:
        assert await client.jobs.attach(job.id).stop() is True
    assert world.server.counts == {"StopBatchJob": 1}


@in_world
async def test_a_stop_whose_answer_is_lost(world: World) -> None:
    """`stop` raises the error of the call with `applied` "unknown"; to call it again does no harm."""
    job = with_behaviour(world, None)
    world.server.intercept(STOP_BATCH_JOB, lost_reply)
    with pytest.raises(ConnectionLost) as caught:
        await job.stop()
    assert caught.value.applied == "unknown"
    assert await job.stop() is False
    world.server.intercept(STOP_BATCH_JOB, failing(ServerException("System.Exception", "no")))
    with pytest.raises(OperationFailed):
        await job.stop(force=True)


# --- Output ----------------------------------------------------------------------------------------------------------


@in_world
async def test_the_output(world: World, tmp_path: Path) -> None:
    """The output can be had in memory, at a path or in a file; `cleanup` removes it from the server."""
    job = await world.client.jobs.start("ExportArchiveBatchPlugin")
    assert await job.output() is None
    info = await job.wait()
    content = await job.output()
    assert content is not None
    assert content.startswith(b"id;name")
    path = tmp_path / (info.file_name or "")
    assert await job.save_output(path) == len(content)
    assert path.read_bytes() == content
    file = io.BytesIO()
    assert await job.save_output(file) == len(content)
    assert file.getvalue() == content
    await job.cleanup()
    assert await job.output() is None
    assert await job.save_output(tmp_path / "nothing") is None
    assert not (tmp_path / "nothing").exists()


@in_world
async def test_a_large_output(world: World, tmp_path: Path) -> None:
    """`Limits.bytes` bounds `output`, but not `save_output`, which does not hold the output in memory."""

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(64 * 1024)

    world.server.define_job("Large", duration=1, output=pieces)
    job = await world.client.jobs.start("Large")
    await job.wait()
    async with world.other_client(limits=Limits(bytes=1024 * 1024)) as client:
        with pytest.raises(LimitExceeded):
            await client.jobs.attach(job.id).output()
        assert await client.jobs.attach(job.id).save_output(tmp_path / "large") == 40 * 64 * 1024


@in_world
async def test_a_file_is_replaced_as_a_whole_or_not_at_all(world: World, tmp_path: Path) -> None:
    """If the answer breaks off, the file keeps its old content, and no other file is left in the folder."""
    path = tmp_path / "export.csv"
    path.write_bytes(b"yesterday's")
    job = await world.client.jobs.start("ExportArchiveBatchPlugin")
    await job.wait()
    world.server.intercept(GET_OUTPUT_FROM_BATCH, lost_reply)
    with pytest.raises(ConnectionLost):
        await job.save_output(path)
    assert os.listdir(tmp_path) == ["export.csv"]  # noqa: PTH208 - and ASYNC240 the other way round
    assert path.read_bytes() == b"yesterday's"


@in_world
async def test_the_output_of_a_job_that_is_gone(world: World, tmp_path: Path) -> None:
    """All three methods raise JobGone, with the server's error as its cause."""
    job = world.client.jobs.attach(4711)
    for call in (job.output(), job.save_output(tmp_path / "x"), job.cleanup()):
        with pytest.raises(JobGone) as caught:
            await call
        assert isinstance(caught.value.__cause__, OperationFailed)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - and ASYNC240 the other way round


@in_world
async def test_versions_without_output_say_so_before_sending(world: World, tmp_path: Path) -> None:
    """The BLOB agent came with Services88: before, NotInVersion is raised and nothing is sent, not even a login."""
    credentials = UsernamePassword(DEMO_USER.name, DEMO_USER.password)
    async with world.other_client(version=ServiceVersion.V87, credentials=credentials) as client:
        job = client.jobs.attach(1)
        for call in (job.output(), job.save_output(tmp_path / "x"), job.cleanup()):
            with pytest.raises(NotInVersion, match="Services88"):
                await call
    assert world.server.requests == 0
