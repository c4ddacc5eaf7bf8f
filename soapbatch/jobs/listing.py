"""List tasks over the operation that suits the filters and the service version.

Rule 1. Without an owner, the tasks of all users and of the system are listed. Services88 has operations for that; an
        older Services88 server may lack them, and is then asked as earlier versions are.
Rule 2. Earlier versions list the tasks of all associates: their operations that filter by state alone leave out the
        tasks of the system.
Rule 3. An owner and a state, without a name, have an operation of their own. For an owner and a name there is one, too.
Rule 4. What the operation does not filter is filtered here.
"""

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeAlias

import attrs

from soapbatch.calls import BatchAgent
from soapbatch.errors import Fault
from soapbatch.jobs.checks import require, require_text
from soapbatch.jobs.task_reader import ANY_JOB
from soapbatch.model import ALL_ASSOCIATES, BatchTaskInfo, BatchTaskState, ServiceVersion
from soapbatch.operations import (
    GET_ALL_BATCH_TASK_INFOS_BY_NAME as ALL_BY_NAME,
    GET_ALL_BATCH_TASK_INFOS_BY_NAME_AND_STATE as ALL_BY_NAME_AND_STATE,
    GET_BATCH_TASK_INFOS_BY_ASSOCIATES_AND_STATE as BY_ASSOCIATES_AND_STATE,
    GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES as BY_NAME_AND_ASSOCIATES,
)
from soapbatch.system import closing_inside

ListCall: TypeAlias = Callable[[BatchAgent], AsyncGenerator[BatchTaskInfo, None]]
"""Calls an operation that lists tasks."""


@attrs.frozen(kw_only=True)
class TaskFilter:
    """Which tasks to list; `Jobs.list` documents each attribute. `owner` is a list of associates here."""

    state: BatchTaskState | str | None = None
    name: str | None = None
    owner: tuple[int, ...] | None = None
    finished: bool | None = None

    def __attrs_post_init__(self) -> None:
        """Raise UsageError for values that filter nothing."""
        require_text("state", self.state)
        require_text("name", self.name)
        require(self.finished in (None, True, False), "finished is True, False, or None for both")

    def matches(self, info: BatchTaskInfo) -> bool:
        """Return whether a task is wanted, as far as an operation may not have filtered it (Rule 4)."""
        is_state = self.state in {None, BatchTaskState.ALL} or info.state == self.state
        return is_state and self.finished in {None, info.has_ended}


def calls_for(wanted: TaskFilter, version: ServiceVersion) -> Iterator[ListCall]:
    """Yield the calls that list the tasks: the next one only counts if the server does not have the last one. Pure."""
    name, state = wanted.name or ANY_JOB, wanted.state
    owner = ALL_ASSOCIATES if wanted.owner is None else wanted.owner
    if wanted.owner is not None and state is not None and not wanted.name:  # Rule 3
        yield lambda batch: batch.stream(BY_ASSOCIATES_AND_STATE, associate_ids=owner, state=state)
        return
    if wanted.owner is None and version >= ServiceVersion.V88:  # Rule 1
        if state is None:
            yield lambda batch: batch.stream(ALL_BY_NAME, task_name=name)
        else:
            yield lambda batch: batch.stream(ALL_BY_NAME_AND_STATE, task_name=name, state=state)
    yield lambda batch: batch.stream(BY_NAME_AND_ASSOCIATES, name=name, associate_ids=owner)  # Rule 2


async def list_tasks(
    batch: BatchAgent, version: ServiceVersion, wanted: TaskFilter
) -> AsyncGenerator[BatchTaskInfo, None]:
    """Yield the tasks that are wanted, while the answer arrives."""
    calls = [*calls_for(wanted, version)]
    while True:
        call = calls.pop(0)
        try:
            async with closing_inside(call(batch)) as tasks:
                async for info in tasks:
                    if wanted.matches(info):
                        yield info
                return
        except Fault as error:
            if not calls or "ActionNotSupported" not in {error.code, error.subcode}:
                raise
