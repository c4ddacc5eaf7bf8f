"""Durable batch jobs on several machines, with Temporal. Needs the extra `soapbatch[temporal]`.

    async def connect(tenant: str) -> Client: ...           # secrets live here, in the worker: histories are readable

    worker = Worker(temporal, task_queue="crm", plugins=[SoapBatchPlugin(connect)])

    job = BatchJob("acme", "ExportArchiveBatchPlugin", output="contacts.csv")
    finished = await temporal.execute_workflow(RunBatchJob.run, job, id="acme/export/2026-11-26", task_queue="crm")
    finished = await run_batch_job(job)                     # inside a workflow of one's own

`soapbatch.guide.fleets` explains what is guaranteed, and what a fleet needs.

Rule 1. The workflow decides, activities do: `soapbatch.start`, `.wait`, `.save`, `.cleanup`, and `.stop` if the
        workflow is cancelled. Each may run on any worker, and again on another one.
Rule 2. A start has a key that is made of the workflow's id and its run's id. An attempt that is not the first one says
        `maybe_sent`: it looks for a task with the key before it sends anything.
Rule 3. The wait is one activity, however long it takes. Its polls stay in the worker, and all waits for a tenant in one
        worker share them. Heartbeats show that the worker lives, and hold the task's last progress.
Rule 4. Errors leave an activity as ApplicationError: the type is the name of the class, the text has no secrets, and
        there is no cause. An error with `retryable` false ends the workflow.
Rule 5. What the workflow sends and records is an interface: running workflows are replayed by later releases.
        A new command goes behind `workflow.patched`; a data class grows only by fields with defaults.

`data` holds what workflows and activities exchange, `activities` what workers do, `workflow` the order of it, `slots`
the limit of running jobs a tenant, `plugin` what an application uses.
"""

from soapbatch.integrations.temporal.activities import Save as Save
from soapbatch.integrations.temporal.data import (
    BatchJob as BatchJob,
    BatchJobProgress as BatchJobProgress,
    FinishedJob as FinishedJob,
    JobTask as JobTask,
    Phase as Phase,
    StoppedJob as StoppedJob,
    TaskFacts as TaskFacts,
)
from soapbatch.integrations.temporal.plugin import SoapBatchPlugin as SoapBatchPlugin, read_progress as read_progress
from soapbatch.integrations.temporal.workflow import RunBatchJob as RunBatchJob, run_batch_job as run_batch_job
