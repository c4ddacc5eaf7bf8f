"""A typed async client for the batch services of SuperOffice NetServer.

    from soapbatch import Client, ServiceVersion

    async with Client("https://crm.example.com/SuperOffice", ticket="7T:...", version=ServiceVersion.V88) as client:
        info = await client.batch.get_batch_task_info(42)

Everything that users need stands here; the modules below are a stair that this roof rests on.

Names are imported when they are first asked for, so that `import soapbatch` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # what type checkers and editors read; a test holds it to _HOMES, which Python reads
    from soapbatch.aiohttp import aiohttp_transport as aiohttp_transport
    from soapbatch.builder import (
        Request as Request,
        build_request as build_request,
    )
    from soapbatch.calls import (
        CallOptions as CallOptions,
    )
    from soapbatch.carriers import (
        ALL_ASSOCIATES as ALL_ASSOCIATES,
        ALL_USER_TASKS as ALL_USER_TASKS,
        SYSTEM_TASKS as SYSTEM_TASKS,
        BatchTaskCancellationBehaviour as BatchTaskCancellationBehaviour,
        BatchTaskInfo as BatchTaskInfo,
        BatchTaskState as BatchTaskState,
        ExceptionInfo as ExceptionInfo,
        ReplyHeader as ReplyHeader,
        RequestHeader as RequestHeader,
        SoCredentials as SoCredentials,
        SoTimeZone as SoTimeZone,
    )
    from soapbatch.client import (
        Client as Client,
    )
    from soapbatch.credentials import (
        AccessToken as AccessToken,
        Generic as Generic,
        Implicit as Implicit,
        Ticket as Ticket,
        UsernamePassword as UsernamePassword,
    )
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
        SoapBatchError as SoapBatchError,
        StartOutcomeUnknown as StartOutcomeUnknown,
        TenantMoved as TenantMoved,
        TransportError as TransportError,
        UnexpectedResponse as UnexpectedResponse,
        UnreadableResponse as UnreadableResponse,
        UsageError as UsageError,
        VersionMismatch as VersionMismatch,
        WaitTimeout as WaitTimeout,
    )
    from soapbatch.exchange import (
        Retries as Retries,
    )
    from soapbatch.jobs import Jobs as Jobs
    from soapbatch.jobs.job import Job as Job
    from soapbatch.jobs.outcomes import Outcome as Outcome
    from soapbatch.jobs.polling import Polling as Polling
    from soapbatch.jobs.starting import (
        Marker as Marker,
        StartOptions as StartOptions,
    )
    from soapbatch.judgement import (
        parse_response as parse_response,
    )
    from soapbatch.lanes import (
        LaneTransport as LaneTransport,
    )
    from soapbatch.limits import (
        Limits as Limits,
    )
    from soapbatch.observe import (
        Hooks as Hooks,
        RequestEvent as RequestEvent,
        ResponseEvent as ResponseEvent,
    )
    from soapbatch.principals import (
        AuthenticateResponse as AuthenticateResponse,
        DSAParameters as DSAParameters,
        EjUserStatus as EjUserStatus,
        GrantedModuleLicense as GrantedModuleLicense,
        LicenseInfo as LicenseInfo,
        LicenseType as LicenseType,
        ModuleLicense as ModuleLicense,
        NetServerBuildType as NetServerBuildType,
        ProvidedCredential as ProvidedCredential,
        RoleType as RoleType,
        SignedPublicKey as SignedPublicKey,
        SoPrincipalCarrier as SoPrincipalCarrier,
        SoSystemInfoCarrier as SoSystemInfoCarrier,
        UserType as UserType,
    )
    from soapbatch.reader import (
        Unknown as Unknown,
    )
    from soapbatch.secret import (
        Secret as Secret,
    )
    from soapbatch.services import (
        Binding as Binding,
        ServiceVersion as ServiceVersion,
    )
    from soapbatch.stores import (
        FileTicketStore as FileTicketStore,
        MemoryTicketStore as MemoryTicketStore,
        TicketStore as TicketStore,
    )
    from soapbatch.transport import (
        HttpReply as HttpReply,
        HttpRequest as HttpRequest,
        Progress as Progress,
        Transport as Transport,
    )


_HOMES: Final = {
    "aiohttp": ("aiohttp_transport",),
    "builder": ("Request", "build_request"),
    "calls": ("CallOptions",),
    "carriers": (
        "ALL_ASSOCIATES",
        "ALL_USER_TASKS",
        "SYSTEM_TASKS",
        "BatchTaskCancellationBehaviour",
        "BatchTaskInfo",
        "BatchTaskState",
        "ExceptionInfo",
        "ReplyHeader",
        "RequestHeader",
        "SoCredentials",
        "SoTimeZone",
    ),
    "client": ("Client",),
    "credentials": ("AccessToken", "Generic", "Implicit", "Ticket", "UsernamePassword"),
    "errors": (
        "AccessDenied",
        "AuthenticationFailed",
        "BindingRefused",
        "ClientClosed",
        "ConnectFailed",
        "ConnectionLost",
        "DeadlineExceeded",
        "EncodeError",
        "Fault",
        "HttpError",
        "InsecureTransport",
        "JobError",
        "JobFailed",
        "JobGone",
        "JobRunning",
        "LimitExceeded",
        "NotInVersion",
        "OperationFailed",
        "ProtocolError",
        "ServiceBusy",
        "ServiceError",
        "SoapBatchError",
        "StartOutcomeUnknown",
        "TenantMoved",
        "TransportError",
        "UnexpectedResponse",
        "UnreadableResponse",
        "UsageError",
        "VersionMismatch",
        "WaitTimeout",
    ),
    "exchange": ("Retries",),
    "jobs": ("Jobs",),
    "jobs.job": ("Job",),
    "jobs.outcomes": ("Outcome",),
    "jobs.polling": ("Polling",),
    "jobs.starting": ("Marker", "StartOptions"),
    "judgement": ("parse_response",),
    "lanes": ("LaneTransport",),
    "limits": ("Limits",),
    "observe": ("Hooks", "RequestEvent", "ResponseEvent"),
    "principals": (
        "AuthenticateResponse",
        "DSAParameters",
        "EjUserStatus",
        "GrantedModuleLicense",
        "LicenseInfo",
        "LicenseType",
        "ModuleLicense",
        "NetServerBuildType",
        "ProvidedCredential",
        "RoleType",
        "SignedPublicKey",
        "SoPrincipalCarrier",
        "SoSystemInfoCarrier",
        "UserType",
    ),
    "reader": ("Unknown",),
    "secret": ("Secret",),
    "services": ("Binding", "ServiceVersion"),
    "stores": ("FileTicketStore", "MemoryTicketStore", "TicketStore"),
    "transport": ("HttpReply", "HttpRequest", "Progress", "Transport"),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 # pyright: ignore[reportUnsupportedDunderAll] - made from the table


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever stands there
    """Import a public name from the module that defines it."""
    if name not in _HOME_OF:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
