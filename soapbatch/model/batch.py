"""Batch tasks: the carrier, its enumerations, and the special values of `associate_ids`.

Carriers are frozen, slotted and keyword-only. Every field defaults to None, which means "not written" in a request and
"nil or absent" in a response; an empty element is the empty string. Fields are in wire order. An enumeration value that
this release does not know stays the text that the server sent, hence `BatchTaskState | str`.

Source: the Services75 to Services88 WSDLs; meanings from the published documentation pages.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

import attrs

from soapbatch.model.schema import STRING_DICTIONARY, Array, Carrier, Record, element, enumeration
from soapbatch.model.services import ServiceVersion
from soapbatch.model.xsd import BOOLEAN, DATE_TIME, INT, SHORT, STRING

_V88 = ServiceVersion.V88


class AssociateFilter(tuple[int, ...]):
    """A special value of `associate_ids`."""

    __slots__ = ()


ALL_ASSOCIATES: Final = AssociateFilter()
"""`associate_ids` for every task. Any other empty list is refused, because it could be empty by accident."""
SYSTEM_TASKS: Final = AssociateFilter((0,))
"""`associate_ids` for the tasks of the system itself."""
ALL_USER_TASKS: Final = AssociateFilter((-1,))
"""`associate_ids` for the tasks of all users."""


class BatchTaskState(StrEnum):
    """The state of a task: NEW, ACQUIRED, STARTED, then one of the three terminal states; a restart begins again."""

    UNKNOWN = "Unknown"
    NEW = "New"
    ACQUIRED = "Aquired"
    """A server has taken the task. The wire spelling is "Aquired" (sic)."""
    STARTED = "Started"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SUCCEEDED_MANUAL_CLEANUP = "SucceededManualCleanup"
    """Succeeded; the output stays until `CleanupBatchTask`. Since Services88."""
    ALL = "All"
    """For filters: any state. No task has this state."""

    @property
    def is_terminal(self) -> bool:
        """Whether a task in this state has ended, successfully or not. Only a restart changes such a state."""
        return self in _TERMINAL


_TERMINAL: Final = frozenset({BatchTaskState.SUCCEEDED, BatchTaskState.FAILED, BatchTaskState.SUCCEEDED_MANUAL_CLEANUP})


class BatchTaskCancellationBehaviour(StrEnum):
    """Whether a task may be stopped. Since Services88."""

    CAN_CANCEL = "CanCancel"
    CANCEL_WITH_WARNING = "CancelWithWarning"
    CANNOT_CANCEL = "CannotCancel"


BATCH_TASK_STATE = enumeration("BatchTaskState", BatchTaskState, {BatchTaskState.SUCCEEDED_MANUAL_CLEANUP.value: _V88})
BATCH_TASK_CANCELLATION_BEHAVIOUR = enumeration("BatchTaskCancellationBehaviour", BatchTaskCancellationBehaviour)


@attrs.frozen(kw_only=True)
class BatchTaskInfo(Carrier):
    """A batch task. `start_batch_job` takes one, and every operation that reads tasks returns them.

    The start of a job needs `name`, and usually `description` and `parameter_object`. `update_batch_task` saves only
    `state`, `description`, `response` and `request`.
    """

    id: int | None = element("Id", INT)
    """The server's number for the task."""
    name: str | None = element("Name", STRING)
    """The name of the job, which is defined on the server."""
    associate_id: int | None = element("AssociateId", INT)
    """The associate who owns the task."""
    details_table: int | None = element("DetailsTable", SHORT)
    """The table of the record that the task is about; `details_record` is the record's id."""
    details_record: int | None = element("DetailsRecord", INT)
    is_system_task: bool | None = element("IsSystemTask", BOOLEAN)
    is_internal_task: bool | None = element("IsInternalTask", BOOLEAN)
    parameter_object: Mapping[str, str | None] | None = element("ParameterObject", STRING_DICTIONARY)
    """The parameters of the job. Each job defines its own."""
    last_started: datetime | None = element("LastStarted", DATE_TIME)
    """None: the task has not been started."""
    created: datetime | None = element("Created", DATE_TIME)
    start_count: int | None = element("StartCount", INT)
    """How often the task was started, restarts included."""
    database_serial_number: str | None = element("DatabaseSerialNumber", STRING)
    context: str | None = element("Context", STRING)
    result: str | None = element("Result", STRING)
    state: BatchTaskState | str | None = element("State", BATCH_TASK_STATE)
    description: str | None = element("Description", STRING, max_length=254)
    """At most 254 characters."""
    response: str | None = element("Response", STRING, max_length=254)
    """At most 254 characters."""
    request: str | None = element("Request", STRING, max_length=254)
    """At most 254 characters."""
    progress_description: str | None = element("ProgressDescription", STRING, max_length=254)
    """At most 254 characters."""
    progress_percent: int | None = element("ProgressPercent", SHORT, highest=100)
    """0 to 100."""
    file_name: str | None = element("FileName", STRING, since=_V88, max_length=260)
    """The file name of the output. At most 260 characters. Since Services88; older Services88 servers lack it."""
    cancellation_behaviour: BatchTaskCancellationBehaviour | str | None = element(
        "CancellationBehaviour", BATCH_TASK_CANCELLATION_BEHAVIOUR, since=_V88
    )
    """Whether the task may be stopped. Since Services88; older Services88 servers lack it."""

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended, well or badly. A job whose state this release does not know still runs."""
        return self.state in _TERMINAL

    @property
    def succeeded(self) -> bool:
        """Whether the job has ended, and not as Failed."""
        return self.has_ended and self.state != BatchTaskState.FAILED


BATCH_TASK_INFO = Record("BatchTaskInfo", BatchTaskInfo)
ARRAY_OF_BATCH_TASK_INFO = Array("ArrayOfBatchTaskInfo", "BatchTaskInfo", BATCH_TASK_INFO)
