"""Many at once: one outcome for each task, and coroutines that run together and leave nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Generic, TypeVar

import attrs

from soapbatch.errors import SoapBatchError
from soapbatch.system import cancel_and_wait

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
    raise ExceptionGroup(
        f"{sum(map(len, ids.values()))} of {len(outcomes)} tasks could not be {what}", list(errors.values())
    )


async def gather_or_cancel(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all together and return their results in order; what one raises ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_and_wait(tasks)


async def each(work: Callable[[int], Awaitable[object]], ids: Iterable[int], concurrency: int) -> None:
    """Run `work` for each of `ids`, at most `concurrency` at a time."""
    waiting = iter(ids)

    async def worker() -> None:
        for id_ in waiting:
            await work(id_)

    await gather_or_cancel(worker() for _ in range(concurrency))
