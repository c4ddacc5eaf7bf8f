"""Everything that soapbatch raises, split by whose turn it is.

    SoapBatchError
    ├── UsageError                 yours: the call was wrong, nothing was sent
    │   ├── EncodeError            a value cannot be written; `path` names it
    │   ├── NotInVersion           an operation or a field that the service version lacks
    │   ├── InsecureTransport      a password would have crossed plain HTTP
    │   └── ClientClosed           the client was closed, or is closing
    ├── TransportError             the network's: there is no answer
    │   ├── ConnectFailed          no connection: refused, DNS, TLS, proxy; nothing was sent
    │   ├── ConnectionLost         it broke after the request may have left
    │   └── DeadlineExceeded       the call's `timeout` ran out; `phase` says where (also a TimeoutError)
    ├── ProtocolError              the server's or a proxy's: there is an answer, but not to the question
    │   ├── HttpError              an HTTP status and no SOAP envelope
    │   │   ├── BindingRefused     415: the server does not take this form of envelope
    │   │   ├── AccessDenied       401, 403
    │   │   ├── TenantMoved        421: the tenant lives at another address now
    │   │   └── ServiceBusy        429, 503; `retry_after` if the server gave one
    │   ├── UnreadableResponse     empty, not XML, truncated, a forbidden DOCTYPE, a wrong encoding
    │   ├── UnexpectedResponse     a SOAP envelope that does not answer the operation
    │   └── LimitExceeded          larger than `Limits` allows; `limit` names the attribute
    ├── ServiceError               the service said no
    │   ├── Fault                  a SOAP fault
    │   │   └── VersionMismatch    a fault about the envelope's version: the form was refused
    │   ├── OperationFailed        Succeeded=false or a filled ExceptionInfo in the reply's header
    │   └── AuthenticationFailed   no ticket for these credentials
    └── JobError                   nobody's: every call worked, and this is what became of the job
        ├── JobFailed              it ended as Failed
        ├── JobGone                the server does not know it (any more)
        ├── WaitTimeout            it was still running when the wait's `timeout` ended (also a TimeoutError)
        ├── JobRunning             not started: another one of the same name still runs
        └── StartOutcomeUnknown    the answer to its start was lost, and nothing proves whether it runs

Every error has `operation`, `version`, `applied` and `retryable`. `applied` answers "may the server have done
it?": "no" (it cannot have), "unknown", or "yes" (it said so, and something failed after that).

What an error carries is given to its constructor, by keyword. Two methods add to it later: `concerning`, because the
layer that raises an error need not know which operation it belongs to; and `proven_not_applied`, because such a proof
is found after the error was raised.
"""

import contextlib
import copy
from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Literal, Self, TypeAlias, TypedDict, Unpack

from soapbatch.model import BatchTaskInfo, ExceptionInfo, ServiceVersion

Applied: TypeAlias = Literal["no", "unknown", "yes"]


class Common(TypedDict, total=False):
    """What every error takes by keyword; see the attributes of `SoapBatchError`."""

    operation: str | None
    version: ServiceVersion | None
    applied: Applied
    retryable: bool
    retry_after: float | None


class SoapBatchError(Exception):
    """The base of the tree.

    Attributes:
        operation: the wire name of the operation, or None where there was none yet.
        version: the service version asked for, or None where there was none yet.
        applied: may the server have done it? "no", "unknown" or "yes".
        retryable: whether the same call, made again later and unchanged, may well succeed.
        retry_after: seconds after which the server would like to be asked again, or None.
    """

    applied: Applied = "unknown"
    retryable: bool = False
    operation: str | None = None
    version: ServiceVersion | None = None
    retry_after: float | None = None

    def __init__(self, message: str = "", **common: Unpack[Common]) -> None:
        """Say what is wrong, and what to do next (`message`)."""
        super().__init__(message)
        vars(self).update(common)

    def concerning(
        self, operation: str | None, version: ServiceVersion | None, *, may_be_applied: bool = False
    ) -> Self:
        """Add which call the error is about, unless it says so itself, and return it.

        `may_be_applied`: an earlier attempt of the same call may have been applied, so that "no" is not true of it.
        """
        self.operation = self.operation or operation
        self.version = self.version or version
        if may_be_applied and self.applied == "no":
            self.applied = "unknown"
        return self

    def proven_not_applied(self, proof: str) -> Self:
        """Set `applied` to "no", add the `proof` of that as a note, and return the error."""
        self.applied = "no"
        self.add_note(proof)
        return self

    def copy(self) -> Self:
        """Return a copy for one more waiter, with its cause and notes: each raise adds to a traceback."""
        other = copy.copy(self)
        other.__cause__ = self.__cause__
        if notes := getattr(self, "__notes__", None):
            other.__notes__ = [*notes]
        return other


@contextlib.contextmanager
def clean_traceback() -> Generator[None]:
    """Raise errors of ours that leave the block as if they were raised here: without the frames below.

    Frames below hold envelopes and revealed secrets in their locals, and tracebacks may show locals. The cause, which
    has no frames, stays; the context, which may have some, goes.
    """
    try:
        yield
    except SoapBatchError as error:
        clean = error.with_traceback(None)
        clean.__context__ = None
    else:
        return
    raise clean from clean.__cause__


class UsageError(SoapBatchError):
    """The call was wrong; nothing was sent."""

    applied: Applied = "no"


class EncodeError(UsageError):
    """A value cannot be written.

    Attributes:
        path: which one, from the parameter down, for example `batch_task_info.parameter_object['k']`.
        reason: what is wrong with it.
    """

    def __init__(self, reason: str = "", path: str = "", **common: Unpack[Common]) -> None:
        """Say what is wrong (`reason`) with the value at `path`."""
        super().__init__(f"{path}: {reason}", **common)
        self.args = (reason, path)  # what a copy or a pickle is made of
        self.reason, self.path = reason, path

    def __str__(self) -> str:
        """Return where, and what is wrong there."""
        return f"{self.path}: {self.reason}"

    def under(self, step: str) -> "EncodeError":
        """Return the same, seen from one level further up."""
        return EncodeError(self.reason, f"{step}{'' if self.path.startswith('[') else '.'}{self.path}")


class NotInVersion(UsageError):
    """An operation, a field or a value that the service version lacks.

    Attributes:
        since: the first version that has it.
    """

    def __init__(self, message: str = "", *, since: ServiceVersion | None = None, **common: Unpack[Common]) -> None:
        """Take what there is to say."""
        super().__init__(message, **common)
        self.since = since

    @classmethod
    def lacks(cls, version: ServiceVersion, what: str, since: ServiceVersion, advice: str) -> Self:
        """Return the error that says that `version` has no `what`, which came with `since`, and what to do."""
        return cls(f"{what} came with {since}; {version} does not have it: {advice}", since=since)


class InsecureTransport(UsageError):
    """A password would have crossed plain HTTP to a host that is not this machine."""


class ClientClosed(UsageError):
    """The client was closed, or is closing: it takes no new calls."""


class TransportError(SoapBatchError):
    """There is no answer, or only a part of one."""

    retryable = True


class ConnectFailed(TransportError):
    """No connection came about (refused, DNS, TLS, proxy): nothing was sent."""

    applied: Applied = "no"


class ConnectionLost(TransportError):
    """The connection broke after the request may have left."""


class DeadlineExceeded(TransportError, TimeoutError):
    """The call's `timeout` ran out.

    Attributes:
        phase: what the call was doing: "queueing", "login", "connecting", "sending", "waiting", "reading", "retrying".
        timeout: seconds it was given.
    """

    def __init__(
        self, message: str = "", *, phase: str = "", timeout: float | None = None, **common: Unpack[Common]
    ) -> None:
        """Take what there is to say."""
        super().__init__(message, **common)
        self.phase, self.timeout = phase, timeout


class ProtocolError(SoapBatchError):
    """There is an answer, but not one that can be read as the operation's.

    Attributes:
        status: the HTTP status.
        excerpt: the first characters of the body, redacted; "" where it says nothing.
    """

    def __init__(
        self, message: str = "", *, status: int | None = None, excerpt: str = "", **common: Unpack[Common]
    ) -> None:
        """Take what there is to say."""
        super().__init__(message, **common)
        self.status, self.excerpt = status, excerpt


class HttpError(ProtocolError):
    """An HTTP status that means failure, and no SOAP envelope with it."""


class BindingRefused(HttpError):
    """HTTP 415: the server does not take this form of envelope. It was refused before dispatch."""

    applied: Applied = "no"


class AccessDenied(HttpError):
    """HTTP 401 or 403, from the server or something in front of it."""

    applied: Applied = "no"


class TenantMoved(HttpError):
    """HTTP 421: this host no longer serves the tenant."""

    applied: Applied = "no"


class ServiceBusy(HttpError):
    """HTTP 429 or 503: come back later."""

    retryable = True


class UnreadableResponse(ProtocolError):
    """The body is empty, not XML, truncated, in a wrong encoding, or holds a DOCTYPE."""


class UnexpectedResponse(ProtocolError):
    """A SOAP envelope that does not answer the operation, or a value in it that is not of its type."""


class LimitExceeded(ProtocolError):
    """The response is larger than `Limits` allows.

    Attributes:
        limit: the attribute of `Limits` that it exceeds.
    """

    def __init__(
        self,
        message: str = "",
        *,
        limit: str = "",
        status: int | None = None,
        excerpt: str = "",
        **common: Unpack[Common],
    ) -> None:
        """Take what there is to say."""
        super().__init__(message, status=status, excerpt=excerpt, **common)
        self.limit = limit


class ServiceError(SoapBatchError):
    """The service answered, and the answer is no."""


class Fault(ServiceError):
    """A SOAP fault, of SOAP 1.1 or 1.2.

    Attributes:
        code: the local part of the code: `Sender`, `Receiver`, `Client`, `Server`, `ActionNotSupported`, ...
        subcode: the local part of the 1.2 subcode, or None.
        reason: the first reason that has a text.
        reasons: every reason by its language ("" where none was given).
        actor: who raised it (1.1 `faultactor`, 1.2 `Role` or `Node`), or None.
        detail: the text of the detail element, or None.
        exception_info: the detail, when it is one of NetServer's own; else None.
        status: the HTTP status that came with it.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        subcode: str | None = None,
        reason: str = "",
        reasons: Mapping[str, str] | None = None,
        actor: str | None = None,
        detail: str | None = None,
        exception_info: ExceptionInfo | None = None,
        status: int | None = None,
        **common: Unpack[Common],
    ) -> None:
        """Take what there is to say."""
        super().__init__(message, **common)
        self.code, self.subcode = code, subcode
        self.reason, self.reasons = reason, reasons or {}
        self.actor, self.detail = actor, detail
        self.exception_info = exception_info
        self.status = status

    @property
    def error_type(self) -> str | None:
        """The last dotted part of the exception's type, where the detail is one of NetServer's own."""
        return self.exception_info.error_type if self.exception_info else None


class VersionMismatch(Fault):
    """A fault about the envelope's version: the form was refused before dispatch."""

    applied: Applied = "no"


class OperationFailed(ServiceError):
    """NetServer's usual way to fail: HTTP 200, and Succeeded=false or a filled ExceptionInfo in the header.

    Attributes:
        exception_info: everything the server said; None if it only said Succeeded=false.
    """

    def __init__(
        self, message: str = "", *, exception_info: ExceptionInfo | None = None, **common: Unpack[Common]
    ) -> None:
        """Take what there is to say."""
        super().__init__(message, **common)
        self.exception_info = exception_info

    @property
    def error_type(self) -> str | None:
        """The last dotted part of the exception's type: what to match on, for example `SoSessionException`."""
        return self.exception_info.error_type if self.exception_info else None


class AuthenticationFailed(ServiceError):
    """No ticket for these credentials.

    Attributes:
        user: for whom, if the credentials name one; never the password.
        refused_by: "flag" (AuthenticationSucceeded=false in a reply that succeeded) or "server" (it failed).
    """

    applied: Applied = "no"

    def __init__(
        self,
        message: str = "",
        *,
        user: str | None = None,
        refused_by: Literal["flag", "server"] = "flag",
        **common: Unpack[Common],
    ) -> None:
        """Take what there is to say."""
        super().__init__(message, **common)
        self.user, self.refused_by = user, refused_by


class JobError(SoapBatchError):
    """What became of a job, where that is not success.

    Attributes:
        id: the task's number on the server; None where it is not known.
        info: the task as last seen, or None.
    """

    applied: Applied = "yes"

    def __init__(
        self, message: str = "", *, id: int | None = None, info: BatchTaskInfo | None = None, **common: Unpack[Common]
    ) -> None:
        """Take what there is to say."""
        super().__init__(message, **common)
        self.id, self.info = id, info


class JobFailed(JobError):
    """The job ended as Failed; `info.result` and `info.description` hold what the server says of it."""


class JobGone(JobError):
    """The server does not know the task (any more): finished tasks may vanish."""


class WaitTimeout(JobError, TimeoutError):
    """The job was not seen to end before the wait did; it may run on.

    Attributes:
        seen_at: when `info` was read (aware, UTC), or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        id: int | None = None,
        info: BatchTaskInfo | None = None,
        seen_at: datetime | None = None,
        **common: Unpack[Common],
    ) -> None:
        """Take what there is to say."""
        super().__init__(message, id=id, info=info, **common)
        self.seen_at = seen_at


class JobRunning(JobError):
    """Nothing was started: another job of the same name still runs, and `if_running` is "fail"."""

    applied: Applied = "no"


class StartOutcomeUnknown(JobError):
    """The answer to StartBatchJob was lost, and nothing proves whether the job was started.

    Attributes:
        name: of the job.
        marker: the text that the started task would carry, or None.
    """

    applied: Applied = "unknown"

    def __init__(
        self,
        message: str = "",
        *,
        id: int | None = None,
        info: BatchTaskInfo | None = None,
        name: str | None = None,
        marker: str | None = None,
        **common: Unpack[Common],
    ) -> None:
        """Take what there is to say."""
        super().__init__(message, id=id, info=info, **common)
        self.name, self.marker = name, marker
