from soapbatch.auth import (
    AccessToken as AccessToken,
    FileTicketStore as FileTicketStore,
    Generic as Generic,
    Implicit as Implicit,
    Ticket as Ticket,
    UsernamePassword as UsernamePassword,
)
from soapbatch.calls import Hooks as Hooks
from soapbatch.client import Client as Client
from soapbatch.errors import (
    AccessDenied as AccessDenied,
    AuthenticationFailed as AuthenticationFailed,
    BindingRefused as BindingRefused,
    ClientClosed as ClientClosed,
    ConnectFailed as ConnectFailed,
    ConnectionLost as ConnectionLost,
    DeadlineExceeded as DeadlineExceeded,
    EncodeError as EncodeError,
    Fault as Fault,
    HttpError as HttpError,
    InsecureTransport as InsecureTransport,
    JobError as JobError,
    JobFailed as JobFailed,
    JobGone as JobGone,
    JobRunning as JobRunning,
    LimitExceeded as LimitExceeded,
    NotInVersion as NotInVersion,
    OperationFailed as OperationFailed,
    ProtocolError as ProtocolError,
    ServiceBusy as ServiceBusy,
    ServiceError as ServiceError,
    SessionLost as SessionLost,
    SoapBatchError as SoapBatchError,
    StartOutcomeUnknown as StartOutcomeUnknown,
    StopRefused as StopRefused,
    SystemUserRefused as SystemUserRefused,
    TenantMoved as TenantMoved,
    TenantUnavailable as TenantUnavailable,
    TokenNotTrusted as TokenNotTrusted,
    TransportError as TransportError,
    UnexpectedResponse as UnexpectedResponse,
    UnreadableResponse as UnreadableResponse,
    UsageError as UsageError,
    VersionMismatch as VersionMismatch,
    WaitTimeout as WaitTimeout,
)
from soapbatch.jobs import (
    Job as Job,
    JobReference as JobReference,
    Marker as Marker,
    Outcome as Outcome,
    Polling as Polling,
)
from soapbatch.model import (
    ALL_ASSOCIATES as ALL_ASSOCIATES,
    ALL_USER_TASKS as ALL_USER_TASKS,
    SYSTEM_TASKS as SYSTEM_TASKS,
    BatchTaskCancellationBehaviour as BatchTaskCancellationBehaviour,
    BatchTaskInfo as BatchTaskInfo,
    BatchTaskState as BatchTaskState,
    Binding as Binding,
    Limits as Limits,
    Retries as Retries,
    Secret as Secret,
    ServiceVersion as ServiceVersion,
)
from soapbatch.soap import build_request as build_request, parse_response as parse_response
from soapbatch.tenants import Tenants as Tenants
from soapbatch.transport import ConnectionPool as ConnectionPool

__version__: str
