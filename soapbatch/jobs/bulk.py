"""Deleting and stopping many tasks: in chunks, some at a time, with one outcome for each id."""

from collections.abc import Mapping, Sequence
from typing import Final

from soapbatch.calls import BatchAgent
from soapbatch.errors import Fault, OperationFailed, SoapBatchError, UsageError
from soapbatch.jobs.outcome import Outcome, each
from soapbatch.jobs.task_reader import error_type, gone, has_ended, is_gone, read_many
from soapbatch.model import BatchTaskCancellationBehaviour, BatchTaskInfo

CHUNK: Final = 100
"""Ids in one DeleteBatchTasks; and so many tasks are read, then stopped, before the next are."""
CHUNKS_AT_A_TIME: Final = 4
"""DeleteBatchTasks calls under way at the same time."""
CALLS_AT_A_TIME: Final = 8
"""Other calls under way at the same time."""
NOT_ALLOWED: Final = frozenset({"SoSentryException", "SoSessionException"})
"""The `error_type`s that are about the caller: what is refused so for many ids is refused for each of them."""


async def delete(batch: BatchAgent, ids: Sequence[int]) -> list[Outcome[bool]]:
    """Delete tasks; `Jobs.delete_many` documents the rest."""
    unique = list(dict.fromkeys(ids))
    chunks = [unique[start : start + CHUNK] for start in range(0, len(unique), CHUNK)]
    errors: dict[int, SoapBatchError] = {}

    async def delete_chunk(number: int) -> None:
        errors.update(await _delete(batch, chunks[number]))

    await each(delete_chunk, range(len(chunks)), CHUNKS_AT_A_TIME)
    return [Outcome(id=id_, error=errors[id_]) if id_ in errors else Outcome(id=id_, result=True) for id_ in ids]


async def _delete(batch: BatchAgent, ids: Sequence[int]) -> dict[int, SoapBatchError]:
    """Delete tasks in one call and return what went wrong, by id.

    Where the server says no to a chunk, its halves are tried, down to single ids: a task that the chunk has
    deleted all the same is only reported as gone, since numbers are not used again. Where it is the caller who is
    refused, or there is no answer, or none that can be read, nothing is sent again: what the error says holds for
    each id.
    """
    try:
        await batch.delete_batch_tasks(ids)
    except (OperationFailed, Fault) as error:
        is_final = error.applied == "no" or error_type(error) in NOT_ALLOWED
        if is_final or (len(ids) == 1 and not is_gone(error)):
            return dict.fromkeys(ids, error)
        if len(ids) == 1:
            missing = gone(ids[0])
            missing.__cause__ = error
            return {ids[0]: missing}
        middle = len(ids) // 2
        return await _delete(batch, ids[:middle]) | await _delete(batch, ids[middle:])
    except SoapBatchError as error:
        return dict.fromkeys(ids, error)
    return {}


async def stop(batch: BatchAgent, id: int, info: BatchTaskInfo | None, *, force: bool, confirm: bool) -> bool:
    """Ask the server to stop a task of which `info` was just read, if it was; `Job.stop` documents the rest."""
    if info is not None and has_ended(info):
        return False
    behaviour = None if info is None or force else info.cancellation_behaviour
    if behaviour == BatchTaskCancellationBehaviour.CANNOT_CANCEL:
        raise UsageError(
            f"task {id} cannot be stopped, says the server (CannotCancel): force=True asks it all the same"
        )
    if behaviour == BatchTaskCancellationBehaviour.CANCEL_WITH_WARNING and not confirm:
        raise UsageError(f"task {id} should be stopped only after a warning (CancelWithWarning): pass confirm=True")
    try:
        return await batch.stop_batch_job(id)
    except SoapBatchError as error:
        if is_gone(error):
            raise gone(id, info) from error
        raise


async def stop_each(
    batch: BatchAgent, ids: Sequence[int], *, is_read: bool, force: bool, confirm: bool
) -> list[Outcome[bool]]:
    """Stop tasks, each read before if `is_read`; `Jobs.stop_many` documents the rest."""
    unique = list(dict.fromkeys(ids))
    outcomes: dict[int, Outcome[bool]] = {}
    for start in range(0, len(unique), CHUNK):
        chunk = unique[start : start + CHUNK]
        infos = await read_many(batch, chunk, CALLS_AT_A_TIME) if is_read else {}

        async def stop_one(id_: int, infos: Mapping[int, BatchTaskInfo | SoapBatchError] = infos) -> None:
            info = infos.get(id_)
            try:
                if isinstance(info, SoapBatchError):
                    raise info
                stopped = await stop(batch, id_, info, force=force, confirm=confirm)
                outcomes[id_] = Outcome(id=id_, result=stopped)
            except SoapBatchError as error:
                outcomes[id_] = Outcome(id=id_, error=error)

        await each(stop_one, chunk, CALLS_AT_A_TIME)
    return [outcomes[id_] for id_ in ids]
