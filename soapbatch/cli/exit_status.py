"""The exit statuses, and which error leads to which."""

import itertools
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final

from soapbatch.errors import (
    AccessDenied,
    AuthenticationFailed,
    Fault,
    JobFailed,
    JobGone,
    JobRunning,
    OperationFailed,
    SessionLost,
    SoapBatchError,
    StartOutcomeUnknown,
    StopRefused,
    TenantUnavailable,
    TokenNotTrusted,
    UsageError,
    WaitTimeout,
)
from soapbatch.operations import OPERATIONS


class ExitStatus(IntEnum):
    """What the command says to the shell. `soapbatch --help` lists the meanings."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_SUCH_TASK = 3
    TIMEOUT = 4
    REFUSED = 5
    NO_ANSWER = 6
    UNKNOWN = 7
    PARTLY = 8
    INTERRUPTED = 130
    CLOSED = 141


# By class. Other errors are decided by what the server may have applied.
_BY_CLASS: Final[Mapping[type[SoapBatchError], ExitStatus]] = {
    UsageError: ExitStatus.USAGE,
    JobFailed: ExitStatus.FAILED,
    JobGone: ExitStatus.NO_SUCH_TASK,
    WaitTimeout: ExitStatus.TIMEOUT,
    JobRunning: ExitStatus.REFUSED,
    StopRefused: ExitStatus.REFUSED,
    StartOutcomeUnknown: ExitStatus.UNKNOWN,
    AuthenticationFailed: ExitStatus.REFUSED,
    SessionLost: ExitStatus.REFUSED,
    AccessDenied: ExitStatus.REFUSED,
    TokenNotTrusted: ExitStatus.REFUSED,
    TenantUnavailable: ExitStatus.NO_ANSWER,
}
# What NetServer's exceptions are called where it refuses the caller.
_REFUSALS: Final = frozenset({"SoSessionException", "SoSentryException", "SoSecurityException"})

_ADVICE: Final = {
    ExitStatus.NO_SUCH_TASK: "`soapbatch list --all` shows the tasks that there are",
    ExitStatus.TIMEOUT: "wait again with `soapbatch wait ID`, or stop it with `soapbatch stop ID`",
    ExitStatus.REFUSED: "`soapbatch doctor` checks the login and the rights; `soapbatch login` logs in again",
    ExitStatus.NO_ANSWER: "`soapbatch doctor` finds out where it ends",
    ExitStatus.UNKNOWN: "`soapbatch list --all` shows whether it was done; do not repeat the command before you know",
}


def status_of(error: SoapBatchError) -> ExitStatus:
    """Return the exit status after `error`."""
    for kind, status in _BY_CLASS.items():
        if isinstance(error, kind):
            return status
    if isinstance(error, OperationFailed | Fault):
        return ExitStatus.REFUSED if error.error_type in _REFUSALS else ExitStatus.FAILED
    if error.applied == "no" or only_reads(error):
        return ExitStatus.NO_ANSWER
    return ExitStatus.FAILED if error.applied == "yes" else ExitStatus.UNKNOWN


def only_reads(error: SoapBatchError) -> bool:
    """Return whether the error is about an operation that changes nothing."""
    operation = OPERATIONS.get(error.operation or "")
    return operation is not None and operation.is_read_only


def advice_on(error: SoapBatchError, status: ExitStatus) -> str | None:
    """Return what to do next after an error that leads to `status`."""
    may_be_done = status is ExitStatus.FAILED and error.applied == "unknown" and not only_reads(error)
    advice = _ADVICE.get(ExitStatus.UNKNOWN if may_be_done else status)
    id_ = getattr(error, "id", None)
    return advice if advice is None or id_ is None else advice.replace(" ID", f" {id_}")


def status_of_all(statuses: Iterable[ExitStatus]) -> ExitStatus:
    """Return the exit status of a command about several tasks: the status that all have, or PARTLY."""
    different = [status for status, _ in itertools.groupby(sorted(statuses))]
    return different[0] if len(different) == 1 else ExitStatus.PARTLY
