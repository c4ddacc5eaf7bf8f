"""Time that tests drive: the manual clock and the loop in which waiting costs nothing."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from soapbatch import UsageError
from soapbatch.testing import ManualClock, VirtualTimeLoop, run_virtual
from soapbatch.testing.clock import WallClock

DAY = 24 * 3600.0


def test_a_manual_clock_moves_when_told() -> None:
    """It returns its seconds, and goes forward only."""
    clock = ManualClock(5.0)
    clock.advance(2.5)
    assert clock() == 7.5
    with pytest.raises(UsageError, match="does not go back"):
        clock.advance(-1.0)
    assert clock() == 7.5


def test_a_wall_clock_turns_seconds_into_dates() -> None:
    """The clock's reading at construction is the epoch; without one, it is the machine's time."""
    clock = ManualClock(100.0)
    epoch = datetime(2024, 2, 29, tzinfo=UTC)
    assert WallClock(clock, epoch).date(160.0) == epoch + timedelta(minutes=1)
    assert abs(WallClock(clock).date(100.0) - datetime.now(UTC)) < timedelta(hours=1)


def test_a_day_of_sleep_ends_in_order() -> None:
    """Sleepers wake in the order of their times, at exactly those times, whatever order they were started in."""
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
    """asyncio.timeout ends a longer sleep at its own time."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.sleep(DAY)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(3600, abs=1e-6)


def test_work_that_is_ready_takes_no_time() -> None:
    """Time moves only when nothing else is left to do."""

    async def main() -> float:
        timer = asyncio.create_task(asyncio.sleep(1))
        for _ in range(1000):
            await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        await timer
        return now

    assert run_virtual(main()) == 0.0


def test_waiting_for_ever_is_an_error() -> None:
    """Where every task waits and no timer is set, the loop says so and hangs not."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(UsageError, match="every task waits"):
        run_virtual(main())


def test_time_stands_still_while_a_thread_works() -> None:
    """A thread's real time is no virtual time: a timeout around it does not run out, and other tasks go on."""
    done, release = asyncio.Event(), threading.Event()

    async def letting_go() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        release.set()

    async def main() -> tuple[bool, float]:
        task = asyncio.create_task(letting_go())
        async with asyncio.timeout(0.001):
            released = await asyncio.to_thread(release.wait, 60)
        await task
        done.set()
        return released, asyncio.get_running_loop().time()

    assert run_virtual(main()) == (True, 0.0)


def test_the_loop_may_be_handed_to_a_runner() -> None:
    """It is an ordinary loop factory, and begins at 0."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.get_loop().time() == 0.0
        runner.run(asyncio.sleep(DAY))
        assert runner.get_loop().time() == pytest.approx(DAY)
