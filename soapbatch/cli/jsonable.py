"""Carriers and other results as values that JSON has, with the names of the fields, and with secrets masked."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final

import attrs

from soapbatch.errors import SoapBatchError
from soapbatch.model import MASK, Secret

SCHEMA: Final = 1
"""The version of the JSON that the commands print. It grows when a field is renamed or removed."""


def to_plain(value: Any) -> Any:
    """Return `value` as JSON has it: dates as ISO 8601, bytes as base64, enumerations as on the wire."""
    if isinstance(value, Secret | Enum | datetime | bytes):
        return _plain_scalar(value)
    kind = _class_of(value)
    if attrs.has(kind):
        return {field.name: _plain_field(field, getattr(value, field.name)) for field in attrs.fields(kind)}
    if issubclass(kind, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if issubclass(kind, Sequence) and kind is not str:
        return [to_plain(item) for item in value]
    return value


def _class_of(value: object) -> type[Any]:
    return type(value)


def _plain_scalar(value: Secret | Enum | datetime | bytes) -> Any:
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, Enum):
        return value.value
    return value.isoformat() if isinstance(value, datetime) else b64encode(value).decode("ascii")


def _plain_field(field: "attrs.Attribute[Any]", value: Any) -> Any:
    """Return the value of a carrier's field. A field whose repr is masked holds a secret."""
    return MASK if value is not None and callable(field.repr) else to_plain(value)


def plain_error(error: SoapBatchError, status: int) -> dict[str, Any]:
    """Return what a program wants to know of an error."""
    found: dict[str, Any] = {
        "type": type(error).__name__,
        "message": str(error),
        "exit_status": status,
        "operation": error.operation,
        "applied": error.applied,
        "retryable": error.retryable,
        "notes": list(getattr(error, "__notes__", ())),
    }
    return found | {name: getattr(error, name) for name in ("id", "key", "marker", "status") if hasattr(error, name)}
