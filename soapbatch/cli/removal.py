"""`soapbatch stop`, `delete` and `cleanup`: they ask first."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from soapbatch.cli.exit_status import ExitStatus, status_of, status_of_all
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.jsonable import plain_error
from soapbatch.cli.listing import find_tasks, newest_first
from soapbatch.cli.output import age_of, printable
from soapbatch.client import Client
from soapbatch.errors import SoapBatchError, StopRefused, UsageError
from soapbatch.jobs import Outcome
from soapbatch.model import BatchTaskCancellationBehaviour, BatchTaskInfo
from soapbatch.operations import CLEANUP_BATCH_TASK

_B = BatchTaskCancellationBehaviour
_MANY = 20  # tasks that a question shows; of more it shows the first


async def stop(invocation: Invocation) -> int:
    """Ask the server to stop tasks."""
    options, output = invocation.options, invocation.output
    ids = list(dict.fromkeys(options.ids))
    async with invocation.client() as client:
        infos = await _read(client, ids)
        running = [info for info in infos.values() if isinstance(info, BatchTaskInfo) and not info.has_ended]
        if options.dry_run:
            output.write_tasks(running)
            return ExitStatus.DONE
        warned = [info for info in running if info.cancellation_behaviour == _B.CANCEL_WITH_WARNING]
        for info in warned:
            output.say(f"WARNING: the server warns against stopping {_described(info)} (CancelWithWarning)")
        if running:
            output.confirm(f"Stop {_described_all(running)}?")
        asked = [info.id or 0 for info in running]
        outcomes = await client.jobs.stop_many(asked, force=options.force, confirm=True)
        results = {id_: _not_running(id_, infos[id_]) for id_ in ids}
        results |= {id_: await _stopped(client, id_, outcome) for id_, outcome in zip(asked, outcomes, strict=True)}
    return _report(invocation, "stopped", results)


async def _read(client: Client, ids: Sequence[int]) -> dict[int, BatchTaskInfo | SoapBatchError]:
    """Return each task, or why it cannot be read."""

    async def read(id_: int) -> BatchTaskInfo | SoapBatchError:
        try:
            return await client.jobs.attach(id_).info()
        except SoapBatchError as error:
            return error

    return dict(zip(ids, await asyncio.gather(*map(read, ids)), strict=True))


def _not_running(id_: int, info: BatchTaskInfo | SoapBatchError) -> "str | SoapBatchError":
    return info if isinstance(info, SoapBatchError) else f"task {id_} has ended already: {info.state}"


async def _stopped(client: Client, id_: int, outcome: Outcome[bool]) -> "str | SoapBatchError":
    """Return what became of a task that the server was asked to stop."""
    if outcome.error is not None:
        return outcome.error
    if outcome.result:
        return f"task {id_} is stopped"
    info = await client.batch.get_batch_task_info(id_)
    if info is None or info.has_ended:
        return f"task {id_} has ended already"
    return StopRefused(f"the server did not stop task {id_}, which runs on: {info.state}", id=id_, info=info)


async def delete(invocation: Invocation) -> int:
    """Delete tasks by id, or by what they are."""
    options, output = invocation.options, invocation.output
    is_filter = any(value is not None for value in (options.name, options.state, options.older_than))
    if bool(options.ids) == is_filter:
        raise UsageError("delete takes ids, or filters: --name, --state and --older-than")
    async with invocation.client() as client:
        known: Sequence[BatchTaskInfo] = ()
        ids: list[int] = list(dict.fromkeys(options.ids))
        if is_filter:
            known = await _chosen(client, invocation)
            ids = [info.id for info in known if info.id is not None]
        elif options.dry_run or output.takes_input:
            known = [info for info in (await _read(client, ids)).values() if isinstance(info, BatchTaskInfo)]
        if options.dry_run or not ids:
            output.write_tasks(known)
            return ExitStatus.DONE
        shown = _described_all(known) if known else f"task {', '.join(map(str, ids))}"
        output.confirm(f"Delete {shown}?")
        outcomes = await client.jobs.delete_many(ids)
    results: dict[int, str | SoapBatchError] = {
        id_: outcome.error or f"task {id_} is deleted" for id_, outcome in zip(ids, outcomes, strict=True)
    }
    return _report(invocation, "deleted", results)


async def _chosen(client: Client, invocation: Invocation) -> list[BatchTaskInfo]:
    """Return the tasks that fit the filters: without --state, only tasks that have ended."""
    options, now = invocation.options, datetime.now(UTC)
    found: list[BatchTaskInfo] = []
    finished = True if options.state is None else None
    async for info in find_tasks(client, invocation, name=options.name, state=options.state, finished=finished):
        age = age_of(info.created, now)
        is_old = options.older_than is None or (age is not None and age >= options.older_than)
        if is_old:
            found.append(info)
    return newest_first(found)


async def cleanup(invocation: Invocation) -> int:
    """Let the server remove the output of a task."""
    options, output = invocation.options, invocation.output
    CLEANUP_BATCH_TASK.check_version(invocation.settings.version)
    async with invocation.client() as client:
        job = client.jobs.attach(options.id)
        if options.dry_run:
            output.write_tasks([await job.info()])
            return ExitStatus.DONE
        output.confirm(f"Remove the output of task {options.id}?")
        await job.cleanup()
    return _report(invocation, "cleaned_up", {options.id: f"the output of task {options.id} is removed"})


def _described(info: BatchTaskInfo) -> str:
    percent = "" if info.progress_percent is None else f", {info.progress_percent} %"
    return f"task {info.id} ({printable(info.name)}, {printable(info.state)}{percent})"


def _described_all(infos: Sequence[BatchTaskInfo]) -> str:
    shown = ", ".join(map(_described, infos[:_MANY]))
    more = len(infos) - _MANY
    return f"{len(infos)} tasks: {shown}{f' and {more} more' if more > 0 else ''}" if len(infos) > 1 else shown


def _report(invocation: Invocation, verb: str, results: dict[int, "str | SoapBatchError"]) -> int:
    """Write what became of each task, and return the exit status."""
    output = invocation.output
    statuses: list[ExitStatus] = []
    rows: list[dict[str, Any]] = []
    for id_, result in results.items():
        if isinstance(result, SoapBatchError):
            status = status_of(result)
            rows.append({"id": id_, verb: False, "error": plain_error(result, status)})
            if not output.is_json:
                output.report(result, status)
        else:
            status = ExitStatus.DONE
            rows.append({"id": id_, verb: True, "message": result})
            output.say(result)
            if not output.is_json:
                output.write(str(id_))
        statuses.append(status)
    if output.form == "json":
        output.write_json({"results": rows})
    for row in rows if output.form == "jsonl" else ():
        output.write_line(row)
    return status_of_all(statuses)
