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
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias

from soapbatch.carriers import BatchTaskInfo, ExceptionInfo
from soapbatch.services import ServiceVersion

Applied: TypeAlias = Literal["no", "unknown", "yes"]


class SoapBatchError(Exception):
    """The base of the tree.

    Attributes:
        operation: the wire name of the operation, or None where there was none yet.
        version: the service version asked for, or None where there was none yet.
        applied: may the server have done it? "no", "unknown" or "yes".
        retryable: whether the same call, made again later and unchanged, may well succeed.
    """

    applied: Applied = "unknown"
    retryable: bool = False
    operation: str | None = None
    version: ServiceVersion | None = None


class UsageError(SoapBatchError):
    """The call was wrong; nothing was sent."""

    applied: Applied = "no"


class EncodeError(UsageError):
    """A value cannot be written.

    Attributes:
        path: which one, from the parameter down, for example `batch_task_info.parameter_object['k']`.
    """

    def __init__(self, message: str = "", path: str = "") -> None:
        """Say what is wrong (`message`) with the value at `path`."""
        super().__init__(message, path)
        self.path = path

    def __str__(self) -> str:
        """Return where, and what is wrong there."""
        return f"{self.path}: {self.args[0]}"


class NotInVersion(UsageError):  # noqa: N818 - says what happened
    """An operation, a field or a value that the service version lacks.

    Attributes:
        since: the first version that has it.
    """

    since: ServiceVersion | None = None


class InsecureTransport(UsageError):  # noqa: N818 - says what happened
    """A password would have crossed plain HTTP to a host that is not this machine."""


class ClientClosed(UsageError):  # noqa: N818 - says what happened
    """The client was closed, or is closing: it takes no new calls."""


class TransportError(SoapBatchError):
    """There is no answer, or only a part of one."""

    retryable = True


class ConnectFailed(TransportError):  # noqa: N818 - says what happened
    """No connection came about (refused, DNS, TLS, proxy): nothing was sent."""

    applied: Applied = "no"


class ConnectionLost(TransportError):  # noqa: N818 - says what happened
    """The connection broke after the request may have left."""


class DeadlineExceeded(TransportError, TimeoutError):  # noqa: N818 - says what happened
    """The call's `timeout` ran out.

    Attributes:
        phase: what the call was doing: "queueing", "login", "connecting", "sending", "waiting", "reading", "retrying".
        timeout: seconds it was given.
    """

    phase: str = ""
    timeout: float | None = None


class ProtocolError(SoapBatchError):
    """There is an answer, but not one that can be read as the operation's.

    Attributes:
        status: the HTTP status.
        excerpt: the first characters of the body, redacted; "" where it says nothing.
    """

    status: int | None = None
    excerpt: str = ""


class HttpError(ProtocolError):
    """An HTTP status that means failure, and no SOAP envelope with it.

    Attributes:
        retry_after: seconds after which the server would like to be asked again, or None.
    """

    retry_after: float | None = None


class BindingRefused(HttpError):  # noqa: N818 - says what happened
    """HTTP 415: the server does not take this form of envelope. It was refused before dispatch."""

    applied: Applied = "no"


class AccessDenied(HttpError):  # noqa: N818 - says what happened
    """HTTP 401 or 403, from the server or something in front of it."""

    applied: Applied = "no"


class TenantMoved(HttpError):  # noqa: N818 - says what happened
    """HTTP 421: this host no longer serves the tenant."""

    applied: Applied = "no"


class ServiceBusy(HttpError):  # noqa: N818 - says what happened
    """HTTP 429 or 503: come back later."""

    retryable = True


class UnreadableResponse(ProtocolError):  # noqa: N818 - says what happened
    """The body is empty, not XML, truncated, in a wrong encoding, or holds a DOCTYPE."""


class UnexpectedResponse(ProtocolError):  # noqa: N818 - says what happened
    """A SOAP envelope that does not answer the operation, or a value in it that is not of its type."""


class LimitExceeded(ProtocolError):  # noqa: N818 - says what happened
    """The response is larger than `Limits` allows.

    Attributes:
        limit: the attribute of `Limits` that it exceeds.
    """

    limit: str = ""


class ServiceError(SoapBatchError):
    """The service answered, and the answer is no."""


class Fault(ServiceError):  # noqa: N818 - the field's own word
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

    code: str = ""
    subcode: str | None = None
    reason: str = ""
    reasons: Mapping[str, str] = {}
    actor: str | None = None
    detail: str | None = None
    exception_info: ExceptionInfo | None = None
    status: int | None = None

    @property
    def error_type(self) -> str | None:
        """The last dotted part of the exception's type, where the detail is one of NetServer's own."""
        return self.exception_info.error_type if self.exception_info else None


class VersionMismatch(Fault):
    """A fault about the envelope's version: the form was refused before dispatch."""

    applied: Applied = "no"


class OperationFailed(ServiceError):  # noqa: N818 - the contract's own word
    """NetServer's usual way to fail: HTTP 200, and Succeeded=false or a filled ExceptionInfo in the header.

    Attributes:
        exception_info: everything the server said; None if it only said Succeeded=false.
        error_type: the last dotted part of the exception's type, for example `SoSessionException`; or None.
    """

    exception_info: ExceptionInfo | None = None

    @property
    def error_type(self) -> str | None:
        """The last dotted part of the exception's type: what to match on."""
        return self.exception_info.error_type if self.exception_info else None


class AuthenticationFailed(ServiceError):  # noqa: N818 - the contract's own word
    """No ticket for these credentials.

    Attributes:
        user: for whom, if the credentials name one; never the password.
        refused_by: "flag" (AuthenticationSucceeded=false in a reply that succeeded) or "server" (it failed).
    """

    applied: Applied = "no"
    user: str | None = None
    refused_by: Literal["flag", "server"] = "flag"


class JobError(SoapBatchError):
    """What became of a job, where that is not success.

    Attributes:
        id: the task's number on the server; None where it is not known.
        info: the task as last seen, or None.
    """

    applied: Applied = "yes"
    id: int | None = None
    info: BatchTaskInfo | None = None


class JobFailed(JobError):  # noqa: N818 - says what happened
    """The job ended as Failed; `info.result` and `info.description` hold what the server says of it."""


class JobGone(JobError):  # noqa: N818 - says what happened
    """The server does not know the task (any more): finished tasks may vanish."""


class WaitTimeout(JobError, TimeoutError):  # noqa: N818 - says what happened
    """The job was not seen to end before the wait did; it may run on.

    Attributes:
        seen_at: when `info` was read (aware, UTC), or None.
    """

    seen_at: datetime | None = None


class JobRunning(JobError):  # noqa: N818 - says what happened
    """Nothing was started: another job of the same name still runs, and `if_running` is "fail"."""

    applied: Applied = "no"


class StartOutcomeUnknown(JobError):  # noqa: N818 - says what happened
    """The answer to StartBatchJob was lost, and nothing proves whether the job was started.

    Attributes:
        name: of the job.
        marker: the text that the started task would carry, or None.
    """

    applied: Applied = "unknown"
    name: str | None = None
    marker: str | None = None
