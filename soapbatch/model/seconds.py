"""Which numbers are taken for seconds."""

from numbers import Real
from typing import Final, TypeGuard, cast

LONGEST_SECONDS: Final = 366 * 86400.0
"""The most seconds that an argument takes: a year. An argument that may be without a limit takes None for that."""
SECONDS: Final = f"a number of seconds, from 0 to {LONGEST_SECONDS:.0f} (a year)"
"""What `is_seconds` takes, in words for messages."""


def is_seconds(value: object) -> TypeGuard[float]:
    """Return whether `value` is a number of seconds that a timer can bear: from 0 to `LONGEST_SECONDS`.

    NaN is none: one timer with NaN puts the timers of the whole event loop out of order. A bool is none, either.
    """
    is_number = isinstance(value, (int, float, Real)) and not isinstance(value, bool)  # numpy's numbers are Real
    return is_number and 0 <= cast("float", value) <= LONGEST_SECONDS
