r"""Logs, and what went over the wire: what an operator sees, and what to send to the owner of a server.

The library writes to two loggers, and shows nothing until the application gives them a level and a handler:

    soapbatch        INFO for what changes (a job was started, a ticket was obtained), DEBUG for each request
    soapbatch.wire   DEBUG for each request with its response, as text, without secrets

Each record has its facts twice: in its message, and as attributes whose names begin with `soapbatch_`. So structlog's
`ExtraAdder` and python-json-logger show them without any setting, and this does without either:

    import json
    import logging

    class JsonLines(logging.Formatter):
        def format(self, record):
            facts = {name: value for name, value in vars(record).items() if name.startswith("soapbatch_")}
            return json.dumps({"level": record.levelname, "message": record.getMessage(), **facts})

    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.getLogger("soapbatch").addHandler(handler)
    logging.getLogger("soapbatch").setLevel(logging.INFO)

    job = await client.jobs.start("ExportArchiveBatchPlugin")

It writes:

    {"level": "INFO", "message": "ticket 1 was obtained", "soapbatch_generation": 1, "soapbatch_how": "obtained"}
    {"level": "INFO", "message": "task 1: job ExportArchiveBatchPlugin was started", "soapbatch_task": 1, ...}


What to send to the owner of the server
---------------------------------------

An error that an answer explains has the request and the answer in `exchange`: every `ServiceError` and `ProtocolError`
of a call. It can be sent as it is: tickets, tokens, passwords and parameters of jobs are masked.

    from soapbatch import SoapBatchError

    try:
        await client.batch.stop_batch_job(42)
    except SoapBatchError as error:
        print(error.exchange or error)

It prints what was called and how it ended, when, and how long it took; then the request, and the response:

    StopBatchJob Services88 attempt 1: HttpError, 2026-11-26T20:15:29.123+00:00 + 12.5 ms
    > POST https://netserver.example/SuperOffice/Remote/Services88/Batch.svc
    > Content-Type: text/xml; charset=utf-8
    > SOAPAction: "http://www.superoffice.net/ws/crm/NetServer/Services88/Batch/StopBatchJob"
    > Accept-Encoding: gzip
    > 311 bytes
    <?xml version="1.0" encoding="UTF-8"?><s:Envelope ...<Ticket>***</Ticket>...<Id>42</Id>...
    < HTTP 502
    < server: nginx
    < content-type: text/html
    < 20 bytes
    <h1>Bad Gateway</h1>

`exchange` is a `soapbatch.model.ExchangeRecord`: it has all of that as attributes, survives a pickle, and holds 65,536
characters of each body at most. A broken connection (`TransportError`) explains itself, and has none. An error that was
made of another one has it in its `__cause__`.

`Hooks(on_exchange=)` gets the same for each request, also for one that worked. To keep the last twenty:

    from collections import deque

    latest = deque(maxlen=20)
    hooks = Hooks(on_exchange=latest.append)

Logger `soapbatch.wire` writes the same text. Nothing of a call that works is kept or masked where neither is used.


All records
-----------

For each: the level, the attributes without their `soapbatch_`, and the message. A job is named by `job`, its task by
`task`; `error` is the name of an error's class, and `reason` its text; `generation` counts the tickets of a client.

Logger `soapbatch.wire`:

    DEBUG             operation, version, attempt, exchange
        %(exchange)s

Logger `soapbatch`, calls:

    DEBUG             operation, version, binding, attempt, url, outcome, status, milliseconds, bytes_sent,
                      bytes_received
        %(operation)s %(version)s attempt %(attempt)d: %(outcome)s, HTTP %(status)s, %(milliseconds).1f ms,
        %(bytes_sent)d bytes out, %(bytes_received)d in
    INFO              operation, version, attempt, seconds, error, reason
        %(operation)s attempt %(attempt)d failed, the next one begins in %(seconds).2f s (%(error)s: %(reason)s)
    INFO              url, form, binding
        %(url)s does not take the documented form of envelope: this client sends %(form)s from now on;
        binding=Binding.%(binding)s saves the search
    ERROR             event
        a hook failed that was told of %(event)s

Logger `soapbatch`, tickets (DEBUG: a ticket that the caller gave; a store that failed before):

    INFO or DEBUG     generation, how
        ticket %(generation)d was %(how)s
    INFO              generation
        the server refused ticket %(generation)d; the client obtains another one
    WARNING or INFO   error, seconds
        the login failed (%(error)s); none is tried for the next %(seconds).0f s
    DEBUG or WARNING  reason
        the ticket store failed (%(reason)s); going on without it
    WARNING           path
        %(path)s holds no ticket that can be read; it will be replaced
    WARNING           path
        %(path)s is no regular file, or others may write to it: no ticket is taken from it

Logger `soapbatch`, jobs:

    INFO              task, job, outcome
        task %(task)d: job %(job)s %(outcome)s
    INFO              task, job, state
        task %(task)d: job %(job)s has ended as %(state)s
    INFO              task
        task %(task)d is gone: the server does not know it
    DEBUG             job, hint
        job %(job)s: if the answer to its start is lost, look for %(hint)s
    DEBUG             job, hint
        job %(job)s: first look for %(hint)s, of an earlier attempt
    INFO              job, hint, error
        job %(job)s: its start failed (%(error)s); unless a later record says what happened, look for %(hint)s
    INFO              job, hint
        job %(job)s was not started; StartBatchJob is sent once more
    INFO              task, error, reason
        task %(task)d: whether another task carries its key is not known (%(error)s: %(reason)s)
    WARNING           task
        task %(task)d: lists do not show its key: on this server a key finds no earlier attempt
    WARNING           tasks
        tasks %(tasks)s carry the same marker; the first one is used
    WARNING           task, outcome
        task %(task)d, a second one of the same start, %(outcome)s
    WARNING           job, outcome
        the start of job %(job)s %(outcome)s
    WARNING           task
        task %(task)d: the server did not stop it; it may still run
    WARNING           task, error, reason
        task %(task)d may still run (%(error)s: %(reason)s)

Logger `soapbatch`, SuperOffice Online:

    INFO              tenant, url
        tenant %(tenant)s has moved to %(url)s
    DEBUG             method, url, outcome, milliseconds
        %(method)s %(url)s: %(outcome)s, %(milliseconds).1f ms
    INFO              tenant, reason
        tenant %(tenant)s: the JWT for its system user came too late (%(reason)s); signing in once more
    WARNING           tenant, error, reason
        tenant %(tenant)s: its state cannot be had (%(error)s: %(reason)s); its last address is used on
    WARNING           error, reason
        the key set of the sign-in host cannot be fetched again (%(error)s: %(reason)s); the old one is used
    WARNING           tenant
        tenant %(tenant)s: a new refresh token came, and no on_change keeps it
    ERROR             tenant, error
        tenant %(tenant)s: on_change failed with a new refresh token (%(error)s)
"""
