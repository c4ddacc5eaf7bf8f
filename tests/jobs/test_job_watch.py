"""Following a job: progress callbacks, `watch`, cancelling a wait, closing the client."""

import asyncio
import contextlib
import gc
import itertools

import pytest

from soapbatch import BatchTaskInfo, BatchTaskState, ClientClosed, JobGone, SoapBatchError, WaitTimeout
from soapbatch.jobs import Job
from soapbatch.jobs.schedule import Polling
from soapbatch.operations import GET_BATCH_TASK_INFO
from soapbatch.testing import delayed
from tests.support.job_server import World, cancelled_at, in_world, started

S = BatchTaskState
DAY = 86400.0


# --- Progress ---------------------------------------------------------------------------------------------------


@in_world
async def test_on_progress_is_called_for_each_change(world: World) -> None:
    """`on_progress` is called once for the first reading and for each change; the finished task comes last."""
    job = await started(world, duration=100)
    seen: list[BatchTaskInfo] = []
    info = await job.wait(on_progress=seen.append)
    assert seen[-1] is info
    assert all(earlier != later for earlier, later in itertools.pairwise(seen))
    assert len(seen) > 10


@in_world
async def test_on_progress_may_be_a_coroutine_function(world: World) -> None:
    """The coroutine is awaited, one call at a time. A slow one misses changes in between and gets the latest one."""
    job = await started(world, duration=100)
    seen: list[tuple[float, int | None]] = []
    running = 0

    async def show(info: BatchTaskInfo) -> None:
        nonlocal running
        assert running == 0
        running += 1
        await asyncio.sleep(30)
        running -= 1
        seen.append((world.now, info.progress_percent))

    await job.wait(on_progress=show)
    assert len(seen) <= 6
    assert seen[-1][1] == 100
    percents = [percent for _, percent in seen if percent is not None]
    assert percents == sorted(percents)
    assert percents[2] - percents[1] >= 20  # changes in between were not queued


@pytest.mark.parametrize("is_async", [False, True])
@in_world
async def test_what_on_progress_raises_ends_the_wait(world: World, is_async: bool) -> None:  # noqa: FBT001 - a case
    """An exception from `on_progress`, also a TimeoutError, is raised unchanged; the job runs on."""
    job = await started(world, duration=100)

    def show(_: BatchTaskInfo) -> None:
        raise TimeoutError("mine")

    async def show_later(info: BatchTaskInfo) -> None:
        await asyncio.sleep(1)
        show(info)

    with pytest.raises(TimeoutError, match="mine"):
        await job.wait(on_progress=show_later if is_async else show)
    with pytest.raises(TimeoutError, match="mine"):
        await world.client.jobs.wait_all([job, job], on_progress=show_later if is_async else show)
    await asyncio.sleep(10)
    assert (await job.info()).state == S.STARTED


@in_world
async def test_the_deadline_bounds_callbacks_too(world: World) -> None:
    """A callback that hangs is cancelled when the wait's `timeout` is over."""
    job = await started(world, duration=1)
    with pytest.raises(WaitTimeout):
        await job.wait(timeout=60, on_progress=lambda _: asyncio.sleep(1e6))
    assert world.now == 60


# --- Watching ---------------------------------------------------------------------------------------------------


@in_world
async def test_watch_yields_each_change_until_the_end(world: World) -> None:
    """The last value is the finished task, also a failed one; then the loop ends."""
    job = await started(world, duration=20, outcome=S.FAILED)
    seen = [info async for info in job.watch()]
    assert seen[-1].state == S.FAILED
    assert [info.state for info in seen].count(S.FAILED) == 1
    assert job.is_over


@in_world
async def test_watch_ends_like_a_wait(world: World) -> None:
    """A timeout, failed readings and a deleted task raise the same errors as `wait`."""
    job = await started(world, duration=100)
    with pytest.raises(WaitTimeout) as caught:
        assert [info async for info in job.watch(timeout=30)]
    assert caught.value.info is not None
    assert world.now == 30
    world.server.intercept(GET_BATCH_TASK_INFO, delayed(1000), times=None)
    async with world.other_client(timeout=5) as client:
        with pytest.raises(SoapBatchError, match="GetBatchTaskInfo took longer than its timeout"):
            await anext(client.jobs.attach(job.id).watch(timeout=None, polling=Polling(failures=1)))
    world.server.clear_interceptors()
    world.server.tasks.delete(job.id)
    with pytest.raises(JobGone):
        await anext(job.watch())


@in_world
async def test_a_slow_watcher_gets_the_latest(world: World) -> None:
    """Changes are not queued while the consumer is busy, and the task is read on."""
    job = await started(world, duration=100)
    async with contextlib.aclosing(job.watch(timeout=300)) as changes:
        assert (await anext(changes)).state != S.SUCCEEDED
        await asyncio.sleep(200)
        assert (await anext(changes)).state == S.SUCCEEDED


@in_world
async def test_leaving_a_watch_early_leaves_nothing_behind(world: World) -> None:
    """The poller ends when the generator is closed: at once with `aclosing`, else when Python closes it."""
    job = await started(world, duration=100)
    async with contextlib.aclosing(job.watch()) as changes:
        async for _ in changes:
            break
    assert len(asyncio.all_tasks()) == 1
    async for _ in job.watch():
        break
    gc.collect()
    before = world.reads
    await asyncio.sleep(50)
    assert world.reads == before
    assert len(asyncio.all_tasks()) == 1


# --- Cancelling and closing -------------------------------------------------------------------------------------


@in_world
async def test_cancelling_a_wait_at_every_await(world: World) -> None:
    """A wait that is cancelled at any await leaves no asyncio task; the next wait works, and the job runs on."""
    job = await started(world, duration=1e9)
    counted: list[int] = []
    with pytest.raises(WaitTimeout):
        await cancelled_at(0, job.wait(timeout=20, on_progress=lambda _: asyncio.sleep(0.1)), counted)
    steps = len(counted)
    assert steps >= 6
    for step in range(1, steps + 1):
        with pytest.raises((asyncio.CancelledError, WaitTimeout)):
            await cancelled_at(step, job.wait(timeout=20, on_progress=lambda _: asyncio.sleep(0.1)), [])
        assert len(asyncio.all_tasks()) == 1
    assert (await job.info()).state == S.STARTED
    assert world.server.counts["StopBatchJob"] == 0


@in_world
async def test_cancelling_a_wait_at_every_step_of_a_reading(world: World) -> None:
    """A wait that is cancelled at any step of a reading leaves no asyncio task. Virtual time stands still meanwhile."""
    job = await started(world, duration=1e9)
    unfinished = 0
    for steps in range(25):
        seen: list[BatchTaskInfo] = []
        wait = asyncio.create_task(world.client.jobs.attach(job.id).wait(on_progress=seen.append))
        for _ in range(steps):
            await asyncio.sleep(0)
        wait.cancel()
        await asyncio.wait([wait])
        assert wait.cancelled()
        assert len(asyncio.all_tasks()) == 1
        unfinished += not seen
    assert 5 <= unfinished < 25
    assert (await job.info()).state == S.NEW


@in_world
async def test_cancelling_one_waiter_leaves_the_others(world: World) -> None:
    """If one of two waits is cancelled, also during a reading, the other one returns the finished task."""
    world.server.intercept(GET_BATCH_TASK_INFO, delayed(0.5), times=None)
    for moment in range(20):
        job = await started(world, duration=5)
        first, second = asyncio.create_task(job.wait()), asyncio.create_task(job.wait())
        await asyncio.sleep(moment / 4)
        first.cancel()
        assert (await second).state == S.SUCCEEDED
        await asyncio.wait([first])
        assert first.cancelled()


@in_world
async def test_closing_the_client_ends_its_waits(world: World) -> None:
    """Every wait raises ClientClosed at once, no asyncio task is left, and later waits are refused."""
    job = await started(world, duration=DAY)
    client = world.other_client()
    mine = client.jobs.attach(job.id)
    waits = [asyncio.create_task(work) for work in (mine.wait(), mine.wait(), anext(mine.watch()), mine.wait())]
    del waits[2]
    await asyncio.sleep(1000)
    before = world.now
    await client.aclose()
    errors = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(error) for error in errors] == [ClientClosed] * 3
    assert world.now == before
    with pytest.raises(ClientClosed):
        await mine.wait()
    await client.jobs.aclose()


@in_world
async def test_closing_a_client_that_never_waited(world: World) -> None:
    """Closing the client sends nothing and raises nothing."""
    async with world.other_client() as client:
        assert client.jobs is client.jobs
    assert world.server.requests == 0


@in_world
async def test_a_cancelled_poller_does_not_leave_waits_hanging(world: World) -> None:
    """If the application cancels the poller's asyncio task, waits raise ClientClosed, and the next wait works."""
    job = await started(world, duration=100)
    wait = asyncio.create_task(job.wait())
    await asyncio.sleep(10)
    next(task for task in asyncio.all_tasks() if task.get_name() == "soapbatch poller").cancel()
    with pytest.raises(ClientClosed):
        await wait
    assert (await job.wait()).state == S.SUCCEEDED


@in_world
async def test_a_timeout_of_somebody_else_is_not_the_watchs_own(world: World) -> None:
    """A TimeoutError of a hook is raised as it is, by `watch` and by `run`: the limits have not run out."""
    job = await started(world, duration=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "_next_change", _failing)
        with pytest.raises(TimeoutError, match="of a hook"):
            await anext(job.watch())
    with pytest.MonkeyPatch.context() as patch, pytest.raises(TimeoutError, match="of a hook"):
        async with world.client.jobs.run("ExportArchiveBatchPlugin"):
            patch.setattr(Job, "stop", _failing)


async def _failing(*_: object, **__: object) -> None:
    raise TimeoutError("of a hook")
