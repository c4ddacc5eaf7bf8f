"""How long to wait before trying again: the one policy for calls, logins, waits, and the settling of starts. Pure.

Rule 1. The wait doubles with each failure in a row, from `first` up to `longest` seconds.
Rule 2. Jitter adds up to `first` seconds, so that clients which failed together do not return together.
Rule 3. A server that sends Retry-After is given that time, up to `longest_retry_after` seconds: one stray header must
        not keep a client away for a day. A call waits exactly so long; whoever waits in the background, at least.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import attrs

_AN_HOUR = 3600.0
_MOST_DOUBLINGS = 60  # keeps 2.0 ** n finite


@attrs.frozen(kw_only=True)
class Backoff:
    """A schedule of waits.

    Attributes:
        first: seconds after the first failure.
        longest: seconds between two attempts at most, unless the server asks for more.
        longest_retry_after: seconds of a Retry-After that are honoured at most.
    """

    first: float
    longest: float
    longest_retry_after: float

    def delay(self, failures: int, retry_after: float | None = None, *, jitter: float = 0.0) -> float:
        """Return the seconds to wait after so many `failures` in a row (1: the first).

        Args:
            failures: how many attempts in a row have failed.
            retry_after: seconds that the server asked for, or None.
            jitter: a random number from 0 to 1; 0: none.
        """
        doubled = self.first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)
        wait = min(self.longest, doubled + jitter * self.first)
        return max(wait, min(retry_after or 0.0, self.longest_retry_after))


@attrs.frozen(kw_only=True)
class Retries:
    """How transient failures are retried, where that is safe.

    Attributes:
        attempts: how often a call is tried in all; 1: never again.
        first_wait: seconds before the second attempt; the wait doubles from there, with jitter.
        longest_wait: seconds between two attempts at most. A longer Retry-After of the server is honoured, up to an
            hour; where the server asks for more, its answer is raised instead.
    """

    attempts: int = 3
    first_wait: float = 0.2
    longest_wait: float = 5.0

    @property
    def backoff(self) -> Backoff:
        """The waits between attempts, where the server does not say how long."""
        return Backoff(first=self.first_wait, longest=self.longest_wait, longest_retry_after=_AN_HOUR)


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3), which holds seconds or a date.

    Args:
        value: of the header.
        now: the time (aware), for a date.

    Returns:
        Seconds, zero for a date in the past; None for anything else.
    """
    text = value.strip()
    if text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        return max(0.0, (at - now).total_seconds())
    except (ValueError, OverflowError):
        return None
