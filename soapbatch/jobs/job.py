"""A handle on one batch job: read it, wait for it, watch it, stop it, fetch its output."""

import asyncio
import contextlib
import inspect
import math
import os
from collections.abc import AsyncGenerator, Callable, Generator
from typing import BinaryIO, Final, TypeAlias

import attrs

from soapbatch.calls import BatchAgent, BlobAgent, check_target
from soapbatch.errors import Applied, JobError, JobFailed, JobGone, JobRunning, SoapBatchError, StopRefused, WaitTimeout
from soapbatch.jobs.checks import require, require_seconds
from soapbatch.jobs.poller import Poller, Subscription
from soapbatch.jobs.reference import JobReference
from soapbatch.jobs.schedule import A_MOMENT, LOOK_AGAIN_AFTER, LOOKS_BEFORE_GONE, Polling
from soapbatch.jobs.search import Known
from soapbatch.jobs.task_reader import not_found_as_gone, task_gone
from soapbatch.model import (
    BatchTaskCancellationBehaviour,
    BatchTaskInfo,
    BatchTaskState,
    ServiceVersion,
    redact,
)
from soapbatch.operations import CLEANUP_BATCH_TASK, GET_OUTPUT_FROM_BATCH
from soapbatch.system import closing_inside

WAIT_TIMEOUT: Final = 3600.0
"""The default `timeout` of a wait, in seconds."""
POLLING: Final = Polling()
"""The default `polling` of a wait."""
_EXCERPT: Final = 200  # characters of a job's result, name or description that a message shows

OnProgress: TypeAlias = Callable[[BatchTaskInfo], object]
"""Called with the task after each change; may be `async`. What it raises ends the wait."""


def check_wait(timeout: object, polling: object, on_progress: object = None) -> None:
    """Raise UsageError for arguments that no wait takes, before anything is sent."""
    require_seconds("timeout", timeout, or_none=True)
    require(isinstance(polling, Polling), "polling is a Polling, for example Polling(ceiling=10)")
    require(on_progress is None or callable(on_progress), "on_progress is a function of a BatchTaskInfo, or None")


@attrs.frozen(eq=False)
class JobContext:
    """What all handles of a client share.

    Attributes:
        batch: the agent for tasks.
        blob: the agent for output.
        version: the service version.
        server: the base URL, or the tenant.
        poller: what reads the tasks that somebody waits for.
        known: what the client knows of the server's tasks.
    """

    batch: BatchAgent
    blob: BlobAgent
    version: ServiceVersion
    server: str
    poller: Poller
    known: Known

    @property
    def has_cancellation_behaviour(self) -> bool:
        """Whether tasks say how they may be stopped: CancellationBehaviour, since Services88."""
        return self.version >= ServiceVersion.V88


class Job:
    """A handle on a batch task. `client.jobs` makes handles; to make one sends nothing.

    A handle holds little more than the task's `id`. Handles of one client on one task are equal. A handle pickles to
    the plain number, and `client.jobs.attach(number)` makes a handle of it again; `reference` also names the server.

    Every method raises JobGone if the server does not know the task (any more), which a server says by nil or by an
    error "not found". A finished task may vanish at any time. A task whose id this client got, or which the handle saw,
    less than a minute ago is looked for twice more, 2 seconds apart, before JobGone is raised.
    """

    __slots__ = ("_context", "_existed_at", "_id", "_info", "_is_over", "_key", "_name", "_started_at")

    def __init__(
        self,
        id: int,
        context: JobContext,
        *,
        name: str | None = None,
        key: str | None = None,
        started_at: float | None = None,
        existed_at: float = -math.inf,
    ) -> None:
        """Refer to task `id`.

        Args:
            id: the task's number.
            context: of the client.
            name: the name of the job, if it is known.
            key: the key of the start, if it is known.
            started_at: when this client started the job, if it did, by the loop's clock.
            existed_at: when the server was known to have the task, by the loop's clock.
        """
        self._id = id
        self._context = context
        self._name = name
        self._key = key
        self._started_at = started_at
        self._existed_at = existed_at if started_at is None else started_at
        self._info: BatchTaskInfo | None = None
        self._is_over = False

    @property
    def id(self) -> int:
        """The server's number for the task."""
        return self._id

    @property
    def name(self) -> str | None:
        """The name of the job; None: this handle has not learnt it yet. `info` and `wait` make it known."""
        return self._name

    @property
    def key(self) -> str | None:
        """The key of the start, which `client.jobs.find` takes; None: there is none, or it is not known here."""
        return self._key

    @property
    def reference(self) -> JobReference:
        """What another process needs to take the job over: server, version, id and key. Sends nothing."""
        context = self._context
        return JobReference(server=context.server, version=context.version, id=self._id, key=self._key)

    @property
    def is_over(self) -> bool:
        """Whether this handle has seen that the job has ended, or that the task is gone. Sends nothing."""
        return self._is_over

    async def info(self) -> BatchTaskInfo:
        """Return the task as it is now."""
        return await self._read("yes")

    async def _read(self, applied_if_gone: Applied) -> BatchTaskInfo:
        """Read the task. If it is not found although it exists for sure, look again (`schedule`, Rule 7)."""
        loop = asyncio.get_running_loop()
        looks = LOOKS_BEFORE_GONE if loop.time() - self._existed_at <= A_MOMENT else 1
        with self._noticing_gone(applied_if_gone):
            while True:
                looks -= 1
                asked_at = loop.time()
                try:
                    with not_found_as_gone(self._id, self._info, applied_if_gone):
                        info = await self._context.batch.get_batch_task_info(self._id)
                        if info is None:
                            raise task_gone(self._id, self._info, applied_if_gone)
                except JobGone:
                    if not looks:
                        raise
                else:
                    self._saw(info, asked_at)
                    return info
                await asyncio.sleep(LOOK_AGAIN_AFTER)

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
        After a reading that worked, this holds also for an answer that is none: a page, an empty or cut answer, a 404.
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
            raise self._failed(info)
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
                limit = asyncio.timeout_at(ends_at)
                try:
                    async with limit:
                        info = await self._next_change(subscription)
                except TimeoutError as error:
                    if isinstance(error, SoapBatchError) or not limit.expired():
                        raise  # a call's own deadline, or from a hook
                    raise self._wait_timeout(subscription, timeout) from None
                yield info
                if info.has_ended:
                    return

    async def stop(self, *, force: bool = False, confirm: bool = False) -> bool:
        """Ask the server to stop the job. False: the server did not stop it, for example because it has ended.

        From Services88 on the task is read first, because it may say that it must not be stopped. If the job has
        ended by then, the server is not asked. There is no state for a stopped job: it may end as Failed.

        Args:
            force: ask the server whatever the task says, without reading it.
            confirm: the user was warned, and wants to stop a task that says CancelWithWarning.

        Raises:
            StopRefused: the task says CannotCancel, or it says CancelWithWarning and `confirm` is False. The server
                was not asked.
            JobGone: the server does not know the task (any more). `applied` is "no".
        """
        info = None if force or not self._context.has_cancellation_behaviour else await self._read("no")
        with self._noticing_gone("no"):
            return await stop_task(self._context.batch, self._id, info, force=force, confirm=confirm)

    async def output(self) -> bytes | None:
        """Return the job's output, or None if there is none; at most `Limits.bytes` bytes. Since Services88.

        Unless the handle has seen that the job succeeded, the task is read first.

        Raises:
            JobFailed: the job ended as Failed.
            JobRunning: the job has not ended: there is no output yet.
        """
        await self._require_success()
        with self._noticing_gone():
            return await self._context.blob.get_output_from_batch(self._id)

    async def stream_output(self) -> AsyncGenerator[bytes, None]:
        """Yield the job's output in pieces while it arrives, in constant memory. Since Services88.

        No piece at all: there is no output. An output that is empty is one empty piece. Errors: see `output`.
        """
        await self._require_success()
        with self._noticing_gone():
            async with closing_inside(self._context.blob.stream_output(self._id)) as pieces:
                async for piece in pieces:
                    yield piece

    async def save_output(self, target: str | os.PathLike[str] | BinaryIO) -> int | None:
        """Write the job's output to a path or a binary file; return its size in bytes. Since Services88.

        The output is never held in memory as a whole. A file at the path is replaced only when the output is complete.
        None: there is no output, and nothing was written.

        Raises:
            OSError: the output cannot be written; the error names `target`.
            UsageError: `target` is neither a path nor a writable binary file; nothing was sent.
            JobFailed, JobRunning: see `output`.
        """
        check_target(target)
        await self._require_success()
        try:
            with self._noticing_gone():
                return await self._context.blob.save_output(self._id, target)
        except OSError as os_error:  # a TimeoutError of ours is one, too
            if not isinstance(os_error, SoapBatchError) and isinstance(target, str | os.PathLike):
                os_error.filename = os.fspath(target)  # not that of the file that was to replace it
                del os_error.filename2
            raise

    async def cleanup(self) -> None:
        """Let the server remove the job's output. Since Services88."""
        CLEANUP_BATCH_TASK.check_version(self._context.version)
        with self._noticing_gone("no"):
            await self._context.blob.cleanup_batch_task(self._id)

    async def _require_success(self) -> None:
        """Raise an error unless the job has succeeded."""
        GET_OUTPUT_FROM_BATCH.check_version(self._context.version)
        info = self._info if self._info is not None and self._info.succeeded else await self._read("yes")
        if info.state == BatchTaskState.FAILED:
            raise self._failed(info)
        if not info.succeeded:
            message = f"{self._described(info)} has not ended ({info.state}) and has no output yet: wait for it first"
            raise JobRunning(message, id=self._id, info=info, version=self._context.version)

    def _subscribe(self, polling: Polling) -> contextlib.AbstractAsyncContextManager[Subscription]:
        return self._context.poller.subscribe(
            self._id,
            polling,
            name=self._name,
            started_at=self._started_at,
            existed_at=self._existed_at,
            is_over=self._is_over,
        )

    async def _follow(self, subscription: Subscription, on_progress: OnProgress | None) -> BatchTaskInfo:
        """Call `on_progress` after each change, and return the finished task."""
        while True:
            info = await self._next_change(subscription)
            if on_progress is not None:
                result = on_progress(info)
                if inspect.isawaitable(result):
                    await result
            if info.has_ended:
                return info

    async def _next_change(self, subscription: Subscription) -> BatchTaskInfo:
        with self._noticing_gone():
            info = await subscription.next_change()
        self._saw(info, asyncio.get_running_loop().time())
        return info

    def _saw(self, info: BatchTaskInfo, at: float) -> None:
        """Remember a reading that worked."""
        self._info, self._existed_at, self._is_over = info, at, info.has_ended
        self._name = info.name or self._name

    def _described(self, info: BatchTaskInfo) -> str:
        """Return in words which job this is. Its description and its name are the user's, and may hold anything."""
        name = redact(info.name or self._name or "")[:_EXCERPT]
        description = redact(info.description or "")[:_EXCERPT]
        return f"job {name!r} (task {self._id}{description and f', {description!r}'})"

    def _failed(self, info: BatchTaskInfo) -> JobFailed:
        reason = redact(info.result or "the server does not say why")[:_EXCERPT]
        message = f"{self._described(info)} failed: {reason}"
        return JobFailed(message, id=self._id, info=info, version=self._context.version)

    @contextlib.contextmanager
    def _noticing_gone(self, applied_if_gone: Applied = "yes") -> Generator[None]:
        """Raise JobGone if the block finds that the server does not know the task. The handle is over then."""
        try:
            with not_found_as_gone(self._id, self._info, applied_if_gone):
                yield
        except JobError as error:
            self._is_over = self._is_over or isinstance(error, JobGone)
            error.concerning(None, self._context.version)
            raise

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

    def __eq__(self, other: object) -> bool:
        """Return whether `other` is a handle of the same client on the same task."""
        if not isinstance(other, Job):
            return NotImplemented
        return (self._context, self._id) == (other._context, other._id)

    def __hash__(self) -> int:
        """Return a hash of the client and the id."""
        return hash((id(self._context), self._id))

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
    if info is not None and info.has_ended:
        return False
    behaviour = None if info is None or force else info.cancellation_behaviour
    if behaviour == BatchTaskCancellationBehaviour.CANNOT_CANCEL:
        raise StopRefused(
            f"the server says that task {id} cannot be stopped (CannotCancel): force=True asks it all the same",
            id=id,
            info=info,
        )
    if behaviour == BatchTaskCancellationBehaviour.CANCEL_WITH_WARNING and not confirm:
        raise StopRefused(
            f"the server says that task {id} should be stopped only after a warning (CancelWithWarning): warn the "
            "user, then pass confirm=True",
            id=id,
            info=info,
        )
    with not_found_as_gone(id, info, "no"):
        return await batch.stop_batch_job(id)
