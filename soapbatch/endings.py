"""Bringing work to its end although the caller is cancelled meanwhile."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

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
    finally:
        if not task.cancelled():
            task.exception()  # looked at, so that the loop does not complain
    return task.result()
