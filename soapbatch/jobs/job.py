"""A handle on one batch job: look at it, wait for it, watch it, stop it, fetch what it leaves behind."""

import asyncio
import inspect
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, BinaryIO, Final, TypeAlias, TypeVar

import attrs

from soapbatch.calls import BatchAgent, BlobAgent
from soapbatch.errors import JobFailed, JobGone, SoapBatchError, UsageError, WaitTimeout
from soapbatch.jobs.bulk import stop
from soapbatch.jobs.poller import Poller, Watch
from soapbatch.jobs.schedule import Polling, is_seconds
from soapbatch.jobs.task_reader import gone, has_ended, is_gone, job_error
from soapbatch.model import BatchTaskInfo, BatchTaskState, ServiceVersion, redact
from soapbatch.operations import CLEANUP_BATCH_TASK, GET_OUTPUT_FROM_BATCH, Operation

E = TypeVar("E", bound=SoapBatchError)
T = TypeVar("T")

WAIT_TIMEOUT: Final = 3600.0
"""Seconds that a wait lasts at most, unless said otherwise."""
POLLING: Final = Polling()
"""How often a wait reads, unless said otherwise."""
_EXCERPT: Final = 200  # characters of a job's result that an error shows

OnProgress: TypeAlias = Callable[[BatchTaskInfo], object]
"""Told of each change of a task; may be `async`. What it raises ends the wait."""


def check_wait(timeout: object, polling: object, on_progress: object = None) -> None:
    """Refuse what a wait cannot be asked for, before anything is sent."""
    for is_right, message in (
        (timeout is None or is_seconds(timeout), "timeout is a number of seconds, or None"),
        (isinstance(polling, Polling), "polling is a Polling, for example Polling(ceiling=10)"),
        (on_progress is None or callable(on_progress), "on_progress is a function of a BatchTaskInfo, or None"),
    ):
        if not is_right:
            raise UsageError(message)


@attrs.frozen
class Desk:
    """What all handles of a client share."""

    batch: BatchAgent
    blob: BlobAgent
    version: ServiceVersion
    poller: Poller

    @property
    def knows_behaviour(self) -> bool:
        """Whether tasks may say how they can be stopped: CancellationBehaviour, since Services88."""
        return self.version >= ServiceVersion.V88


class Job:
    """A batch task, by its number. `client.jobs` makes handles; making one reads and sends nothing.

    A handle is its `id`: that is what crosses processes. It pickles to the plain number, of which
    `client.jobs.attach(number)` makes a handle again.

    Every method raises JobGone where the server does not know the task (any more): it answers nil, or an error that
    says "not found". That is taken at its word, also right after a start. A finished task may vanish at any time.
    """

    __slots__ = ("_desk", "_id", "_is_over", "_name", "_started_at")

    def __init__(self, id: int, desk: Desk, *, name: str | None = None, started_at: float | None = None) -> None:
        """Refer to task `id`, of the job `name` and started at a time of the loop's clock, if that is known."""
        self._id = id
        self._desk = desk
        self._name = name
        self._started_at = started_at
        self._is_over = False

    @property
    def id(self) -> int:
        """The server's number for the task."""
        return self._id

    @property
    def is_over(self) -> bool:
        """Whether this handle has seen that the job has ended, or is gone. Reads nothing."""
        return self._is_over

    async def info(self) -> BatchTaskInfo:
        """Return the task as it is now."""
        return self._seen(await self._ask(self._desk.batch.get_batch_task_info(self._id)))

    async def wait(
        self,
        *,
        timeout: float | None = WAIT_TIMEOUT,  # noqa: ASYNC109 - handed on to Job.wait
        on_progress: OnProgress | None = None,
        polling: Polling = POLLING,
    ) -> BatchTaskInfo:
        """Wait until the job ends, and return the finished task: Succeeded or SucceededManualCleanup.

        A restart (`start_count` grows, `state` goes back) is followed. Trouble that may pass, an expired ticket and
        a busy server among it, ends the wait only after `polling.failures` readings in a row. Cancelling the wait
        leaves the server's job running. All waits of a client share their readings.

        Args:
            timeout: seconds that it may take, `on_progress` included; None: for ever.
            on_progress: told of the first reading and of each change, the last one included, one at a time. A slow
                one misses what comes in between, and gets the latest.
            polling: how often to read, and how much trouble to bear.

        Raises:
            JobFailed: it ended as Failed.
            JobGone: the server does not know the task (any more).
            WaitTimeout: it has not ended within `timeout`; it may still run.
            SoapBatchError: it cannot be read: for a reason that does not pass, or too often in a row.
        """
        check_wait(timeout, polling, on_progress)
        scope = asyncio.timeout(timeout)
        async with self._watch(polling) as watch:
            try:
                async with scope:
                    info = await self._to_the_end(watch, on_progress)
            except TimeoutError as error:
                if isinstance(error, SoapBatchError) or not scope.expired():
                    raise
                raise self._too_late(watch, timeout) from None
        if info.state == BatchTaskState.FAILED:
            said = redact(info.result or "the server does not say why")[:_EXCERPT]
            raise self._place(job_error(JobFailed, f"task {self._id} failed: {said}", id=self._id, info=info))
        return info

    async def watch(
        self,
        *,
        timeout: float | None = WAIT_TIMEOUT,  # noqa: ASYNC109 - handed on to Job.wait
        polling: Polling = POLLING,
    ) -> AsyncGenerator[BatchTaskInfo, None]:
        """Yield the task as it is now and after each change, until it has ended.

        The last one is the finished task, Failed or not. A slow consumer misses what comes in between, and gets the
        latest. Leaving the loop early ends the watch as soon as the generator is closed: `contextlib.aclosing` does
        that at once. Arguments and errors: see `wait`; JobFailed is not raised.
        """
        check_wait(timeout, polling)
        ends = None if timeout is None else asyncio.get_running_loop().time() + timeout
        async with self._watch(polling) as watch:
            while True:
                try:
                    async with asyncio.timeout_at(ends):
                        info = await self._change(watch)
                except TimeoutError as error:
                    if isinstance(error, SoapBatchError):
                        raise
                    raise self._too_late(watch, timeout) from None
                yield info
                if has_ended(info):
                    return

    async def stop(self, *, force: bool = False, confirm: bool = False) -> bool:
        """Ask the server to stop the job. False: it did not stop it, for example because it has ended.

        From Services88 on the task is read first, since it may say that it must not be stopped. A task that has
        ended by then is not asked for. There is no state for a stopped job: it may end as Failed.

        Args:
            force: ask the server whatever the task says, without reading it.
            confirm: the user was warned, and wants to stop a task that says CancelWithWarning.

        Raises:
            UsageError: the task says CannotCancel, or CancelWithWarning and `confirm` is False; nothing was stopped.
            JobGone: the server does not know the task (any more).
        """
        info = None if force or not self._desk.knows_behaviour else await self.info()
        try:
            return await stop(self._desk.batch, self._id, info, force=force, confirm=confirm)
        except JobGone as error:
            self._is_over = True
            self._place(error)
            raise

    async def output(self) -> bytes | None:
        """Return what the job left behind, or None; `Limits.bytes` bounds it. Since Services88."""
        self._check(GET_OUTPUT_FROM_BATCH)
        return await self._ask(self._desk.blob.get_output_from_batch(self._id))

    async def save_output(self, target: str | os.PathLike[str] | BinaryIO) -> int | None:
        """Write what the job left behind to a path or a binary file; return its size in bytes. Since Services88.

        It is never held in memory as a whole. A path is replaced only once the output is complete. None: there is
        nothing, so nothing was written, made or replaced.

        Raises:
            OSError: it cannot be written.
            UsageError: `target` is neither a path nor a binary file that can be written to; nothing was sent.
        """
        self._check(GET_OUTPUT_FROM_BATCH)
        return await self._ask(self._desk.blob.save_output(self._id, target))

    async def cleanup(self) -> None:
        """Let the server remove what the job left behind. Since Services88."""
        self._check(CLEANUP_BATCH_TASK)
        await self._ask(self._desk.blob.cleanup_batch_task(self._id))

    def _watch(self, polling: Polling) -> AbstractAsyncContextManager[Watch]:
        return self._desk.poller.watch(self._id, polling, name=self._name, started_at=self._started_at)

    async def _to_the_end(self, watch: Watch, on_progress: OnProgress | None) -> BatchTaskInfo:
        while True:
            info = await self._change(watch)
            if on_progress is not None:
                told = on_progress(info)
                if inspect.isawaitable(told):
                    await told
            if has_ended(info):
                return info

    async def _change(self, watch: Watch) -> BatchTaskInfo:
        try:
            return self._seen(await watch.change())
        except JobGone as error:
            self._is_over = True
            self._place(error)
            raise

    async def _ask(self, call: Awaitable[T]) -> T:
        """Await a call about the task; an error that says "not found" becomes JobGone."""
        try:
            return await call
        except SoapBatchError as error:
            if not is_gone(error):
                raise
            self._is_over = True
            raise self._place(gone(self._id)) from error

    def _seen(self, info: BatchTaskInfo | None) -> BatchTaskInfo:
        self._is_over = info is None or has_ended(info)
        if info is None:
            raise self._place(gone(self._id))
        return info

    def _place(self, error: E) -> E:
        """Write on an error of this layer which version it is about."""
        error.version = error.version or self._desk.version
        return error

    def _check(self, operation: Operation[Any]) -> None:
        operation.check_version(self._desk.version)

    def _too_late(self, watch: Watch, timeout: float | None) -> SoapBatchError:
        seen = "it was never seen" if watch.info is None else f"last seen as {watch.info.state}"
        if watch.is_failing:
            seen = f"{seen}; since then it could not be read" if watch.info is not None else "it could not be read"
        runs_on = "may run on" if watch.info is None or watch.is_failing else "runs on"
        message = f"task {self._id} has not ended within {timeout} s ({seen}); it {runs_on}: wait again, or stop it"
        error = job_error(WaitTimeout, message, id=self._id, info=watch.info)
        error.seen_at = watch.seen_at
        return self._place(error)

    def __repr__(self) -> str:
        """Return its number."""
        return f"<Job {self._id}>"

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        """Pickle to the plain number."""
        return int, (self._id,)

    def __copy__(self) -> "Job":
        """Return itself."""
        return self

    def __deepcopy__(self, _: object) -> "Job":
        """Return itself."""
        return self
