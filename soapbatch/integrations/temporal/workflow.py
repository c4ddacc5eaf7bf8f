"""The order in which a job is run: a workflow, and a function for workflows of one's own."""

# Some hints of Temporal name a bare Callable.
# pyright: reportUnknownMemberType=false

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError

from soapbatch.errors import StartOutcomeUnknown, WaitTimeout
from soapbatch.integrations.temporal.activities import Activities
from soapbatch.integrations.temporal.data import (
    MEMO,
    BatchJob,
    BatchJobProgress,
    FinishedJob,
    JobTask,
    Phase,
    TaskFacts,
)
from soapbatch.integrations.temporal.slots import hold_slot, release_slot
from soapbatch.system import retrieve_exception

T = TypeVar("T")

_STOP_TIMEOUT: Final = timedelta(hours=1)  # for the stop of a cancelled job, with all attempts
_KEY_LENGTH: Final = 140  # characters of a workflow's id in a key; the id of the run is what tells keys apart
_FAIRNESS_BYTES: Final = 64  # Temporal's limit for a fairness key
_RETRY: Final = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))


@workflow.defn(name="soapbatch.RunBatchJob", sandboxed=False)  # it is deterministic, and faster without the sandbox
class RunBatchJob:
    """The workflow that runs one job: start, wait, save, cleanup.

    Its query `progress` and its memo `soapbatch` hold a `BatchJobProgress`. To cancel it stops the job; after the end
    the query and the memo say what became of the job.
    """

    def __init__(self) -> None:
        """Begin in front of the first phase."""
        self._progress = BatchJobProgress("queueing")

    @workflow.run
    async def run(self, job: BatchJob) -> FinishedJob:
        """Run a job; see `run_batch_job` for errors."""

        def note(progress: BatchJobProgress) -> None:
            if progress.phase != self._progress.phase:
                workflow.upsert_memo({MEMO: progress})
                if job.search_attribute is not None:
                    attribute = SearchAttributeKey.for_keyword(job.search_attribute)
                    workflow.upsert_search_attributes([attribute.value_set(progress.phase)])
            self._progress = progress

        info = workflow.info()
        return await run_batch_job(job, key=make_key(info.workflow_id, info.run_id), on_progress=note)

    @workflow.query
    def progress(self) -> BatchJobProgress:
        """Return how far the job is. The percent stands in heartbeats: see `read_progress`."""
        return self._progress


async def run_batch_job(
    job: BatchJob, *, key: str | None = None, on_progress: Callable[[BatchJobProgress], None] | None = None
) -> FinishedJob:
    """Run a job inside a workflow. To cancel the call stops the job: `asyncio.timeout` and task groups work.

    Args:
        job: the job.
        key: tells the start from all others; None: one that is made of the workflow's id, the run's id and a number.
        on_progress: called at each change of the phase. It must be deterministic, as the workflow is.

    Raises:
        ApplicationError: of the type JobFailed: the job ended as Failed; `details[0]` holds its `TaskFacts`. Of the
            type WaitTimeout: `job.timeout` has passed; the job may run on. Any other type: the name of the error.
        asyncio.CancelledError: the workflow, or the call, was cancelled.
    """
    info = workflow.info()
    key = key or make_key(info.workflow_id, info.run_id, workflow.uuid4().hex[:8])
    run = _Run(job, JobTask(job, key), on_progress or _ignore)
    try:
        if job.max_running is None:
            return await run.to_the_end()
        token = await run.until_slot(job.max_running)
        is_forgotten = False
        try:
            return await run.to_the_end()
        except GeneratorExit:
            is_forgotten = True  # its worker drops the workflow, which goes on elsewhere: nothing may be awaited
            raise
        finally:
            if not is_forgotten:
                await release_slot(job.tenant, token)
    except ActivityError as error:
        raise run.failed(error) from None


def make_key(workflow_id: str, run_id: str, number: str = "") -> str:
    """Return the key of a start: text that a server keeps as it is."""
    name = "".join(character if character.isprintable() else "?" for character in workflow_id[:_KEY_LENGTH]).strip()
    return "/".join(filter(None, (name, run_id, number)))


class _Run:
    """One job inside a workflow."""

    def __init__(self, job: BatchJob, task: JobTask, report: Callable[[BatchJobProgress], None]) -> None:
        """Begin before the start."""
        self._job = job
        self._task = task
        self._report = report
        self._facts = TaskFacts(name=job.name)

    def note(self, phase: Phase, *, note: str | None = None) -> None:
        """Report a phase."""
        self._report(BatchJobProgress(phase, self._facts, note))

    async def until_slot(self, limit: int) -> str:
        """Wait until the tenant has a slot for the job; return its token."""
        self.note("queueing")
        try:
            return await hold_slot(self._job.tenant, limit)
        except asyncio.CancelledError:
            self.note("stopped", note="the job was not started")
            raise

    def failed(self, error: ActivityError) -> ApplicationError:
        """Report that an activity has ended the job, and return the error to raise."""
        failure = _unwrapped(error, self._job)
        if failure.details and isinstance(failure.details[0], dict):  # `save=` may raise one with other details
            known = {field.name for field in dataclasses.fields(TaskFacts)}
            facts = cast("dict[str, Any]", failure.details[0])
            self._facts = TaskFacts(**{name: value for name, value in facts.items() if name in known})
        self.note("failed", note=failure.message)
        return failure

    async def to_the_end(self) -> FinishedJob:
        """Start, wait, save, clean up; stop the job where this is cancelled."""
        self.note("starting")
        options = self._options()
        options["cancellation_type"] = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        starting = workflow.start_activity_method(Activities.start, self._task, **options)
        try:
            self._know_id(await asyncio.shield(starting))
        except asyncio.CancelledError:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)  # the start may have ended at the same moment
            starting.cancel()  # no harm if it has ended
            with contextlib.suppress(ActivityError, asyncio.CancelledError):
                self._know_id(await _finish(starting))
            await self._stop()
            raise
        self.note("waiting")
        try:
            self._facts = await _unless_cancelled(
                workflow.start_activity_method(Activities.wait, self._task, **self._options())
            )
        except asyncio.CancelledError:
            await self._stop()
            raise
        try:
            return FinishedJob(self._job.tenant, self._facts, await self._fetch())
        except asyncio.CancelledError:
            self.note("stopped", note="the job has succeeded; its output may not have been saved")
            raise

    async def _fetch(self) -> str | None:
        """Save the output and let the server remove it, where that is wanted; return what `save=` returned."""
        output: str | None = None
        if self._job.output is not None:
            self.note("saving")
            output = await _unless_cancelled(
                workflow.start_activity_method(Activities.save, self._task, **self._options())
            )
            if self._job.cleanup:
                self.note("cleaning")
                await _unless_cancelled(
                    workflow.start_activity_method(Activities.cleanup, self._task, **self._options())
                )
        self.note("succeeded")
        return output

    async def _stop(self) -> None:
        """Stop the job, and report what became of it."""
        self.note("stopping")
        options = self._options()
        options["schedule_to_close_timeout"] = _STOP_TIMEOUT
        try:
            stopped = await _finish(workflow.start_activity_method(Activities.stop, self._task, **options))
        except ActivityError as error:
            self.note("stopped", note=f"it may still run: {_unwrapped(error, self._job).message}")
        else:
            self._facts = stopped.task
            self.note("stopped", note=stopped.note)

    def _know_id(self, id: int) -> None:
        self._task = dataclasses.replace(self._task, id=id)
        self._facts = dataclasses.replace(self._facts, id=id)

    def _options(self) -> workflow.ActivityConfig:
        # Servers that do not know fairness ignore the key.
        fairness_key = self._job.tenant.encode()[:_FAIRNESS_BYTES].decode(errors="ignore")
        return {
            "schedule_to_close_timeout": timedelta(seconds=self._job.timeout),
            "heartbeat_timeout": timedelta(seconds=self._job.heartbeat_timeout),
            "retry_policy": _RETRY,
            "priority": Priority(fairness_key=fairness_key),
        }


async def _unless_cancelled(running: workflow.ActivityHandle[T]) -> T:
    """Return the result of an activity. A cancellation is raised at once, and handed on to the activity."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        running.add_done_callback(retrieve_exception)
        running.cancel()
        raise


async def _finish(task: asyncio.Task[T]) -> T:
    """Return the result of a task, however often the caller is cancelled meanwhile."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await workflow.wait([task])
    return task.result()


def _unwrapped(error: ActivityError, job: BatchJob) -> ApplicationError:
    """Return the ApplicationError that ended an activity, or one for the time that has passed."""
    if isinstance(error.cause, ApplicationError):
        return error.cause
    kinds: dict[str, type[Exception]] = {"soapbatch.start": StartOutcomeUnknown, "soapbatch.wait": WaitTimeout}
    kind = kinds.get(error.activity_type, TimeoutError)
    message = f"{error.activity_type} of {job.name} did not end in time: {error.cause or error}"
    return ApplicationError(message, type=kind.__name__, non_retryable=True)


def _ignore(_: BatchJobProgress) -> None:
    """Report progress to nobody."""
