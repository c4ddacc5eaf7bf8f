"""Check arguments that an untyped caller may mix up, before anything is sent."""

from numbers import Integral
from typing import cast

from soapbatch.errors import UsageError
from soapbatch.model import SECONDS, is_seconds, plain_int


def require(is_right: object, message: str) -> None:
    """Raise a UsageError with `message`, unless `is_right`."""
    if not is_right:
        raise UsageError(message)


def require_seconds(name: str, value: object, *, or_none: bool = False) -> None:
    """Raise a UsageError, unless `value` is seconds as timers can bear them; `or_none`: None means "no limit"."""
    suffix = ", or None" if or_none else ""
    require(is_seconds(value) or (or_none and value is None), f"{name} is {SECONDS}{suffix}")


def task_id(value: object) -> int:
    """Return `value` as a plain int. Raises a UsageError, unless it is a whole number, numpy's included."""
    try:
        return plain_int(value)
    except ValueError as error:
        raise UsageError(f"a task's id {error}") from None


def require_text(name: str, value: object) -> None:
    """Raise a UsageError, unless `value` is text or None."""
    require(value is None or isinstance(value, str), f"{name} is text, or None")


def require_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise a UsageError, unless `value` is a whole number of at least `least`."""
    is_number = isinstance(value, Integral) and not isinstance(value, bool)  # numpy's integers are Integral
    require(is_number and cast("int", value) >= least, f"{name} is a whole number, {least} or more")
