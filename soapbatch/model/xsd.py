r"""Python value <-> XSD text, with ranges and legal characters checked.

Each `Scalar` is one XSD simple type as NetServer uses it. `encode` returns the text of an element, unescaped, for a
Python value; `decode` returns the Python value for the text of an element. Both raise `ValueError` with a
reason that never repeats a string value, which may be a secret. The caller adds the path of the value.

    INT.encode(42) == "42"            INT.decode(" 42 ") == 42
    BOOLEAN.encode(True) == "true"    BOOLEAN.decode("1") is True
    DATE_TIME.decode("2024-02-29T12:30:05.1234567Z") == datetime(2024, 2, 29, 12, 30, 5, 123456, UTC)
    DATE_TIME.decode("0001-01-01T00:00:00") is None   # NetServer's "never"

Source: XML Schema Part 2, sections 3.2 and 3.3; XML 1.0, production [2] for legal characters.
"""

import binascii
import builtins
import contextlib
import operator
import re
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

import attrs

from soapbatch.model import services
from soapbatch.model.secret import Secret

T = TypeVar("T")

ILLEGAL_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""A character that XML 1.0 cannot carry, not even escaped."""

_WHITE_SPACE = " \t\r\n"
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])?"
)
_EDGES: Final = (1, 9999)  # years in which an offset may lead out of the calendar
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_MAX_OFFSET = timedelta(hours=14)  # XML Schema Part 2, 3.2.7.3
_MIDNIGHT_AT_END_OF_DAY = "24:00:00"
_TIME_OF_DAY = len("2024-02-29T")  # index at which the time begins


@attrs.frozen
class Scalar(Generic[T]):
    """A simple type: its name, its namespace (None: the service version's own), and its two directions."""

    name: str
    encode: Callable[[T], str]
    decode: Callable[[str], T | None]
    namespace: str | None = services.XSD


def plain_int(value: object) -> int:
    """Return the number that an int holds, or that stands for an int by `__index__`, as numpy's integers do.

    A subclass of int may compare and format itself in other ways. ValueError: it is no int; a bool is none.
    """
    if not isinstance(value, bool):
        with contextlib.suppress(TypeError):
            return int.__int__(operator.index(value))  # type: ignore[arg-type]  # what has no index is refused
    raise ValueError(f"needs an int, got {_kind_of(value)}")


def _kind_of(value: object) -> str:
    """Return the name of a value's type, with its module if Python has a type of that name."""
    kind = type(value)
    is_namesake = hasattr(builtins, kind.__name__) and kind.__module__ != builtins.__name__
    return f"{kind.__module__}.{kind.__name__}" if is_namesake else kind.__name__


def _is_of_numpy(value: object) -> bool:
    """Return whether a value is a scalar of numpy, or of a library whose scalars look the same."""
    return hasattr(type(value), "dtype")


def plain_str(value: str) -> str:
    """Return the text that a str holds: the methods of a subclass may change it (Markup escapes it once more)."""
    return str.__str__(value)


def _plain_datetime(value: datetime) -> datetime:
    return value if type(value) is datetime else datetime.combine(datetime.date(value), datetime.timetz(value))


def _integer(name: str, bits: int) -> Scalar[int]:
    lowest, highest = -(1 << bits - 1), (1 << bits - 1) - 1

    def encode(value: int) -> str:
        number = plain_int(value)
        if not lowest <= number <= highest:
            raise ValueError(f"must lie between {lowest} and {highest}, got {number}")
        return str(number)

    safe_digits = len(str(highest)) - 1  # a number of so many digits is always within the range

    def decode(text: str) -> int:
        if text.isdecimal() and text.isascii():
            if len(text) <= safe_digits:
                return int(text)  # the common case
        elif not _INTEGER.fullmatch(text := text.strip(_WHITE_SPACE)):
            raise ValueError(f"not a valid {name}")
        if len(text) > bits or not lowest <= (value := int(text)) <= highest:
            raise ValueError(f"outside the range of {name}")
        return value

    return Scalar(name, encode, decode)


def _encode_boolean(value: bool) -> str:  # noqa: FBT001 - the value itself
    if not isinstance(value, bool):
        raise ValueError(f"needs a bool, got {_kind_of(value)}{': pass bool(value)' if _is_of_numpy(value) else ''}")
    return "true" if value else "false"


def _decode_boolean(text: str) -> bool:
    value = _BOOLEANS.get(text)
    if value is None:
        value = _BOOLEANS.get(text.strip(_WHITE_SPACE))
    if value is None:
        raise ValueError("not a boolean")
    return value


def encode_string(value: str | Secret) -> str:
    """Return the text of `value`, unescaped. ValueError: it holds a character that XML 1.0 cannot carry."""
    if isinstance(value, Secret):
        value = value.reveal()
    if not isinstance(value, str):
        raise ValueError(f"needs a str, got {_kind_of(value)}")
    value = plain_str(value)
    if found := ILLEGAL_CHARACTER.search(value):
        raise ValueError(
            f"holds U+{ord(found.group()):04X} at index {found.start()}, a character that XML 1.0 cannot carry"
        )
    return value


def utf16_length(text: str) -> int:
    """Return the length of `text` in UTF-16 units, as .NET and the database count it."""
    return len(text) if text.isascii() else len(text) + len(_ASTRAL.findall(text))


def _encode_date_time(value: datetime) -> str:
    if not isinstance(value, datetime):
        fix = ": pass value.astype('datetime64[us]').item()" if _is_of_numpy(value) else ""
        raise ValueError(f"needs a datetime, got {_kind_of(value)}{fix}")
    value = _plain_datetime(value)
    offset = value.utcoffset()
    if _means_never(value):
        raise ValueError("0001-01-01T00:00:00 means 'never' on the wire and is read back as None: pass None")
    if value.year in _EDGES and _clamped(value) != value:
        raise ValueError("lies outside of the years 1 to 9999 in UTC, and is read back as another value: pass None")
    if offset is not None and (offset % timedelta(minutes=1) or abs(offset) > _MAX_OFFSET):
        # XSD has offsets in whole minutes up to 14 hours. The same instant in UTC is equal.
        value = value.astimezone(UTC)
    text = value.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def _decode_date_time(text: str) -> datetime | None:
    matched = _DATE_TIME.fullmatch(text) or _DATE_TIME.fullmatch(text := text.strip(_WHITE_SPACE))
    if not matched:
        raise ValueError("not a dateTime")
    if text.startswith(_MIDNIGHT_AT_END_OF_DAY, _TIME_OF_DAY):
        date, fraction, zone = matched.groups(default="")
        if not fraction.strip(".0"):
            try:
                return datetime.fromisoformat(f"{date}T00:00:00{zone}") + timedelta(days=1)
            except OverflowError:
                raise ValueError("a dateTime past the year 9999") from None
    # .NET writes seven fraction digits, Python keeps six. It cuts the seventh: 9999-12-31T23:59:59.9999999 stays valid.
    value = datetime.fromisoformat(text)
    return _clamped(value) if value.year in _EDGES else value


def _clamped(value: datetime) -> datetime | None:
    """Return None for NetServer's "never", and the last moment of the calendar for a later one; else `value`.

    A server east of Greenwich writes "never" with its offset. A value whose UTC lies outside of the calendar would
    raise OverflowError in whatever compares or formats it later.
    """
    if _means_never(value):
        return None
    offset = value.utcoffset()
    if not offset:
        return value
    wall = value.replace(tzinfo=UTC)
    if wall - _FIRST <= offset:
        return None
    return _LAST if _LAST - wall < -offset else value


def _means_never(value: datetime) -> bool:
    return value.year == 1 and value.replace(tzinfo=UTC) == _FIRST


def _encode_base64(value: bytes) -> str:
    if not isinstance(value, bytes):
        raise ValueError(f"needs bytes, got {_kind_of(value)}")
    return b64encode(value).decode("ascii")


def _decode_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text.translate(_NO_WHITE_SPACE), strict_mode=True)
    except ValueError:  # binascii.Error is a ValueError, and so is the error for a character outside ASCII
        raise ValueError("not base64Binary") from None


_NO_WHITE_SPACE = dict.fromkeys(map(ord, _WHITE_SPACE))

INT = _integer("int", 32)
SHORT = _integer("short", 16)
BOOLEAN: Scalar[bool] = Scalar("boolean", _encode_boolean, _decode_boolean)
STRING: Scalar[str] = Scalar("string", encode_string, str)
DATE_TIME: Scalar[datetime] = Scalar("dateTime", _encode_date_time, _decode_date_time)
BASE64: Scalar[bytes] = Scalar("base64Binary", _encode_base64, _decode_base64)


needs_escaping: Final = re.compile("[\0-\x08\x0b-\x1f&<>\ud800-\udfff\ufffe\uffff]").search
"""Finds a character that must be escaped, or that XML cannot carry."""


def escape_text(value: Secret | str) -> str:
    """Return a string as it is written between two tags. ValueError: XML cannot carry it."""
    if type(value) is str and not needs_escaping(value):
        return value
    # Escaped as lxml does it. Four replacements take less time than one str.translate.
    text = encode_string(value)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
