"""Many at once: one outcome for each task, and coroutines that run together and leave nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Generic, TypeVar

import attrs

from soapbatch.endings import look_at
from soapbatch.errors import SoapBatchError

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Outcome(Generic[T]):
    """What became of one of many.

    Attributes:
        id: the task's number.
        result: what the operation returned; None where it failed.
        error: why it failed, or None. Its `applied` says whether the server may have done it all the same.
    """

    id: int
    result: T | None = None
    error: SoapBatchError | None = None

    @property
    def ok(self) -> bool:
        """Whether there was no error."""
        return self.error is None


def raise_errors(outcomes: Sequence[Outcome[Any]], what: str) -> None:
    """Raise an ExceptionGroup with the errors of `outcomes`, each once and with the ids that it is about."""
    errors: dict[int, SoapBatchError] = {}
    ids: dict[int, list[int]] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            errors[id(outcome.error)] = outcome.error
            ids.setdefault(id(outcome.error), []).append(outcome.id)
    if not errors:
        return
    for key, error in errors.items():
        error.add_note(f"about task {', '.join(map(str, ids[key]))}")
    message = f"{sum(map(len, ids.values()))} of {len(outcomes)} tasks could not be {what}"
    raise ExceptionGroup(message, list(errors.values()))


async def gathered(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all together and return their results in order; what one raises ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await called_off(tasks)


async def called_off(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel what still runs of `tasks`, and wait until all have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        look_at(task)


async def each(work: Callable[[int], Awaitable[object]], ids: Iterable[int], concurrency: int) -> None:
    """Run `work` for each of `ids`, at most `concurrency` at a time."""
    waiting = iter(ids)

    async def worker() -> None:
        for id_ in waiting:
            await work(id_)

    await gathered(worker() for _ in range(concurrency))
