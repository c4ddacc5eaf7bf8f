"""What each operation does on the embedded server: one row an operation."""

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
from soapbatch.testing.faults import ARGUMENT, ServerException, not_found
from soapbatch.testing.sessions import Tickets
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
    """What an operation works on, and for whom.

    Attributes:
        tasks: the task store.
        tickets: the sessions.
        nil_for_unknown: whether GetBatchTaskInfo answers nil for an unknown id, or fails.
        associate_id: of the caller; 0 where the operation needs no ticket.
        arguments: those sent, by parameter name.
    """

    tasks: TaskStore
    tickets: Tickets
    nil_for_unknown: bool
    associate_id: int
    arguments: Mapping[str, Any]

    def id(self, name: str = "id") -> int:
        """Return the id that was sent; absent, it is .NET's default, 0."""
        return int(self.arguments.get(name, 0))

    def task(self) -> BatchTaskInfo | None:
        """Return the BatchTaskInfo that was sent."""
        info = self.arguments.get("batch_task_info")
        return info if isinstance(info, BatchTaskInfo) else None

    def filters(self, name: str | None, *, state: bool, associates: bool) -> dict[str, Any]:
        """Return the filters that were sent, for `TaskStore.find`; `name` is the parameter with the name."""
        found: dict[str, Any] = {}
        if name is not None:
            found["name"] = self.arguments.get(name, "")
        if associates:
            found["associate_ids"] = self.arguments.get("associate_ids", ())
        if state:
            found["state"] = self.arguments.get("state", BatchTaskState.UNKNOWN)
            if not isinstance(found["state"], BatchTaskState):
                raise ServerException(ARGUMENT, "There is no such BatchTaskState", "Unknown state")
        return found


Handler: TypeAlias = Callable[[Context], Any]


def _find(
    name: str | None = None, *, state: bool = False, associates: bool = False, system: bool | None = None
) -> Handler:
    def handler(context: Context) -> Iterator[BatchTaskInfo]:
        return context.tasks.find(**context.filters(name, state=state, associates=associates), system=system)

    return handler


def _get(context: Context) -> BatchTaskInfo | None:
    info = context.tasks.read(context.id())
    if info is None and not context.nil_for_unknown:
        raise not_found(context.id())
    return info


def _output(context: Context) -> bytes | Iterable[bytes] | None:
    output = context.tasks.output(context.id("batch_task_id"))
    return output() if callable(output) else output


HANDLERS: Final[Mapping[Operation[Any], Handler]] = {
    ops.GET_BATCH_TASK_INFO: _get,
    ops.GET_BATCH_TASK_INFOS_BY_ASSOCIATES: _find(associates=True),
    ops.GET_BATCH_TASK_INFOS_BY_STATE: _find(state=True, system=False),
    ops.GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE: _find("name", state=True, system=False),
    ops.GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES: _find("name", associates=True),
    ops.GET_BATCH_TASK_INFOS_BY_ASSOCIATES_AND_STATE: _find(associates=True, state=True),
    ops.START_BATCH_JOB: lambda context: context.tasks.start(context.task(), context.associate_id),
    ops.STOP_BATCH_JOB: lambda context: context.tasks.stop(context.id()),
    ops.UPDATE_BATCH_TASK: lambda context: context.tasks.update(context.task()),
    ops.DELETE_BATCH_TASKS: lambda context: context.tasks.delete(*context.arguments.get("batch_task_ids", ())),
    ops.DELETE_BATCH_TASK: lambda context: context.tasks.delete(context.id("batch_task_id")),
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
    ops.CLEANUP_BATCH_TASK: lambda context: context.tasks.cleanup(context.id("batch_task_id")),
}
"""What to do for each operation; it returns the result, or raises ServerException."""


def as_seen_by(version: ServiceVersion, info: BatchTaskInfo, lacks: Collection[str] = ()) -> BatchTaskInfo:
    """Return `info` without what `version`, or a server that `lacks` fields by wire name, has no word for."""
    changes: dict[str, Any] = {
        row.attribute: None for row in BATCH_TASK_INFO.fields if row.since > version or row.name in lacks
    }
    if isinstance(info.state, str) and BATCH_TASK_STATE.since.get(info.state, version) > version:
        changes["state"] = BatchTaskState.SUCCEEDED
    return attrs.evolve(info, **changes) if changes else info
