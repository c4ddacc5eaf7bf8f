"""Observability: what an operator sees of calls and jobs, as traces, metrics and a dashboard, and hooks for the rest.

Log records, and what went over the wire, have a page of their own: `soapbatch.guide.logs`.


OpenTelemetry
-------------

`pip install "soapbatch[opentelemetry]"` brings OpenTelemetry's API and nothing else. The service sets up an SDK with
exporters, as for any other library; without one, nothing is recorded.

    from soapbatch import Client
    from soapbatch.integrations.opentelemetry import OpenTelemetry

    client = Client(url, credentials=credentials, hooks=OpenTelemetry())

One `OpenTelemetry()` serves any number of clients; `Client.online`, `Client.from_env`, `OnlineApp.client` and the
clients of `Tenants` take it in the same way. `tracer_provider=` and `meter_provider=` take the place of the process's;
further hooks are named beside them: `OpenTelemetry(on_request=count)`.


A trace
-------

    with tracer.start_as_current_span("nightly export"):
        job = await client.jobs.start("ExportArchiveBatchPlugin", key="acme/nightly/2026-11-26")
        await job.wait()
        await job.save_output("contacts.csv")

The server takes SOAP 1.1 alone, which the login finds out, and it was busy when the output was asked for:

    nightly export                                INTERNAL
      Batch/StartBatchJob                         CLIENT attempt=1
        SoPrincipal/AuthenticateUsernamePassword  CLIENT attempt=1
          POST                                    CLIENT attempt=1 status_code=415 type=BindingRefused ERROR
          POST                                    CLIENT attempt=1 status_code=200
        POST                                      CLIENT attempt=1 status_code=200
      BLOB/GetOutputFromBatch                     CLIENT attempt=2
        POST                                      CLIENT attempt=1 status_code=503 type=ServiceBusy ERROR
        POST                                      CLIENT attempt=2 status_code=200
    job ended                                     INTERNAL outcome=SucceededManualCleanup -> nightly export

A call is a span, with a span below it for each request. The wait is none: a trace does not last for hours. The end of
the job is a span without length in a trace of its own, with a link (`->`) to the span in which the wait began.
`OpenTelemetry(polls=True)` writes each reading of a wait in the same way.

| attribute | of | meaning |
|---|---|---|
| `rpc.system.name` | calls, requests | `soap` |
| `rpc.method` | calls, requests | agent and operation, such as `Batch/StartBatchJob`: the name of a call's span, too |
| `server.address`, `server.port` | calls, requests | of the client's base URL; of a request, of where it went |
| `error.type` | all | the name of the error's class; not there without an error, or for what the caller has ended |
| `http.request.method` | requests | `POST` |
| `http.response.status_code` | requests | of the response, if there was one |
| `url.full` | requests | of the endpoint |
| `soapbatch.version` | calls | the service version, for example `Services88` |
| `soapbatch.binding` | calls, requests | `DOCUMENTED`, `SOAP11` or `SOAP12`; of a call, once it is known |
| `soapbatch.attempt` | calls, requests | of a request, in which attempt it was sent; of a call, how many there were |
| `soapbatch.applied` | calls | of one without a result, may the server have done it: `no`, `unknown` or `yes` |
| `soapbatch.task.id` | ends of jobs | the server's number for the task |
| `soapbatch.job.name` | ends of jobs | the name of the job; not with `OpenTelemetry(job_names=False)` |
| `soapbatch.job.outcome` | ends of jobs | the state in which the job has ended, or `JobGone` |

The names of `rpc`, `http`, `server`, `url` and `error` are those of the semantic conventions, 1.45.0. No span and no
metric holds a ticket, a token, a password, a parameter of a job, or a text from the server.

Each request carries the context of its span, by default as the header `traceparent`. In a test, the embedded server
goes on with the trace, so that its operations are spans of kind SERVER below the requests:

    from soapbatch.integrations.opentelemetry import netserver_spans

    server.intercept(None, netserver_spans(provider), times=None)
    server.calls[0].headers["traceparent"]                   # what it was sent

With Temporal, its own `temporalio.contrib.opentelemetry.TracingInterceptor` takes the trace from whoever starts a
workflow into the activities of soapbatch, and their calls are spans below them.


Metrics
-------

| metric | unit | attributes |
|---|---|---|
| `rpc.client.call.duration` | s | `rpc.system.name`, `rpc.method`, `server.address`, `server.port`, `error.type` |
| `soapbatch.job.duration` | s | `soapbatch.job.name`, `soapbatch.job.outcome` |
| `soapbatch.jobs.watched` | {job} | |
| `soapbatch.polls` | {poll} | `soapbatch.poll.kind`, `soapbatch.job.name` |
| `soapbatch.tickets.renewals` | {ticket} | `soapbatch.ticket.event`, `error.type` |

The first two are histograms. `rpc.client.call.duration` counts logins and the readings of waits, too. A job counts when
a wait has seen its end: the seconds since this client started it, or first waited for it. `soapbatch.jobs.watched` are
the jobs that somebody waits for now. A poll reads one `task`, or a `list` for several. A ticket was `obtained`,
`renewed` ahead of its end, `refused` by the server, or it `failed`: there is none.

Exporters for Prometheus call them `rpc_client_call_duration_seconds`, `soapbatch_job_duration_seconds`,
`soapbatch_jobs_watched`, `soapbatch_polls_total` and `soapbatch_tickets_renewals_total`. `dashboard.json` in the folder
of this page is a dashboard of Grafana for them: import it, and choose a Prometheus.

    from importlib import resources

    print(resources.files("soapbatch.guide").joinpath("dashboard.json").read_text())


Hooks
-----

What OpenTelemetry is told, any other system can be told: `Hooks` has a function for each kind of event, and
`help(soapbatch.calls.hooks)` the rules. No event holds a secret.

| hook | is given |
|---|---|
| `around_call` | `CallEvent`; returns a context manager with a scope, which is told the `CallEndEvent` |
| `around_request` | `RequestEvent`, and the scope of the call; its scope has headers, and is told the `ResponseEvent` |
| `on_request`, `on_response` | `RequestEvent`; `ResponseEvent` |
| `on_exchange` | `ExchangeRecord`: what went over the wire, without secrets; see `soapbatch.guide.logs` |
| `headers` | nothing; returns HTTP headers |
| `on_job` | `JobEvent`: started, watched, polled, changed, ended, unwatched |
| `on_ticket` | `TicketEvent`: obtained, renewed, refused, failed |

Calls that took longer than half a second:

    import contextlib
    from soapbatch import Hooks
    from soapbatch.calls import CallEndEvent, CallEvent

    class Slow:
        def ended(self, event: CallEndEvent) -> None:
            if event.milliseconds > 500:
                print(event.call.operation, event.outcome, event.attempts)

    def around_call(event: CallEvent) -> contextlib.AbstractContextManager[Slow]:
        return contextlib.nullcontext(Slow())

    hooks = Hooks(around_call=around_call)


What it costs
-------------

Hooks that do nothing add 10 % to the CPU time of a call, OpenTelemetry's API without an SDK 13 %, and its SDK 55 %
where it records every call: two spans and a point of a histogram. These are ratios of medians, measured by
`python -m tests.bench hooks` over a transport that answers at once, on an AMD EPYC with nothing else to do, where a
call takes 185 us without hooks. What a call waits for the network is not in it.
"""
