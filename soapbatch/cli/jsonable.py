"""Carriers and other results as values that JSON has, with the names of the fields, and with secrets masked."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from soapbatch.errors import SoapBatchError
from soapbatch.model import MASK, Carrier, Secret

SCHEMA: Final = 1
"""The version of the JSON that the commands print. It grows when a field is renamed or removed."""


def to_plain(value: Any) -> Any:
    """Return `value` as JSON has it: carriers as `to_dict` gives them, dates as ISO 8601, bytes as base64."""
    if isinstance(value, Carrier):
        return value.to_dict()
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, datetime | bytes):
        return value.isoformat() if isinstance(value, datetime) else b64encode(value).decode("ascii")
    kind = _class_of(value)
    if attrs.has(kind):
        return {field.name: to_plain(getattr(value, field.name)) for field in attrs.fields(kind)}
    if issubclass(kind, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if issubclass(kind, list | tuple) else value


def _class_of(value: object) -> type[Any]:
    return type(value)


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
