"""The end of a block of `Jobs.run`: stop the job, and say so where it may run on."""

import asyncio
import logging

from soapbatch.errors import DeadlineExceeded, JobGone, SoapBatchError
from soapbatch.jobs.job import Job
from soapbatch.system import cancel_and_wait, log_record


async def stop_unless_over(job: Job, seconds: float) -> None:
    """Stop the job of a block that is left, unless the job is known to have ended."""
    if job.is_over:
        return
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            stopped = await job.stop(confirm=True)
    except JobGone:
        return
    except TimeoutError as error:
        if isinstance(error, SoapBatchError) or not limit.expired():
            raise  # a call's own deadline, or from a hook
        raise DeadlineExceeded(f"task {job.id} could not be stopped within {seconds:g} s; it may still run") from None
    if not stopped and not job.is_over:
        log_record(logging.WARNING, "task %(task)d: the server did not stop it; it may still run", task=job.id)


async def stop_or_note(job: Job, seconds: float, error: BaseException) -> None:
    """Stop the job of a block that `error` leaves; if that fails, `error` gets a note."""
    try:
        await stop_unless_over(job, seconds)
    except SoapBatchError as stop_error:
        log_record(
            logging.WARNING,
            "task %(task)d may still run (%(error)s: %(reason)s)",
            task=job.id,
            error=type(stop_error).__name__,
            reason=str(stop_error),
        )
        error.add_note(f"task {job.id} may still run on the server: {stop_error}")


async def abandon_start(starting: asyncio.Task[Job], name: str, seconds: float, error: BaseException) -> None:
    """Wait for a start that is under way, and stop the job; `error` gets a note if the job may run on."""
    await asyncio.wait([starting], timeout=seconds)
    await cancel_and_wait([starting])
    start_error = None if starting.cancelled() else starting.exception()
    if start_error is None and not starting.cancelled():
        await stop_or_note(starting.result(), seconds, error)
    elif not isinstance(start_error, SoapBatchError) or start_error.applied != "no":
        what = "was cancelled while it was under way: the job may have been started, and may run on"
        log_record(logging.WARNING, "the start of job %(job)s %(outcome)s", job=name, outcome=what)
        error.add_note(f"StartBatchJob {what}")
