"""`client.jobs`: the batch jobs of a server, started, attached to, and handled by the many."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable
from typing import Final, Literal, Unpack

from soapbatch.calls import BatchAgent, BlobAgent
from soapbatch.errors import DeadlineExceeded, JobGone, JobRunning, SoapBatchError, UsageError
from soapbatch.jobs.bulk import delete, stop_each
from soapbatch.jobs.job import POLLING, WAIT_TIMEOUT, Desk, Job, OnProgress, check_wait
from soapbatch.jobs.outcome import Outcome, gather_or_cancel, raise_errors
from soapbatch.jobs.poller import Poller
from soapbatch.jobs.schedule import Polling, is_seconds
from soapbatch.jobs.start import StartOptions, check, start, unfinished
from soapbatch.jobs.task_reader import job_error
from soapbatch.model import BatchTaskInfo, ServiceVersion
from soapbatch.system import cancel_and_wait, run_to_completion

STOP_TIMEOUT: Final = 10.0
"""Seconds that leaving the block of `run` may take to stop the job."""

_LOG: Final = logging.getLogger("soapbatch")


class Jobs:
    """The batch jobs of a server. Ids and handles may stand for each other wherever several are taken."""

    def __init__(self, batch: BatchAgent, blob: BlobAgent, version: ServiceVersion) -> None:
        """Work through these agents. No I/O."""
        self._desk = Desk(batch, blob, version, Poller(batch))

    def attach(self, id: int) -> Job:
        """Return a handle on a task that somebody started, in whatever process. Reads and sends nothing."""
        if not isinstance(id, int) or isinstance(id, bool):
            raise UsageError(f"a task's id is an int, not a {type(id).__name__}")
        return Job(id, self._desk)

    async def start(
        self,
        name: str,
        *,
        if_running: Literal["start", "attach", "fail"] = "start",
        **options: Unpack[StartOptions],
    ) -> Job:
        """Start a job and return a handle on it.

        StartBatchJob is never sent twice blindly. Where its answer is lost and there is a marker, the tasks of the
        job are listed to find out what happened; that may take `settle` seconds and somewhat more. The same is done,
        mostly within two seconds, where the server fails with an error whose `applied` is "unknown". Cancelled on its
        way it may have been started, and nothing looks; with a marker, DEBUG records of `soapbatch` name it.

        Args:
            name: of a job that is defined on the server.
            if_running: what to do if a job of that name has not ended: start another one, attach to the newest of
                them, or fail. It is looked for first and started then: two who do so at once may both start one.
            options: of the start (`parameters`, `description`, `marker`, `resend`, `settle`) and of the StartBatchJob
                call (`timeout`, `on_header`): see `StartOptions`.

        Raises:
            StartOutcomeUnknown: the answer was lost, and nothing proves whether it was started. `marker` and the
                message say what to look for.
            JobRunning: there is one already, and `if_running` is "fail".
            TransportError, ProtocolError: it was not started (`applied` is "no").
            ServiceError: the server says no. With a marker `applied` is "no" then; without one it may be "unknown".
            UsageError: an argument is not what it should be; nothing was sent.
        """
        check(name, options)
        _check_if_running(if_running, "start", "attach", "fail")
        if if_running != "start" and (info := await unfinished(self._desk.batch, name)) is not None:
            id_ = info.id or 0
            if if_running == "attach":
                return Job(id_, self._desk, name=name)
            raise job_error(
                JobRunning, f"task {id_}, of the same name, has not ended: nothing was started", id=id_, info=info
            )
        id_ = await start(self._desk.batch, name, **options)
        return Job(id_, self._desk, name=name, started_at=asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def run(
        self,
        name: str,
        *,
        if_running: Literal["start", "fail"] = "start",
        stop_timeout: float = STOP_TIMEOUT,
        **options: Unpack[StartOptions],
    ) -> AsyncGenerator[Job, None]:
        """Start a job for the length of a block: leaving it before the job is known to have ended stops the job.

            async with client.jobs.run("ExportArchiveBatchPlugin") as job:
                info = await job.wait()

        Known is what the handle has seen (`job.is_over`). Stopping is shielded: cancelling does not keep it from
        its end, nor from the wait for a start that is on its way. It counts as confirmed (CancelWithWarning), but a
        job that says CannotCancel runs on. Where it cannot be stopped, an exception that leaves the block gets a
        note of that, and a block that ended well raises it.

        Args:
            name: of a job that is defined on the server.
            if_running: what to do if a job of that name has not ended: start another one, or fail. There is no
                "attach": leaving the block would stop a job that somebody else has started.
            stop_timeout: seconds that stopping may take.
            options: see `start`.
        """
        _check_if_running(if_running, "start", "fail")
        if not is_seconds(stop_timeout):
            raise UsageError("stop_timeout is a number of seconds")
        starting = asyncio.ensure_future(self.start(name, if_running=if_running, **options))
        try:
            await asyncio.wait([starting])
        except asyncio.CancelledError as error:
            await run_to_completion(_abandon(starting, stop_timeout, error))
            raise
        job = starting.result()
        try:
            yield job
        except BaseException as error:
            await run_to_completion(_stop_early(job, stop_timeout, error))
            raise
        await run_to_completion(_stop(job, stop_timeout))

    async def wait_all(
        self,
        jobs: Iterable[Job | int],
        *,
        timeout: float | None = WAIT_TIMEOUT,  # noqa: ASYNC109 - handed on to Job.wait
        on_progress: OnProgress | None = None,
        polling: Polling = POLLING,
        raise_group: bool = False,
    ) -> list[Outcome[BatchTaskInfo]]:
        """Wait for all these jobs and return one outcome each, in order: the finished task, or the error of `wait`.

        Args:
            jobs: which ones.
            timeout: seconds for all of them together; None: for ever.
            on_progress: told of each change of each job; what it raises ends everything.
            polling: how often to read.
            raise_group: raise an ExceptionGroup with the errors, if there are any.
        """
        check_wait(timeout, polling, on_progress)

        async def one(job: Job) -> Outcome[BatchTaskInfo]:
            return await _outcome(job, timeout, on_progress, polling)

        outcomes = await gather_or_cancel(map(one, self._handles(jobs)))
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

        Leaving the loop early ends the waits as soon as the generator is closed: `contextlib.aclosing` does that at
        once.
        """
        check_wait(timeout, polling)
        finished: asyncio.Queue[asyncio.Task[Outcome[BatchTaskInfo]]] = asyncio.Queue()
        tasks = [asyncio.create_task(_outcome(job, timeout, None, polling)) for job in self._handles(jobs)]
        try:
            for task in tasks:
                task.add_done_callback(finished.put_nowait)
            for _ in tasks:
                yield (await finished.get()).result()
        finally:
            await cancel_and_wait(tasks)

    async def delete_many(self, ids: Iterable[Job | int], *, raise_group: bool = False) -> list[Outcome[bool]]:
        """Delete tasks, 100 in one call and four such calls at a time; return one outcome for each id, in order.

        Where the server refuses a chunk, which one unknown id may be enough for, its halves are tried, down to the
        ids that it refuses. A task that was gone already is JobGone. Where it is the caller whom it refuses, each id
        of the chunk has that error at once; and where the answer to a chunk is lost, too: `applied` is "unknown" then.

        Args:
            ids: which ones; repeated ones are deleted once and reported each time.
            raise_group: raise an ExceptionGroup with the errors, if there are any.
        """
        outcomes = await delete(self._desk.batch, [job.id for job in self._handles(ids)])
        if raise_group:
            raise_errors(outcomes, "deleted")
        return outcomes

    async def stop_many(
        self, ids: Iterable[Job | int], *, force: bool = False, confirm: bool = False, raise_group: bool = False
    ) -> list[Outcome[bool]]:
        """Ask the server to stop jobs, eight at a time; return one outcome for each id, in order.

        They are read before in chunks of 100, by a list where that is cheaper. `force` and `confirm`: see
        `Job.stop`; what that raises is the outcome's error.

        Args:
            ids: which ones; repeated ones are stopped once and reported each time.
            force: ask the server whatever the tasks say.
            confirm: the user was warned.
            raise_group: raise an ExceptionGroup with the errors, if there are any.
        """
        outcomes = await stop_each(
            self._desk.batch,
            [job.id for job in self._handles(ids)],
            is_read=self._desk.knows_behaviour and not force,
            force=force,
            confirm=confirm,
        )
        if raise_group:
            raise_errors(outcomes, "stopped")
        return outcomes

    async def aclose(self) -> None:
        """End all waits with ClientClosed. The client does this when it is closed; jobs on the server run on."""
        await self._desk.poller.aclose()

    def _handles(self, jobs: Iterable[Job | int]) -> list[Job]:
        return [job if isinstance(job, Job) else self.attach(job) for job in jobs]


def _check_if_running(value: str, *choices: str) -> None:
    if value not in choices:
        raise UsageError(f"if_running is {' or '.join(map(repr, choices))} here")


async def _outcome(
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


async def _stop(job: Job, seconds: float) -> None:
    """Stop a job whose block is left, unless it is known to have ended."""
    if job.is_over:
        return
    try:
        async with asyncio.timeout(seconds):
            stopped = await job.stop(confirm=True)
    except JobGone:
        return
    except TimeoutError as error:
        if isinstance(error, SoapBatchError):
            raise
        raise DeadlineExceeded(f"task {job.id} could not be stopped within {seconds:g} s; it may still run") from None
    if not stopped and not job.is_over:
        _LOG.warning("task %d: the server did not stop it; it may still run", job.id)


async def _stop_early(job: Job, seconds: float, error: BaseException) -> None:
    """Stop a job whose block is left by `error`, which gets a note if that does not work."""
    try:
        await _stop(job, seconds)
    except SoapBatchError as trouble:
        _LOG.warning("task %d may still run: %s", job.id, trouble)
        error.add_note(f"task {job.id} may still run on the server: {trouble}")


async def _abandon(starting: asyncio.Task[Job], seconds: float, error: BaseException) -> None:
    """Wait for a start that is on its way, and stop what it started; `error` gets a note if that does not work."""
    await asyncio.wait([starting], timeout=seconds)
    await cancel_and_wait([starting])
    trouble = None if starting.cancelled() else starting.exception()
    if trouble is None and not starting.cancelled():
        await _stop_early(starting.result(), seconds, error)
    elif not isinstance(trouble, SoapBatchError) or trouble.applied != "no":
        message = "StartBatchJob was cancelled on its way: the job may have been started, and runs on then"
        _LOG.warning(message)
        error.add_note(message)
