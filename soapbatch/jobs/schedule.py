"""When a task is read again. Pure functions.

Rule 1. The delay until the next reading is a tenth of the job's age. The end of a job is then noticed with a delay of
        at most a tenth of the job's duration.
Rule 2. The delay is halved if the last reading showed a change.
Rule 3. The delay is not longer than the job still needs at its pace so far.
Rule 4. Up to a tenth of the delay is taken off at random, so that clients do not all read at the same time.
Rule 5. The delay is at least `Polling.floor` and at most `Polling.ceiling` seconds.
Rule 6. The time of a reading is rounded up to the next line of a grid. All tasks of a client share the grid, so that
        one call can read several tasks.
Rule 7. A task that exists for sure is read twice more, 2 seconds apart, before it counts as gone: a server may not know
        a task yet that it has just started, and a server behind a load balancer may lag.
Rule 8. After failed readings the delay doubles from `floor` to `ceiling`; a Retry-After of up to 5 minutes is honoured.
"""

import math
from typing import Final

import attrs

from soapbatch.jobs.checks import require, require_count, require_seconds
from soapbatch.model import Backoff

SERVER_TICK: Final = 2.0
"""Seconds between two moments at which a server looks for new work: faster reading shows nothing more."""
LOOKS_BEFORE_GONE: Final = 3
"""How many readings in a row must find nothing before a task that existed a moment ago counts as gone."""
LOOK_AGAIN_AFTER: Final = SERVER_TICK
"""Seconds between two such readings."""
A_MOMENT: Final = 60.0
"""Seconds for which a task exists for sure after its id was given, or after it was seen."""
GRID_TOLERANCE: Final = 0.1
"""The share of the grid by which a reading may come late and still belong to its line: timers are not exact."""
LONGEST_RETRY_AFTER: Final = 300.0
"""Seconds of a Retry-After that a wait honours at most: one stray header must not stop all readings for a day."""

_SHARE_OF_AGE: Final = 0.1
_SHARE_AFTER_CHANGE: Final = 0.5
_LARGEST_JITTER: Final = 0.1


@attrs.frozen(kw_only=True)
class Polling:
    """How often a wait reads a task, and how many failures a wait tolerates. The defaults suit a server's own pace.

    Attributes:
        first: seconds from the start of a job to its first reading. A job that was attached to is read at once.
        floor: the shortest time between two readings, in seconds.
        ceiling: the longest time between two readings, in seconds. All waits of a client read on one grid of 2 seconds
            (of `floor` seconds, if that is less): times are rounded up to the grid.
        failures: how many readings in a row may fail for reasons that may pass, before a wait gives up. With the
            defaults this takes three to four minutes, and longer if the server sends Retry-After (of which at most
            5 minutes are honoured).
    """

    first: float = 2.0
    floor: float = SERVER_TICK
    ceiling: float = 30.0
    failures: int = 10

    def __attrs_post_init__(self) -> None:
        """Raise UsageError for values that make no schedule."""
        for name in ("first", "floor", "ceiling"):
            require_seconds(f"Polling: {name}", getattr(self, name))
        require(0 < self.floor <= self.ceiling, "Polling: floor is more than zero seconds, and not more than ceiling")
        require_count("Polling: failures", self.failures)

    def at_least(self, seconds: float) -> "Polling":
        """Return a schedule with at least so many `seconds` between two readings: this one, if it has."""
        if self.floor >= seconds:
            return self
        return attrs.evolve(self, floor=seconds, ceiling=max(self.ceiling, seconds))


def next_delay(polling: Polling, *, age: float, changed: bool, remaining: float | None, jitter: float) -> float:
    """Return the seconds to wait before the task is read from the server again.

    Args:
        polling: the bounds.
        age: seconds since the job was started or first read by this client.
        changed: whether the last reading showed a change.
        remaining: seconds that the job still needs at its pace so far; None: unknown.
        jitter: a random number from 0 to 1.
    """
    seconds = min(age * _SHARE_OF_AGE, polling.ceiling)  # Rules 1 and 5
    if changed:
        seconds *= _SHARE_AFTER_CHANGE  # Rule 2
    if remaining is not None:
        seconds = min(seconds, remaining)  # Rule 3
    return max(polling.floor, seconds * (1 - _LARGEST_JITTER * jitter))  # Rules 4 and 5


def estimate_remaining(percent_before: int | None, percent: int | None, seconds: float) -> float | None:
    """Return the seconds that a job still needs, if it went from one percentage to another in `seconds`."""
    if percent_before is None or percent is None or percent <= percent_before or seconds <= 0:
        return None
    return max(0, 100 - percent) * seconds / (percent - percent_before)


def failure_backoff(polling: Polling) -> Backoff:
    """Return how long to wait after failed readings (Rule 8)."""
    return Backoff(first=polling.floor, longest=polling.ceiling, longest_retry_after=LONGEST_RETRY_AFTER)


def grid_step(polling: Polling) -> float:
    """Return the seconds between two lines of the grid on which `polling` reads."""
    return min(SERVER_TICK, polling.floor)


def align_to_grid(when: float, origin: float, step: float, *, tolerance: float = GRID_TOLERANCE) -> float:
    """Return `when`, rounded up to a line of the grid that begins at `origin` (Rule 6).

    A time that is late for a line by at most `tolerance` (a share of `step`) still belongs to that line.
    """
    return origin + math.ceil((when - origin) / step - tolerance) * step
