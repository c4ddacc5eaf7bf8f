"""Finish work although its caller is cancelled, and leave no task behind."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
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


def _leave_to_the_outer_one(_: AsyncGenerator[Any, Any]) -> None:
    """Do nothing: a finalizer for a generator that another one closes."""


class closing_inside(AbstractAsyncContextManager[AsyncIterator[T]]):  # noqa: N801 - named as contextlib names its own
    """Iterate over an async generator inside of another one, and close it: `contextlib.aclosing` for that place.

    An event loop that ends closes all generators that it knows, at once. One inside of another one would be closed
    twice at the same time, which Python reports as an error. So the loop is not told of the inner one. And the garbage
    collector must not close it: it closes a generator without a finalizer at once, although that has to await. The
    outer one, for which the loop has a finalizer, closes it.
    """

    def __init__(self, generator: AsyncGenerator[T, None]) -> None:
        """Take a generator that has not been started."""
        self._generator = generator
        self._is_started = False

    async def __aenter__(self) -> "closing_inside[T]":
        """Return the iterator, which is this object."""
        return self

    def __aiter__(self) -> "closing_inside[T]":
        """Return itself."""
        return self

    def __anext__(self) -> Awaitable[T]:
        """Return what awaits the next item."""
        if self._is_started:
            return anext(self._generator)
        self._is_started = True
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=_leave_to_the_outer_one)
        try:
            return anext(self._generator)
        finally:
            sys.set_asyncgen_hooks(*hooks)

    async def __aexit__(self, *_: object) -> None:
        """Close the generator."""
        await self._generator.aclose()
