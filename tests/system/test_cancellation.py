"""Work that ends although the task that waits for it is cancelled, even repeatedly."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from soapbatch.system.cancellation import cancel_and_wait, closing_inside, run_to_completion, wait_until_done


class Work:
    """Work that runs until `gate` is set."""

    def __init__(self, outcome: object) -> None:
        """Return `outcome` at the end; raise it, if it is an exception."""
        self.outcome = outcome
        self.gate = asyncio.Event()
        self.is_done = False

    async def run(self) -> object:
        """Wait for the gate, then return or raise the outcome."""
        await self.gate.wait()
        self.is_done = True
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


OUTCOMES = [pytest.param(7, id="result"), pytest.param(KeyError("k"), id="error")]


@pytest.mark.parametrize("outcome", [*OUTCOMES, pytest.param(asyncio.CancelledError("own"), id="cancelled itself")])
async def test_the_outcome_is_the_works(outcome: object) -> None:
    """Without a cancellation `run_to_completion` has the outcome of the work, and `wait_until_done` returns."""
    work = Work(outcome)
    work.gate.set()
    if isinstance(outcome, BaseException):
        with pytest.raises(type(outcome)):
            await run_to_completion(work.run())
    else:
        assert await run_to_completion(work.run()) == outcome
    task = asyncio.ensure_future(work.run())
    await wait_until_done(task)
    assert task.done()
    assert task.cancelled() == isinstance(outcome, asyncio.CancelledError)
    if not task.cancelled():
        assert (task.exception() or task.result()) == outcome


async def test_what_has_ended_is_not_waited_for() -> None:
    """`wait_until_done` of a task that is done returns at once: no other task runs in between."""
    task = asyncio.ensure_future(asyncio.sleep(0))
    await task
    others = asyncio.ensure_future(asyncio.sleep(0))
    await wait_until_done(task)
    assert not others.done()
    await others


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("outcome", [*OUTCOMES, pytest.param(asyncio.CancelledError("own"), id="cancelled itself")])
@pytest.mark.parametrize("way", [run_to_completion, wait_until_done])
async def test_cancellations_wait(way: Any, outcome: object, times: int) -> None:
    """Cancelled any number of times, the waiting task lets the work end, and then raises the last cancellation."""
    work = Work(outcome)
    inner = asyncio.ensure_future(work.run()) if way is wait_until_done else work.run()
    waiting = asyncio.ensure_future(way(inner))
    await settle()
    for number in range(times):
        waiting.cancel(f"cancellation {number}")
        await settle()
        assert not waiting.done()
        assert not work.is_done
    work.gate.set()
    with pytest.raises(asyncio.CancelledError, match=f"cancellation {times - 1}"):
        await waiting
    assert work.is_done
    if isinstance(inner, asyncio.Future) and not isinstance(outcome, asyncio.CancelledError):
        assert (inner.exception() or inner.result()) == outcome


async def test_a_cancellation_as_the_work_ends() -> None:
    """A cancellation in the step in which the work ends is raised, and no task is left."""
    work = Work(7)
    waiting = asyncio.ensure_future(run_to_completion(work.run()))
    await settle()
    work.gate.set()
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.is_done


async def test_a_cancellation_before_the_first_step() -> None:
    """A task that is cancelled before its first step never starts the work."""
    work = Work(7)
    inner = work.run()
    waiting = asyncio.ensure_future(run_to_completion(inner))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not work.is_done
    inner.close()


async def test_a_timeout_is_late_but_comes() -> None:
    """A deadline that passes during the work raises TimeoutError after the work; no cancellation is left pending."""
    work = Work(7)
    asyncio.get_running_loop().call_later(0.01, work.gate.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await run_to_completion(work.run())
    assert work.is_done
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_error_that_a_cancellation_hides_is_not_complained_about() -> None:
    """The event loop does not report an error of the work that a cancellation replaced."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    work = Work(KeyError("k"))
    waiting = asyncio.ensure_future(run_to_completion(work.run()))
    await settle()
    waiting.cancel()
    await settle()
    work.gate.set()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    del waiting
    gc.collect()
    await settle()
    assert complaints == []


async def test_being_closed_while_waiting() -> None:
    """A waiting coroutine that is closed, as at the end of a loop, raises nothing; the work goes on."""
    work = Work(7)
    waiting = run_to_completion(work.run())
    waiting.send(None)
    waiting.close()
    work.gate.set()
    await settle()
    assert work.is_done


async def test_tasks_are_cancelled_and_waited_for() -> None:
    """`cancel_and_wait` returns when every task is done, whatever its outcome, and retrieves the errors."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def fail_when_cancelled() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            raise KeyError

    works = [asyncio.sleep(3600), asyncio.sleep(0, "result"), fail_when_cancelled()]
    tasks = [asyncio.ensure_future(work) for work in works]
    await settle()
    await cancel_and_wait(tasks)
    assert [task.done() for task in tasks] == [True] * 3
    assert [task.cancelled() for task in tasks] == [True, False, False]
    del tasks
    gc.collect()
    await settle()
    assert complaints == []
    await cancel_and_wait([])


# --- Generators inside of generators --------------------------------------------------------------------------------


async def numbers(closed: list[str]) -> AsyncGenerator[int, None]:
    """Count, and take a turn of the loop to close."""
    try:
        for number in range(3):
            yield number
    finally:
        await asyncio.sleep(0)
        closed.append("inner")


async def doubled(closed: list[str]) -> AsyncGenerator[int, None]:
    """Yield what another generator yields, doubled."""
    try:
        async with closing_inside(numbers(closed)) as inner:
            async for number in inner:
                yield 2 * number
    finally:
        closed.append("outer")


async def test_a_generator_inside_is_iterated_and_closed() -> None:
    """Every item passes, and the inner generator is closed before the outer one, early or at its end."""
    closed: list[str] = []
    assert [number async for number in doubled(closed)] == [0, 2, 4]
    assert closed == ["inner", "outer"]
    async with contextlib.aclosing(doubled(closed)) as outer:
        assert await anext(outer) == 0
    assert closed == ["inner", "outer"] * 2
    async with closing_inside(numbers(closed)) as never_started:
        assert never_started is not None
    assert closed == ["inner", "outer"] * 2


def test_a_loop_that_ends_closes_a_generator_inside_once() -> None:
    """A loop that ends while both are suspended closes the outer one, which closes the inner one."""
    closed: list[str] = []
    reported: list[object] = []
    held: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        held.append(outer := doubled(closed))
        assert await anext(outer) == 0
        assert sys.get_asyncgen_hooks().firstiter is not None

    asyncio.run(main())
    assert (reported, closed) == ([], ["inner", "outer"])
