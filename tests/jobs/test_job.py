"""A handle on a job: read the task, stop the job, fetch its output."""

import asyncio
import contextlib
import copy
import io
import math
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from soapbatch import (
    BatchTaskCancellationBehaviour,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    ConnectionLost,
    JobFailed,
    JobGone,
    JobRunning,
    LimitExceeded,
    Limits,
    NotInVersion,
    OperationFailed,
    ServiceVersion,
    StopRefused,
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


@in_world
async def test_handles_are_values(world: World) -> None:
    """Handles of one client and id are equal and hash alike; of another client or id they are not."""
    job = await started(world)
    same, other = world.client.jobs.attach(job.id), world.client.jobs.attach(job.id + 1)
    assert job == same
    assert job != other
    assert job != job.id
    assert {job, same, other} == {other, job}
    assert len({job, same, other}) == 2
    async with world.other_client() as client:
        assert client.jobs.attach(job.id) != job


@in_world
async def test_the_name_of_a_job(world: World) -> None:
    """A started job has its name; an attached one learns it when it is read or waited for, and keeps it."""
    job = await started(world, duration=10)
    assert job.name == "Job"
    attached = world.client.jobs.attach(job.id)
    assert attached.name is None
    await attached.info()
    assert attached.name == "Job"
    attached = world.client.jobs.attach(job.id)
    await attached.wait()
    assert attached.name == "Job"
    id_ = world.server.tasks.add(BatchTaskInfo(state=S.STARTED))
    nameless = world.client.jobs.attach(id_)
    await nameless.info()
    assert nameless.name is None


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


@pytest.mark.parametrize("look", ["info", "stop", "output"])
@pytest.mark.parametrize("answer", ["nil", "exception"])
@pytest.mark.parametrize("misses", [2, 3])
@in_world
async def test_a_task_that_was_just_started_is_looked_for_again(
    world: World, look: str, answer: str, misses: int
) -> None:
    """Up to two readings may not find it; the third one decides. Later, one is enough."""
    world.server.unknown_task = answer  # type: ignore[assignment]  # one of its values
    job = await started(world, duration=1)
    await asyncio.sleep(50)
    task = world.server.tasks.get(job.id)
    assert task is not None
    world.server.tasks.delete(job.id)
    loop = asyncio.get_running_loop()
    loop.call_later(2 * misses - 1, world.server.tasks.add, attrs.evolve(task.info, state=S.SUCCEEDED))
    if misses == 3:
        with pytest.raises(JobGone):
            await getattr(job, look)()
        assert job.is_over
        assert (world.reads, world.now) == (3, 54)
        return
    reading = asyncio.create_task(getattr(job, look)())
    await asyncio.sleep(1)
    assert not job.is_over  # not yet: a block that is left now stops the job
    await reading
    assert world.server.counts["GetBatchTaskInfo"] == 3
    assert world.now == 54
    world.server.tasks.delete(job.id)
    await asyncio.sleep(100)
    with pytest.raises(JobGone):
        await job.info()
    assert world.server.counts["GetBatchTaskInfo"] == 4


@in_world
async def test_a_task_that_was_just_seen_is_looked_for_again(world: World) -> None:
    """A handle that has read the task less than a minute ago looks again; JobGone carries what it saw."""
    id_ = world.server.tasks.add(BatchTaskInfo(name="Job", state=S.STARTED))
    job = world.client.jobs.attach(id_)
    await asyncio.sleep(1000)
    seen = await job.info()
    world.server.tasks.delete(id_)
    await asyncio.sleep(60)
    with pytest.raises(JobGone) as caught:
        await job.info()
    assert (world.reads, world.now) == (4, 1064)
    assert caught.value.info == seen


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
    """`cancellation_behaviour` decides whether StopBatchJob is sent; None: `stop` raises StopRefused instead."""
    job = with_behaviour(world, behaviour)
    if is_stopped is None:
        with pytest.raises(StopRefused, match=behaviour) as caught:
            await job.stop(force=force, confirm=confirm)
        assert not isinstance(caught.value, UsageError)  # a refusal is not a caller's mistake
        assert (caught.value.id, caught.value.applied, caught.value.version) == (job.id, "no", ServiceVersion.V88)
        assert caught.value.info is not None
        assert caught.value.info.cancellation_behaviour == behaviour
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
    assert caught.value.applied == "no"
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
async def test_the_output_of_a_job_that_has_not_succeeded(world: World, tmp_path: Path) -> None:
    """All ways to fetch it raise: JobRunning while the job runs, JobFailed after it has failed. Nothing is fetched."""
    running = await started(world, duration=100)
    failed = world.server.tasks.add(BatchTaskInfo(name="Bad", state=S.FAILED, result="no disk", description="Nightly"))
    for job, kind, words in (
        (running, JobRunning, rf"^job 'Job' \(task {running.id}\) has not ended \(New\) and has no output yet"),
        (world.client.jobs.attach(failed), JobFailed, rf"^job 'Bad' \(task {failed}, 'Nightly'\) failed: no disk$"),
    ):
        for fetch in (
            job.output,
            lambda job=job: anext(job.stream_output()),
            lambda job=job: job.save_output(tmp_path / "x"),
        ):
            with pytest.raises(kind, match=words) as caught:
                await fetch()
            assert (caught.value.id, caught.value.version) == (job.id, ServiceVersion.V88)
            assert caught.value.info is not None
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - and ASYNC240 the other way round
    assert world.server.counts["GetOutputFromBatch"] == 0


@in_world
async def test_how_often_a_task_is_read_for_its_output(world: World) -> None:
    """A handle that has seen the success does not read the task again; another handle reads it once."""
    job = await world.client.jobs.start("ExportArchiveBatchPlugin")
    await job.wait()
    reads = world.reads
    content = await job.output()
    assert b"".join([piece async for piece in job.stream_output()]) == content
    assert world.server.counts["GetBatchTaskInfo"] == reads
    attached = world.client.jobs.attach(job.id)
    assert [piece async for piece in attached.stream_output()] == [content]
    assert await attached.output() == content
    assert world.server.counts["GetBatchTaskInfo"] == reads + 1
    await job.cleanup()
    assert [piece async for piece in attached.stream_output()] == []


@in_world
async def test_leaving_streamed_output_early(world: World) -> None:
    """Closing the generator ends the call."""
    world.server.define_job("Large", duration=1, output=lambda: (bytes(64 * 1024) for _ in range(40)))
    job = await world.client.jobs.start("Large")
    await job.wait()
    async with contextlib.aclosing(job.stream_output()) as pieces:
        async for piece in pieces:
            assert piece
            break
    assert len(asyncio.all_tasks()) == 1


@in_world
async def test_a_target_that_cannot_be_written(world: World, tmp_path: Path) -> None:
    """The OSError names the target, not the new file that was to replace it. A file object's error stays as it is."""
    job = await world.client.jobs.start("ExportArchiveBatchPlugin")
    await job.wait()
    for target in (tmp_path / "no folder" / "export.csv", str(tmp_path / "no folder" / "export.csv"), tmp_path):
        with pytest.raises(OSError, match=r"export\.csv|Is a directory") as caught:
            await job.save_output(target)
        assert caught.value.filename == str(target)
        assert str(caught.value).endswith(f": {str(target)!r}")

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        await job.save_output(Full())
    assert caught.value.filename is None
    requests = world.server.requests
    with pytest.raises(UsageError, match="target is a path"):
        await world.client.jobs.attach(job.id).save_output(5)  # type: ignore[arg-type]  # what is refused
    assert world.server.requests == requests


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
    """All three methods raise JobGone, with the server's error as its cause. `cleanup` has changed nothing."""
    world.server.unknown_task = "exception"
    job = world.client.jobs.attach(4711)
    for call in (job.output(), job.save_output(tmp_path / "x"), job.cleanup()):
        with pytest.raises(JobGone) as caught:
            await call
        assert isinstance(caught.value.__cause__, OperationFailed)
        assert caught.value.applied == ("yes" if world.server.counts["CleanupBatchTask"] == 0 else "no")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - and ASYNC240 the other way round


@in_world
async def test_versions_without_output_say_so_before_sending(world: World, tmp_path: Path) -> None:
    """The BLOB agent came with Services88: before, NotInVersion is raised and nothing is sent, not even a login."""
    credentials = UsernamePassword(DEMO_USER.name, DEMO_USER.password)
    async with world.other_client(version=ServiceVersion.V87, credentials=credentials) as client:
        job = client.jobs.attach(1)
        for call in (job.output(), job.save_output(tmp_path / "x"), job.cleanup(), anext(job.stream_output())):
            with pytest.raises(NotInVersion, match="Services88"):
                await call
    assert world.server.requests == 0
