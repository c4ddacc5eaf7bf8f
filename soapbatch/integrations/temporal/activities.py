"""What workers do for workflows: start a job, wait for it, save its output, clean up, stop it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from soapbatch.client import Client
from soapbatch.errors import (
    JobError,
    JobFailed,
    JobGone,
    ServiceError,
    SoapBatchError,
    StartOutcomeUnknown,
    StopRefused,
    UsageError,
    WaitTimeout,
)
from soapbatch.integrations.temporal.data import BatchJob, JobTask, StoppedJob, TaskFacts, masked
from soapbatch.jobs import Job, Marker, Polling
from soapbatch.model import BatchTaskInfo, ServiceVersion, redact
from soapbatch.system import cancel_and_wait, wait_until_done
from soapbatch.tenants import Tenants

_STOP_WAIT: Final = 60.0  # seconds in which a job that was stopped should end
_UNKNOWN_ATTEMPTS: Final = 10  # of a start whose outcome stays unknown
_BEATS: Final = 3  # heartbeats within a heartbeat timeout
_FIRST_SEARCH: Final = 2.0  # seconds between the first two searches for a task; each pause doubles

Save: TypeAlias = Callable[[BatchJob, AsyncIterator[bytes]], Awaitable[str | None]]
"""What `save=` takes: an async callable of a job and of its output in pieces. It returns a text for the result."""


class Activities:
    """What workers do for workflows. Each attempt uses the client of the job's tenant."""

    def __init__(self, open_tenants: Callable[[], Tenants], save: Save | Path, polling: Polling) -> None:
        """Take what the plugin was given."""
        self._open_tenants = open_tenants
        self._save = save
        self._polling = polling

    @activity.defn(name="soapbatch.start")
    async def start(self, task: JobTask) -> int:
        """Start the job, or find the task that an earlier attempt has started; return its id."""
        job, attempt = task.job, activity.info().attempt
        async with self._attempt(job) as (client, _):
            starting = asyncio.ensure_future(
                client.jobs.start(
                    job.name,
                    key=task.key,
                    maybe_sent=attempt > 1,
                    marker=Marker(job.marker),
                    parameters=job.parameters,
                    description=job.description,
                    settle=job.settle,
                )
            )
            try:
                handle = await asyncio.shield(starting)
            except asyncio.CancelledError:
                if not _may_finish():
                    await cancel_and_wait([starting])
                    raise
                with contextlib.suppress(asyncio.CancelledError):
                    await wait_until_done(starting)
                handle = starting.result()  # the id tells what to stop
            except StartOutcomeUnknown as error:
                # The next attempt looks for the key before it sends anything: to try again is safe. After an answer of
                # the service nothing is under way any more, and it would answer the same again.
                is_answer = isinstance(error.__cause__, ServiceError)
                raise error.copy(retryable=attempt < _UNKNOWN_ATTEMPTS and not is_answer) from None
        return handle.id

    @activity.defn(name="soapbatch.wait")
    async def wait(self, task: JobTask) -> TaskFacts:
        """Wait until the job ends; return the finished task."""
        async with self._attempt(task.job) as (client, beat):
            info = await _handle(client, task).wait(timeout=None, on_progress=beat, polling=self._polling)
        return TaskFacts.of(info)

    @activity.defn(name="soapbatch.save")
    async def save(self, task: JobTask) -> str | None:
        """Save the output of the finished job; return what `save=` returns. Another attempt begins anew."""
        job = task.job
        async with self._attempt(job) as (client, _):
            if not isinstance(self._save, Path):
                async with contextlib.aclosing(client.blob.stream_output(task.id or 0)) as stream:
                    return await self._save(job, stream)
            path = _path(self._save, job)
            path.parent.mkdir(parents=True, exist_ok=True)
            return None if await _handle(client, task).save_output(path) is None else str(path)

    @activity.defn(name="soapbatch.cleanup")
    async def cleanup(self, task: JobTask) -> None:
        """Let the server remove the output; it may have done so already."""
        async with self._attempt(task.job) as (client, _):
            if client.version >= ServiceVersion.V88:
                with contextlib.suppress(JobGone):
                    await _handle(client, task).cleanup()

    @activity.defn(name="soapbatch.stop")
    async def stop(self, task: JobTask) -> StoppedJob:
        """Stop the job, and wait some time for its end."""
        async with self._attempt(task.job) as (client, beat):
            handle = await _find(client, task) if task.id is None else _handle(client, task)
            if handle is None:
                return StoppedJob(TaskFacts(name=task.job.name), "the job was not started")
            note: str | None = None
            info: BatchTaskInfo | None = None
            try:
                info = await handle.info()
                if not info.has_ended and not await handle.stop(confirm=True):
                    note = "the server did not stop it"
            except JobGone as error:
                return StoppedJob(TaskFacts(id=handle.id, name=task.job.name), masked(str(error)))
            except StopRefused as error:
                return StoppedJob(TaskFacts.of(info), masked(str(error)))
            try:
                info = await handle.wait(timeout=_STOP_WAIT, on_progress=beat, polling=self._polling)
            except (JobFailed, WaitTimeout) as error:
                info = error.info or info
            except JobGone as error:
                note = masked(str(error))
        return StoppedJob(TaskFacts.of(info), note)

    @contextlib.asynccontextmanager
    async def _attempt(self, job: BatchJob) -> AsyncGenerator[tuple[Client, Callable[[BatchTaskInfo], None]]]:
        """Yield the client of the job's tenant, and what sends a task's progress with heartbeats.

        Heartbeats are sent as long as the block runs. Its errors become ApplicationErrors (Rule 4).
        """
        heart = _Heart()
        beating = asyncio.ensure_future(heart.keep_beating())
        try:
            async with self._open_tenants().client(job.tenant) as client:
                yield client, heart.beat
        except Exception as error:  # noqa: BLE001 - a foreign error may hold secrets in its causes
            raise _application_error(error) from None
        finally:
            await cancel_and_wait([beating])


def _handle(client: Client, task: JobTask) -> Job:
    return client.jobs.attach(task.id or 0)


async def _find(client: Client, task: JobTask) -> Job | None:
    """Return the job that attempts may have started, looking for it until `settle` has passed."""
    ends_at = asyncio.get_running_loop().time() + task.job.settle
    pause = _FIRST_SEARCH
    while (handle := await client.jobs.find(task.job.name, task.key)) is None:
        left = ends_at - asyncio.get_running_loop().time()
        if left <= 0:
            return None
        await asyncio.sleep(min(pause, left))
        pause *= 2
    return handle


def _path(folder: Path, job: BatchJob) -> Path:
    """Return the path for a job's output: in a folder of its tenant, and nowhere else."""
    inside = (folder / job.tenant).resolve()
    path = (inside / (job.output or "")).resolve()
    if inside.parent != folder.resolve() or inside not in path.parents:
        raise UsageError("output is a relative path that stays in the folder of its tenant")
    return path


def _may_finish() -> bool:
    """Return whether a cancelled activity may finish: it was cancelled for its workflow or by a worker's shutdown.

    Else its time is over for the Temporal server, and another attempt may be under way.
    """
    details = activity.cancellation_details()
    return details is not None and (details.cancel_requested or details.worker_shutdown)


class _Heart:
    """The heartbeats of one attempt of an activity."""

    def __init__(self) -> None:
        """Begin with what the attempt before has said."""
        self._details = tuple(activity.info().heartbeat_details)

    def beat(self, info: BatchTaskInfo) -> None:
        """Send a heartbeat with the progress of a task."""
        self._details = (TaskFacts.of(info),)
        activity.heartbeat(*self._details)

    async def keep_beating(self) -> None:
        """Repeat the latest heartbeat in time, until this is cancelled."""
        timeout = activity.info().heartbeat_timeout
        while timeout is not None:
            activity.heartbeat(*self._details)
            await asyncio.sleep(timeout.total_seconds() / _BEATS)


def _application_error(error: Exception) -> ApplicationError:
    """Return what a workflow is told of an error: its type, its text without secrets, and what it carries."""
    if isinstance(error, ApplicationError):
        return error
    text = "; ".join([str(error), *getattr(error, "__notes__", ())])
    kind = type(error).__name__
    if not isinstance(error, SoapBatchError):
        return ApplicationError(redact(text), type=kind)
    details = [TaskFacts.of(error.info, error.id)] if isinstance(error, JobError) else []
    delay = None if error.retry_after is None else timedelta(seconds=error.retry_after)
    # A job that fails is no failure of the worker, which need not log it.
    is_benign = isinstance(error, JobFailed)
    return ApplicationError(
        redact(text),
        *details,
        type=kind,
        non_retryable=not error.retryable,
        next_retry_delay=delay,
        category=ApplicationErrorCategory.BENIGN if is_benign else ApplicationErrorCategory.UNSPECIFIED,
    )
