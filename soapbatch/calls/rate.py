"""At most so many calls a second: calls that come too early wait in order.

Rule 1. Requests begin in the order in which they asked for it.
Rule 2. In any stretch of `per` seconds at most `calls` requests begin, so that a pause earns no larger burst later.
Rule 3. A request that is cancelled while it waits, or at the moment of its turn, leaves its turn to the next one.
"""

import asyncio
import contextlib
import math
from collections import deque

from soapbatch.errors import UsageError

# The loop's timers may end this much early, and sums of floats are not exact.
_TOLERANCE = 1e-6  # seconds
_SLOWEST, _FASTEST = 0.001, 1_000_000.0  # requests a second


class RateLimit:
    """A limit on how many requests begin in a second. Clients that are given the same object share the limit.

    Each repeated request counts, and so does each login at the server. A limit serves one event loop at a time.

    Attributes:
        rate: requests a second.
    """

    def __init__(self, rate: float) -> None:
        """Allow `rate` requests a second: 10 means ten in any second, 0.5 means one in any two seconds.

        Raises:
            UsageError: `rate` is no number from 0.001 to 1,000,000.
        """
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not _SLOWEST <= rate <= _FASTEST:
            raise UsageError("max_rate is a number of calls a second, from 0.001 to 1,000,000")
        self.rate = rate
        self._calls = max(1, math.floor(rate))
        self._per = self._calls / rate
        self._begun: deque[float] = deque()  # when the latest requests began, oldest first
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self) -> None:
        """Wait until the next request may begin."""
        loop = asyncio.get_running_loop()
        if not self._waiting and self._wait(loop.time()) <= 0:
            self._begun.append(loop.time())
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        self._serve(loop)
        try:
            await turn
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):  # `_serve` may have dropped it, or its time is over
                if turn.cancelled():
                    self._waiting.remove(turn)
                else:
                    self._begun.remove(turn.result())
            self._serve(loop)
            raise

    def _wait(self, now: float) -> float:
        """Return the seconds until the next request may begin."""
        begun = self._begun
        while begun and now - begun[0] >= self._per - _TOLERANCE:
            begun.popleft()
        return 0.0 if len(begun) < self._calls else begun[0] + self._per - now

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give turns to requests that may begin, and come back when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            now = loop.time()
            wait = self._wait(now)
            if wait > 0:
                self._timer = loop.call_later(wait, self._serve, loop)
                return
            turn = self._waiting.popleft()
            if not turn.done():  # else it is cancelled, and its task has not run since
                turn.set_result(now)
                self._begun.append(now)
