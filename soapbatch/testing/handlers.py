"""What each operation does on the embedded server: one row of HANDLERS an operation."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs

from soapbatch import operations as ops
from soapbatch.model import (
    BATCH_TASK_INFO,
    BATCH_TASK_STATE,
    BatchTaskInfo,
    BatchTaskState,
    NetServerBuildType,
    ServiceVersion,
    SoSystemInfoCarrier,
)
from soapbatch.operations import Operation
from soapbatch.testing.faults import ARGUMENT_EXCEPTION, ServerException, not_found
from soapbatch.testing.sessions import SessionStore
from soapbatch.testing.tasks import TaskStore

SYSTEM_INFO: Final = SoSystemInfoCarrier(
    branch_name="soapbatch",
    build_label="embedded",
    assembly_version="10.0.0.0",
    file_version="10.0",
    description="The embedded NetServer of soapbatch",
    days_until_net_server_expiry=365,
    build_type=NetServerBuildType.RELEASE,
    database_version=1,
    is_unicode=True,
    company_name="Example Company",
    company_id=1,
    database_name="embedded",
    is_on_travel=False,
    is_satellite=False,
)


@attrs.frozen(kw_only=True)
class Context:
    """What a handler needs: the server's stores and the call.

    Attributes:
        tasks: the server's tasks.
        tickets: the server's users and tickets.
        nil_for_unknown: whether GetBatchTaskInfo returns nil for an unknown id; else it fails.
        associate_id: of the caller; 0 if the operation needs no ticket.
        arguments: those that were sent, by parameter name.
    """

    tasks: TaskStore
    tickets: SessionStore
    nil_for_unknown: bool
    associate_id: int
    arguments: Mapping[str, Any]

    def task_id(self, parameter: str = "id") -> int:
        """Return the task id in `parameter`; 0, which is .NET's default, if none was sent."""
        return int(self.arguments.get(parameter, 0))

    def task_info(self) -> BatchTaskInfo | None:
        """Return the BatchTaskInfo that was sent, or None."""
        info = self.arguments.get("batch_task_info")
        return info if isinstance(info, BatchTaskInfo) else None

    def filters(self, name: str | None, *, state: bool, associates: bool) -> dict[str, Any]:
        """Return keyword arguments for `TaskStore.find`.

        Args:
            name: the parameter that filters by name; None: the operation has none.
            state: whether the operation filters by state.
            associates: whether the operation filters by associates.
        """
        found: dict[str, Any] = {}
        if name is not None:
            found["name"] = self.arguments.get(name, "")
        if associates:
            found["associate_ids"] = self.arguments.get("associate_ids", ())
        if state:
            found["state"] = self.arguments.get("state", BatchTaskState.UNKNOWN)
            if not isinstance(found["state"], BatchTaskState):
                raise ServerException(ARGUMENT_EXCEPTION, "There is no such BatchTaskState", "Unknown state")
        return found


Handler: TypeAlias = Callable[[Context], Any]


def _find(
    name: str | None = None, *, state: bool = False, associates: bool = False, system: bool | None = None
) -> Handler:
    def handler(context: Context) -> Iterator[BatchTaskInfo]:
        return context.tasks.find(**context.filters(name, state=state, associates=associates), system=system)

    return handler


def _get(context: Context) -> BatchTaskInfo | None:
    info = context.tasks.read(context.task_id())
    if info is None and not context.nil_for_unknown:
        raise not_found(context.task_id())
    return info


def _output(context: Context) -> bytes | Iterable[bytes] | None:
    output = context.tasks.output(context.task_id("batch_task_id"))
    return output() if callable(output) else output


HANDLERS: Final[Mapping[Operation[Any], Handler]] = {
    ops.GET_BATCH_TASK_INFO: _get,
    ops.GET_BATCH_TASK_INFOS_BY_ASSOCIATES: _find(associates=True),
    ops.GET_BATCH_TASK_INFOS_BY_STATE: _find(state=True, system=False),
    ops.GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE: _find("name", state=True, system=False),
    ops.GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES: _find("name", associates=True),
    ops.GET_BATCH_TASK_INFOS_BY_ASSOCIATES_AND_STATE: _find(associates=True, state=True),
    ops.START_BATCH_JOB: lambda context: context.tasks.start(context.task_info(), context.associate_id),
    ops.STOP_BATCH_JOB: lambda context: context.tasks.stop(context.task_id()),
    ops.UPDATE_BATCH_TASK: lambda context: context.tasks.update(context.task_info()),
    ops.DELETE_BATCH_TASKS: lambda context: context.tasks.delete(*context.arguments.get("batch_task_ids", ())),
    ops.DELETE_BATCH_TASK: lambda context: context.tasks.delete(context.task_id("batch_task_id")),
    ops.GET_ALL_BATCH_TASK_INFOS_BY_NAME: _find("task_name"),
    ops.GET_ALL_BATCH_TASK_INFOS_BY_NAME_AND_STATE: _find("task_name", state=True),
    ops.GET_SYSTEM_BATCH_TASK_INFOS_BY_NAME: _find("task_name", system=True),
    ops.GET_SYSTEM_BATCH_TASK_INFOS_BY_NAME_AND_STATE: _find("task_name", state=True, system=True),
    ops.AUTHENTICATE_USERNAME_PASSWORD: lambda context: context.tickets.by_password(
        context.arguments.get("user_name"), context.arguments.get("password")
    ),
    ops.AUTHENTICATE_IMPLICIT: lambda context: context.tickets.implicitly(),
    ops.AUTHENTICATE_GENERIC: lambda context: context.tickets.by_generic(context.arguments.get("authentication_data")),
    ops.AUTHENTICATE_WITH_ACCESS_TOKEN: lambda context: context.tickets.by_access_token(
        context.arguments.get("access_token")
    ),
    ops.GET_SYSTEM_INFO: lambda _: SYSTEM_INFO,
    ops.GET_OUTPUT_FROM_BATCH: _output,
    ops.CLEANUP_BATCH_TASK: lambda context: context.tasks.cleanup(context.task_id("batch_task_id")),
}
"""The function that runs each operation: it returns the result, or raises ServerException."""


def without_newer_values(version: ServiceVersion, info: BatchTaskInfo, missing: Collection[str] = ()) -> BatchTaskInfo:
    """Return `info` without the fields that `version` does not have, or whose wire names are in `missing`.

    A state that `version` does not have becomes Succeeded.
    """
    changes: dict[str, Any] = {
        field.attribute: None for field in BATCH_TASK_INFO.fields if field.since > version or field.name in missing
    }
    if isinstance(info.state, str) and BATCH_TASK_STATE.since.get(info.state, version) > version:
        changes["state"] = BatchTaskState.SUCCEEDED
    return attrs.evolve(info, **changes) if changes else info
