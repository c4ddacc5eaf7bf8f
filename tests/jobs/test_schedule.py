"""When a task is read again: the pure functions of schedule.py, and how many readings a job costs."""

import math
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from soapbatch.errors import UsageError
from soapbatch.jobs.schedule import Polling, align_to_grid, estimate_remaining, failure_backoff, next_delay

AGES = st.floats(min_value=0, max_value=1e7)
UNITS = st.floats(min_value=0, max_value=1)
REMAINING = st.none() | st.floats(min_value=0, max_value=1e7)
POLLINGS = st.builds(
    lambda first, floor, more: Polling(first=first, floor=floor, ceiling=floor + more),
    st.floats(min_value=0, max_value=100),
    st.floats(min_value=0.01, max_value=100),
    st.floats(min_value=0, max_value=1000),
)


def readings(duration: float, *, percent_every: float | None = None) -> int:
    """Return how many readings one wait for a job of `duration` seconds costs with default polling and mean jitter.

    `percent_every`: seconds between two changes of the task; None: the task does not change.
    """
    polling = Polling()
    now, count, before = polling.first, 1, 0
    while now < duration:
        percent = 0 if percent_every is None else int(now / percent_every)
        delay = next_delay(polling, age=now, changed=percent != before, remaining=None, jitter=0.5)
        now = align_to_grid(now + delay, 0, min(2, polling.floor))
        before = percent
        count += 1
    return count


@pytest.mark.parametrize(
    ("age", "changed", "remaining", "jitter", "seconds"),
    [
        pytest.param(0, False, None, 0, 2, id="young"),
        pytest.param(20, False, None, 0, 2, id="the floor until 20 s"),
        pytest.param(100, False, None, 0, 10, id="a tenth of its age"),
        pytest.param(100, False, None, 1, 9, id="up to a tenth less"),
        pytest.param(100, True, None, 0, 5, id="half after a change"),
        pytest.param(300, False, None, 0, 30, id="the ceiling from 5 min on"),
        pytest.param(86400, False, None, 0, 30, id="the ceiling for ever"),
        pytest.param(86400, True, None, 0, 15, id="half the ceiling after a change"),
        pytest.param(86400, False, 7, 0, 7, id="as long as it still needs"),
        pytest.param(86400, False, 0, 1, 2, id="the floor again when it should be done"),
    ],
)
def test_the_delay(age: float, changed: bool, remaining: float | None, jitter: float, seconds: float) -> None:  # noqa: FBT001 - a column
    """The delay until the next reading follows Rules 1 to 5 of the module."""
    assert next_delay(Polling(), age=age, changed=changed, remaining=remaining, jitter=jitter) == pytest.approx(seconds)


@given(POLLINGS, AGES, st.booleans(), REMAINING, UNITS)
def test_the_delay_keeps_its_bounds(
    polling: Polling,
    age: float,
    changed: bool,  # noqa: FBT001 - a column
    remaining: float | None,
    jitter: float,
) -> None:
    """The delay is always between `floor` and `ceiling`."""
    assert (
        polling.floor
        <= next_delay(polling, age=age, changed=changed, remaining=remaining, jitter=jitter)
        <= polling.ceiling
    )


@given(POLLINGS, AGES, AGES, REMAINING, UNITS)
def test_older_jobs_are_read_less_often_and_changing_ones_more_often(
    polling: Polling, age: float, more: float, remaining: float | None, jitter: float
) -> None:
    """The delay grows with age. A change never makes the delay longer, nor does an estimate of the remaining time."""

    def seconds(age: float, *, changed: bool = False, remaining: float | None = remaining) -> float:
        return next_delay(polling, age=age, changed=changed, remaining=remaining, jitter=jitter)

    assert seconds(age) <= seconds(age + more)
    assert seconds(age, changed=True) <= seconds(age)
    assert seconds(age) <= seconds(age, remaining=None)


@pytest.mark.parametrize(
    ("failures", "retry_after", "seconds"),
    [(1, None, 2), (2, None, 4), (4, None, 16), (5, None, 30), (2000, None, 30), (1, 7.5, 7.5), (1, 90, 90), (3, 1, 8)],
)
def test_the_delay_after_failures(failures: int, retry_after: float | None, seconds: float) -> None:
    """The delay doubles up to `ceiling`; a longer Retry-After is honoured."""
    assert failure_backoff(Polling()).delay(failures, retry_after) == seconds


@pytest.mark.parametrize(
    ("before", "percent", "seconds", "remaining"),
    [
        pytest.param(None, 50, 10, None, id="nothing known before"),
        pytest.param(50, None, 10, None, id="nothing known now"),
        pytest.param(50, 50, 10, None, id="no progress"),
        pytest.param(80, 0, 10, None, id="restarted"),
        pytest.param(50, 51, 0, None, id="no time between them"),
        pytest.param(40, 50, 10, 50, id="one percent a second"),
        pytest.param(0, 100, 10, 0, id="done"),
        pytest.param(0, 120, 10, 0, id="more than done"),
    ],
)
def test_the_remaining_time(before: int | None, percent: int | None, seconds: float, remaining: float | None) -> None:
    """The remaining time follows from the pace of the last percents; without progress it is unknown."""
    assert estimate_remaining(before, percent, seconds) == remaining


@pytest.mark.parametrize(
    ("when", "line"), [(10.0, 10), (10.15, 10), (10.25, 12), (11.9, 12), (12.0, 12), (9.9, 10), (8.3, 10)]
)
def test_times_are_rounded_up_to_the_grid(when: float, line: float) -> None:
    """A time is rounded up to the next line, or down to a line that it has just missed."""
    assert align_to_grid(when, 4.0, 2.0) == line


@given(
    st.floats(min_value=0, max_value=1e6), st.floats(min_value=0, max_value=1e6), st.floats(min_value=0.1, max_value=5)
)
def test_rounding_never_brings_a_reading_forward_by_more_than_a_tenth(when: float, origin: float, grid: float) -> None:
    """The line is at most a tenth of a step before the time, and at most nine tenths after it."""
    assert -0.1001 * grid - 1e-6 <= align_to_grid(when, origin, grid) - when <= 0.9001 * grid + 1e-6


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"floor": 0}, id="no floor"),
        pytest.param({"floor": 5, "ceiling": 4}, id="floor above ceiling"),
        pytest.param({"floor": math.nan}, id="floor is no number"),
        pytest.param({"first": -1}, id="first before the start"),
        pytest.param({"first": math.inf}, id="first is infinite"),
        pytest.param({"ceiling": math.inf}, id="no ceiling"),
        pytest.param({"ceiling": 1e18}, id="ceiling is absurd"),
        pytest.param({"first": 10**400}, id="first is more than a float"),
        pytest.param({"failures": 0}, id="no failures"),
        pytest.param({"failures": math.inf}, id="infinite failures"),
        pytest.param({"failures": 2.5}, id="half a failure"),
        pytest.param({"failures": None}, id="failures is no number"),
        pytest.param({"first": "2"}, id="first is text"),
        pytest.param({"ceiling": None}, id="ceiling is nothing"),
    ],
)
def test_what_cannot_be_polled_with_is_refused(fields: dict[str, Any]) -> None:
    """Values that make no schedule are a UsageError."""
    with pytest.raises(UsageError, match="Polling"):
        Polling(**fields)


# The table in README: the duration of a job in seconds, and how many readings it costs if it shows no progress, each
# percent, or a change every 5 seconds.
COSTS = [
    (10, 5, 5, 5),
    (60, 20, 27, 23),
    (600, 47, 71, 72),
    (3600, 147, 193, 259),
    (86400, 2907, 2953, 5434),
]


@pytest.mark.parametrize(("duration", "silent", "percents", "busy"), COSTS)
def test_what_a_job_costs(duration: float, silent: int, percents: int, busy: int) -> None:
    """The figures are those of README's table of call costs."""
    moving = [readings(duration, percent_every=seconds) for seconds in (duration / 100, 5)]
    assert [readings(duration), *moving] == [silent, percents, busy]
