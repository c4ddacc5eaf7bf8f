"""Everything that soapbatch raises, split by who has to act.

    SoapBatchError
    ├── UsageError                 the caller: nothing was sent, unless `applied` says otherwise
    │   ├── EncodeError            a value cannot be written; `path` names it
    │   ├── NotInVersion           the service version lacks an operation, a field or a value
    │   ├── InsecureTransport      a secret would cross plain HTTP
    │   └── ClientClosed           the client was closed, or is closing
    ├── TransportError             the network's operator: there is no answer
    │   ├── ConnectFailed          no connection: refused, DNS, TLS, proxy; nothing was sent
    │   ├── ConnectionLost         the connection broke after the request may have left
    │   └── DeadlineExceeded       the call's `timeout` ran out; `phase` says where (also a TimeoutError)
    ├── ProtocolError              the operator of the server or a proxy: the answer is not the operation's
    │   ├── HttpError              an HTTP status, and no SOAP envelope
    │   │   ├── BindingRefused     415: the server does not take this form of envelope
    │   │   ├── AccessDenied       401, 403
    │   │   ├── TenantMoved        421: this host no longer serves the tenant
    │   │   └── ServiceBusy        429, 503; `retry_after` if the server gave one
    │   ├── UnreadableResponse     empty, not XML, truncated, a forbidden DOCTYPE, a wrong encoding
    │   ├── UnexpectedResponse     a SOAP envelope that does not answer the operation
    │   ├── LimitExceeded          larger than `Limits` allows; `limit` names the attribute
    │   └── TokenNotTrusted        the JWT for a system user fails a check; `check` names it
    ├── ServiceError               the service's owner: the service answered, and refused
    │   ├── Fault                  a SOAP fault
    │   │   └── VersionMismatch    a fault about the envelope's version: the server refused the form
    │   ├── OperationFailed        Succeeded=false or a filled ExceptionInfo in the response's header
    │   │   └── SessionLost        the server refused the ticket: it is unknown, or has expired
    │   ├── AuthenticationFailed   no ticket for these credentials
    │   │   └── SystemUserRefused  Online gives no ticket for a system user; `reason` says why
    │   └── TenantUnavailable      the Online tenant does not run; `state` and `valid_until` say more
    └── JobError                   the job's owner: every call worked, and the job did not
        ├── JobFailed              the job ended as Failed
        ├── JobGone                the server does not know the job (any more)
        ├── WaitTimeout            the job still ran when the wait's `timeout` ran out (also a TimeoutError)
        ├── JobRunning             a job still runs: this one, or another one of the same name
        ├── StopRefused            not stopped: the task says that it must not be, or only after a warning
        └── StartOutcomeUnknown    the answer to the start was lost, and nothing proves whether the job runs

Every error has `operation`, `version`, `applied` and `retryable`. `applied` answers "may the server have applied the
call?": "no" (impossible), "unknown", or "yes" (the server said so, and something failed afterwards).

An HTTP status is taken at its word: 401, 403, 404, 413, 415, 421, 429 and some others mean that the request did not
reach the operation. So `applied` is "no", and a call that got 401 is sent again with a new ticket. A gateway that lets
the server run a request and then answers 401 in its place (a policy for responses, a sign-in that expires on the way
back) breaks this rule: a job may then be started twice. Let such a gateway decide before it passes a request on. A
start with a `key` lists the job's tasks before it is sent again, and finds the one that runs.

A ServiceError or ProtocolError has the request and its response in `exchange`, without secrets: `soapbatch.guide.logs`
shows what to send to the owner of the server.

An error takes everything that it carries from its constructor, by keyword. Three methods add to it later: `concerning`,
because the layer that raises an error need not know the operation; `explained_by`, likewise with the bytes; and
`proven_not_applied`, because such a proof is found after the error was raised.
"""

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Literal, Self, TypeAlias, TypedDict, Unpack

from soapbatch.model import BatchTaskInfo, ExceptionInfo, ExchangeRecord, ServiceVersion

Applied: TypeAlias = Literal["no", "unknown", "yes"]

TokenCheck: TypeAlias = Literal[
    "form", "algorithm", "key", "signature", "issuer", "audience", "lifetime", "tenant", "ticket"
]
"""The checks of a system user's JWT, in the order in which they are made."""


class Common(TypedDict, total=False):
    """What every error takes by keyword. The attributes of `SoapBatchError` say what each means."""

    operation: str | None
    version: ServiceVersion | None
    applied: Applied
    retryable: bool
    retry_after: float | None
    exchange: ExchangeRecord | None


def _known(kind: type, common: Common) -> Common:
    """Return `common`; raise a TypeError if it holds a keyword that no error takes."""
    if unknown := common.keys() - Common.__annotations__.keys():
        raise TypeError(f"{kind.__name__} takes no {', '.join(sorted(unknown))}")
    return common


class SoapBatchError(Exception):
    """The base of the tree.

    Attributes:
        operation: the wire name of the operation; None where there was none yet.
        version: the service version of the call; None where there was none yet.
        applied: whether the server may have applied the call: "no", "unknown" or "yes".
        retryable: whether the same call, unchanged, may succeed later.
        retry_after: seconds that the server asks the client to wait before the next request, or None.
        exchange: the request and the response that the error is about, without secrets, for whoever has to explain
            them: `print(error.exchange)`. A ServiceError or ProtocolError of a call has it. None: the error does not
            come from what a NetServer, or a proxy in its place, has answered; or another error, its `__cause__`, does.
    """

    applied: Applied = "unknown"
    retryable: bool = False
    operation: str | None = None
    version: ServiceVersion | None = None
    retry_after: float | None = None
    exchange: ExchangeRecord | None = None

    def __init__(self, message: str = "", **common: Unpack[Common]) -> None:
        """Take the message (what is wrong, and what to do next) and what every error carries.

        Raises:
            TypeError: a keyword is unknown.
        """
        super().__init__(message)
        vars(self).update(_known(type(self), common))

    def concerning(
        self, operation: str | None, version: ServiceVersion | None, *, may_be_applied: bool = False
    ) -> Self:
        """Return this error, after adding the call's operation and version where it has none of its own.

        Args:
            operation: the wire name of the operation.
            version: the service version.
            may_be_applied: whether an earlier attempt of the same call may have been applied, which turns an `applied`
                of "no" into "unknown".
        """
        self.operation = self.operation or operation
        self.version = self.version or version
        if may_be_applied and self.applied == "no":
            self.applied = "unknown"
        return self

    def explained_by(self, exchange: ExchangeRecord) -> Self:
        """Return this error, after adding what went over the wire where it has nothing of the kind."""
        self.exchange = self.exchange or exchange
        return self

    def proven_not_applied(self, proof: str | None = None) -> Self:
        """Set `applied` to "no", add the `proof` of that as a note if it needs words, and return the error."""
        self.applied = "no"
        if proof is not None:
            self.add_note(proof)
        return self

    def copy(self, **changes: Unpack[Common]) -> Self:
        """Return a copy with `changes`, with its cause and notes.

        Tasks that wait for the same work each raise a copy: raising one object again and again extends its traceback.
        """
        other = copy.copy(self)
        vars(other).update(_known(type(self), changes))
        other.__cause__ = self.__cause__
        if notes := getattr(self, "__notes__", None):
            other.__notes__ = [*notes]
        return other


class clean_traceback(AbstractContextManager[None]):  # noqa: N801 - named as contextlib names its own
    """Cut the traceback of a SoapBatchError that leaves the block at the frame that holds the block.

    The frames below hold envelopes and revealed secrets in their locals, and a traceback may show locals. The causes
    stay, without their frames. The context goes: it may be a foreign error with frames. A class, because contextlib
    restores the traceback that a generator cuts. `operation` and `version`: see `SoapBatchError.concerning`.
    """

    def __init__(self, operation: str | None = None, version: ServiceVersion | None = None) -> None:
        """Prepare to cut."""
        self._operation, self._version = operation, version

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        """Cut the traceback of `error`."""
        if frames is None or not isinstance(error, SoapBatchError):
            return
        frames.tb_next = None
        link: BaseException | None = error.concerning(self._operation, self._version).with_traceback(frames)
        while link is not None:
            if isinstance(link, SoapBatchError):
                link.__context__ = None
            link = link.__cause__ and link.__cause__.with_traceback(None)


class UsageError(SoapBatchError):
    """The call is wrong; nothing was sent."""

    applied: Applied = "no"


class EncodeError(UsageError):
    """A value cannot be written.

    Attributes:
        path: where the value stands, from the parameter down, for example `batch_task_info.parameter_object['k']`.
        reason: what is wrong with the value.
    """

    def __init__(self, reason: str = "", path: str = "", **common: Unpack[Common]) -> None:
        """Take what is wrong (`reason`) with the value at `path`."""
        super().__init__(f"{path}: {reason}", **common)
        self.args = (reason, path)  # a copy and a pickle call the constructor with these
        self.reason, self.path = reason, path

    def __str__(self) -> str:
        """Return the path and the reason."""
        return f"{self.path}: {self.reason}"

    def under(self, step: str) -> "EncodeError":
        """Return the same error for the value that holds this one as its `step`: a field's name, or `[index]`."""
        return EncodeError(self.reason, f"{step}{'' if self.path.startswith('[') else '.'}{self.path}")


class NotInVersion(UsageError):
    """The service version lacks an operation, a field or a value.

    Attributes:
        since: the first version that has what is missing.
    """

    def __init__(self, message: str = "", *, since: ServiceVersion | None = None, **common: Unpack[Common]) -> None:
        """Take the message and the attributes."""
        super().__init__(message, **common)
        self.since = since

    @classmethod
    def lacks(cls, version: ServiceVersion, what: str, since: ServiceVersion, advice: str) -> Self:
        """Return the error for `what`, which came with `since` and which `version` lacks; `advice` says what to do."""
        return cls(f"{what} came with {since}; {version} does not have it: {advice}", since=since, version=version)


class InsecureTransport(UsageError):
    """A secret would cross plain HTTP: a password to another machine, or any secret to a proxy on another machine."""


class ClientClosed(UsageError):
    """The client was closed, or is closing: it refuses new calls, and ends running ones after a grace period."""

    @classmethod
    def refused(cls, what: str, **common: Unpack[Common]) -> Self:
        """Return the error for `what` (a call, a request, a login), which the closed client did not send."""
        return cls(f"the client is closed: {what} was not sent; make a new client", **common)

    @classmethod
    def ended(cls, what: str, *, phase: str = "", **common: Unpack[Common]) -> Self:
        """Return the error for `what` (a call, a login, a wait), which ran, in `phase`, when the client was closed.

        `applied` is "no" unless the caller says otherwise.
        """
        during = f" while {phase}" if phase else ""
        return cls(f"the client was closed: {what} was ended{during}", **common)


class TransportError(SoapBatchError):
    """There is no answer, or only a part of one."""

    retryable = True


class ConnectFailed(TransportError):
    """There is no connection (refused, DNS, TLS, proxy): nothing was sent."""

    applied: Applied = "no"


class ConnectionLost(TransportError):
    """The connection broke after the request may have left."""


class DeadlineExceeded(TransportError, TimeoutError):
    """The call's `timeout` ran out.

    Attributes:
        phase: what the call was doing: "queueing", "login", "locating" (where is the Online tenant?), "discovering" (a
            read looked for the binding), "connecting", "sending", "waiting", "reading", "retrying"; or "settling": a
            start looked for the task that a lost request may have started.
        timeout: seconds that the caller allowed.
    """

    def __init__(
        self, message: str = "", *, phase: str = "", timeout: float | None = None, **common: Unpack[Common]
    ) -> None:
        """Take the message and the attributes."""
        super().__init__(message, **common)
        self.phase, self.timeout = phase, timeout


class ProtocolError(SoapBatchError):
    """There is an answer, and it cannot be read as the operation's.

    Attributes:
        status: the HTTP status.
        excerpt: the first characters of the body, with secrets masked; "" where the body says nothing.
    """

    def __init__(
        self, message: str = "", *, status: int | None = None, excerpt: str = "", **common: Unpack[Common]
    ) -> None:
        """Take the message and the attributes."""
        super().__init__(message, **common)
        self.status, self.excerpt = status, excerpt


class HttpError(ProtocolError):
    """An HTTP status that means failure, without a SOAP envelope."""


class BindingRefused(HttpError):
    """HTTP 415: the server does not take this form of envelope, and refused the request before dispatch."""

    applied: Applied = "no"


class AccessDenied(HttpError):
    """HTTP 401 or 403, from the server or from a proxy in front of the server."""

    applied: Applied = "no"


class TenantMoved(HttpError):
    """HTTP 421: this host no longer serves the tenant."""

    applied: Applied = "no"


class ServiceBusy(HttpError):
    """HTTP 429 or 503: the server takes no request now; try again later."""

    retryable = True


class UnreadableResponse(ProtocolError):
    """The body is empty, not XML or JSON, truncated, in a wrong encoding, or holds a DOCTYPE."""


class UnexpectedResponse(ProtocolError):
    """A response that does not answer the request, or that holds a value of the wrong type."""


class LimitExceeded(ProtocolError):
    """The response is larger than `Limits` allows.

    Attributes:
        limit: the attribute of `Limits` that the response exceeds.
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
        """Take the message and the attributes."""
        super().__init__(message, status=status, excerpt=excerpt, **common)
        self.limit = limit


class TokenNotTrusted(ProtocolError):
    """The JWT that SuperOffice Online sent for a system user fails a check: its ticket is not used.

    Attributes:
        check: the check that failed. After "key" (no known key fits), the key set may be out of date.
    """

    applied: Applied = "no"

    def __init__(
        self,
        message: str = "",
        *,
        check: TokenCheck = "form",
        status: int | None = None,
        excerpt: str = "",
        **common: Unpack[Common],
    ) -> None:
        """Take the message and the attributes."""
        super().__init__(message, status=status, excerpt=excerpt, **common)
        self.check: TokenCheck = check


class ServiceError(SoapBatchError):
    """The service answered, and refused or failed."""


class Fault(ServiceError):
    """A SOAP fault, of SOAP 1.1 or 1.2.

    Attributes:
        code: the local part of the code: `Sender`, `Receiver`, `Client`, `Server`, `ActionNotSupported`, ...
        subcode: the local part of the 1.2 subcode, or None.
        reason: the first reason with a text.
        reasons: every reason by its language ("" where the fault names none).
        actor: the node that raised the fault (1.1 `faultactor`, 1.2 `Role` or `Node`), or None.
        detail: the text of the detail element, or None.
        exception_info: the detail, where NetServer wrote it; else None.
        status: the HTTP status of the response.
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
        """Take the message and the attributes."""
        super().__init__(message, **common)
        self.code, self.subcode = code, subcode
        self.reason, self.reasons = reason, reasons or {}
        self.actor, self.detail = actor, detail
        self.exception_info = exception_info
        self.status = status

    @property
    def error_type(self) -> str | None:
        """The last dotted part of the exception's type; None where NetServer did not write the detail."""
        return self.exception_info.error_type if self.exception_info else None


class VersionMismatch(Fault):
    """A fault about the envelope's version: the server refused the form before dispatch."""

    applied: Applied = "no"


class OperationFailed(ServiceError):
    """NetServer's usual way to fail: HTTP 200, and Succeeded=false or a filled ExceptionInfo in the header.

    Attributes:
        exception_info: everything that the server said; None if it said only Succeeded=false.
    """

    def __init__(
        self, message: str = "", *, exception_info: ExceptionInfo | None = None, **common: Unpack[Common]
    ) -> None:
        """Take the message and the attributes."""
        super().__init__(message, **common)
        self.exception_info = exception_info

    @property
    def error_type(self) -> str | None:
        """The last dotted part of the exception's type, to compare with, for example `SoSessionException`."""
        return self.exception_info.error_type if self.exception_info else None


class SessionLost(OperationFailed):
    """The server refused the ticket, which is unknown or has expired: log in again. Nothing was applied."""

    applied: Applied = "no"


class AuthenticationFailed(ServiceError):
    """No ticket for these credentials.

    Attributes:
        user: the user's name, if the credentials have one; never the password.
        refused_by: "flag" (the reply succeeded and says AuthenticationSucceeded=false) or "server" (the login failed).
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
        """Take the message and the attributes."""
        super().__init__(message, **common)
        self.user, self.refused_by = user, refused_by


class SystemUserRefused(AuthenticationFailed):
    """The sign-in host of SuperOffice Online gives no JWT for a system user.

    Attributes:
        reason: the vendor's name of the reason, for example "Revoked" or "InvalidTimestamp", as far as the server's
            text shows one; else None. It is a hint: the texts are not documented.
        text: the server's own text, redacted; "" where there is none.
        status: the HTTP status of the answer.
    """

    def __init__(
        self,
        message: str = "",
        *,
        reason: str | None = None,
        text: str = "",
        status: int | None = None,
        user: str | None = None,
        refused_by: Literal["flag", "server"] = "server",
        **common: Unpack[Common],
    ) -> None:
        """Take the message and the attributes."""
        super().__init__(message, user=user, refused_by=refused_by, **common)
        self.reason, self.text, self.status = reason, text, status


class TenantUnavailable(ServiceError):
    """The tenant of SuperOffice Online is not running. `retryable` says whether it may run again soon.

    Attributes:
        state: the name of its state, for example "OfflineMaintenance".
        valid_until: until when the state is said to hold (aware), or None.
    """

    applied: Applied = "no"

    def __init__(
        self, message: str = "", *, state: str = "", valid_until: datetime | None = None, **common: Unpack[Common]
    ) -> None:
        """Take the message and the attributes."""
        super().__init__(message, **common)
        self.state, self.valid_until = state, valid_until


class JobError(SoapBatchError):
    """Every call worked, and the job did not succeed.

    Attributes:
        id: the id of the job's task on the server; None where it is not known.
        info: the task as it was last read, or None.
    """

    applied: Applied = "yes"

    def __init__(
        self, message: str = "", *, id: int | None = None, info: BatchTaskInfo | None = None, **common: Unpack[Common]
    ) -> None:
        """Take the message and the attributes."""
        super().__init__(message, **common)
        self.id, self.info = id, info


class JobFailed(JobError):
    """The job ended as Failed; `info.result` and `info.description` hold what the server says about it."""


class JobGone(JobError):
    """The server does not know the task (any more): a server may remove finished tasks.

    `applied` is "no" where the call was to stop, to delete or to clean up the task.
    """


class WaitTimeout(JobError, TimeoutError):
    """The wait ended, and no read showed that the job had ended; the job may still run.

    `applied` is "no": a wait only reads.

    Attributes:
        seen_at: when `info` was read (aware, UTC), or None.
    """

    applied: Applied = "no"

    def __init__(
        self,
        message: str = "",
        *,
        id: int | None = None,
        info: BatchTaskInfo | None = None,
        seen_at: datetime | None = None,
        **common: Unpack[Common],
    ) -> None:
        """Take the message and the attributes."""
        super().__init__(message, id=id, info=info, **common)
        self.seen_at = seen_at


class JobRunning(JobError):
    """A job still runs, and nothing was done.

    A start says so of another job of the same name, if `if_running` is "fail". A method that fetches the output says so
    of the job itself, which has no output yet.
    """

    applied: Applied = "no"


class StopRefused(JobError):
    """The server was not asked to stop the job, because of what its task says (`info.cancellation_behaviour`).

    CannotCancel: `force=True` asks the server all the same. CancelWithWarning: `confirm=True` says that the user was
    warned.
    """

    applied: Applied = "no"


class StartOutcomeUnknown(JobError):
    """The answer to StartBatchJob was lost, and nothing proves whether the job was started.

    Attributes:
        name: the job's name.
        marker: the text by which the started task can be recognised, or None.
        key: the key of the start, with which `client.jobs.find(name, key)` and a later start with `maybe_sent=True`
            find the task; None: the start had no marker.
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
        key: str | None = None,
        **common: Unpack[Common],
    ) -> None:
        """Take the message and the attributes."""
        super().__init__(message, id=id, info=info, **common)
        self.name, self.marker, self.key = name, marker, key
