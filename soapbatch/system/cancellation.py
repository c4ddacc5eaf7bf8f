"""Finish work although its caller is cancelled, and leave no task behind."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_until_done(task: asyncio.Future[Any]) -> None:
    """Wait until `task` is done, and ignore its outcome. A cancellation in between is raised after that."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, and return its result. A cancellation in between is raised afterwards instead."""
    task = asyncio.ensure_future(work)
    try:
        await wait_until_done(task)
    except asyncio.CancelledError:
        retrieve_exception(task)
        raise
    return task.result()


async def cancel_and_wait(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel the `tasks` that still run, and wait until all of them are done."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        retrieve_exception(task)


def retrieve_exception(done_task: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a task that is done, so that the event loop does not report it as never retrieved."""
    if not done_task.cancelled():
        done_task.exception()
