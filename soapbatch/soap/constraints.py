"""The constraints of a field beyond its type: first version, longest text, highest number, no accidental empty list."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeAlias, cast

from soapbatch.errors import NotInVersion, UsageError
from soapbatch.model import Enumeration, Field, Secret, ServiceVersion, encode_string, plain_int, utf16_length

Writer: TypeAlias = Callable[[Any], str]
"""Returns the text of a value on the wire. Raises ValueError or UsageError."""


def with_constraints(row: Field, version: ServiceVersion, writer: Writer) -> Writer:
    """Return a field's writer with the constraint that its row states."""
    if row.since > version:
        return _reject_newer_field(row, version)
    if row.max_length is not None:
        return _with_max_length(row.max_length, writer)
    if row.highest is not None:
        return _with_highest(row.highest, writer)
    if row.empty is not None:
        return _reject_accidental_empty(row, writer)
    return writer


def _reject_newer_field(row: Field, version: ServiceVersion) -> Writer:
    def write(_: object) -> NoReturn:
        raise NotInVersion.lacks(version, row.name, row.since, f"leave {row.attribute} None")

    return write


def _with_max_length(longest: int, writer: Writer) -> Writer:
    def write(value: object) -> str:
        text = writer(value)  # refuses what is no text
        plain = encode_string(cast("str | Secret", value))
        if (length := utf16_length(plain)) > longest:
            units = "" if length == len(plain) else " (in UTF-16 units, as its database counts)"
            raise ValueError(f"is {length} characters long{units}; the server keeps at most {longest}")
        return text

    return write


def _with_highest(highest: int, writer: Writer) -> Writer:
    def write(value: int) -> str:
        text = writer(value)  # refuses what is no number
        number = plain_int(value)
        if not 0 <= number <= highest:
            raise ValueError(f"must lie between 0 and {highest}, got {number}")
        return text

    return write


def _reject_accidental_empty(row: Field, writer: Writer) -> Writer:
    def write(value: object) -> str:
        items = value if value is row.empty else as_list(value)
        if not items and items is not row.empty:
            raise UsageError(
                f"{row.attribute} is empty, which the server takes for 'every task': "
                "pass soapbatch.ALL_ASSOCIATES if that is meant"
            )
        return writer(items)

    return write


def reject_newer_values(version: ServiceVersion, type_: Enumeration) -> Writer:
    """Return the encoder of an enumeration, which refuses the values that came after `version`."""
    encode = type_.encode

    def known(value: Any) -> str:
        text = encode(value)
        if (since := type_.since.get(text, version)) > version:
            raise NotInVersion.lacks(version, f"{type_.name} {text}", since, "use another value")
        return text

    return known


def as_list(value: Any) -> list[Any]:
    """Return the items of an iterable as a list. ValueError: it is a text, a mapping, or not iterable."""
    kind = cast(type[object], type(value))
    if issubclass(kind, str | bytes | Mapping) or not issubclass(kind, Iterable):
        raise ValueError(f"needs a list, got {kind.__name__}")
    return value if kind is list else list(value)
