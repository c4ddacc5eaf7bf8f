"""A handle on one batch job: read it, wait for it, watch it, stop it, fetch its output."""

import asyncio
import contextlib
import inspect
import os
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, BinaryIO, Final, TypeAlias

import attrs

from soapbatch.calls import BatchAgent, BlobAgent
from soapbatch.errors import JobFailed, JobGone, SoapBatchError, UsageError, WaitTimeout
from soapbatch.jobs.checks import is_number, require
from soapbatch.jobs.poller import Poller, Subscription
from soapbatch.jobs.schedule import Polling
from soapbatch.jobs.task_reader import has_ended, not_found_as_gone, task_gone
from soapbatch.model import (
    BatchTaskCancellationBehaviour,
    BatchTaskInfo,
    BatchTaskState,
    ServiceVersion,
    redact,
)
from soapbatch.operations import CLEANUP_BATCH_TASK, GET_OUTPUT_FROM_BATCH, Operation

WAIT_TIMEOUT: Final = 3600.0
"""The default `timeout` of a wait, in seconds."""
POLLING: Final = Polling()
"""The default `polling` of a wait."""
_RESULT_EXCERPT: Final = 200  # characters of a job's result that the message of JobFailed shows

OnProgress: TypeAlias = Callable[[BatchTaskInfo], object]
"""Called with the task after each change; may be `async`. What it raises ends the wait."""


def check_wait(timeout: object, polling: object, on_progress: object = None) -> None:
    """Raise UsageError for arguments that no wait takes, before anything is sent."""
    require(timeout is None or is_number(timeout), "timeout is a number of seconds, or None")
    require(isinstance(polling, Polling), "polling is a Polling, for example Polling(ceiling=10)")
    require(on_progress is None or callable(on_progress), "on_progress is a function of a BatchTaskInfo, or None")


@attrs.frozen
class JobContext:
    """What all handles of a client share."""

    batch: BatchAgent
    blob: BlobAgent
    version: ServiceVersion
    poller: Poller

    @property
    def has_cancellation_behaviour(self) -> bool:
        """Whether tasks say how they may be stopped: CancellationBehaviour, since Services88."""
        return self.version >= ServiceVersion.V88


class Job:
    """A handle on a batch task. `client.jobs` makes handles; to make one sends nothing.

    A handle holds little more than the task's `id`, and only the `id` crosses processes: a handle pickles to the plain
    number, and `client.jobs.attach(number)` makes a handle of it again.

    Every method raises JobGone if the server does not know the task (any more), which a server says by nil or by an
    error "not found". The library does not ask again, not even right after a start. A finished task may vanish at any
    time.
    """

    __slots__ = ("_context", "_id", "_is_over", "_name", "_started_at")

    def __init__(
        self, id: int, context: JobContext, *, name: str | None = None, started_at: float | None = None
    ) -> None:
        """Refer to task `id`.

        If they are known: `name`, the name of the job; `started_at`, when this client started it, by the loop's clock.
        """
        self._id = id
        self._context = context
        self._name = name
        self._started_at = started_at
        self._is_over = False

    @property
    def id(self) -> int:
        """The server's number for the task."""
        return self._id

    @property
    def is_over(self) -> bool:
        """Whether this handle has seen that the job has ended, or that the task is gone. Sends nothing."""
        return self._is_over

    async def info(self) -> BatchTaskInfo:
        """Return the task as it is now."""
        with self._noticing_gone():
            info = await self._context.batch.get_batch_task_info(self._id)
            if info is None:
                raise task_gone(self._id)
        self._is_over = has_ended(info)
        return info

    async def wait(
        self,
        *,
        timeout: float | None = WAIT_TIMEOUT,  # noqa: ASYNC109 - WaitTimeout says what a caller's own cannot
        on_progress: OnProgress | None = None,
        polling: Polling = POLLING,
    ) -> BatchTaskInfo:
        """Wait until the job ends, and return the finished task: Succeeded or SucceededManualCleanup.

        The wait follows restarts (`start_count` grows, `state` goes back). A failed reading that may pass, for example
        because of an expired ticket or a busy server, ends the wait only if `polling.failures` readings fail in a row.
        To cancel the wait does not stop the server's job. All waits of a client share their readings.

        Args:
            timeout: seconds that the wait may take, `on_progress` included; None: no limit.
            on_progress: called after the first reading and after each change, the last one included. There is one
                call at a time: a slow function misses changes in between, and gets the latest one.
            polling: how often to read, and how many failures to tolerate.

        Raises:
            JobFailed: the job ended as Failed.
            JobGone: the server does not know the task (any more).
            WaitTimeout: the job has not ended within `timeout`; it may still run.
            SoapBatchError: the task cannot be read: for a reason that cannot pass, or too often in a row.
        """
        check_wait(timeout, polling, on_progress)
        limit = asyncio.timeout(timeout)
        async with self._subscribe(polling) as subscription:
            try:
                async with limit:
                    info = await self._follow(subscription, on_progress)
            except TimeoutError as error:
                if isinstance(error, SoapBatchError) or not limit.expired():
                    raise  # a call's own deadline, or from `on_progress`
                raise self._wait_timeout(subscription, timeout) from None
        if info.state == BatchTaskState.FAILED:
            reason = redact(info.result or "the server does not say why")[:_RESULT_EXCERPT]
            message = f"task {self._id} failed: {reason}"
            raise JobFailed(message, id=self._id, info=info, version=self._context.version)
        return info

    async def watch(
        self,
        *,
        timeout: float | None = WAIT_TIMEOUT,  # noqa: ASYNC109 - WaitTimeout says what a caller's own cannot
        polling: Polling = POLLING,
    ) -> AsyncGenerator[BatchTaskInfo, None]:
        """Yield the task as it is now and after each change, until the job has ended.

        The last value is the finished task, Failed or not: JobFailed is not raised. A slow consumer misses changes in
        between, and gets the latest one. If the consumer leaves the loop early, the watch ends when the generator is
        closed: `contextlib.aclosing` closes it at once. Arguments and other errors: see `wait`.
        """
        check_wait(timeout, polling)
        ends_at = None if timeout is None else asyncio.get_running_loop().time() + timeout
        async with self._subscribe(polling) as subscription:
            while True:
                try:
                    async with asyncio.timeout_at(ends_at):
                        info = await self._next_change(subscription)
                except TimeoutError as error:
                    if isinstance(error, SoapBatchError):
                        raise  # a call's own deadline
                    raise self._wait_timeout(subscription, timeout) from None
                yield info
                if has_ended(info):
                    return

    async def stop(self, *, force: bool = False, confirm: bool = False) -> bool:
        """Ask the server to stop the job. False: the server did not stop it, for example because it has ended.

        From Services88 on the task is read first, because it may say that it must not be stopped. If the job has
        ended by then, the server is not asked. There is no state for a stopped job: it may end as Failed.

        Args:
            force: ask the server whatever the task says, without reading it.
            confirm: the user was warned, and wants to stop a task that says CancelWithWarning.

        Raises:
            UsageError: the task says CannotCancel, or it says CancelWithWarning and `confirm` is False. The server
                was not asked.
            JobGone: the server does not know the task (any more).
        """
        info = None if force or not self._context.has_cancellation_behaviour else await self.info()
        with self._noticing_gone():
            return await stop_task(self._context.batch, self._id, info, force=force, confirm=confirm)

    async def output(self) -> bytes | None:
        """Return the job's output, or None if there is none; at most `Limits.bytes` bytes. Since Services88."""
        self._check_version(GET_OUTPUT_FROM_BATCH)
        with self._noticing_gone():
            return await self._context.blob.get_output_from_batch(self._id)

    async def save_output(self, target: str | os.PathLike[str] | BinaryIO) -> int | None:
        """Write the job's output to a path or a binary file; return its size in bytes. Since Services88.

        The output is never held in memory as a whole. A file at the path is replaced only when the output is complete.
        None: there is no output, and nothing was written.

        Raises:
            OSError: the output cannot be written.
            UsageError: `target` is neither a path nor a writable binary file; nothing was sent.
        """
        self._check_version(GET_OUTPUT_FROM_BATCH)
        with self._noticing_gone():
            return await self._context.blob.save_output(self._id, target)

    async def cleanup(self) -> None:
        """Let the server remove the job's output. Since Services88."""
        self._check_version(CLEANUP_BATCH_TASK)
        with self._noticing_gone():
            await self._context.blob.cleanup_batch_task(self._id)

    def _subscribe(self, polling: Polling) -> contextlib.AbstractAsyncContextManager[Subscription]:
        return self._context.poller.subscribe(self._id, polling, name=self._name, started_at=self._started_at)

    async def _follow(self, subscription: Subscription, on_progress: OnProgress | None) -> BatchTaskInfo:
        """Call `on_progress` after each change, and return the finished task."""
        while True:
            info = await self._next_change(subscription)
            if on_progress is not None:
                result = on_progress(info)
                if inspect.isawaitable(result):
                    await result
            if has_ended(info):
                return info

    async def _next_change(self, subscription: Subscription) -> BatchTaskInfo:
        with self._noticing_gone():
            info = await subscription.next_change()
        self._is_over = has_ended(info)
        return info

    @contextlib.contextmanager
    def _noticing_gone(self) -> Generator[None]:
        """Raise JobGone if the block finds that the server does not know the task. The handle is over then."""
        try:
            with not_found_as_gone(self._id):
                yield
        except JobGone as error:
            self._is_over = True
            error.concerning(None, self._context.version)
            raise

    def _check_version(self, operation: Operation[Any]) -> None:
        operation.check_version(self._context.version)

    def _wait_timeout(self, subscription: Subscription, timeout: float | None) -> WaitTimeout:
        """Return the error for a job that has not ended. It says "runs on" only if the last reading showed that."""
        info = subscription.info
        if info is None:
            seen = "it could not be read" if subscription.is_failing else "it was never seen"
        elif subscription.is_failing:
            seen = f"last seen as {info.state}; since then it could not be read"
        else:
            seen = f"last seen as {info.state}"
        runs_on = "may run on" if info is None or subscription.is_failing else "runs on"
        message = f"task {self._id} has not ended within {timeout} s ({seen}); it {runs_on}: wait again, or stop it"
        return WaitTimeout(message, id=self._id, info=info, seen_at=subscription.seen_at, version=self._context.version)

    def __repr__(self) -> str:
        """Return the class and the number."""
        return f"<Job {self._id}>"

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        """Pickle to the plain number."""
        return int, (self._id,)

    def __copy__(self) -> "Job":
        """Return the handle itself."""
        return self

    def __deepcopy__(self, _: object) -> "Job":
        """Return the handle itself."""
        return self


async def stop_task(batch: BatchAgent, id: int, info: BatchTaskInfo | None, *, force: bool, confirm: bool) -> bool:
    """Ask the server to stop task `id`, if `info` allows it; see `Job.stop`.

    `info`: the task as just read; None: it was not read, and the server alone decides.
    """
    if info is not None and has_ended(info):
        return False
    behaviour = None if info is None or force else info.cancellation_behaviour
    if behaviour == BatchTaskCancellationBehaviour.CANNOT_CANCEL:
        raise UsageError(
            f"the server says that task {id} cannot be stopped (CannotCancel): force=True asks it all the same"
        )
    if behaviour == BatchTaskCancellationBehaviour.CANCEL_WITH_WARNING and not confirm:
        raise UsageError(
            f"the server says that task {id} should be stopped only after a warning (CancelWithWarning): warn the "
            "user, then pass confirm=True"
        )
    with not_found_as_gone(id, info):
        return await batch.stop_batch_job(id)
