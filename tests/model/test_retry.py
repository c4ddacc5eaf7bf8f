"""The one retry policy: how long to wait, with and without a Retry-After."""

import math
from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest

from soapbatch.model import Backoff, Retries, parse_retry_after

BACKOFF = Backoff(first=2.0, longest=60.0, longest_retry_after=300.0)
NOON = datetime(2024, 2, 29, 12, 0, 0, 250000, tzinfo=UTC)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (7, 60), (10**6, 60)])
def test_waits_double_up_to_the_longest(failures: int, seconds: float) -> None:
    """The first failure in a row waits `first` seconds, and each further one twice as long, up to `longest`."""
    assert BACKOFF.delay(failures) == seconds


@pytest.mark.parametrize(
    ("failures", "retry_after", "seconds"),
    [
        pytest.param(1, 0.0, 2, id="none at all"),
        pytest.param(3, 7.9, 8, id="shorter than our own wait"),
        pytest.param(3, 8.0, 8, id="as long"),
        pytest.param(3, 8.1, 8.1, id="longer"),
        pytest.param(1, 299.0, 299, id="almost the longest"),
        pytest.param(1, 300.0, 300, id="the longest"),
        pytest.param(1, 301.0, 300, id="longer than the longest"),
        pytest.param(1, math.inf, 300, id="for ever"),
        pytest.param(9, 1.0, 60, id="shorter than the longest wait"),
    ],
)
def test_a_retry_after_prolongs_a_wait_and_never_shortens_it(failures: int, retry_after: float, seconds: float) -> None:
    """Who waits in the background waits at least as long as the server asks, and at least as long as planned."""
    assert BACKOFF.delay(failures, retry_after) == seconds


def test_jitter_adds_at_most_the_first_wait() -> None:
    """Jitter spreads clients, and does not exceed the longest wait."""
    assert [BACKOFF.delay(2, jitter=jitter) for jitter in (0, 0.5, 1)] == [4, 5, 6]
    assert BACKOFF.delay(6, jitter=1) == 60


def test_the_waits_of_calls() -> None:
    """Calls honour a Retry-After of up to an hour."""
    assert Retries(first_wait=1, longest_wait=3).backoff == Backoff(first=1, longest=3, longest_retry_after=3600.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("0", 0, id="zero"),
        pytest.param("1", 1, id="one"),
        pytest.param(" 33 ", 33, id="spaces"),
        pytest.param("Thu, 29 Feb 2024 12:00:10 GMT", 9.75, id="date"),
        pytest.param("Thursday, 29-Feb-24 12:00:10 GMT", 9.75, id="date of RFC 850"),
        pytest.param("Thu, 29 Feb 2024 12:00:10 -0000", 9.75, id="date without a zone"),
        pytest.param("Thu, 29 Feb 2024 13:00:10 +0100", 9.75, id="date elsewhere"),
        pytest.param("Thu, 29 Feb 2024 12:00:00 GMT", 0, id="a quarter of a second ago"),
        pytest.param("Thu, 29 Feb 2024 11:59:59 GMT", 0, id="a second ago"),
        pytest.param("Mon, 23 Nov 2020 00:00:00 GMT", 0, id="years ago"),
        pytest.param("-1", None, id="negative"),
        pytest.param("1.5", None, id="fraction"),
        pytest.param("soon", None, id="word"),
        pytest.param("", None, id="empty"),
        pytest.param("9" * 400, math.inf, id="absurd"),
        pytest.param("Wed, 21 Oct 99999999999 07:28:00 GMT", None, id="absurd date"),
    ],
)
def test_what_a_retry_after_says(text: str, seconds: float | None) -> None:
    """Seconds, or a date; one in the past asks for no wait, and anything else says nothing."""
    assert parse_retry_after(text, NOON) == seconds
    assert parse_retry_after(text, NOON.astimezone(timezone(timedelta(hours=-5)))) == seconds


def test_the_defaults_of_retries() -> None:
    """A call is tried three times; the waits begin with 0.2 and end with 5 seconds."""
    assert attrs.asdict(Retries()) == {"attempts": 3, "first_wait": 0.2, "longest_wait": 5.0}
