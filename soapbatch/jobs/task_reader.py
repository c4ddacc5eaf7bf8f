"""Read tasks: one by one, or several at once from a list.

Rule 1. A list replaces single readings if at least 3 tasks are to be read at the same time. The list is the answer to
        GetBatchTaskInfosByNameAndAssociates for all associates: every service version has that operation, and its
        answer contains system tasks, too.
Rule 2. If the tasks belong to one job, its name filters the list. If they belong to several jobs, or their job is not
        known, the list is one of all jobs.
Rule 3. A list with more than 100 tasks for each wanted task is too long. Reading stops there, and the list is not
        requested again for so few tasks. In the place of the list of all jobs, one list for each job is tried.
Rule 4. Tasks that no list is worth are read one by one.
Rule 5. A list that the server refuses is not requested again. A list whose answer cannot be read is given up for this
        time: single readings find out what is wrong.
Rule 6. A task that a list does not show is read alone before it counts as gone: a server may hide tasks from lists.
"""

import contextlib
import math
from collections.abc import AsyncGenerator, Collection, Generator, Iterable, Mapping, Sequence
from typing import Final

import attrs

from soapbatch.calls import BatchAgent, CallOptions
from soapbatch.errors import Applied, Fault, JobGone, OperationFailed, ProtocolError, SoapBatchError
from soapbatch.jobs.concurrency import for_each_limited
from soapbatch.model import ALL_ASSOCIATES, BatchTaskInfo
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES

NOT_FOUND_TYPES: Final = frozenset({"SoEntityNotFoundException"})
"""Each `error_type` with which a server says that it does not know a task. Other servers answer nil, which is None."""
MIN_FOR_LIST: Final = 3
"""The smallest number of wanted tasks for which a list is requested."""
MAX_LIST_RATIO: Final = 100
"""The largest number of tasks in a list for each wanted task."""
ANY_JOB: Final = ""
"""The name that filters by no name: a list of the tasks of all jobs."""


def error_type(error: Exception) -> str | None:
    """Return the last dotted part of the type of NetServer's own exception, if `error` reports one."""
    return error.error_type if isinstance(error, OperationFailed | Fault) else None


def says_not_found(error: Exception) -> bool:
    """Return whether `error` says that the server does not know the task."""
    return error_type(error) in NOT_FOUND_TYPES


def task_gone(id: int, info: BatchTaskInfo | None = None, applied: Applied = "yes") -> JobGone:
    """Return the error that says that the server does not know task `id`.

    Args:
        id: the task's number.
        info: the task as last read.
        applied: whether the call was applied: "no" if it was to change the task, and not only to read it.
    """
    message = f"task {id}: the server does not know this task (any more); a finished task may vanish at any time"
    return JobGone(message, id=id, info=info, applied=applied)


@contextlib.contextmanager
def not_found_as_gone(id: int, info: BatchTaskInfo | None = None, applied: Applied = "yes") -> Generator[None]:
    """Raise JobGone if the block fails because the server does not know task `id`. Arguments: see `task_gone`."""
    try:
        yield
    except SoapBatchError as error:
        if not says_not_found(error):
            raise
        raise task_gone(id, info, applied) from error


def stream_tasks(
    batch: BatchAgent, name: str, options: CallOptions | None = None
) -> AsyncGenerator[BatchTaskInfo, None]:
    """Yield every task of the job `name`, of every associate and of the system. In every service version."""
    operation = GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES
    return batch.stream(operation, name=name, associate_ids=ALL_ASSOCIATES, options=options)


@attrs.frozen
class TaskRef:
    """A task that is to be read.

    Attributes:
        id: the task's number.
        name: the name of its job; None: not known yet.
        is_unlisted: whether lists do not show the task, although the server knows it.
    """

    id: int
    name: str | None = None
    is_unlisted: bool = False


@attrs.frozen
class ReadPlan:
    """The calls that read a number of tasks.

    Attributes:
        lists: the ids to look for in each list, by the name that filters the list.
        singles: the ids to read one by one.
    """

    lists: Mapping[str, Sequence[int]]
    singles: Sequence[int]


def plan_reads(refs: Iterable[TaskRef], lengths: Mapping[str, float]) -> ReadPlan:
    """Return the calls that read the tasks `refs`. Pure.

    `lengths`: how many tasks each list had, by the name that filters the list; infinity: the server refused it.
    """
    singles: list[int] = []
    ids_by_name: dict[str, list[int]] = {}
    for ref in refs:
        ids = singles if ref.is_unlisted else ids_by_name.setdefault(ref.name or ANY_JOB, [])
        ids.append(ref.id)

    def is_worth_a_list(name: str, ids: Collection[int]) -> bool:  # Rules 1, 3 and 5
        return len(ids) >= MIN_FOR_LIST and lengths.get(name, 0) <= MAX_LIST_RATIO * len(ids)

    all_ids = [id_ for ids in ids_by_name.values() for id_ in ids]
    if len(ids_by_name) > 1 and is_worth_a_list(ANY_JOB, all_ids):  # Rule 2
        return ReadPlan({ANY_JOB: all_ids}, singles)
    lists = {name: ids for name, ids in ids_by_name.items() if is_worth_a_list(name, ids)}
    rest = [id_ for name, ids in ids_by_name.items() if name not in lists for id_ in ids]
    return ReadPlan(lists, singles + rest)  # Rule 4


class TaskReader:
    """Reads tasks one by one or from lists, and remembers how long each list was."""

    def __init__(self, batch: BatchAgent) -> None:
        """Read through `batch`."""
        self._batch = batch
        self._lengths: dict[str, float] = {}

    def plan(self, refs: Iterable[TaskRef]) -> ReadPlan:
        """Return the calls that read the tasks `refs`."""
        return plan_reads(refs, self._lengths)

    async def read_one(self, id: int) -> BatchTaskInfo | None:
        """Return a task, or None if the server does not know it."""
        try:
            return await self._batch.get_batch_task_info(id)
        except SoapBatchError as error:
            if says_not_found(error):
                return None
            raise

    async def read_list(
        self, name: str, wanted: int, watched: Collection[int]
    ) -> tuple[dict[int, BatchTaskInfo], bool]:
        """Read the list of the job `name`.

        Args:
            name: filters the list; ANY_JOB: a list of all jobs.
            wanted: for how many tasks the list is requested; decides when the list is too long (Rule 3).
            watched: the ids of all tasks that somebody waits for: more than those that are wanted now.

        Returns:
            The `watched` tasks that the list shows, by id; and whether the list was read to its end.

        Raises:
            SoapBatchError: the list could not be read for a reason that may pass. For any other reason the result
                is empty (Rule 5).
        """
        found: dict[int, BatchTaskInfo] = {}
        length, is_too_long = 0, False
        try:
            async with contextlib.aclosing(stream_tasks(self._batch, name)) as tasks:
                async for info in tasks:
                    length += 1
                    if info.id is not None and info.id in watched:
                        found[info.id] = info
                    if is_too_long := length > MAX_LIST_RATIO * wanted:
                        break
        except SoapBatchError as error:
            if error.retryable:
                raise
            if not isinstance(error, ProtocolError):
                self._lengths[name] = math.inf
            return {}, False
        self._lengths[name] = length
        return found, not is_too_long

    async def read_many(
        self, ids: Collection[int], limit: int, *, applied: Applied
    ) -> dict[int, BatchTaskInfo | SoapBatchError]:
        """Return each of the tasks `ids` by its id, or why it could not be read: JobGone or another error.

        Args:
            ids: the tasks to read.
            limit: how many single readings may be under way at the same time.
            applied: of the JobGone.
        """
        results: dict[int, BatchTaskInfo | SoapBatchError] = {}
        for name, listed in self.plan(map(TaskRef, ids)).lists.items():
            with contextlib.suppress(SoapBatchError):  # each task is read alone below, and says what is wrong
                found, _ = await self.read_list(name, len(listed), ids)
                results |= found

        async def read(id_: int) -> None:
            try:
                info = await self.read_one(id_)
                results[id_] = task_gone(id_, applied=applied) if info is None else info
            except SoapBatchError as error:
                results[id_] = error

        await for_each_limited(read, [id_ for id_ in ids if id_ not in results], limit)
        return results
