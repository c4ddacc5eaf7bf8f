"""Time under the control of a test: a clock that is advanced by hand, and an event loop in which waiting costs nothing.

The embedded server reads time from any callable that returns seconds and never goes back: `time.monotonic`, a
`ManualClock`, or the `time` of a `VirtualTimeLoop`, which the server and the client then share.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple

from soapbatch.errors import UsageError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_TURNS: Final = 1_000_000
"""Turns after which a `VirtualTimeLoop` takes its program for one that never ends.

One call to an embedded server in the same process takes fewer than ten turns. A million turns take 3 seconds if they
do nothing, and about a minute if they call the server. A day with one call a minute takes 7,200.
"""

_MAX_TASKS_SHOWN: Final = 20


PATIENCE: Final = 5.0
"""Seconds for which a task may be read, again and again, while a `ManualClock` stands still."""
_READS_IN_VAIN: Final = 3


class ManualClock:
    """A clock that stands still until `advance` is called. Calling the clock returns its seconds.

        clock = ManualClock()
        server = NetServer(clock=clock)
        ...
        clock.advance(3600)     # an hour passes on the server; no time passes anywhere else

    A wait for a job of that server would never end while nobody advances the clock. After some seconds the server
    then answers with an error that says so.
    """

    def __init__(self, seconds: float = 0.0, *, patience: float = PATIENCE) -> None:
        """Begin at `seconds`.

        Args:
            seconds: the first reading.
            patience: for how many seconds of the running event loop an unfinished task may be read, at least three
                times, before the server answers with an error; `math.inf`: for ever.
        """
        self._seconds = seconds
        self.patience = patience
        self._first_read: float | None = None
        self._reads = 0

    def __call__(self) -> float:
        """Return the clock's seconds."""
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass.

        Raises:
            UsageError: `seconds` is negative.
        """
        if seconds < 0:
            raise UsageError("a clock does not go back: advance by zero seconds or more")
        self._seconds += seconds
        self._first_read = None

    def is_waited_for(self, now: float) -> bool:
        """Count one reading of a task that waits for this clock; return whether `patience` has run out.

        `now`: the seconds of the event loop.
        """
        if self._first_read is None:
            self._first_read, self._reads = now, 0
        self._reads += 1
        return self._reads >= _READS_IN_VAIN and now - self._first_read >= self.patience


class WallClock:
    """Turns the seconds of a clock into dates."""

    def __init__(self, clock: Callable[[], float], epoch: datetime | None = None) -> None:
        """Give the present reading of `clock` the date `epoch` (aware); None: the machine's present date."""
        self._start = clock()
        self._epoch = epoch or datetime.now(UTC).replace(microsecond=0)

    def date(self, seconds: float) -> datetime:
        """Return the date of a reading of the clock."""
        return self._epoch + timedelta(seconds=seconds - self._start)


class _VirtualTimeSelector(selectors.DefaultSelector):
    """A selector that moves time forward instead of waiting.

    Attributes:
        now: the virtual seconds.
        threads: how many threads of an executor are at work.
        turns: how often the event loop has selected while no thread was at work.
        max_turns: the number of turns that is an error.
        describe_tasks: returns what the tasks of the event loop wait for.
    """

    describe_tasks: Callable[[], str]

    def __init__(self, max_turns: float) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0
        self.turns = 0
        self.max_turns = max_turns
        self._turns_at_now = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.threads:
            # A thread ends in real time, and its end wakes the loop. How often the loop turns meanwhile says nothing.
            return super().select(0 if timeout == 0 else None)
        self._count_turn()
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise self._error("every task waits and no timer is set: nothing would ever happen again")
        self.now += max(timeout, 0.0)
        self._turns_at_now = 0
        return ready

    def _count_turn(self) -> None:
        self.turns += 1
        self._turns_at_now += 1
        if self.turns < self.max_turns:
            return
        turns, self.turns = self.turns, 0  # the runner needs turns to cancel the tasks
        raise self._error(
            f"the event loop has turned {turns:,} times, the last {self._turns_at_now:,} of them without any time"
            " passing: some task seems to repeat something for ever. Pass a larger max_turns if the test is that long"
        )

    def _error(self, problem: str) -> UsageError:
        return UsageError(f"{problem}.\nThe virtual time is {self.now:g} s. {self.describe_tasks()}")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer as soon as no task can run.

    24 hours of `asyncio.sleep` and `asyncio.timeout` take milliseconds, and the timers end in the same order every
    time. `time()` begins at 0. Threads of `run_in_executor` and `asyncio.to_thread` may be used: virtual time stands
    still while one is at work. Sockets may not be used: while an answer is on its way no task can run, so that time
    would jump.

    A program that would never end raises a UsageError, which says at which virtual time it happened and where each
    task waits: a program in which every task waits and no timer is set, and one for which the loop turns too often,
    because it polls for ever or calls `asyncio.sleep(0)` for ever.
    """

    def __init__(self, *, max_turns: float = MAX_TURNS) -> None:
        """Begin at 0 seconds.

        Args:
            max_turns: how often the loop may turn, whether time passes or not, before it raises a UsageError. In one
                turn the loop runs each task that can run until that task waits again. Turns while a thread is at
                work are not counted. `math.inf`: no limit.
        """
        self._virtual_time = _VirtualTimeSelector(max_turns)
        super().__init__(self._virtual_time)
        self._virtual_time.describe_tasks = functools.partial(_describe_tasks, self)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._virtual_time.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run `func` in a thread; virtual time stands still until `func` returns."""
        future = super().run_in_executor(executor, func, *args)
        self._virtual_time.threads += 1
        future.add_done_callback(self._count_thread_off)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - the signature of asyncio
        """Join the executor's threads in real time. `timeout` is ignored, because it would be virtual."""
        self._virtual_time.threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._virtual_time.threads -= 1

    def _count_thread_off(self, _: object) -> None:
        self._virtual_time.threads -= 1


def run_virtual(coroutine: Coroutine[Any, Any, T], *, max_turns: float = MAX_TURNS) -> T:
    """Run `coroutine` in a new `VirtualTimeLoop` and return its result.

    Args:
        coroutine: what to run.
        max_turns: how often the loop may turn; see `VirtualTimeLoop`.

    Raises:
        UsageError: the coroutine would never end; see `VirtualTimeLoop`.
    """
    with asyncio.Runner(loop_factory=functools.partial(VirtualTimeLoop, max_turns=max_turns)) as runner:
        return runner.run(coroutine)


def _describe_tasks(loop: asyncio.AbstractEventLoop) -> str:
    """Return a sentence with the number of tasks, then one line a task: its name and the awaits that it is in."""
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    lines = [f"  {task.get_name()}: {' > '.join(_awaits(task.get_coro()))}" for task in tasks[:_MAX_TASKS_SHOWN]]
    if len(tasks) > len(lines):
        lines.append(f"  and {len(tasks) - len(lines)} more")
    return "\n".join([f"{len(tasks)} task(s) wait:", *lines])


def _awaits(awaitable: object) -> list[str]:
    """Return each function that `awaitable` is in, from the outermost to the innermost, with its file and line."""
    found: list[str] = []
    while awaitable is not None:
        # Coroutines have cr_*, generators under types.coroutine gi_*. Other awaitables do not say what they await.
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
        if frame is not None:
            code = frame.f_code
            found.append(f"{code.co_qualname} ({Path(code.co_filename).name}:{frame.f_lineno})")
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)
    return found
