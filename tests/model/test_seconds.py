"""Which numbers are taken for seconds."""

import math

import pytest

from soapbatch.model import is_seconds
from soapbatch.model.seconds import LONGEST_SECONDS


@pytest.mark.parametrize("value", [0, 0.5, 1, 86400 * 366, LONGEST_SECONDS])
def test_seconds(value: float) -> None:
    """Zero, fractions and up to a year are seconds."""
    assert is_seconds(value)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, -1, -1e-9, 1e18, 10**400, LONGEST_SECONDS + 1, True, None, "5", 1j],
)
def test_what_are_no_seconds(value: object) -> None:
    """NaN, infinities, negative and absurd numbers are no seconds, and neither is anything that is no number."""
    assert not is_seconds(value)
