"""One run of a coroutine function at a time, whose outcome all callers share."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from soapbatch.errors import ClientClosed, SoapBatchError
from soapbatch.system import cancel_and_wait, retrieve_exception

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs a coroutine function for everybody who wants its result at the same time.

    A run that was started for a caller is cancelled when the last caller gives up. A run that was started ahead goes on
    without callers.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], name: str) -> None:
        """Run `work`, in asyncio tasks called `name`."""
        self._work = work
        self._name = name
        self._task: asyncio.Task[T] | None = None
        self._is_ahead = False
        self._callers: set[object] = set()  # of the run that is under way
        self._is_closed = False

    def start_ahead(self) -> None:
        """Start a run in the background, unless one is under way."""
        if self._task is None and not self._is_closed:
            self._is_ahead = True
            self._start()

    async def run(self) -> T:
        """Return the result of the run that is under way, or else of a new one.

        Raises:
            SoapBatchError: what the run raises; a copy for each caller, with `applied` "no".
            ClientClosed: after `aclose()`.
        """
        if self._is_closed:
            raise ClientClosed.refused(self._name)
        if self._task is None:
            self._is_ahead = False
            self._start()
        task, callers, caller = self._task, self._callers, object()
        assert task is not None  # noqa: S101 - `_start` made it
        callers.add(caller)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            callers.remove(caller)
            if self._task is task and not (callers or self._is_ahead):
                self._task = None
                await cancel_and_wait([task])
            raise
        if task.cancelled():
            raise ClientClosed.ended(self._name)
        error = task.exception()
        if isinstance(error, SoapBatchError):
            raise error.copy(applied="no")
        return task.result()

    async def aclose(self) -> None:
        """Cancel the run that is under way, and refuse others. Idempotent."""
        self._is_closed = True
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait([task])

    def _start(self) -> None:
        self._callers = set()
        self._task = asyncio.get_running_loop().create_task(self._work(), name=self._name)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[T]) -> None:
        retrieve_exception(task)
        if self._task is task:
            self._task = None
