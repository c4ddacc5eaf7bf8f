"""Delete and stop many tasks: in chunks, several calls at a time, with one outcome for each id.

Rule 1. Ids are deleted in chunks of 100, with four calls at a time.
Rule 2. If the server refuses a chunk, its halves are tried, down to single ids: one unknown id may be enough for a
        server to refuse. A server that had deleted a task of the chunk nevertheless does not know that task any more;
        this is reported as JobGone and does no harm, because a server does not use a number twice.
Rule 3. Nothing is sent again if the server refused the caller, if it cannot have deleted anything, or if no readable
        answer came back. The error of the call holds for each id of the chunk.
Rule 4. Tasks are stopped in chunks of 100: a chunk is read, then its tasks are stopped, eight at a time.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from soapbatch.calls import BatchAgent
from soapbatch.errors import Fault, OperationFailed, SoapBatchError
from soapbatch.jobs.concurrency import for_each_limited
from soapbatch.jobs.job import stop_task
from soapbatch.jobs.outcome import Failure, Outcome, Success
from soapbatch.jobs.task_reader import TaskReader, error_type, says_not_found, task_gone
from soapbatch.model import BatchTaskInfo

CHUNK: Final = 100
"""How many ids one DeleteBatchTasks call takes; how many tasks are read before they are stopped."""
DELETE_CALLS: Final = 4
"""How many DeleteBatchTasks calls may be under way at the same time."""
OTHER_CALLS: Final = 8
"""How many calls about one task may be under way at the same time."""
CALLER_REFUSED: Final = frozenset({"SoSentryException", "SoSessionException"})
"""Each `error_type` that is about the caller: the server would refuse each id of a chunk for the same reason."""


async def delete_tasks(batch: BatchAgent, ids: Sequence[int]) -> list[Outcome[bool]]:
    """Delete tasks; see `Jobs.delete_many`."""
    chunks = _chunks(ids)
    errors: dict[int, SoapBatchError] = {}

    async def delete_chunk(number: int) -> None:
        errors.update(await _delete(batch, chunks[number]))

    await for_each_limited(delete_chunk, range(len(chunks)), DELETE_CALLS)
    return [Failure(id=id_, error=errors[id_]) if id_ in errors else Success(id=id_, result=True) for id_ in ids]


async def stop_tasks(
    batch: BatchAgent, ids: Sequence[int], *, read_first: bool, force: bool, confirm: bool
) -> list[Outcome[bool]]:
    """Stop tasks, each read before if `read_first`; see `Jobs.stop_many`."""
    outcomes: dict[int, Outcome[bool]] = {}
    for chunk in _chunks(ids):  # Rule 4
        infos = await TaskReader(batch).read_many(chunk, OTHER_CALLS, applied="no") if read_first else {}

        async def stop_one(id_: int, infos: Mapping[int, BatchTaskInfo | SoapBatchError] = infos) -> None:
            info = infos.get(id_)
            try:
                if isinstance(info, SoapBatchError):
                    raise info
                stopped = await stop_task(batch, id_, info, force=force, confirm=confirm)
                outcomes[id_] = Success(id=id_, result=stopped)
            except SoapBatchError as error:
                outcomes[id_] = Failure(id=id_, error=error)

        await for_each_limited(stop_one, chunk, OTHER_CALLS)
    return [outcomes[id_] for id_ in ids]


def _chunks(ids: Sequence[int]) -> list[list[int]]:
    """Return `ids`, each once, in chunks."""
    unique = list(dict.fromkeys(ids))
    return [unique[start : start + CHUNK] for start in range(0, len(unique), CHUNK)]


async def _delete(batch: BatchAgent, ids: Sequence[int]) -> dict[int, SoapBatchError]:
    """Delete tasks by Rules 2 and 3; return the error of each id that was not deleted."""
    try:
        await batch.delete_batch_tasks(ids)
    except (OperationFailed, Fault) as error:
        if error.applied == "no" or error_type(error) in CALLER_REFUSED:
            return dict.fromkeys(ids, error)
        if len(ids) > 1:
            middle = len(ids) // 2
            return await _delete(batch, ids[:middle]) | await _delete(batch, ids[middle:])
        if not says_not_found(error):
            return {ids[0]: error}
        gone = task_gone(ids[0], applied="no")
        gone.__cause__ = error
        return {ids[0]: gone}
    except SoapBatchError as error:
        return dict.fromkeys(ids, error)
    return {}
