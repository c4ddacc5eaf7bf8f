"""The contract on one screen: every operation, its parameters, its result, and the first version that has it.

A new operation takes one row here and one method in `calls.agents`. `is_read_only` marks the operations that change
nothing on the server. Only those are repeated when it is unknown whether the first attempt was applied.

Source: 777 published documentation pages and the WSDLs of Services75 to Services88.
"""

import re
from typing import Any, Final, Generic, TypeVar

import attrs

from soapbatch.errors import NotInVersion, UsageError
from soapbatch.model import (
    ALL_ASSOCIATES,
    ARRAY_OF_BATCH_TASK_INFO,
    ARRAY_OF_INT,
    AUTHENTICATE_RESPONSE,
    BASE64,
    BATCH,
    BATCH_TASK_INFO,
    BATCH_TASK_STATE,
    BLOB,
    BOOLEAN,
    INT,
    SO_PRINCIPAL,
    STRING,
    SYSTEM_INFO,
    Agent,
    AuthenticateResponse,
    BatchTaskInfo,
    Dictionary,
    Field,
    ServiceVersion,
    SoSystemInfoCarrier,
    WireType,
)

R_co = TypeVar("R_co", covariant=True)

SECRET_PARAMETERS: Final = frozenset({"password", "access_token", "authentication_data"})
"""The parameters of operations that hold secrets, by their Python names."""

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def snake_case(name: str) -> str:
    """Return the Python name of a wire name: `BatchTaskIds` is `batch_task_ids`."""
    return _WORD_BOUNDARY.sub("_", name).lower()


def parameter(name: str, type: WireType, *, empty: object = None) -> Field:
    """Return the row of a parameter. Its Python name is its wire name in snake_case."""
    return Field(name, type, attribute=snake_case(name), empty=empty)


def _response_name(operation: "Operation[Any]") -> str:
    return f"{operation.name}Response"


@attrs.frozen(eq=False)
class Operation(Generic[R_co]):
    """One operation; `R_co` is what it returns.

    Attributes:
        name: the wire name, for example `GetBatchTaskInfo`.
        parameters: in wire order.
        result: the wire type of the result; None where there is none.
        agent: the service that has the operation.
        since: the first version that has it.
        is_read_only: whether the operation changes nothing on the server.
        sends_password: whether the request must not go to another host over plain HTTP.
        result_name: the element of the result inside the response element; "" where that itself is the result.
        response_name: the response element; by default the operation's name and `Response`.
        nullable: whether the result may be nil or absent (None, or an empty list); otherwise that is a defect.
    """

    name: str
    parameters: tuple[Field, ...] = ()
    result: WireType | None = None
    agent: Agent = attrs.field(default=BATCH, kw_only=True)
    since: ServiceVersion = attrs.field(default=ServiceVersion.V75, kw_only=True)
    is_read_only: bool = attrs.field(default=False, kw_only=True)
    sends_password: bool = attrs.field(default=False, kw_only=True)
    result_name: str = attrs.field(default="Response", kw_only=True)
    response_name: str = attrs.field(default=attrs.Factory(_response_name, takes_self=True), kw_only=True)
    nullable: bool = attrs.field(default=False, kw_only=True)

    @property
    def python_name(self) -> str:
        """The name of the operation's method, for example `get_batch_task_info`."""
        return snake_case(self.name)

    def check_version(self, version: ServiceVersion) -> None:
        """Raise NotInVersion if `version` lacks the operation."""
        if not isinstance(version, ServiceVersion):
            raise UsageError("version must be a ServiceVersion, for example ServiceVersion.V88")
        if version < self.since:
            advice = f"use version=ServiceVersion.{self.since.name} or later if the server has it"
            raise NotInVersion.lacks(version, self.name, self.since, advice).concerning(self.name, version)


_ID = parameter("Id", INT)
_NAME = parameter("Name", STRING)
_STATE = parameter("State", BATCH_TASK_STATE)
_TASK = parameter("BatchTaskInfo", BATCH_TASK_INFO)
_TASK_ID = parameter("BatchTaskId", INT)
_TASK_IDS = parameter("BatchTaskIds", ARRAY_OF_INT)
_TASK_NAME = parameter("TaskName", STRING)
_USERS = parameter("AssociateIds", ARRAY_OF_INT, empty=ALL_ASSOCIATES)
_V83, _V86, _V88 = ServiceVersion.V83, ServiceVersion.V86, ServiceVersion.V88

Tasks = Operation[list[BatchTaskInfo]]
AuthenticateOperation = Operation[AuthenticateResponse]
L = TypeVar("L", bound=Tasks)


# The operations that list tasks, by the arguments that they take: type checkers check those of `BatchAgent.stream`.
class ListByAssociates(Tasks):
    """Takes `associate_ids`."""


class ListByState(Tasks):
    """Takes `state`."""


class ListByNameAndState(Tasks):
    """Takes `name` and `state`."""


class ListByNameAndAssociates(Tasks):
    """Takes `name` and `associate_ids`."""


class ListByAssociatesAndState(Tasks):
    """Takes `associate_ids` and `state`."""


class ListByTaskName(Tasks):
    """Takes `task_name`."""


class ListByTaskNameAndState(Tasks):
    """Takes `task_name` and `state`."""


def _tasks(kind: type[L], name: str, *parameters: Field, since: ServiceVersion = ServiceVersion.V75) -> L:
    return kind(name, parameters, ARRAY_OF_BATCH_TASK_INFO, since=since, is_read_only=True, nullable=True)


def _login(
    name: str, *parameters: Field, since: ServiceVersion = ServiceVersion.V75, sends_password: bool = False
) -> AuthenticateOperation:
    return Operation(
        name,
        parameters,
        AUTHENTICATE_RESPONSE,
        agent=SO_PRINCIPAL,
        since=since,
        sends_password=sends_password,
        result_name="",
        response_name="AuthenticateResponse",
    )


# fmt: off
GET_BATCH_TASK_INFO: Operation[BatchTaskInfo | None] = Operation(
    "GetBatchTaskInfo", (_ID,), BATCH_TASK_INFO, is_read_only=True, nullable=True)
GET_BATCH_TASK_INFOS_BY_ASSOCIATES = _tasks(ListByAssociates, "GetBatchTaskInfosByAssociates", _USERS)
GET_BATCH_TASK_INFOS_BY_STATE = _tasks(ListByState, "GetBatchTaskInfosByState", _STATE)
GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE = _tasks(ListByNameAndState, "GetBatchTaskInfosByNameAndState", _NAME, _STATE)
GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES = _tasks(
    ListByNameAndAssociates, "GetBatchTaskInfosByNameAndAssociates", _NAME, _USERS)
GET_BATCH_TASK_INFOS_BY_ASSOCIATES_AND_STATE = _tasks(
    ListByAssociatesAndState, "GetBatchTaskInfosByAssociatesAndState", _USERS, _STATE)
START_BATCH_JOB: Operation[int] = Operation("StartBatchJob", (_TASK,), INT)
STOP_BATCH_JOB: Operation[bool] = Operation("StopBatchJob", (_ID,), BOOLEAN)
UPDATE_BATCH_TASK: Operation[BatchTaskInfo | None] = Operation(
    "UpdateBatchTask", (_TASK,), BATCH_TASK_INFO, nullable=True)
DELETE_BATCH_TASKS: Operation[None] = Operation("DeleteBatchTasks", (_TASK_IDS,))
DELETE_BATCH_TASK: Operation[None] = Operation("DeleteBatchTask", (_TASK_ID,), since=_V83)
GET_ALL_BATCH_TASK_INFOS_BY_NAME = _tasks(ListByTaskName, "GetAllBatchTaskInfosByName", _TASK_NAME, since=_V88)
GET_ALL_BATCH_TASK_INFOS_BY_NAME_AND_STATE = _tasks(
    ListByTaskNameAndState, "GetAllBatchTaskInfosByNameAndState", _TASK_NAME, _STATE, since=_V88)
GET_SYSTEM_BATCH_TASK_INFOS_BY_NAME = _tasks(ListByTaskName, "GetSystemBatchTaskInfosByName", _TASK_NAME, since=_V88)
GET_SYSTEM_BATCH_TASK_INFOS_BY_NAME_AND_STATE = _tasks(
    ListByTaskNameAndState, "GetSystemBatchTaskInfosByNameAndState", _TASK_NAME, _STATE, since=_V88)

AUTHENTICATE_USERNAME_PASSWORD = _login(
    "AuthenticateUsernamePassword", parameter("UserName", STRING), parameter("Password", STRING), sends_password=True)
AUTHENTICATE_IMPLICIT = _login("AuthenticateImplicit")
AUTHENTICATE_GENERIC = _login(
    "AuthenticateGeneric",
    parameter("AuthenticationData",
              Dictionary("AuthenticationGenericData", "AuthenticationGenericDataKeyValuePair")),
    sends_password=True)
AUTHENTICATE_WITH_ACCESS_TOKEN = _login(
    "AuthenticateWithAccessToken", parameter("AccessToken", STRING), since=_V86)
GET_SYSTEM_INFO: Operation[SoSystemInfoCarrier | None] = Operation(
    "GetSystemInfo", (), SYSTEM_INFO, agent=SO_PRINCIPAL, is_read_only=True, result_name="SystemInfo", nullable=True)

GET_OUTPUT_FROM_BATCH: Operation[bytes | None] = Operation(
    "GetOutputFromBatch", (_TASK_ID,), BASE64, agent=BLOB, since=_V88, is_read_only=True, nullable=True)
CLEANUP_BATCH_TASK: Operation[None] = Operation("CleanupBatchTask", (_TASK_ID,), agent=BLOB, since=_V88)
# fmt: on

OPERATIONS: Final[dict[str, Operation[Any]]] = {
    row.name: row for row in tuple(globals().values()) if isinstance(row, Operation)
}
"""Every operation by its wire name, in the contract's order."""


def operation_named(operation: Operation[Any] | str) -> Operation[Any]:
    """Return the row of an operation, which is given as the row or by its wire name."""
    if isinstance(operation, Operation):
        return operation
    try:
        return OPERATIONS[operation]
    except KeyError:
        raise UsageError(f"there is no operation {operation!r}; soapbatch.operations lists them all") from None
