"""What the command prints as JSON, beside the carriers: the version of its form, and errors."""

from typing import Any, Final

from soapbatch.errors import SoapBatchError

SCHEMA: Final = 1
"""The version of the JSON that the commands print. It grows when a field is renamed or removed."""


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
