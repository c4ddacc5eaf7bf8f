"""What the readers of a sign-in host's responses share."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast

from soapbatch.errors import UnreadableResponse
from soapbatch.model import Secret, parse_retry_after, redact

_LONGEST_TEXT: Final = 500  # characters of a server's text that an error shows
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
_CLOCK_TOLERANCE: Final = 60.0  # seconds: a stamp has minutes only, and a Date header has whole seconds


def read_object(body: bytes, what: str) -> Mapping[str, Any]:
    """Return the JSON object in `body`; `what` names the response in the error.

    Raises:
        UnreadableResponse: it is none.
    """
    value = try_object(body)
    if value is None:
        raise UnreadableResponse(f"{what} is no JSON object")
    return value


def try_object(body: bytes) -> Mapping[str, Any] | None:
    """Return the JSON object in `body`, or None."""
    try:
        value = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def as_list(value: object) -> list[Any]:
    """Return the items of a JSON array, or any other value as the only item."""
    return [*value] if isinstance(value, list) else [value]


def shown(text: str, secrets: Iterable[Secret]) -> str:
    """Return a server's text as an error may show it: on one line, masked, and cut."""
    masked = " ".join(redact(text, secrets).split())
    return masked if len(masked) <= _LONGEST_TEXT else f"{masked[:_LONGEST_TEXT]}..."


def header(headers: Mapping[str, str], name: str) -> str | None:
    """Return the value of a header by its name in lower case, or None."""
    return next((value for key, value in headers.items() if key.lower() == name), None)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds after which the server would like to be asked again, or None."""
    value = header(headers, "retry-after")
    return None if value is None else parse_retry_after(value, now)


def is_transient(status: int) -> bool:
    """Return whether a response with this status may be another one soon."""
    return status in _TRANSIENT


def clock_difference(headers: Mapping[str, str], now: datetime) -> str | None:
    """Return how far this machine's clock (`now`, aware) is from the server's Date header, for people.

    None: the header is missing, or the difference is within a minute.
    """
    try:
        date = parsedate_to_datetime(header(headers, "date") or "")
        seconds = (now - date).total_seconds()
    except (TypeError, ValueError):  # no date, or one without a time zone
        return None
    if abs(seconds) <= _CLOCK_TOLERANCE:
        return None
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the server's"
