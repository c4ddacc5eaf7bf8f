"""Check arguments that an untyped caller may mix up, before anything is sent."""

import math
from typing import TypeGuard

from soapbatch.errors import UsageError


def require(is_right: object, message: str) -> None:
    """Raise a UsageError with `message`, unless `is_right`."""
    if not is_right:
        raise UsageError(message)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether `value` is a number that can be compared: not a bool, not NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
