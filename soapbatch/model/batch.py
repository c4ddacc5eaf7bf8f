"""The attrs classes and enums that cross the wire, for batch tasks, tickets and reply header blocks.

All are frozen, slotted and keyword-only, and every field defaults to None: on writing "not written", on
reading "nil or absent". An empty element is the empty string. Fields stand in wire order. An enum value that
this release does not know stays the text that the server sent, hence `BatchTaskState | str`.

Source: the Services75 to Services88 WSDLs; meanings from the published documentation pages.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

import attrs

from soapbatch.late import late
from soapbatch.schema import ITSELF, STRING_DICTIONARY, Array, Dictionary, Record, enumeration, wire
from soapbatch.secret import Secret
from soapbatch.services import ServiceVersion
from soapbatch.xsd import BOOLEAN, DATE_TIME, INT, SHORT, STRING

V88 = ServiceVersion.V88


class AssociateFilter(tuple[int, ...]):
    """A value of `associate_ids` with a meaning of its own, made on purpose."""

    __slots__ = ()


ALL_ASSOCIATES: Final = AssociateFilter()
"""`associate_ids` for every task. Any other empty list is refused: it would mean the same by accident."""
SYSTEM_TASKS: Final = AssociateFilter((0,))
"""`associate_ids` for the tasks of the system itself."""
ALL_USER_TASKS: Final = AssociateFilter((-1,))
"""`associate_ids` for the tasks of all users."""


class BatchTaskState(StrEnum):
    """Where a task stands. Path: NEW, ACQUIRED, STARTED, then one of the terminal three; a restart is possible."""

    UNKNOWN = "Unknown"
    NEW = "New"
    ACQUIRED = "Aquired"
    """A server has taken the task. The wire's spelling is its own (sic)."""
    STARTED = "Started"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUCCEEDED_MANUAL_CLEANUP = "SucceededManualCleanup"
    """Succeeded; the output stays until `CleanupBatchTask`. Since Services88."""
    ALL = "All"
    """No state filter; never a task's state."""


class BatchTaskCancellationBehaviour(StrEnum):
    """Whether a task may be stopped. Since Services88."""

    CAN_CANCEL = "CanCancel"
    CANCEL_WITH_WARNING = "CancelWithWarning"
    CANNOT_CANCEL = "CannotCancel"


BATCH_TASK_STATE = enumeration("BatchTaskState", BatchTaskState, {BatchTaskState.SUCCEEDED_MANUAL_CLEANUP.value: V88})
BATCH_TASK_CANCELLATION_BEHAVIOUR = enumeration("BatchTaskCancellationBehaviour", BatchTaskCancellationBehaviour)


@late("parameter_object")
@attrs.frozen(kw_only=True)
class BatchTaskInfo:
    """A batch task: what `start_batch_job` takes and what every reading operation returns.

    To start a job only `name`, usually `description` and `parameter_object`, matter. `update_batch_task`
    saves `state`, `description`, `response` and `request` and nothing else.
    """

    id: int | None = wire("Id", INT)
    """The server's number for the task."""
    name: str | None = wire("Name", STRING)
    """The name of a job that is defined on the server."""
    associate_id: int | None = wire("AssociateId", INT)
    """Whose task it is."""
    details_table: int | None = wire("DetailsTable", SHORT)
    """The table of a record that the task is about, with `details_record`."""
    details_record: int | None = wire("DetailsRecord", INT)
    is_system_task: bool | None = wire("IsSystemTask", BOOLEAN)
    is_internal_task: bool | None = wire("IsInternalTask", BOOLEAN)
    parameter_object: Mapping[str, str | None] | None = wire("ParameterObject", STRING_DICTIONARY)
    """The job's parameters, as the job defines them."""
    last_started: datetime | None = wire("LastStarted", DATE_TIME)
    """None: never."""
    created: datetime | None = wire("Created", DATE_TIME)
    start_count: int | None = wire("StartCount", INT)
    """How often the task was started; a restart makes it grow."""
    database_serial_number: str | None = wire("DatabaseSerialNumber", STRING)
    context: str | None = wire("Context", STRING)
    result: str | None = wire("Result", STRING)
    state: BatchTaskState | str | None = wire("State", BATCH_TASK_STATE)
    description: str | None = wire("Description", STRING, max_length=254)
    """At most 254 characters."""
    response: str | None = wire("Response", STRING, max_length=254)
    """At most 254 characters."""
    request: str | None = wire("Request", STRING, max_length=254)
    """At most 254 characters."""
    progress_description: str | None = wire("ProgressDescription", STRING, max_length=254)
    """At most 254 characters."""
    progress_percent: int | None = wire("ProgressPercent", SHORT, highest=100)
    """0 to 100."""
    file_name: str | None = wire("FileName", STRING, since=V88, max_length=260)
    """What to call the output. At most 260 characters. Since Services88; older Services88 servers lack it."""
    cancellation_behaviour: BatchTaskCancellationBehaviour | str | None = wire(
        "CancellationBehaviour", BATCH_TASK_CANCELLATION_BEHAVIOUR, since=V88
    )
    """Whether it may be stopped. Since Services88; older Services88 servers lack it."""


BATCH_TASK_INFO = Record("BatchTaskInfo", BatchTaskInfo)
ARRAY_OF_BATCH_TASK_INFO = Array("ArrayOfBatchTaskInfo", "BatchTaskInfo", BATCH_TASK_INFO)


@attrs.frozen(kw_only=True)
class SoTimeZone:
    """The header block `TimeZone`: which zone times without one are in."""

    so_time_zone_id: int | None = wire("SoTimeZoneId", INT)
    so_time_zone_location_code: str | None = wire("SoTimeZoneLocationCode", STRING)
    """For example `Europe/Oslo`."""


TIME_ZONE = Record("SoTimeZone", SoTimeZone)


@attrs.frozen(kw_only=True)
class SoCredentials:
    """A ticket, as a header block of a request or in the reply of an Authenticate operation."""

    ticket: Secret | str | None = wire("Ticket", STRING, secret=True)
    """`7T:` and base64; or, from Services86 on, an OAuth access token. Masked in repr."""


CREDENTIALS = Record("SoCredentials", SoCredentials)


@attrs.frozen(kw_only=True)
class ExceptionInfo:
    """What NetServer says of a failure, in the reply header block `ExceptionInfo` or in a fault's detail."""

    message: str | None = wire("Message", STRING)
    stack_trace: str | None = wire("StackTrace", STRING)
    friendly_text: str | None = wire("FriendlyText", STRING)
    """For the eyes of a user."""
    exception_type: str | None = wire("ExceptionType", STRING)
    """The full .NET name, for example `SuperOffice.Exceptions.SoSessionException`."""
    source: str | None = wire("Source", STRING)
    inner_exception: "ExceptionInfo | None" = wire("InnerException", ITSELF)
    parameters: Mapping[str, str | None] | None = wire(
        "Parameters", Dictionary("SoExceptionInfoParameters", "SoExceptionInfoParametersKeyValuePair")
    )

    @property
    def error_type(self) -> str | None:
        """The last dotted part of `exception_type`: what to match on (`SoSessionException`)."""
        return self.exception_type.rpartition(".")[2] if self.exception_type else None


EXCEPTION_INFO = Record("SoExceptionInfo", ExceptionInfo)


@attrs.frozen(kw_only=True)
class RequestHeader:
    """The header blocks of a request; those that are None are not sent."""

    application_token: Secret | str | None = wire("ApplicationToken", STRING, secret=True)
    """The app's client secret: required by SuperOffice Online, unchecked on-site."""
    credentials: SoCredentials | None = wire("Credentials", CREDENTIALS)
    time_zone: SoTimeZone | None = wire("TimeZone", TIME_ZONE)


@attrs.frozen(kw_only=True)
class ReplyHeader:
    """The header blocks of a reply; nil and absent ones are None."""

    exception_info: ExceptionInfo | None = wire("ExceptionInfo", EXCEPTION_INFO)
    """Why the operation failed."""
    extra_info: Mapping[str, str | None] | None = wire("ExtraInfo", Dictionary("SoExtraInfo", "ExtraInfoNameValuePair"))
    succeeded: bool | None = wire("Succeeded", BOOLEAN)
    """False: the operation failed, whatever HTTP and the body say."""
    time_zone: SoTimeZone | None = wire("TimeZone", TIME_ZONE)


REQUEST_HEADER = Record("RequestHeader", RequestHeader)
REPLY_HEADER = Record("ReplyHeader", ReplyHeader)
