"""Time under the control of a test: the manual clock, and the event loop in which waiting costs nothing."""

import asyncio
import inspect
import math
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest

from soapbatch import ALL_ASSOCIATES, BatchTaskState, OperationFailed, UsageError
from soapbatch.testing import ManualClock, NetServer, VirtualTimeLoop, run_virtual
from soapbatch.testing.clock import MAX_TURNS, WallClock
from tests.support.clients import in_process, virtual

DAY = 24 * 3600.0


def test_a_manual_clock_moves_when_it_is_advanced() -> None:
    """The clock returns its seconds, and only goes forward."""
    clock = ManualClock(5.0)
    clock.advance(2.5)
    assert clock() == 7.5
    with pytest.raises(UsageError, match="does not go back"):
        clock.advance(-1.0)
    assert clock() == 7.5


@virtual
async def test_a_wait_that_nobody_advances_the_clock_for_fails() -> None:
    """The error says what the server's clock shows, which task was waited for, and what would let it end."""
    clock = ManualClock(60.0)
    server = NetServer(clock=clock)
    server.define_job("Export", duration=1800)
    async with in_process(server) as client:
        job = await client.jobs.start("Export")
        started = asyncio.get_running_loop().time()
        with pytest.raises(OperationFailed, match=r"the ManualClock of the embedded server stands at 60 s") as caught:
            await job.wait()
        assert 5 <= asyncio.get_running_loop().time() - started < 15
        assert "while task 1, Export, was read for more than 5 s" in str(caught.value)
        assert "The task is New and ends after clock.advance(1803)" in str(caught.value)
        clock.advance(1803)
        assert (await job.wait()).state is BatchTaskState.SUCCEEDED


@virtual
async def test_waits_on_lists_fail_too() -> None:
    """Many waits at once read lists; they learn the same."""
    server = NetServer(clock=ManualClock())
    server.define_job("Export", duration=1800)
    async with in_process(server) as client:
        jobs = [await client.jobs.start("Export") for _ in range(5)]
        waits = await asyncio.gather(*(job.wait() for job in jobs), return_exceptions=True)
    assert [type(error) for error in waits] == [OperationFailed] * 5
    assert all("stands at 0 s" in str(error) for error in waits)


@virtual
async def test_reads_are_free_where_nobody_waits() -> None:
    """Tasks that have ended, tasks that never end, other operations and quick readings are never refused."""
    clock = ManualClock()
    server = NetServer(clock=clock)
    server.define_job("Export", output=lambda: iter([b"a", b"b"]))
    async with in_process(server) as client:
        await client.jobs.start("Export")
        for _ in range(100):
            assert await client.batch.get_batch_task_info(1)  # no time passes for the reader
        endless = await client.jobs.start("EndlessBatchPlugin")
        clock.advance(3600)
        for _ in range(10):
            await asyncio.sleep(10)
            assert await client.batch.get_batch_task_info(1)
            assert await client.batch.get_batch_task_info(endless.id)
            assert len(await client.batch.get_batch_task_infos_by_associates(ALL_ASSOCIATES)) == 2
            assert await client.blob.get_output_from_batch(1) == b"ab"


@virtual
async def test_patience_can_be_longer() -> None:
    """A clock may be waited for as long as a test wants; each advance begins anew."""
    clock = ManualClock(patience=math.inf)
    server = NetServer(clock=clock)
    server.define_job("Export", duration=1e6)
    async with in_process(server) as client:
        job = await client.jobs.start("Export")
        for _ in range(10):
            await asyncio.sleep(600)
            await client.batch.get_batch_task_info(job.id)
        clock.patience = 25.0
        for _ in range(10):
            clock.advance(1)
            for _ in range(3):
                await asyncio.sleep(8)
                await client.batch.get_batch_task_info(job.id)


def test_a_wall_clock_turns_seconds_into_dates() -> None:
    """The clock's reading at construction is the epoch; without one, it is the machine's time."""
    clock = ManualClock(100.0)
    epoch = datetime(2024, 2, 29, tzinfo=UTC)
    assert WallClock(clock, epoch).date(160.0) == epoch + timedelta(minutes=1)
    assert abs(WallClock(clock).date(100.0) - datetime.now(UTC)) < timedelta(hours=1)


def test_a_day_of_sleep_ends_in_order() -> None:
    """Sleepers wake at their times, in the order of these times, not in the order in which they were started."""
    woken: list[tuple[float, float]] = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, asyncio.get_running_loop().time()))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for seconds in (DAY, 0.25, 3600.0, 2.5 * DAY, 60.0):
                group.create_task(sleeper(seconds))

    run_virtual(main())
    assert [seconds for seconds, _ in woken] == [0.25, 60.0, 3600.0, DAY, 2.5 * DAY]
    assert all(at == pytest.approx(seconds, abs=1e-6) for seconds, at in woken)


def test_a_timeout_is_virtual_too() -> None:
    """`asyncio.timeout` ends a longer sleep, at its own virtual time."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.sleep(DAY)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(3600, abs=1e-6)


def test_tasks_that_can_run_take_no_time() -> None:
    """Virtual time moves only when no task can run."""

    async def main() -> float:
        timer = asyncio.create_task(asyncio.sleep(1))
        for _ in range(1000):
            await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        await timer
        return now

    assert run_virtual(main()) == 0.0


# --- Programs that would never end --------------------------------------------------------------------------------


async def wait_for_nothing() -> None:
    """Wait for an event that nobody sets."""
    await asyncio.Event().wait()


async def poll(seconds: float) -> None:
    """Sleep again and again."""
    while True:  # noqa: ASYNC110 - the endless loop is what the test is about
        await asyncio.sleep(seconds)


def test_waiting_for_ever_is_an_error() -> None:
    """If every task waits and no timer is set, the error says when that happened and where each task waits."""

    async def main() -> None:
        await asyncio.sleep(60)
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_nothing(), name="waiter")

    with pytest.raises(UsageError, match="every task waits") as caught:
        run_virtual(main())
    first, second, outer, inner = str(caught.value).splitlines()
    assert first == "every task waits and no timer is set: nothing would ever happen again."
    assert second == "The virtual time is 60 s. 2 task(s) wait:"
    assert re.match(r"  Task-\d+: test_waiting_for_ever_is_an_error\.<locals>\.main \(test_clock\.py:\d+\) > ", outer)
    assert re.search(r" > TaskGroup\.__aexit__ \(taskgroups\.py:\d+\)", outer)
    assert re.fullmatch(r"  waiter: wait_for_nothing \(test_clock\.py:\d+\) > Event\.wait \(locks\.py:\d+\)", inner)


def test_polling_for_ever_is_an_error() -> None:
    """If time passes for ever, the error says how often the loop turned, when that was and where each task waits."""
    with pytest.raises(UsageError, match="the event loop has turned 1,000 times") as caught:
        run_virtual(poll(5.0), max_turns=1000)
    first, second, task = str(caught.value).splitlines()
    assert "the last 2 of them without any time passing" in first
    assert "Pass a larger max_turns" in first
    seconds = re.fullmatch(r"The virtual time is (\d+) s\. 1 task\(s\) wait:", second)
    assert seconds
    assert int(seconds[1]) >= 2000
    assert re.fullmatch(r"  Task-\d+: poll \(test_clock\.py:\d+\) > sleep \(tasks\.py:\d+\)", task)


def test_spinning_for_ever_is_an_error() -> None:
    """A task that calls `sleep(0)` for ever gets the same error, although no time passes."""

    async def main() -> None:
        await asyncio.sleep(1.5)
        await poll(0)

    with pytest.raises(UsageError, match=r"the event loop has turned 1,000 times, the last 99[0-9] of them") as caught:
        run_virtual(main(), max_turns=1000)
    assert "The virtual time is 1.5 s." in str(caught.value)
    assert re.search(r"main \(test_clock\.py:\d+\) > poll \(test_clock\.py:\d+\) > sleep \(", str(caught.value))


def test_a_task_that_cannot_be_cancelled_is_an_error_too() -> None:
    """The tasks are cancelled after the error; a task that goes on in spite of that raises it once more."""
    cancelled: list[bool] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the task is destroyed while it is pending
        try:
            await poll(0)
        finally:
            cancelled.append(True)
            await poll(0)

    with pytest.raises(UsageError, match="has turned 1,000 times"):
        run_virtual(main(), max_turns=1000)
    assert cancelled == [True]


def test_the_limit_can_be_raised() -> None:
    """A limit that is never reached changes nothing, and `math.inf` is none; by default it is a million turns."""

    async def main() -> float:
        for _ in range(2000):
            await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    for limit in (10_000, math.inf):
        assert run_virtual(main(), max_turns=limit) == pytest.approx(2000)
    assert MAX_TURNS == 1_000_000
    assert inspect.signature(VirtualTimeLoop).parameters["max_turns"].default == MAX_TURNS
    assert inspect.signature(run_virtual).parameters["max_turns"].default == MAX_TURNS


def test_turns_beside_a_thread_are_not_counted() -> None:
    """A thread works in real time, so that the turns meanwhile only tell how fast the machine is."""
    release = threading.Event()

    async def main() -> bool:
        thread = asyncio.create_task(asyncio.to_thread(release.wait, 60))
        for _ in range(2000):
            await asyncio.sleep(0)
        release.set()
        return await thread

    assert run_virtual(main(), max_turns=1000)


def test_the_error_shows_a_few_tasks() -> None:
    """With many tasks, twenty of them are shown and the rest are counted."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(wait_for_nothing(), name=f"waiter {number:02}")

    with pytest.raises(UsageError, match=r"31 task\(s\) wait") as caught:
        run_virtual(main())
    lines = str(caught.value).splitlines()
    assert len(lines) == 2 + 20 + 1
    assert lines[-1] == "  and 11 more"


def test_time_stands_still_while_a_thread_works() -> None:
    """While a thread works, a timeout around it does not run out, and other tasks go on."""
    done, release = asyncio.Event(), threading.Event()

    async def release_the_thread() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        release.set()

    async def main() -> tuple[bool, float]:
        task = asyncio.create_task(release_the_thread())
        async with asyncio.timeout(0.001):
            released = await asyncio.to_thread(release.wait, 60)
        await task
        done.set()
        return released, asyncio.get_running_loop().time()

    assert run_virtual(main()) == (True, 0.0)


def test_the_loop_may_be_handed_to_a_runner() -> None:
    """The class is an ordinary loop factory, and its time begins at 0."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.get_loop().time() == 0.0
        runner.run(asyncio.sleep(DAY))
        assert runner.get_loop().time() == pytest.approx(DAY)
