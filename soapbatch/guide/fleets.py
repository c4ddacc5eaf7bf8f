"""A fleet: batch jobs of many tenants on several machines, with Temporal. `pip install "soapbatch[temporal]"`.

A service that starts exports for hundreds of tenants, each hours long, cannot live in one process: a restart forgets
what it waited for, and a second machine does not know what the first one has started. Temporal (temporal.io, MIT)
remembers both. Its server keeps the history of each workflow; workers, processes of yours, do the work; any worker goes
on where another one has died. For one machine without an engine see `tests/recipes/one_machine.py` in the sources.

**The worker.** Start as many as you like, on any machine. Secrets live here:

    from soapbatch import Client, ConnectionPool
    from soapbatch.integrations.temporal import SoapBatchPlugin

    pool = ConnectionPool(max_connections=64)                # all tenants of the worker share it

    async def connect(tenant: str) -> Client:
        row = await vault.read(tenant)
        return Client(row.url, credentials=row.credentials, application_token=row.app_token, transport=pool, max_rate=5)

    temporal = await temporalio.client.Client.connect("temporal.example.com:7233")
    plugin = SoapBatchPlugin(connect, save=save, transport=pool)
    await temporalio.worker.Worker(temporal, task_queue="crm", plugins=[plugin]).run()

**A job.** From a web service, a schedule, a command line; or as one step of a workflow of yours:

    from soapbatch.integrations.temporal import BatchJob, RunBatchJob, read_progress, run_batch_job

    job = BatchJob("acme", "ExportArchiveBatchPlugin", output="contacts.csv", max_running=2)
    handle = await temporal.start_workflow(RunBatchJob.run, job, id="acme/export/2026-11-26", task_queue="crm")
    progress = await read_progress(handle)                   # phase, task, percent; asks no worker
    finished = await handle.result()                         # finished.task.state, finished.output
    await handle.cancel()                                    # stops the job; `read_progress` says what became of it
    finished = await run_batch_job(job)                      # inside a workflow

The id of the workflow is your protection against a second start of the same thing: Temporal runs one workflow an id.

**Where outputs go.** `save=` is a folder, with a folder for each tenant in it; on a fleet a local path means little. An
async callable may write to any file-like object, here fsspec's for an object storage:

    async def save(job: BatchJob, stream: AsyncIterator[bytes]) -> str:
        url = f"s3://exports/{job.tenant}/{job.output}"
        with fsspec.open(url, "wb") as file:
            async for piece in stream:
                await asyncio.to_thread(file.write, piece)
        return url                                           # the `output` of the result

It is called again after a failure or a kill: write to the same place, so that the next attempt replaces a part.

**What is guaranteed**, by tests that kill workers and the Temporal server (kill -9) in every phase:
- One job a workflow. The start has a key, which the task carries; the next attempt looks for a task with the key for
  `settle` seconds before it sends anything. `marker` says where the key stands; a job has to bear it there.
- A wait that survives. It sends heartbeats; 30 seconds (`heartbeat_timeout`) after the last one another worker goes on.
  No poll is in the history, and all waits for a tenant in one worker share their polls.
- To cancel the workflow stops the job with one StopBatchJob, also if its start was under way.
- Errors are ApplicationErrors: `type` is the class's name, JobFailed has the task in `details[0]`. Errors that cannot
  pass end the workflow. Neither inputs, results, errors nor heartbeats hold secrets. They hold what you put into
  `parameters` and `description`, and what the server says of the task: a payload codec of Temporal encrypts that.
- At most `max_running` jobs of a tenant run, in the whole fleet. Those that wait cost nothing.
- A later release replays the histories of this one.

- One trace, if the application's `TracingInterceptor` and `hooks=OpenTelemetry()` are set: `guide.observability`.

**What is not:**
- A server that applies a lost request later than `settle` seconds, or has forgotten a finished task when it is looked
  for, lets a second job start. So does a worker that stands still for longer than `heartbeat_timeout` and `settle`
  between the decision to send and the sending.
- A job whose marker cannot be seen is no second job but `StartOutcomeUnknown`, which ends the workflow after ten
  attempts: look at the server, then start another workflow.
- To terminate a workflow, or its own execution timeout, stops nothing on the server: only to cancel it does. When
  `timeout` (a week) has passed, the workflow fails as WaitTimeout, the job runs on, and its slot is free.
- A reset workflow, or another run of the same id, has another key: it starts another job.
- The percent is as old as a heartbeat: up to 80 % of `heartbeat_timeout`.

**What the Temporal server must be told.** Fairness between tenants, whose name is the fairness key of each activity:
`matching.enableFairness: true` (dynamic configuration; in Temporal Cloud a setting of the namespace; old servers ignore
the key). It orders what waits in the queue, and limits nothing. For `search_attribute="BatchPhase"`:
`temporal operator search-attribute create --name BatchPhase --type Keyword`. Calls a second are the client's own:
`max_rate=`, for each worker. A worker runs 10,000 activities at once with this plugin, as a wait is cheap; give other
activities another task queue.

**How much it bears.** 1,000 jobs of 20 s over 100 tenants, with `python -m tests.bench.fleet`; 2 cores of an AMD EPYC
for everything, NetServers and Temporal dev server included, and other work on them (load 8 to 15):

    workers  seconds  StartBatchJob  reads of tasks  CPU seconds a worker  MiB a worker  Temporal's CPU seconds
    1             73          1,000           3,426                    24           213                      46
    2             86          1,000           7,221                    17           154                      50

With the dev server's database on a busy disk (`--disk`) both take 215 s: the server limits then, not the workers.
"""
