"""`client.jobs`: start batch jobs, attach to them, run one for the length of a block, and handle many at once."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from typing import Final, Literal, Unpack

from soapbatch.calls import BatchAgent, BlobAgent
from soapbatch.errors import DeadlineExceeded, JobGone, JobRunning, SoapBatchError, UsageError
from soapbatch.jobs.bulk import delete_tasks, stop_tasks
from soapbatch.jobs.checks import is_number, require
from soapbatch.jobs.concurrency import gather_or_cancel
from soapbatch.jobs.job import POLLING, WAIT_TIMEOUT, Job, JobContext, OnProgress, check_wait
from soapbatch.jobs.outcome import Outcome, raise_errors
from soapbatch.jobs.poller import Poller
from soapbatch.jobs.schedule import Polling
from soapbatch.jobs.start import StartOptions, check_start, start_task, unfinished_task
from soapbatch.model import BatchTaskInfo, ServiceVersion
from soapbatch.system import LOG, cancel_and_wait, run_to_completion

STOP_TIMEOUT: Final = 10.0
"""The default `stop_timeout` of `Jobs.run`, in seconds."""


class Jobs:
    """The batch jobs of a server. A method that takes several jobs takes handles and ids alike."""

    def __init__(
        self, batch: BatchAgent, blob: BlobAgent, version: ServiceVersion, *, shortest_poll: float = 0.0
    ) -> None:
        """Work through these agents. No I/O. `shortest_poll`: the least of `Polling.floor`, whatever a wait says."""
        self._context = JobContext(batch, blob, version, Poller(batch, shortest_poll=shortest_poll))

    def attach(self, id: int) -> Job:
        """Return a handle on a task that any process has started. Sends nothing."""
        if not isinstance(id, int) or isinstance(id, bool):
            raise UsageError(f"a task's id is an int, not a {type(id).__name__}")
        return Job(id, self._context)

    async def start(
        self,
        name: str,
        *,
        if_running: Literal["start", "attach", "fail"] = "start",
        **options: Unpack[StartOptions],
    ) -> Job:
        """Start a job and return a handle on it.

        StartBatchJob is never sent again before it is proven that nothing was started. If its answer is lost and the
        start has a marker, the tasks of the job are listed to find out what happened; this may take `settle` seconds
        and somewhat more. If the service fails with an error whose `applied` is "unknown", the same is done, mostly
        within two seconds. If the start is cancelled, the job may have been started, and the library does not find
        out; with a marker, DEBUG records of logger `soapbatch` say what to look for.

        Args:
            name: the name of a job that is defined on the server.
            if_running: what to do if a job of that name has not ended: start another one, attach to the newest one,
                or fail. The library first looks for such a job and then starts one: two callers who do so at the same
                time may both start one.
            options: of the start (`parameters`, `description`, `marker`, `resend`, `settle`) and of the StartBatchJob
                call (`timeout`, `on_header`): see `StartOptions`.

        Raises:
            StartOutcomeUnknown: the answer was lost, and nothing proves whether the job was started. `marker` and the
                message say what to look for.
            JobRunning: a job of that name has not ended, and `if_running` is "fail".
            TransportError, ProtocolError: the job was not started (`applied` is "no").
            ServiceError: the service failed or refused. With a marker `applied` is "no"; without one it may be
                "unknown".
            UsageError: an argument is wrong; nothing was sent.
        """
        check_start(name, options)
        _check_if_running(if_running, "start", "attach", "fail")
        if if_running != "start" and (info := await unfinished_task(self._context.batch, name)) is not None:
            id_ = info.id or 0
            if if_running == "attach":
                return Job(id_, self._context, name=name)
            raise JobRunning(f"task {id_} of this job has not ended: nothing was started", id=id_, info=info)
        id_ = await start_task(self._context.batch, name, **options)
        return Job(id_, self._context, name=name, started_at=asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def run(
        self,
        name: str,
        *,
        if_running: Literal["start", "fail"] = "start",
        stop_timeout: float = STOP_TIMEOUT,
        **options: Unpack[StartOptions],
    ) -> AsyncGenerator[Job, None]:
        """Start a job for the length of a block. Leaving the block stops the job, unless it is known to have ended.

            async with client.jobs.run("ExportArchiveBatchPlugin") as job:
                info = await job.wait()

        Known is what the handle has seen (`job.is_over`). A cancellation does not interrupt the stop, nor a start
        that is under way: it is raised afterwards. The stop counts as confirmed (CancelWithWarning), but a job that
        says CannotCancel runs on. If the job cannot be stopped, an exception that leaves the block gets a note; a
        block without an exception raises the error of the stop.

        Args:
            name: the name of a job that is defined on the server.
            if_running: what to do if a job of that name has not ended: start another one, or fail. There is no
                "attach": leaving the block would stop a job that somebody else has started.
            stop_timeout: seconds that the stop may take.
            options: see `start`.
        """
        _check_if_running(if_running, "start", "fail")
        require(is_number(stop_timeout), "stop_timeout is a number of seconds")
        starting = asyncio.ensure_future(self.start(name, if_running=if_running, **options))
        try:
            await asyncio.wait([starting])
        except asyncio.CancelledError as error:
            await run_to_completion(_abandon_start(starting, stop_timeout, error))
            raise
        job = starting.result()
        try:
            yield job
        except BaseException as error:
            await run_to_completion(_stop_or_note(job, stop_timeout, error))
            raise
        await run_to_completion(_stop_unless_over(job, stop_timeout))

    async def wait_all(
        self,
        jobs: Iterable[Job | int],
        *,
        timeout: float | None = WAIT_TIMEOUT,  # noqa: ASYNC109 - handed on to Job.wait
        on_progress: OnProgress | None = None,
        polling: Polling = POLLING,
        raise_group: bool = False,
    ) -> list[Outcome[BatchTaskInfo]]:
        """Wait for all these jobs. Return one outcome each, in order: the finished task, or the error of `Job.wait`.

        Args:
            jobs: the jobs to wait for.
            timeout: seconds for all of them together; None: no limit.
            on_progress: called after each change of each job; what it raises ends all waits.
            polling: how often to read.
            raise_group: whether to raise an ExceptionGroup with the errors, if there are any.
        """
        check_wait(timeout, polling, on_progress)

        async def wait(job: Job) -> Outcome[BatchTaskInfo]:
            return await _wait_outcome(job, timeout, on_progress, polling)

        outcomes = await gather_or_cancel(map(wait, self._handles(jobs)))
        if raise_group:
            raise_errors(outcomes, "waited for")
        return outcomes

    async def as_finished(
        self,
        jobs: Iterable[Job | int],
        *,
        timeout: float | None = WAIT_TIMEOUT,  # noqa: ASYNC109 - handed on to Job.wait
        polling: Polling = POLLING,
    ) -> AsyncGenerator[Outcome[BatchTaskInfo], None]:
        """Yield the outcome of each of these jobs as soon as it is known. Arguments: see `wait_all`.

        If the consumer leaves the loop early, the waits end when the generator is closed: `contextlib.aclosing`
        closes it at once.
        """
        check_wait(timeout, polling)
        finished: asyncio.Queue[asyncio.Task[Outcome[BatchTaskInfo]]] = asyncio.Queue()
        tasks = [asyncio.create_task(_wait_outcome(job, timeout, None, polling)) for job in self._handles(jobs)]
        try:
            for task in tasks:
                task.add_done_callback(finished.put_nowait)
            for _ in tasks:
                yield (await finished.get()).result()
        finally:
            await cancel_and_wait(tasks)

    async def delete_many(self, ids: Iterable[Job | int], *, raise_group: bool = False) -> list[Outcome[bool]]:
        """Delete tasks, 100 in one call and four such calls at a time. Return one outcome for each id, in order.

        If the server refuses a chunk, for which one unknown id may be enough, its halves are tried, down to single
        ids. The outcome of a task that was gone already is JobGone. If the server refuses the caller, or if the answer
        to a chunk is lost, each id of the chunk has that error and nothing is tried again; after a lost answer
        `applied` is "unknown".

        Args:
            ids: the tasks to delete. A repeated id is deleted once and reported each time.
            raise_group: whether to raise an ExceptionGroup with the errors, if there are any.
        """
        outcomes = await delete_tasks(self._context.batch, [job.id for job in self._handles(ids)])
        if raise_group:
            raise_errors(outcomes, "deleted")
        return outcomes

    async def stop_many(
        self, ids: Iterable[Job | int], *, force: bool = False, confirm: bool = False, raise_group: bool = False
    ) -> list[Outcome[bool]]:
        """Ask the server to stop jobs, eight at a time. Return one outcome for each id, in order.

        The tasks are read first, in chunks of 100, by a list if that is cheaper. The outcome is what `Job.stop`
        returns, or the error that it raises.

        Args:
            ids: the jobs to stop. A repeated id is stopped once and reported each time.
            force: ask the server whatever the tasks say, without reading them.
            confirm: the user was warned, and wants to stop tasks that say CancelWithWarning.
            raise_group: whether to raise an ExceptionGroup with the errors, if there are any.
        """
        outcomes = await stop_tasks(
            self._context.batch,
            [job.id for job in self._handles(ids)],
            read_first=self._context.has_cancellation_behaviour and not force,
            force=force,
            confirm=confirm,
        )
        if raise_group:
            raise_errors(outcomes, "stopped")
        return outcomes

    async def aclose(self) -> None:
        """End all waits with ClientClosed; jobs on the server run on. A client that is closed calls this."""
        await self._context.poller.aclose()

    def _handles(self, jobs: Iterable[Job | int]) -> list[Job]:
        return [job if isinstance(job, Job) else self.attach(job) for job in jobs]


def _check_if_running(value: str, *choices: str) -> None:
    require(value in choices, f"if_running is {' or '.join(map(repr, choices))} here")


async def _wait_outcome(
    job: Job,
    timeout: float | None,  # noqa: ASYNC109 - handed on to Job.wait
    on_progress: OnProgress | None,
    polling: Polling,
) -> Outcome[BatchTaskInfo]:
    try:
        info = await job.wait(timeout=timeout, on_progress=on_progress, polling=polling)
    except SoapBatchError as error:
        return Outcome(id=job.id, error=error)
    return Outcome(id=job.id, result=info)


async def _stop_unless_over(job: Job, seconds: float) -> None:
    """Stop the job of a block that is left, unless the job is known to have ended."""
    if job.is_over:
        return
    try:
        async with asyncio.timeout(seconds):
            stopped = await job.stop(confirm=True)
    except JobGone:
        return
    except TimeoutError as error:
        if isinstance(error, SoapBatchError):
            raise  # a call's own deadline
        raise DeadlineExceeded(f"task {job.id} could not be stopped within {seconds:g} s; it may still run") from None
    if not stopped and not job.is_over:
        LOG.warning("task %d: the server did not stop it; it may still run", job.id)


async def _stop_or_note(job: Job, seconds: float, error: BaseException) -> None:
    """Stop the job of a block that `error` leaves; if that fails, `error` gets a note."""
    try:
        await _stop_unless_over(job, seconds)
    except SoapBatchError as stop_error:
        LOG.warning("task %d may still run: %s", job.id, stop_error)
        error.add_note(f"task {job.id} may still run on the server: {stop_error}")


async def _abandon_start(starting: asyncio.Task[Job], seconds: float, error: BaseException) -> None:
    """Wait for a start that is under way, and stop the job; `error` gets a note if the job may run on."""
    await asyncio.wait([starting], timeout=seconds)
    await cancel_and_wait([starting])
    start_error = None if starting.cancelled() else starting.exception()
    if start_error is None and not starting.cancelled():
        await _stop_or_note(starting.result(), seconds, error)
    elif not isinstance(start_error, SoapBatchError) or start_error.applied != "no":
        message = "StartBatchJob was cancelled while it was under way: the job may have been started, and may run on"
        LOG.warning(message)
        error.add_note(message)
