"""One typed, documented method for each operation: `client.batch`, `client.principal`, `client.blob`.

Every method takes the options of a call (`timeout`, `on_header`, `renew`) as keyword arguments after the operation's
own parameters; `stream` takes them as `options={...}`.

Every method raises a UsageError before anything is sent (NotInVersion where the service version lacks the operation), a
TransportError where there is no response, a ProtocolError where the response cannot be read, and a ServiceError where
the service refuses. The docstrings below name only the exceptions to that.

Source: the documentation pages of the operations, Services75 to Services88.
"""

import os
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping
from typing import Any, BinaryIO, TypeAlias, TypeVar, Unpack, overload

from soapbatch import operations as ops
from soapbatch.calls.call import CallContext
from soapbatch.calls.hooks import Purpose
from soapbatch.calls.settings import CallOptions
from soapbatch.errors import UsageError
from soapbatch.model import Array, AuthenticateResponse, BatchTaskInfo, BatchTaskState, Secret, SoSystemInfoCarrier
from soapbatch.operations import Operation
from soapbatch.system import is_writable, save_pieces

R = TypeVar("R")
TaskStream: TypeAlias = AsyncGenerator[BatchTaskInfo, None]


class _Agent:
    """What the three agents have in common."""

    def __init__(self, context: CallContext, purpose: Purpose = "call") -> None:
        """Make calls in `context`, for a `purpose` that hooks are told."""
        self._context = context
        self._purpose: Purpose = purpose

    def _call(self, operation: Operation[R], options: CallOptions, *values: object) -> Coroutine[Any, Any, R]:
        arguments = {row.attribute: value for row, value in zip(operation.parameters, values, strict=True)}
        if None in values:
            # Fields are optional, parameters are not: the server replaces a missing one by a default, as 'every task'.
            absent = ", ".join(name for name, value in arguments.items() if value is None)
            raise UsageError(f"{operation.name}: {absent} must not be None")
        return self._context.call(operation, arguments, options, self._purpose)


class BatchAgent(_Agent):
    """Start, stop, change, delete and list batch tasks."""

    async def get_batch_task_info(self, id: int, **options: Unpack[CallOptions]) -> BatchTaskInfo | None:
        """Return one task, or None where the server does not know `id` (some servers raise OperationFailed)."""
        return await self._call(ops.GET_BATCH_TASK_INFO, options, id)

    async def get_batch_task_infos_by_associates(
        self, associate_ids: Iterable[int], **options: Unpack[CallOptions]
    ) -> list[BatchTaskInfo]:
        """Return the tasks of these associates.

        `associate_ids` holds users' ids, or is SYSTEM_TASKS, ALL_USER_TASKS or ALL_ASSOCIATES. Any other empty
        list is refused with a UsageError: the server would take it for "every task".
        """
        return await self._call(ops.GET_BATCH_TASK_INFOS_BY_ASSOCIATES, options, associate_ids)

    async def get_batch_task_infos_by_state(
        self, state: BatchTaskState | str, **options: Unpack[CallOptions]
    ) -> list[BatchTaskInfo]:
        """Return the users' tasks in `state` (BatchTaskState.ALL: in any); no system tasks."""
        return await self._call(ops.GET_BATCH_TASK_INFOS_BY_STATE, options, state)

    async def get_batch_task_infos_by_name_and_state(
        self, name: str, state: BatchTaskState | str, **options: Unpack[CallOptions]
    ) -> list[BatchTaskInfo]:
        """Return the users' tasks of the job `name` ("": of any) in `state` (ALL: in any); no system tasks."""
        return await self._call(ops.GET_BATCH_TASK_INFOS_BY_NAME_AND_STATE, options, name, state)

    async def get_batch_task_infos_by_name_and_associates(
        self, name: str, associate_ids: Iterable[int], **options: Unpack[CallOptions]
    ) -> list[BatchTaskInfo]:
        """Return the tasks of the job `name` ("": of any) that belong to these associates.

        `associate_ids`: see `get_batch_task_infos_by_associates`.
        """
        return await self._call(ops.GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES, options, name, associate_ids)

    async def get_batch_task_infos_by_associates_and_state(
        self, associate_ids: Iterable[int], state: BatchTaskState | str, **options: Unpack[CallOptions]
    ) -> list[BatchTaskInfo]:
        """Return the tasks of these associates in `state` (BatchTaskState.ALL: in any).

        `associate_ids`: see `get_batch_task_infos_by_associates`.
        """
        return await self._call(ops.GET_BATCH_TASK_INFOS_BY_ASSOCIATES_AND_STATE, options, associate_ids, state)

    async def start_batch_job(self, batch_task_info: BatchTaskInfo, **options: Unpack[CallOptions]) -> int:
        """Start a job and return its task's id.

        `batch_task_info` needs `name`, the name of a job that is defined on the server, and usually
        `description` and `parameter_object`; leave everything else None. It is never sent twice once a byte
        may have left: an error whose `applied` is "unknown" may mean a job that runs (see `client.jobs`).
        """
        return await self._call(ops.START_BATCH_JOB, options, batch_task_info)

    async def stop_batch_job(self, id: int, **options: Unpack[CallOptions]) -> bool:
        """Ask the server to stop a task. False: it was not stopped, which is not an error."""
        return await self._call(ops.STOP_BATCH_JOB, options, id)

    async def update_batch_task(
        self, batch_task_info: BatchTaskInfo, **options: Unpack[CallOptions]
    ) -> BatchTaskInfo | None:
        """Save `state`, `description`, `response` and `request` of the task `id`, and nothing else.

        Returns the task as saved; None where the server sends none back.
        """
        return await self._call(ops.UPDATE_BATCH_TASK, options, batch_task_info)

    async def delete_batch_tasks(self, batch_task_ids: Iterable[int], **options: Unpack[CallOptions]) -> None:
        """Delete tasks from the database. An error may leave some of them deleted."""
        return await self._call(ops.DELETE_BATCH_TASKS, options, batch_task_ids)

    async def delete_batch_task(self, batch_task_id: int, **options: Unpack[CallOptions]) -> None:
        """Delete a task from the database. Since Services83."""
        return await self._call(ops.DELETE_BATCH_TASK, options, batch_task_id)

    async def get_all_batch_task_infos_by_name(
        self, task_name: str, **options: Unpack[CallOptions]
    ) -> list[BatchTaskInfo]:
        """Return the tasks of the job `task_name` ("": of any), system tasks included. Since Services88."""
        return await self._call(ops.GET_ALL_BATCH_TASK_INFOS_BY_NAME, options, task_name)

    async def get_all_batch_task_infos_by_name_and_state(
        self, task_name: str, state: BatchTaskState | str, **options: Unpack[CallOptions]
    ) -> list[BatchTaskInfo]:
        """Return the tasks of the job `task_name` in `state`, system tasks included. Since Services88."""
        return await self._call(ops.GET_ALL_BATCH_TASK_INFOS_BY_NAME_AND_STATE, options, task_name, state)

    async def get_system_batch_task_infos_by_name(
        self, task_name: str, **options: Unpack[CallOptions]
    ) -> list[BatchTaskInfo]:
        """Return the system tasks of the job `task_name` ("": of any). Since Services88."""
        return await self._call(ops.GET_SYSTEM_BATCH_TASK_INFOS_BY_NAME, options, task_name)

    async def get_system_batch_task_infos_by_name_and_state(
        self, task_name: str, state: BatchTaskState | str, **options: Unpack[CallOptions]
    ) -> list[BatchTaskInfo]:
        """Return the system tasks of the job `task_name` in `state`. Since Services88."""
        return await self._call(ops.GET_SYSTEM_BATCH_TASK_INFOS_BY_NAME_AND_STATE, options, task_name, state)

    @overload
    def stream(
        self, operation: ops.ListByAssociates, *, associate_ids: Iterable[int], options: CallOptions | None = None
    ) -> TaskStream: ...

    @overload
    def stream(
        self, operation: ops.ListByState, *, state: BatchTaskState | str, options: CallOptions | None = None
    ) -> TaskStream: ...

    @overload
    def stream(
        self,
        operation: ops.ListByNameAndState,
        *,
        name: str,
        state: BatchTaskState | str,
        options: CallOptions | None = None,
    ) -> TaskStream: ...

    @overload
    def stream(
        self,
        operation: ops.ListByNameAndAssociates,
        *,
        name: str,
        associate_ids: Iterable[int],
        options: CallOptions | None = None,
    ) -> TaskStream: ...

    @overload
    def stream(
        self,
        operation: ops.ListByAssociatesAndState,
        *,
        associate_ids: Iterable[int],
        state: BatchTaskState | str,
        options: CallOptions | None = None,
    ) -> TaskStream: ...

    @overload
    def stream(
        self, operation: ops.ListByTaskName, *, task_name: str, options: CallOptions | None = None
    ) -> TaskStream: ...

    @overload
    def stream(
        self,
        operation: ops.ListByTaskNameAndState,
        *,
        task_name: str,
        state: BatchTaskState | str,
        options: CallOptions | None = None,
    ) -> TaskStream: ...

    def stream(
        self,
        operation: ops.Tasks,
        *,
        options: CallOptions | None = None,
        **arguments: object,
    ) -> TaskStream:
        """Yield the tasks of a list operation while its answer arrives, in constant memory.

        `arguments` are the operation's own. The next bytes are read when the next task is asked for. A failure
        late in the answer raises after the tasks before it: a stream that ends without an error was complete.

            async for info in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, state=BatchTaskState.STARTED): ...

        Raises:
            UsageError: the operation returns no list.
        """
        if not isinstance(operation, ops.Operation):
            raise UsageError("stream takes a row of soapbatch.operations, for example GET_BATCH_TASK_INFOS_BY_STATE")
        if not isinstance(operation.result, Array):
            raise UsageError(f"{operation.name} returns no list: call {operation.python_name}()")
        return self._context.stream(operation, arguments, options or {}, self._purpose)


class PrincipalAgent(_Agent):
    """Log in, and ask what the server is. A client with `credentials=` logs in by itself."""

    # No traceback shows a plain secret: each method wraps it in place before anything can raise.

    async def authenticate_username_password(
        self, user_name: str, password: Secret | str, **options: Unpack[CallOptions]
    ) -> AuthenticateResponse:
        """Return a ticket for a user with a password. Raises AuthenticationFailed where there is none."""
        password = Secret.wrap(password)
        return await self._call(ops.AUTHENTICATE_USERNAME_PASSWORD, options, user_name, password)

    async def authenticate_implicit(self, **options: Unpack[CallOptions]) -> AuthenticateResponse:
        """Return a ticket for whom the server takes the caller for. Raises AuthenticationFailed."""
        return await self._call(ops.AUTHENTICATE_IMPLICIT, options)

    async def authenticate_generic(
        self, authentication_data: Mapping[str, Secret | str | None], **options: Unpack[CallOptions]
    ) -> AuthenticateResponse:
        """Return a ticket for whatever pairs a plugin of the server asks for. Raises AuthenticationFailed."""
        is_mapping = isinstance(authentication_data, Mapping)
        authentication_data = {k: Secret.wrap(v) for k, v in authentication_data.items()} if is_mapping else {}
        if not is_mapping or not all(isinstance(key, str) for key in authentication_data):
            raise UsageError("AuthenticateGeneric: authentication_data is a mapping of str to str, Secret or None")
        return await self._call(ops.AUTHENTICATE_GENERIC, options, authentication_data)

    async def authenticate_with_access_token(
        self, access_token: Secret | str, **options: Unpack[CallOptions]
    ) -> AuthenticateResponse:
        """Return a ticket for an OAuth access token (`8A:...`). Since Services86. Raises AuthenticationFailed."""
        access_token = Secret.wrap(access_token)
        return await self._call(ops.AUTHENTICATE_WITH_ACCESS_TOKEN, options, access_token)

    async def get_system_info(self, **options: Unpack[CallOptions]) -> SoSystemInfoCarrier | None:
        """Return what the server, its database and its licence are; None where it tells nothing. Needs no ticket."""
        return await self._call(ops.GET_SYSTEM_INFO, options)


class BlobAgent(_Agent):
    """The output of finished tasks. Since Services88."""

    async def get_output_from_batch(self, batch_task_id: int, **options: Unpack[CallOptions]) -> bytes | None:
        """Return the output of a task; None where it left none. Since Services88."""
        return await self._call(ops.GET_OUTPUT_FROM_BATCH, options, batch_task_id)

    async def cleanup_batch_task(self, batch_task_id: int, **options: Unpack[CallOptions]) -> None:
        """Let the server remove the output of a task. Since Services88."""
        return await self._call(ops.CLEANUP_BATCH_TASK, options, batch_task_id)

    def stream_output(self, batch_task_id: int, **options: Unpack[CallOptions]) -> AsyncGenerator[bytes, None]:
        """Yield the output of a task in pieces while it arrives, in constant memory. Since Services88.

        No piece at all: the task left no output. An output that is empty is one empty piece.
        """
        arguments: dict[str, Any] = {"batch_task_id": batch_task_id}
        return self._context.stream(ops.GET_OUTPUT_FROM_BATCH, arguments, options)

    async def save_output(
        self, batch_task_id: int, target: str | os.PathLike[str] | BinaryIO, **options: Unpack[CallOptions]
    ) -> int | None:
        """Write the output of a task to a path or a binary file, in constant memory; return its size in bytes.

        A path is replaced only once the output is complete, by a file that only its owner can read. None: the task
        left no output; nothing is written then, and no file is made or replaced. Since Services88.

        Raises:
            OSError: it cannot be written.
            UsageError: `target` is neither a path nor a binary file that can be written to; nothing was sent.
        """
        check_target(target)
        return await save_pieces(self.stream_output(batch_task_id, **options), target)


def check_target(target: object) -> None:
    """Raise a UsageError unless output can be written to `target`."""
    if not is_writable(target):
        raise UsageError(
            "target is a path, as text or a pathlib.Path, or a binary file that is open for writing, as from "
            f"open(path, 'wb'): not this {type(target).__name__}"
        )
