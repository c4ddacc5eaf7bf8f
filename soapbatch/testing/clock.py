"""Time that tests drive: a clock to advance by hand, and an event loop in which waiting costs nothing.

The embedded server reads time from any callable that returns seconds and never goes back: `time.monotonic`,
a `ManualClock`, or the `time` of a `VirtualTimeLoop`, which then is the server's and the client's one clock.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple

from soapbatch.errors import UsageError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class ManualClock:
    """A clock that stands still until it is told otherwise. Calling it returns its seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        """Begin at `seconds`."""
        self._seconds = seconds

    def __call__(self) -> float:
        """Return the seconds so far."""
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; a negative number is refused with a UsageError."""
        if seconds < 0:
            raise UsageError("a clock does not go back: advance by zero seconds or more")
        self._seconds += seconds


class WallClock:
    """Dates for a clock of seconds: its reading at construction is `epoch`."""

    def __init__(self, clock: Callable[[], float], epoch: datetime | None = None) -> None:
        """Call this moment of `clock` `epoch` (aware); None: what the machine says it is."""
        self._start = clock()
        self._epoch = epoch or datetime.now(UTC).replace(microsecond=0)

    def date(self, seconds: float) -> datetime:
        """Return the date of a reading of the clock."""
        return self._epoch + timedelta(seconds=seconds - self._start)


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that does not wait for time to pass but moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.threads and timeout != 0:
            return super().select(None)  # a thread is at work: it ends in real time and wakes the loop
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise UsageError("every task waits and no timer is set: nothing would ever happen again")
        self.now += max(timeout, 0.0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer as soon as nothing else is left to do.

    24 hours of `asyncio.sleep` and `asyncio.timeout` take milliseconds and end in the same order every time.
    `time()` begins at 0. Sockets do not belong here: an answer on its way looks like nothing left to do. Threads
    of `run_in_executor` and `asyncio.to_thread` do: time stands still while one is at work. When every task waits
    and no timer is set, a UsageError is raised instead of hanging for ever.
    """

    def __init__(self) -> None:
        """Begin at 0 seconds."""
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._jumping.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run `func` in a thread; virtual time stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - the base's
        """Join the executor's threads, in real time and without the `timeout`, which would be virtual."""
        self._jumping.threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._jumping.threads -= 1

    def _thread_done(self, _: object) -> None:
        self._jumping.threads -= 1


def run_virtual(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` in a new `VirtualTimeLoop` and return its result."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)
