"""How often a job is looked at: a pure function of its age, of its progress, and of what was new the last time.

    a tenth of the job's age, but never less than `floor` and never more than `ceiling`
    half of that where the last reading showed something new
    no longer than the job still needs at its pace so far
    up to a tenth less, at random, so that clients do not come all at once

Whoever waits so long learns of a job's end with a delay of a tenth of its duration at most.
"""

import math
from typing import Final, TypeGuard

import attrs

from soapbatch.errors import HttpError, UsageError

TICK: Final = 2.0
"""Seconds between two looks of a server for new work: reading faster shows nothing more (CONTRACT, section 2)."""
LATE: Final = 0.1
"""The share of the grid by which a reading may miss its line: timers are never quite on time."""
LONGEST_RETRY_AFTER: Final = 300.0
"""Seconds of a server's Retry-After that waits honour at most: a day in one stray header must not blind them all."""

_SHARE: Final = 0.1  # of the age: the delay with which an end is noticed, as a share of the job's duration
_MOVING: Final = 0.5  # of the delay that is left where something moves
_JITTER: Final = 0.1  # of the delay, at most


@attrs.frozen(kw_only=True)
class Polling:
    """How often a wait reads, and how much trouble it bears. The defaults are a server's own pace.

    Attributes:
        first: seconds from the start of a job to its first reading. A job that was attached to is read at once.
        floor: seconds between two readings at least.
        ceiling: seconds between two readings at most. All waits of a client read on one grid of 2 seconds (of
            `floor`, where that is less): times are rounded up to it.
        failures: how many readings may fail in a row, for reasons that may pass, before a wait gives up; with the
            defaults that takes three to four minutes, and longer where the server asks for it with Retry-After
            (at most 5 minutes of which are honoured).
    """

    first: float = 2.0
    floor: float = TICK
    ceiling: float = 30.0
    failures: int = 10

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be waited for."""
        if not all(map(is_seconds, (self.first, self.floor, self.ceiling))):
            raise UsageError("Polling: first, floor and ceiling are numbers of seconds")
        if not (math.isfinite(self.first) and math.isfinite(self.ceiling) and self.first >= 0):
            raise UsageError("Polling: first and ceiling are finite numbers of seconds, first is zero or more")
        if not 0 < self.floor <= self.ceiling:
            raise UsageError("Polling: floor is more than zero seconds, and no more than ceiling")
        if not is_seconds(self.failures) or self.failures < 1:
            raise UsageError("Polling: failures is a number, one or more")


def is_seconds(value: object) -> TypeGuard[float]:
    """Return whether `value` is a number, as seconds are."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def retry_after(error: Exception, longest: float = LONGEST_RETRY_AFTER) -> float | None:
    """Return the seconds for which the server asks to be left alone, `longest` at most; None if it does not."""
    seconds = error.retry_after if isinstance(error, HttpError) else None
    return None if seconds is None else min(seconds, longest)


def delay(polling: Polling, *, age: float, moved: bool, left: float | None, jitter: float) -> float:
    """Return the seconds until the next reading.

    Args:
        polling: the bounds.
        age: seconds since the job was started or first read by this client.
        moved: whether the last reading showed something new.
        left: seconds until the job is done at its pace so far; None: unknown.
        jitter: a random number from 0 to 1.
    """
    seconds = min(age * _SHARE, polling.ceiling)
    if moved:
        seconds *= _MOVING
    if left is not None:
        seconds = min(seconds, left)
    return max(polling.floor, seconds * (1 - _JITTER * jitter))


def delay_after_failure(polling: Polling, failures: int, retry_after: float | None) -> float:
    """Return the seconds until the next reading after so many `failures` in a row: doubling, or as the server asks."""
    seconds = min(polling.ceiling, polling.floor * 2.0 ** min(failures - 1, 60))
    return max(seconds, retry_after or 0.0)


def seconds_left(percent_before: int | None, percent: int | None, seconds: float) -> float | None:
    """Return how long the rest takes, if the last `seconds` brought a job from one percentage to another."""
    if percent_before is None or percent is None or percent <= percent_before or seconds <= 0:
        return None
    return max(0, 100 - percent) * seconds / (percent - percent_before)


def align(when: float, origin: float, grid: float, *, late: float = LATE) -> float:
    """Return `when`, rounded up to a line of the grid that begins at `origin`.

    What has just missed a line, by a share of the grid that is no more than `late`, still counts for it.
    """
    return origin + math.ceil((when - origin) / grid - late) * grid
