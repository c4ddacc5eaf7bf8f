"""Reading tasks for the jobs layer: when one is gone, when it has ended, and one list call in the place of many.

The rule for lists: three or more tasks that are to be read at the same time cost one
GetBatchTaskInfosByNameAndAssociates of all associates, which every version has and which covers system tasks too;
with the name of their job if they share it, and of any job otherwise. A list that holds more than 100 tasks for
each one that is wanted is left in the middle and counts as too long for so few: then each job name for itself is
tried, and what remains is read one by one. So is everything where the server refuses the list. A task that a list
does not show is read by itself before anybody calls it gone.
"""

import contextlib
import math
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import attrs

from soapbatch.calls import BatchAgent
from soapbatch.errors import Fault, JobError, JobGone, OperationFailed, SoapBatchError
from soapbatch.jobs.outcome import each
from soapbatch.model import ALL_ASSOCIATES, BatchTaskInfo, BatchTaskState
from soapbatch.operations import GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES

E = TypeVar("E", bound=JobError)

TERMINAL: Final = frozenset({BatchTaskState.SUCCEEDED, BatchTaskState.FAILED, BatchTaskState.SUCCEEDED_MANUAL_CLEANUP})
"""The states in which a job has ended. In any other one, also one that this release does not know, it still runs."""
NOT_FOUND: Final = frozenset({"SoEntityNotFoundException"})
"""The `error_type` with which a server says that it does not know a task. Others answer nil: None."""
LIST_FROM: Final = 3
"""So many tasks to be read at the same time are worth a list."""
LIST_SHARE: Final = 100
"""So many tasks may a list hold for each one that is wanted."""
ANY_JOB: Final = ""
"""A blank name in a filter: tasks of any job."""


def has_ended(info: BatchTaskInfo) -> bool:
    """Return whether the job has ended, well or badly."""
    return info.state in TERMINAL


def error_type(error: Exception) -> str | None:
    """Return the last dotted part of the type of NetServer's own exception, if that is what `error` tells of."""
    return error.error_type if isinstance(error, OperationFailed | Fault) else None


def is_gone(error: Exception) -> bool:
    """Return whether `error` says that the server does not know the task."""
    return error_type(error) in NOT_FOUND


def job_error(kind: type[E], message: str, *, id: int | None, info: BatchTaskInfo | None = None) -> E:
    """Return an error of the jobs layer with what it has to show."""
    error = kind(message)
    error.id, error.info = id, info
    return error


def gone(id: int, info: BatchTaskInfo | None = None) -> JobGone:
    """Return the error that says that the server does not know task `id`."""
    message = f"task {id}: the server does not know it (any more); finished tasks may vanish"
    return job_error(JobGone, message, id=id, info=info)


def tasks_of(batch: BatchAgent, name: str) -> AsyncGenerator[BatchTaskInfo, None]:
    """Yield every task of the job `name`, of whomever, the system's included; in every version."""
    return batch.stream(GET_BATCH_TASK_INFOS_BY_NAME_AND_ASSOCIATES, name=name, associate_ids=ALL_ASSOCIATES)


@attrs.frozen
class Wanted:
    """A task to be read.

    Attributes:
        id: its number.
        name: of its job; None: not known yet.
        is_single: whether lists do not show it, although the server knows it.
    """

    id: int
    name: str | None = None
    is_single: bool = False


@attrs.frozen
class Plan:
    """Which calls read a number of tasks.

    Attributes:
        lists: the ids to look for, by the name of the list.
        singles: the ids to read one by one.
    """

    lists: Mapping[str, Sequence[int]]
    singles: Sequence[int]


def plan(wanted: Iterable[Wanted], lengths: Mapping[str, float]) -> Plan:
    """Return the calls that read `wanted`; `lengths` holds how long lists have been, by their name. Pure."""
    singles: list[int] = []
    groups: dict[str, list[int]] = {}
    for task in wanted:
        ids = singles if task.is_single else groups.setdefault(task.name or ANY_JOB, [])
        ids.append(task.id)

    def pays(name: str, ids: Collection[int]) -> bool:
        return len(ids) >= LIST_FROM and lengths.get(name, 0) <= LIST_SHARE * len(ids)

    together = [id_ for ids in groups.values() for id_ in ids]
    if len(groups) > 1 and pays(ANY_JOB, together):
        return Plan({ANY_JOB: together}, singles)
    lists = {name: ids for name, ids in groups.items() if pays(name, ids)}
    return Plan(lists, singles + [id_ for name, ids in groups.items() if name not in lists for id_ in ids])


class Reader:
    """Reads tasks one by one or from lists, and remembers how long those lists were."""

    def __init__(self, batch: BatchAgent) -> None:
        """Read through `batch`."""
        self._batch = batch
        self._lengths: dict[str, float] = {}

    def plan(self, wanted: Iterable[Wanted]) -> Plan:
        """Return the calls that read `wanted`."""
        return plan(wanted, self._lengths)

    async def one(self, id: int) -> BatchTaskInfo | None:
        """Return a task, or None where the server does not know it."""
        try:
            return await self._batch.get_batch_task_info(id)
        except SoapBatchError as error:
            if is_gone(error):
                return None
            raise

    async def listed(self, name: str, due: int, watched: Collection[int]) -> tuple[dict[int, BatchTaskInfo], bool]:
        """Return those of the `watched` tasks that the list of `name` shows, by id, and whether it was read whole.

        It is left in the middle where it is too long for the `due` that it is read for. One that the server refuses
        is empty, and never asked for again; only trouble that may pass raises.
        """
        found: dict[int, BatchTaskInfo] = {}
        length, is_long = 0, False
        try:
            async with contextlib.aclosing(tasks_of(self._batch, name)) as tasks:
                async for info in tasks:
                    length += 1
                    if info.id is not None and info.id in watched:
                        found[info.id] = info
                    if is_long := length > LIST_SHARE * due:
                        break
        except SoapBatchError as error:
            if error.retryable:
                raise
            self._lengths[name] = math.inf
            return {}, False
        self._lengths[name] = length
        return found, not is_long


async def read_many(
    batch: BatchAgent, ids: Collection[int], concurrency: int
) -> dict[int, BatchTaskInfo | SoapBatchError]:
    """Return the tasks `ids` by id, or JobGone or another error where there is none to return."""
    reader = Reader(batch)
    results: dict[int, BatchTaskInfo | SoapBatchError] = {}
    for name, listed in reader.plan(map(Wanted, ids)).lists.items():
        with contextlib.suppress(SoapBatchError):  # then each is read by itself, and says what is wrong
            found, _ = await reader.listed(name, len(listed), ids)
            results |= found

    async def read(id_: int) -> None:
        try:
            info = await reader.one(id_)
            results[id_] = gone(id_) if info is None else info
        except SoapBatchError as error:
            results[id_] = error

    await each(read, [id_ for id_ in ids if id_ not in results], concurrency)
    return results
