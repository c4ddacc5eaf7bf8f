"""Writers of the common case: a value of exactly the right type, in range, with nothing to escape.

Each knows one scalar's element and writes it in one call. Whatever is not plainly fine goes to the general writer,
which escapes, or has the words for what is wrong. The bytes are the same; a test holds both together.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from soapbatch.model import (
    BOOLEAN,
    DATE_TIME,
    INT,
    SHORT,
    STRING,
    Enumeration,
    Field,
    ServiceVersion,
    WireType,
    needs_escaping,
)
from soapbatch.soap.constraints import Writer

_HIGHEST: Final[Mapping[WireType, int]] = {INT: 2**31 - 1, SHORT: 2**15 - 1}


def fast_writer(row: Field, version: ServiceVersion, open_: str, close: str, general: Writer) -> Writer:
    """Return a writer of the element of `row` between two tags, which leaves to `general` what is not common."""
    type_ = row.type
    writer = general
    if row.since > version:
        pass
    elif type_ is STRING:
        writer = _strings(sys.maxsize if row.max_length is None else row.max_length, open_, close, general)
    elif type_ is BOOLEAN:
        writer = _booleans(f"{open_}true{close}", f"{open_}false{close}", general)
    elif type_ is DATE_TIME:
        writer = _moments(open_, close, general)
    elif type_ is INT or type_ is SHORT:
        highest = _HIGHEST[type_]
        lowest, highest = (-highest - 1, highest) if row.highest is None else (0, row.highest)
        writer = _integers(lowest, highest, open_, close, general)
    elif isinstance(type_, Enumeration):
        known = [member for text, member in type_.members.items() if type_.since.get(text, version) <= version]
        writer = _members({member: general(member) for member in known}, general)
    return writer


def _strings(longest: int, open_: str, close: str, general: Writer) -> Writer:
    def write(value: Any) -> str:
        if type(value) is str and len(value) <= longest and not needs_escaping(value):
            return f"{open_}{value}{close}"
        return general(value)

    return write


def _integers(lowest: int, highest: int, open_: str, close: str, general: Writer) -> Writer:
    def write(value: Any) -> str:
        if type(value) is int and lowest <= value <= highest:
            return f"{open_}{value}{close}"
        return general(value)

    return write


def _booleans(true: str, false: str, general: Writer) -> Writer:
    def write(value: Any) -> str:
        return true if value is True else false if value is False else general(value)

    return write


def _members(texts: dict[Any, str], general: Writer) -> Writer:
    kinds: set[type] = {type(member) for member in texts}

    def write(value: Any) -> str:
        return texts[value] if type(value) in kinds and value in texts else general(value)

    return write


def _moments(open_: str, close: str, general: Writer) -> Writer:
    def write(value: Any) -> str:
        if type(value) is datetime and value.tzinfo is UTC and value.year > 1:
            # In two parts: isoformat() of the whole would ask the zone for its offset, and take twice as long.
            return f"{open_}{value.date().isoformat()}T{value.time().isoformat()}Z{close}"
        return general(value)

    return write
