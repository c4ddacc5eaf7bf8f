"""`soapbatch wait` and `soapbatch watch`, and the wait of `start --wait` and `run`."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from soapbatch.cli.exit_status import ExitStatus, status_of_all
from soapbatch.cli.invocation import Invocation
from soapbatch.cli.output import Output, printable
from soapbatch.cli.progress_bar import progress_bar
from soapbatch.client import Client
from soapbatch.errors import SoapBatchError
from soapbatch.jobs import Outcome, Polling
from soapbatch.model import BatchTaskInfo, to_plain
from soapbatch.system import cancel_and_wait


async def wait(invocation: Invocation) -> int:
    """Wait until tasks have ended, and show them."""
    options, output = invocation.options, invocation.output
    invocation.running += options.ids
    async with invocation.client() as client:
        outcomes = await wait_for(invocation, client, options.ids, is_first_enough=options.any)
    infos = [outcome.result for outcome in outcomes if outcome.result is not None]
    failed = [info for outcome in outcomes if (info := getattr(outcome.error, "info", None)) is not None]
    if infos or failed:
        output.write_tasks(sorted([*infos, *failed], key=lambda info: info.id or 0))
    statuses = [_report(output, outcome.error) for outcome in outcomes]
    return status_of_all(statuses)


def _report(output: Output, error: SoapBatchError | None) -> ExitStatus:
    return ExitStatus.DONE if error is None else output.report(error)


async def wait_for(
    invocation: Invocation, client: Client, ids: Sequence[int], *, is_first_enough: bool = False
) -> list[Outcome[BatchTaskInfo]]:
    """Wait for tasks, with bars on a terminal; `is_first_enough`: until the first has ended."""
    options, output = invocation.options, invocation.output
    polling = polling_of(options.interval)
    seconds: float | None = options.wait_timeout
    unique = list(dict.fromkeys(ids))
    with contextlib.ExitStack() as stack:
        show = None
        if sys.stderr.isatty() and not output.is_quiet:
            show = stack.enter_context(progress_bar(output.console(sys.stderr)))
        if not is_first_enough:
            return await client.jobs.wait_all(unique, timeout=seconds, on_progress=show, polling=polling)
        finished = client.jobs.as_finished(unique, timeout=seconds, on_progress=show, polling=polling)
        async with contextlib.aclosing(finished):
            return [await anext(finished)]


def polling_of(interval: float) -> Polling:
    """Return how often to read tasks, at least `interval` seconds apart."""
    return Polling(first=interval, floor=interval, ceiling=max(30.0, interval))


def show_ended(output: Output, info: BatchTaskInfo) -> None:
    """Say how a task ended."""
    output.say(f"task {info.id}: {info.state}" + (f": {printable(info.result)}" if info.result else ""))


async def watch(invocation: Invocation) -> int:
    """Print each change of tasks as a line of JSON, until they have ended."""
    options, output = invocation.options, invocation.output
    ids = list(dict.fromkeys(options.ids))
    invocation.running += ids
    statuses: dict[int, ExitStatus] = {}
    async with invocation.client() as client, contextlib.aclosing(_changes(invocation, client, ids)) as changes:
        async for id_, change in changes:
            if isinstance(change, SoapBatchError):
                statuses[id_] = output.report(change)
                continue
            output.write_line(to_plain(change))
            if change.has_ended:
                statuses[id_] = ExitStatus.FAILED if change.state == "Failed" else ExitStatus.DONE
    return status_of_all(statuses.values())


async def _changes(
    invocation: Invocation, client: Client, ids: Sequence[int]
) -> AsyncGenerator[tuple[int, BatchTaskInfo | SoapBatchError], None]:
    """Yield the changes of all tasks as they come; an error ends the changes of its task."""
    options = invocation.options
    queue: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()

    async def follow(id_: int) -> None:
        try:
            watching = client.jobs.attach(id_).watch(timeout=options.wait_timeout, polling=polling_of(options.interval))
            async with contextlib.aclosing(watching) as changes:
                async for info in changes:
                    await queue.put((id_, info))
        except SoapBatchError as error:
            await queue.put((id_, error))
        await queue.put((id_, None))

    tasks = [asyncio.create_task(follow(id_)) for id_ in ids]
    try:
        left = len(tasks)
        while left:
            id_, change = await queue.get()
            if change is None:
                left -= 1
            else:
                yield id_, change
    finally:
        await cancel_and_wait(tasks)
