"""Batch jobs: start them, wait for them, watch and stop them, and learn how each of them ended. `client.jobs`.

    job = await client.jobs.start("ExportArchiveBatchPlugin", parameters={"...": "..."}, description="Nightly export")
    info = await job.wait(timeout=3600, on_progress=show)

This wing calls the typed operations and nothing else: an application could do the same with `client.batch`.

`jobs` is `client.jobs`, `job` the handle on one job, `reference` what another process needs to take a job over. A start
goes from `jobs` to `start`, which settles a lost answer: the task carries a key (`marker`), and `search` looks for it
and says what lists prove. `listing` lists tasks over the operation that suits.

A wait goes from `job` to `poller`, which reads all watched tasks of a client together: `schedule` says when a task is
read, `task_reader` by which call. `bulk` deletes and stops many tasks, `outcome` holds the result of each.

There are three ways to cancel. Cancelling a `wait` leaves the server's job running. `stop` asks the server to stop the
job. Leaving the block of `run` before the job has ended also stops the job (`block_end`).
"""

from soapbatch.jobs.job import Job as Job
from soapbatch.jobs.jobs import Jobs as Jobs, StartSpec as StartSpec
from soapbatch.jobs.marker import Marker as Marker
from soapbatch.jobs.outcome import Failure as Failure, Outcome as Outcome, Success as Success
from soapbatch.jobs.reference import JobReference as JobReference
from soapbatch.jobs.schedule import Polling as Polling
