"""Stopping a job, running one for the length of a block, and fetching what it leaves behind."""

import asyncio
import contextlib
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soapbatch import (
    BatchTaskCancellationBehaviour,
    BatchTaskInfo,
    BatchTaskState,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    JobFailed,
    JobGone,
    LimitExceeded,
    Limits,
    NotInVersion,
    OperationFailed,
    ServiceVersion,
    UsageError,
    UsernamePassword,
    WaitTimeout,
)
from soapbatch.errors import JobRunning
from soapbatch.jobs.job import Job
from soapbatch.jobs.start import Marker
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_OUTPUT_FROM_BATCH, START_BATCH_JOB, STOP_BATCH_JOB
from soapbatch.testing import DEMO_USER, Interceptor, ServerException, delayed, failing, lost_reply, lost_request
from tests.jobs.test_start import slowly
from tests.support.job_server import World, cancelled_at, in_world

S = BatchTaskState
B = BatchTaskCancellationBehaviour
ENDLESS = "EndlessBatchPlugin"


def with_behaviour(world: World, behaviour: BatchTaskCancellationBehaviour | str | None) -> Job:
    """Return a handle on a running task that says this of its stopping."""
    world.server.define_job("Job", duration=math.inf)
    id_ = world.server.tasks.add(BatchTaskInfo(name="Job", state=S.STARTED, cancellation_behaviour=behaviour))
    return world.client.jobs.attach(id_)


def state(world: World, job: Job) -> object:
    """Return the state of a job on the server."""
    info = world.server.tasks.read(job.id)
    return info and info.state


# --- stop -------------------------------------------------------------------------------------------------------


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
    """What the task says decides what is sent; None: refused, and nothing was."""
    job = with_behaviour(world, behaviour)
    if is_stopped is None:
        with pytest.raises(UsageError, match=behaviour):
            await job.stop(force=force, confirm=confirm)
    else:
        assert await job.stop(force=force, confirm=confirm) is is_stopped
    assert state(world, job) == (S.FAILED if is_stopped else S.STARTED)
    assert world.server.counts["StopBatchJob"] == (is_stopped is not None)
    assert world.server.counts["GetBatchTaskInfo"] == (not force)


@in_world
async def test_stopping_what_has_ended(world: World) -> None:
    """False, and the server is not asked: there is nothing to stop."""
    job = await world.client.jobs.start("ExportArchiveBatchPlugin")
    await job.wait()
    assert await job.stop() is False
    assert world.server.counts["StopBatchJob"] == 0


@pytest.mark.parametrize("force", [False, True])
@in_world
async def test_stopping_what_is_gone(world: World, force: bool) -> None:  # noqa: FBT001 - a case
    """JobGone, whichever call finds it out."""
    job = world.client.jobs.attach(4711)
    with pytest.raises(JobGone) as caught:
        await job.stop(force=force)
    assert (caught.value.id, caught.value.version) == (4711, ServiceVersion.V88)
    assert job.is_over
    assert world.server.counts["StopBatchJob"] == force


@in_world
async def test_stopping_in_versions_that_know_no_behaviour(world: World) -> None:
    """Before Services88 a task cannot say how it may be stopped, so it is not read."""
    job = with_behaviour(world, B.CAN_CANCEL)
    async with world.other_client(version=ServiceVersion.V87) as client:
        assert await client.jobs.attach(job.id).stop() is True
    assert world.server.counts == {"StopBatchJob": 1}


@in_world
async def test_a_stop_whose_answer_is_lost(world: World) -> None:
    """The error of the call comes out: whether it was applied is unknown, and asking again does no harm."""
    job = with_behaviour(world, None)
    world.server.intercept(STOP_BATCH_JOB, lost_reply)
    with pytest.raises(ConnectionLost) as caught:
        await job.stop()
    assert caught.value.applied == "unknown"
    assert await job.stop() is False
    world.server.intercept(STOP_BATCH_JOB, failing(ServerException("System.Exception", "no")))
    with pytest.raises(OperationFailed):
        await job.stop(force=True)


# --- run --------------------------------------------------------------------------------------------------------


@in_world
async def test_a_block_that_waits_stops_nothing(world: World) -> None:
    """A job that is known to have ended is left alone, a failed and a vanished one too."""
    async with world.client.jobs.run("ExportArchiveBatchPlugin", description="Nightly") as job:
        assert (await job.wait()).description == "Nightly"
    with pytest.raises(JobFailed):
        async with world.client.jobs.run("FailingBatchPlugin") as job:
            await job.wait()
    async with world.client.jobs.run(ENDLESS) as job:
        world.server.tasks.delete(job.id)
        with pytest.raises(JobGone):
            await job.info()
    async with world.client.jobs.run(ENDLESS) as job:
        world.server.tasks.delete(job.id)
    assert world.server.counts["StopBatchJob"] == 0


@in_world
async def test_leaving_a_block_early_stops_the_job(world: World) -> None:
    """By an exception, by a break in a loop, or by reaching the end while it still runs."""
    with pytest.raises(KeyError) as caught:
        async with world.client.jobs.run(ENDLESS) as job:
            raise KeyError
    assert state(world, job) == S.FAILED
    assert not hasattr(caught.value, "__notes__")
    async with world.client.jobs.run(ENDLESS) as job:
        pass
    assert state(world, job) == S.FAILED
    while True:
        async with world.client.jobs.run(ENDLESS) as job:
            break
    assert state(world, job) == S.FAILED


@in_world
async def test_a_timeout_around_a_block_stops_the_job(world: World) -> None:
    """A cancelled wait leaves the job to the block, and the block stops it."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30), world.client.jobs.run(ENDLESS) as job:
            await job.wait()
    assert state(world, job) == S.FAILED
    assert world.now == 30


@pytest.mark.parametrize("trouble", [None, lost_reply, lost_request])
@in_world
async def test_cancelling_a_block_at_every_await(world: World, trouble: Interceptor | None) -> None:
    """Wherever it is cancelled, on its way in too: no job runs on, and no task is left."""

    async def block() -> None:
        async with world.client.jobs.run(ENDLESS, marker=Marker.PARAMETER, resend=True, settle=4) as job:
            with contextlib.suppress(WaitTimeout):
                await job.wait(timeout=6, on_progress=lambda _: asyncio.sleep(0.1))

    world.server.intercept(STOP_BATCH_JOB, slowly(None), times=None)
    world.server.intercept(GET_BATCH_TASK_INFO, slowly(None), times=None)
    step = 0
    is_cancelled = True
    while is_cancelled:
        step += 1
        world.server.intercept(START_BATCH_JOB, slowly(trouble))
        try:
            await cancelled_at(step, block(), [])
            is_cancelled = False
        except asyncio.CancelledError:
            pass
        assert {info.state for info in world.tasks()} <= {S.FAILED}
        assert len(asyncio.all_tasks()) == 1
    assert step >= 8
    assert len(world.tasks()) >= step - 1


@in_world
async def test_cancelling_again_does_not_keep_a_block_from_stopping(world: World) -> None:
    """Whoever is impatient and cancels twice, or ten times, still waits for the stop, which is short."""
    world.server.intercept(STOP_BATCH_JOB, delayed(5))

    async def block() -> None:
        async with world.client.jobs.run(ENDLESS) as job:
            await job.wait()

    task = asyncio.create_task(block())
    await asyncio.sleep(10)
    for _ in range(10):
        task.cancel()
        await asyncio.sleep(0.1)
    await asyncio.wait([task])
    assert task.cancelled()
    assert world.now == 15
    assert {info.state for info in world.tasks()} == {S.FAILED}


@in_world
async def test_cancelling_while_a_start_hangs(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The block waits for it as long as a stop may take, then gives up, and says that a job may run."""
    world.server.intercept(START_BATCH_JOB, delayed(1000))

    async def block() -> None:
        async with world.client.jobs.run(ENDLESS, stop_timeout=20):
            pytest.fail("it never starts")  # pragma: no cover - not reached

    task = asyncio.create_task(block())
    await asyncio.sleep(5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert world.now == 25
    assert "may have been started" in caplog.text
    assert "may have been started" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("trouble", "is_unknown"), [pytest.param(lost_reply, True, id="lost"), pytest.param(None, False, id="refused")]
)
@in_world
async def test_cancelling_while_a_start_fails(
    world: World,
    trouble: Interceptor | None,
    is_unknown: bool,  # noqa: FBT001 - a column
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is known not to have started needs no words; what may have gets a note and a warning."""
    refused = failing(ServerException("SuperOffice.Exceptions.SoSessionException", "no"))
    world.server.intercept(START_BATCH_JOB, slowly(trouble or refused))
    starting = asyncio.create_task(contextlib.AsyncExitStack().enter_async_context(world.client.jobs.run(ENDLESS)))
    await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await starting
    assert hasattr(caught.value, "__notes__") is is_unknown
    assert ("may have been started" in caplog.text) is is_unknown


@in_world
async def test_a_stop_that_fails_while_an_exception_leaves_the_block(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The exception stays what it is, and gets a note; a warning is logged."""
    world.server.intercept(STOP_BATCH_JOB, lost_request)
    with pytest.raises(KeyError) as caught:
        async with world.client.jobs.run(ENDLESS) as job:
            raise KeyError
    (note,) = caught.value.__notes__
    assert note.startswith(f"task {job.id} may still run on the server: ")
    assert f"task {job.id} may still run" in caplog.text
    with pytest.raises(KeyError) as caught:
        async with world.client.jobs.run("UpgradeDatabaseBatchPlugin") as job:
            raise KeyError
    assert "CannotCancel" in caught.value.__notes__[0]
    assert state(world, job) == S.NEW


@in_world
async def test_a_stop_that_fails_at_the_end_of_a_block(world: World) -> None:
    """A block that ended well raises why its job runs on: the error of the call, or that time ran out."""
    for trouble, kind in ((lost_request, ConnectionLost), (delayed(1000), DeadlineExceeded)):
        world.server.intercept(STOP_BATCH_JOB, trouble)
        before = world.now
        with pytest.raises(kind):
            async with world.client.jobs.run(ENDLESS):
                pass
        assert world.now <= before + 10
    async with world.other_client(timeout=3) as client:
        world.server.intercept(STOP_BATCH_JOB, delayed(1000))
        with pytest.raises(DeadlineExceeded, match="timeout of 3"):
            async with client.jobs.run(ENDLESS):
                pass


@in_world
async def test_a_job_that_the_server_does_not_stop(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A job that says nothing of its stopping, and then is not stopped, is worth a warning."""
    async with world.other_client(version=ServiceVersion.V86) as client:
        async with client.jobs.run("UpgradeDatabaseBatchPlugin") as job:
            pass
        assert f"task {job.id}: the server did not stop it" in caplog.text
        caplog.clear()
    world.server.define_job("Short", duration=1)
    async with world.client.jobs.run("Short") as job:
        await asyncio.sleep(60)
    assert caplog.text == ""
    assert state(world, job) == S.SUCCEEDED


@in_world
async def test_a_block_can_refuse_to_run_beside_another(world: World) -> None:
    """With if_running="fail" the other one runs on: this block has not started it."""
    other = await world.client.jobs.start(ENDLESS)
    with pytest.raises(JobRunning):
        async with world.client.jobs.run(ENDLESS, if_running="fail"):
            pytest.fail("it never starts")  # pragma: no cover - not reached
    assert state(world, other) != S.FAILED


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"if_running": "attach"}, "if_running is 'start' or 'fail'", id="attach"),
        pytest.param({"stop_timeout": "5"}, "stop_timeout", id="stop_timeout"),
        pytest.param({"resend": True}, "needs a marker", id="what a start refuses"),
        pytest.param({"timout": 1}, "no timout: options are description, .*, timeout", id="a misspelt option"),
    ],
)
@in_world
async def test_what_a_block_refuses(world: World, arguments: dict[str, Any], words: str) -> None:
    """It is a UsageError before anything is sent; attaching above all: it would stop somebody else's job."""
    other = await world.client.jobs.start(ENDLESS)
    with pytest.raises(UsageError, match=words):
        async with world.client.jobs.run(ENDLESS, **arguments):
            pytest.fail("it never starts")  # pragma: no cover - not reached
    assert state(world, other) != S.FAILED
    assert world.server.requests == 1


@in_world
async def test_a_client_that_is_closed_around_a_block(world: World) -> None:
    """The block's exception gets the note that its job may run on."""
    client = world.other_client()

    async def block() -> None:
        async with client.jobs.run(ENDLESS) as job:
            await client.aclose()
            await job.wait()

    with pytest.raises(ClientClosed) as caught:
        await block()
    assert "may still run" in caught.value.__notes__[0]


# --- What it leaves behind --------------------------------------------------------------------------------------


@in_world
async def test_the_output(world: World, tmp_path: Path) -> None:
    """Bytes in memory, in a file, at a path; and the server may remove it."""
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
    """In memory it is bounded by the client's limits; to a file it is not held in memory."""

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
    """An output that breaks off leaves what was there before, and nothing beside it."""
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
    """JobGone, with the server's words as its cause."""
    job = world.client.jobs.attach(4711)
    for call in (job.output(), job.save_output(tmp_path / "x"), job.cleanup()):
        with pytest.raises(JobGone) as caught:
            await call
        assert isinstance(caught.value.__cause__, OperationFailed)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - and ASYNC240 the other way round


@in_world
async def test_versions_without_output_say_so_before_sending(world: World, tmp_path: Path) -> None:
    """The BLOB agent came with Services88: not even a login is made."""
    credentials = UsernamePassword(DEMO_USER.name, DEMO_USER.password)
    async with world.other_client(version=ServiceVersion.V87, credentials=credentials) as client:
        job = client.jobs.attach(1)
        for call in (job.output(), job.save_output(tmp_path / "x"), job.cleanup()):
            with pytest.raises(NotInVersion, match="Services88"):
                await call
    assert world.server.requests == 0
