"""Run coroutines at the same time and leave none of them behind."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from soapbatch.system import cancel_and_wait

T = TypeVar("T")


async def gather_or_cancel(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all `works` at the same time and return their results in order.

    An exception of one work, or a cancellation of the caller, cancels the other works and is raised after they ended.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_and_wait(tasks)


async def for_each_limited(work: Callable[[int], Awaitable[object]], ids: Iterable[int], limit: int) -> None:
    """Run `work` for each of `ids`, at most `limit` of them at the same time."""
    waiting = iter(ids)

    async def worker() -> None:
        for id_ in waiting:
            await work(id_)

    await gather_or_cancel(worker() for _ in range(limit))
