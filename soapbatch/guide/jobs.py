"""Jobs: start them so that none runs twice, wait for many at once, and know how each of them ended.

    job = await client.jobs.start("ExportArchiveBatchPlugin", description="Nightly")
    info = await job.wait(timeout=3600)

`client.jobs` is built on the typed operations alone. A handle is an id: `client.jobs.attach(id)` makes one in any
process, and `job.reference` holds all that another process needs to take a job over.


How a wait ends
---------------

![The states of a job](job_states.svg)

| what happened | `wait` | `watch` |
|---|---|---|
| Succeeded, SucceededManualCleanup | returns the task | yields it, ends |
| Failed | `JobFailed` with the task | yields it, ends |
| the server does not know it (any more) | `JobGone` with the task as last seen | `JobGone` |
| `timeout` over (an hour unless said otherwise) | `WaitTimeout`; the job runs on | the same |
| a restart, a state this release does not know | followed | followed |
| trouble that passes | followed, up to 10 failures in a row | the same |
| a failure that cannot heal | that error, at once | the same |
| the wait is cancelled | the job runs on | the same |


A start whose answer was lost
-----------------------------

StartBatchJob is never sent again before it is proven that nothing was started. With a `key`, or with a `marker` alone
(`Marker.PARAMETER`, `Marker.DESCRIPTION`), the task carries a mark, and a list shows whether it is there:

| the answer was lost, and | no marker | marker | marker and `resend=True` |
|---|---|---|---|
| the job was started | `StartOutcomeUnknown` | its handle | its handle |
| it was not | `StartOutcomeUnknown` | the call's own error, `applied="no"` | sent once more |
| listing fails, too | `StartOutcomeUnknown` | `StartOutcomeUnknown`, naming the mark | the same |

HTTP 401 counts as an answer: nothing was started, and the request is sent again with a new ticket. With a mark a list
is read before, because a gateway may answer 401 after the server has started the job.

With a key of your own, another process or a later attempt finds the task. `maybe_sent` says that an earlier attempt may
have sent it: then the tasks are listed first.

    job = await client.jobs.start("ExportArchiveBatchPlugin", key="acme/nightly/2026-11-26", maybe_sent=True)

A key stands for one start for good. What it cannot do stands in `help(client.jobs.start)`.


Many at once
------------

    outcomes = await client.jobs.start_many(["ExportArchiveBatchPlugin"] * 3, at_once=2)
    jobs = [outcome.unwrap() for outcome in outcomes]
    for outcome in await client.jobs.wait_all(jobs):
        print(outcome.id, outcome.ok, outcome.error or outcome.result)
    await client.jobs.delete_many(jobs)

Each task has an outcome of its own, a `Success` or a `Failure`: one that fails does not end the others.


Stopping
--------

There are three ways to cancel. Cancelling a `wait` leaves the server's job running. `stop` asks the server to stop the
job; `StopRefused` is raised if the task says that it must not be stopped, or only after a warning (`confirm=True`,
`force=True`). Leaving the block of `run` before the job has ended also stops the job.


What a wait costs
-----------------

Online calls are metered. A wait looks every 2 s at most (the server's own tick), less often as the job ages, up to
every 30 s, and sooner while progress moves; `Polling(first=, floor=, ceiling=)` changes that. What one job costs:

| the job lasts | and shows nothing | each percent | something every 5 s | polling every 2 s |
|---|---|---|---|---|
| 1 min | 20 | 27 | 23 | 30 |
| 10 min | 47 | 71 | 72 | 300 |
| 1 h | 147 | 193 | 259 | 1,800 |
| 24 h | 2,907 | 2,953 | 5,434 | 43,200 |

Waits of one client share their polls: three or more tasks that are due together cost one list call. On the embedded
server 500 jobs of 30 to 90 s, waited for at once, cost 51 calls; one by one, 13,850.
"""
