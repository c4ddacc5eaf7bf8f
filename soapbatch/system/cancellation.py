"""Bringing work to its end although the caller is cancelled meanwhile, and one failure to several waiters."""

import asyncio
import copy
from collections.abc import Coroutine
from typing import Any, TypeVar

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")


async def ended(task: asyncio.Future[Any]) -> None:
    """Wait until `task` has ended, however it did; a cancellation that comes meanwhile is raised after that."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end; a cancellation that comes meanwhile is raised after it, in the place of its result."""
    task = asyncio.ensure_future(work)
    try:
        await ended(task)
    except asyncio.CancelledError:
        look_at(task)
        raise
    return task.result()


def look_at(ended_task: asyncio.Future[Any]) -> None:
    """Look at the outcome of a task that nobody may have waited for, so that the loop does not complain about it."""
    if not ended_task.cancelled():
        ended_task.exception()


def again(error: E) -> E:
    """Return a copy of `error` for one more waiter, with its cause and notes: each raise adds to a traceback."""
    other = copy.copy(error)
    other.__cause__ = error.__cause__
    if notes := getattr(error, "__notes__", None):
        other.__notes__ = [*notes]
    return other
