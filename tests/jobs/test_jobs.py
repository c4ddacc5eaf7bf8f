"""`client.jobs`: start or attach, run a job for the length of a block, wait for many."""

import asyncio
import contextlib
from typing import Any

import pytest

from soapbatch import (
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    JobFailed,
    JobGone,
    OperationFailed,
    ServiceVersion,
    UsageError,
    WaitTimeout,
)
from soapbatch.errors import JobRunning
from soapbatch.jobs import Marker, StartSpec
from soapbatch.model import ReplyHeader
from soapbatch.operations import (
    GET_BATCH_TASK_INFO,
    START_BATCH_JOB,
    STOP_BATCH_JOB,
)
from soapbatch.testing import (
    Answer,
    Call,
    Interceptor,
    ServerException,
    delayed,
    failing,
    lost_reply,
    lost_request,
)
from soapbatch.testing.interceptors import Proceed
from tests.support.job_server import World, cancelled_at, in_world, slowly

S = BatchTaskState
ENDLESS = "EndlessBatchPlugin"


# --- start and if_running --------------------------------------------------------------------------------------------


@in_world
async def test_if_running(world: World) -> None:
    """A job of the same name that has not ended: start another one, attach to the newest one, or raise JobRunning."""
    jobs = world.client.jobs
    world.server.tasks.add(BatchTaskInfo(name="Other", state=S.STARTED))
    world.server.define_job("Long", duration=1000)
    first = await jobs.start("Long", if_running="fail")
    second = await jobs.start("Long", if_running="start")
    assert second.id != first.id
    attached = await jobs.start("Long", if_running="attach")
    assert attached.id == second.id  # the newest
    moment = world.now
    await anext(attached.watch())
    assert world.now == moment  # a job that was attached to is read at once
    with pytest.raises(JobRunning, match=str(second.id)) as caught:
        await jobs.start("Long", if_running="fail")
    assert (caught.value.id, caught.value.applied) == (second.id, "no")
    assert caught.value.info is not None
    assert caught.value.info.name == "Long"
    assert world.server.counts["StartBatchJob"] == 2
    await second.stop()
    assert (await jobs.start("Long", if_running="attach")).id == first.id
    await first.stop()
    assert (await jobs.start("Long", if_running="attach")).id > second.id


# --- start_many ------------------------------------------------------------------------------------------------------


@in_world
async def test_starting_many(world: World) -> None:
    """One outcome for each start, in order: a handle or an error. At most `at_once` starts are under way."""
    world.server.tasks.add(BatchTaskInfo(name="Other", state=S.SUCCEEDED))
    under_way, most = 0, 0

    async def count(_: Call, proceed: Proceed) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(1)
        under_way -= 1
        return await proceed()

    world.server.intercept(START_BATCH_JOB, count, times=None)
    specs: list[StartSpec | str] = [
        {"name": "ExportArchiveBatchPlugin", "key": f"acme/{number}"} for number in range(20)
    ]
    specs += ["NoSuchJob", "ExportArchiveBatchPlugin", {"name": ENDLESS, "if_running": "fail"}]
    outcomes = await world.client.jobs.start_many(iter(specs), at_once=4)
    assert most == 4
    assert [outcome.ok for outcome in outcomes] == [True] * 20 + [False, True, True]
    for outcome, spec in zip(outcomes, specs, strict=True):
        if outcome.ok:
            job = outcome.unwrap()
            assert outcome.id == job.id
            assert (job.name, job.key) == ((spec["name"], spec.get("key")) if isinstance(spec, dict) else (spec, None))
    refused = outcomes[20]
    assert isinstance(refused.error, OperationFailed)
    assert refused.id is None
    (running,) = await world.client.jobs.start_many([{"name": ENDLESS, "if_running": "fail"}])
    assert isinstance(running.error, JobRunning)
    assert running.id == outcomes[22].id
    with pytest.raises(ExceptionGroup, match="1 of 2 tasks could not be started"):
        await world.client.jobs.start_many(["NoSuchJob", ENDLESS], raise_group=True)
    assert await world.client.jobs.start_many([]) == []


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        pytest.param([ENDLESS, {"key": "a"}], "a start needs a name", id="no name"),
        pytest.param(
            [ENDLESS, {"name": ENDLESS, "timout": 1}], "no timout: arguments are descr.*, timeout$", id="misspelt"
        ),
        pytest.param([ENDLESS, {"name": ENDLESS, "settle": -1}], "settle", id="a wrong argument"),
        pytest.param([ENDLESS, {"name": ENDLESS, "key": " a"}], "key is text", id="a wrong key"),
        pytest.param([ENDLESS, " "], "blank", id="a blank name"),
        pytest.param([ENDLESS, 5], "a dictionary, not a int", id="a number"),
    ],
)
@in_world
async def test_what_starting_many_refuses(world: World, specs: list[Any], words: str) -> None:
    """One wrong argument is a UsageError, and nothing is sent, not even for the right ones."""
    with pytest.raises(UsageError, match=words):
        await world.client.jobs.start_many(specs)
    for at_once in (0, -1, 1.5, True, "5"):
        with pytest.raises(UsageError, match="at_once is a whole number, 1 or more"):
            await world.client.jobs.start_many([ENDLESS], at_once=at_once)  # type: ignore[arg-type]  # what is refused
    assert world.server.requests == 0


@in_world
async def test_the_header_blocks_of_a_start(world: World) -> None:
    """`on_header` gets those of the answer to StartBatchJob, with a marker and without one."""
    seen: list[ReplyHeader] = []
    async with world.other_client(binding=Binding.SOAP11) as client:
        await client.jobs.start(ENDLESS, on_header=seen.append)
        await client.jobs.start(ENDLESS, on_header=seen.append, key="acme", maybe_sent=True, settle=0)
    assert [header.succeeded for header in seen] == [True, True]


# --- run -------------------------------------------------------------------------------------------------------------


@in_world
async def test_a_block_that_waits_stops_nothing(world: World) -> None:
    """No StopBatchJob is sent if the job is known to have ended, to have failed, or to be gone."""
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
    """The job is stopped after an exception, after a break, and at the end of the block."""
    with pytest.raises(KeyError) as caught:
        async with world.client.jobs.run(ENDLESS) as job:
            raise KeyError
    assert world.state(job) == S.FAILED
    assert not hasattr(caught.value, "__notes__")
    async with world.client.jobs.run(ENDLESS) as job:
        pass
    assert world.state(job) == S.FAILED
    while True:
        async with world.client.jobs.run(ENDLESS) as job:
            break
    assert world.state(job) == S.FAILED


@in_world
async def test_a_timeout_around_a_block_stops_the_job(world: World) -> None:
    """The timeout cancels the wait, which does not stop the job; then the block stops it."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30), world.client.jobs.run(ENDLESS) as job:
            await job.wait()
    assert world.state(job) == S.FAILED
    assert world.now == 30


@pytest.mark.parametrize("trouble", [None, lost_reply, lost_request])
@in_world
async def test_cancelling_a_block_at_every_await(world: World, trouble: Interceptor | None) -> None:
    """After a cancellation at any await, also during the start, no job runs on and no asyncio task is left."""

    async def block() -> None:
        async with world.client.jobs.run(ENDLESS, marker=Marker.PARAMETER, resend=True, settle=4) as job:
            with contextlib.suppress(WaitTimeout):
                await job.wait(timeout=6, on_progress=lambda _: asyncio.sleep(0.1))

    world.server.tasks.add(BatchTaskInfo(name="Other", state=S.FAILED))  # shows that lists show tasks
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
    """A block that is cancelled ten times still waits until the job is stopped."""
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
    """The block waits `stop_timeout` seconds for the start, then notes and logs that a job may have been started."""
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
    """If the job may have been started, there is a note and a warning; if it was not started, there is neither."""
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
    """The exception is raised with a note, and a warning is logged."""
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
    assert world.state(job) == S.NEW


@in_world
async def test_a_stop_that_fails_at_the_end_of_a_block(world: World) -> None:
    """A block without an exception raises the error of the stop, or DeadlineExceeded."""
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
    """A warning is logged if the server does not stop a job that has not ended."""
    async with world.other_client(version=ServiceVersion.V86) as client:
        async with client.jobs.run("UpgradeDatabaseBatchPlugin") as job:
            pass
        assert f"task {job.id}: the server did not stop it" in caplog.text
        caplog.clear()
    world.server.define_job("Short", duration=1)
    async with world.client.jobs.run("Short") as job:
        await asyncio.sleep(60)
    assert caplog.text == ""
    assert world.state(job) == S.SUCCEEDED


@in_world
async def test_a_block_can_refuse_to_run_beside_another(world: World) -> None:
    """With if_running="fail" the block raises JobRunning and does not stop the other job."""
    other = await world.client.jobs.start(ENDLESS)
    with pytest.raises(JobRunning):
        async with world.client.jobs.run(ENDLESS, if_running="fail"):
            pytest.fail("it never starts")  # pragma: no cover - not reached
    assert world.state(other) != S.FAILED


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"if_running": "attach"}, "if_running is 'start' or 'fail'", id="attach"),
        pytest.param({"stop_timeout": "5"}, "stop_timeout", id="stop_timeout"),
        pytest.param({"stop_timeout": float("nan")}, "stop_timeout", id="stop_timeout: not a number"),
        pytest.param({"stop_timeout": float("inf")}, "stop_timeout", id="stop_timeout: infinite"),
        pytest.param({"resend": True}, "needs a marker", id="what a start refuses"),
        pytest.param({"settle": -1}, "settle is a number of seconds", id="settle"),
    ],
)
@in_world
async def test_what_a_block_refuses(world: World, arguments: dict[str, Any], words: str) -> None:
    """A wrong argument is a UsageError; nothing is sent. With "attach" a block would stop another caller's job."""
    other = await world.client.jobs.start(ENDLESS)
    with pytest.raises(UsageError, match=words):
        async with world.client.jobs.run(ENDLESS, **arguments):
            pytest.fail("it never starts")  # pragma: no cover - not reached
    assert world.state(other) != S.FAILED
    assert world.server.requests == 1


@in_world
async def test_a_client_that_is_closed_around_a_block(world: World) -> None:
    """The exception that leaves the block gets a note that the job may still run."""
    client = world.other_client()

    async def block() -> None:
        async with client.jobs.run(ENDLESS) as job:
            await client.aclose()
            await job.wait()

    with pytest.raises(ClientClosed) as caught:
        await block()
    assert "may still run" in caught.value.__notes__[0]


# --- wait_all and as_finished ----------------------------------------------------------------------------------------


@in_world
async def test_wait_all_returns_one_outcome_each_in_order(world: World) -> None:
    """`wait_all` takes handles and ids, also repeated ones. An outcome holds the finished task or the error."""
    jobs = world.client.jobs
    world.server.define_job("Short", duration=5)
    world.server.define_job("Bad", duration=10, outcome=S.FAILED)
    world.server.define_job("Long", duration=1e6)
    good, bad, long = [await jobs.start(name) for name in ("Short", "Bad", "Long")]
    outcomes = await jobs.wait_all([long, bad.id, good, 4711, good.id], timeout=60)
    assert [outcome.id for outcome in outcomes] == [long.id, bad.id, good.id, 4711, good.id]
    assert [type(outcome.error) for outcome in outcomes] == [
        WaitTimeout,
        JobFailed,
        type(None),
        JobGone,
        type(None),
    ]
    assert [outcome.ok for outcome in outcomes] == [False, False, True, False, True]
    assert outcomes[2].result is not None
    assert outcomes[2].result.state == S.SUCCEEDED
    assert world.now == 60
    assert await jobs.wait_all([]) == []


@in_world
async def test_wait_all_can_raise_them_as_a_group(world: World) -> None:
    """The group holds each error once, with a note that names its task. Without errors nothing is raised."""
    jobs = world.client.jobs
    good, bad = await jobs.start("ExportArchiveBatchPlugin"), await jobs.start("FailingBatchPlugin")
    with pytest.raises(ExceptionGroup, match="2 of 3 tasks could not be waited for") as caught:
        await jobs.wait_all([good, bad, 4711], raise_group=True)
    assert [type(error) for error in caught.value.exceptions] == [JobFailed, JobGone]
    assert caught.value.exceptions[1].__notes__ == ["about task 4711"]
    assert [outcome.ok for outcome in await jobs.wait_all([good], raise_group=True)] == [True]


@in_world
async def test_wait_all_reports_the_progress_of_every_job(world: World) -> None:
    """`on_progress` is called for each change of each job."""
    world.server.define_job("Short", duration=5)
    jobs = [await world.client.jobs.start("Short") for _ in range(5)]
    seen: list[BatchTaskInfo] = []
    await world.client.jobs.wait_all(jobs, on_progress=seen.append)
    assert sorted(info.id or 0 for info in seen if info.state == S.SUCCEEDED) == [job.id for job in jobs]


@in_world
async def test_as_finished_reports_the_progress_of_every_job(world: World) -> None:
    """`on_progress` is called for each change of each job, before the outcome is yielded."""
    jobs = [await world.client.jobs.start("ExportArchiveBatchPlugin") for _ in range(2)]
    seen: list[BatchTaskInfo] = []
    async for outcome in world.client.jobs.as_finished(jobs, on_progress=seen.append):
        assert [info.id for info in seen if info.has_ended].count(outcome.id) == 1
    assert {info.id for info in seen} == {job.id for job in jobs}


@in_world
async def test_cancelling_wait_all_ends_all_waits(world: World) -> None:
    """No asyncio task is left; the jobs run on."""
    world.server.define_job("Long", duration=1e6)
    ids = [(await world.client.jobs.start("Long")).id for _ in range(5)]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await world.client.jobs.wait_all(ids)
    assert len(asyncio.all_tasks()) == 1
    assert {info.state for info in world.tasks()} == {S.STARTED}


@in_world
async def test_as_finished_yields_them_as_they_end(world: World) -> None:
    """Outcomes come in the order in which the jobs end, errors included."""
    jobs = world.client.jobs
    ids = []
    for duration in (100, 10, 40):
        world.server.define_job("Job", duration=duration)
        ids.append((await jobs.start("Job")).id)
    finished = [outcome async for outcome in jobs.as_finished([*ids, 4711], timeout=60)]
    assert [outcome.id for outcome in finished] == [4711, ids[1], ids[2], ids[0]]
    assert [type(outcome.error) for outcome in finished] == [JobGone, type(None), type(None), WaitTimeout]
    assert [outcome async for outcome in jobs.as_finished([])] == []


@in_world
async def test_leaving_as_finished_early_ends_the_waits(world: World) -> None:
    """When the generator is closed, no asyncio task is left."""
    world.server.define_job("Long", duration=1e6)
    long = await world.client.jobs.start("Long")
    short = await world.client.jobs.start("ExportArchiveBatchPlugin")
    async with contextlib.aclosing(world.client.jobs.as_finished([long, short])) as finished:
        async for outcome in finished:
            assert outcome.id == short.id
            break
    assert len(asyncio.all_tasks()) == 1
