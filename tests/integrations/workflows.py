"""Workflows of an application: they run in Temporal's sandbox."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from soapbatch.integrations.temporal import BatchJob, run_batch_job


@workflow.defn
class TwoJobs:
    """Runs two jobs at the same time."""

    @workflow.run
    async def run(self, first: BatchJob, second: BatchJob) -> list[str | None]:
        """Return the states in which the jobs have ended."""
        done = await asyncio.gather(run_batch_job(first), run_batch_job(second))
        return [finished.task.state for finished in done]


@workflow.defn
class Impatient:
    """Gives a job one second, and stops it then."""

    @workflow.run
    async def run(self, job: BatchJob) -> str:
        """Return what became of the job."""
        notes: list[str] = []
        try:
            async with asyncio.timeout(1):
                await run_batch_job(job, on_progress=lambda progress: notes.append(progress.phase))
        except TimeoutError:
            return " ".join(notes)
        raise ApplicationError("the job has ended")
