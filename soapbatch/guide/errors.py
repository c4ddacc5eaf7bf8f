"""Errors and what to do: whose turn it is, whether the server may have done it, and whether to try again.

    try:
        job = await client.jobs.start("ExportArchiveBatchPlugin", key="acme/nightly/2026-11-26")
        await job.wait(timeout=3600)
    except JobFailed as error:
        print("the job's owner:", error.info.result)
    except StartOutcomeUnknown as error:
        print("look before you start again:", error.key)
    except SoapBatchError as error:
        print(type(error).__name__, error.operation, error.applied, error.retryable, error.retry_after)

Everything that soapbatch raises is a `SoapBatchError`. Catch the classes that you act on, and let the others end the
work: their messages say what to do next, and hold no secrets. `help(soapbatch.errors)` draws the tree and explains each
attribute.


What every error says
---------------------

| attribute | meaning |
|---|---|
| `applied` | "no": the server has not carried the call out; "unknown": it may have; "yes": it has |
| `retryable` | the same call, unchanged, may succeed later |
| `retry_after` | seconds that the server asks you to wait, or None |
| `operation`, `version` | of the call |
| `exchange` | the request and the answer, without secrets, where an answer explains the error: `soapbatch help logs` |

The tables below say what holds unless an error itself says more: a proof sets `applied` to "no", and a lost earlier
attempt to "unknown". When an error reaches you, the client has already repeated what is safe to repeat:
![Who may repeat what](repeats.svg)

So there is one question for you: may the call be sent again? If it only reads: yes. If `applied` is "no": yes, after
what made it fail has changed, or when `retryable` says that it may pass. If `applied` is "unknown": look first.


Your turn: the call is wrong, and nothing was sent
--------------------------------------------------

| error | applied | retryable | what to do |
|---|---|---|---|
| `UsageError` | no | no | correct the call; the message says how |
| `EncodeError` | no | no | correct the value at `path` |
| `NotInVersion` | no | no | do without, or call version `since`, if the server has it |
| `InsecureTransport` | no | no | use https; `allow_insecure=True` only where the line is protected otherwise |
| `ClientClosed` | no | no | make a new client; do not share one beyond its `async with` block |


The network's turn: there is no answer
--------------------------------------

| error | applied | retryable | what to do |
|---|---|---|---|
| `TransportError` | unknown | yes | try later |
| `ConnectFailed` | no | yes | `soapbatch doctor`: name, TCP, TLS, proxy |
| `ConnectionLost` | unknown | yes | a read: try again; else look what the server has done, then decide |
| `DeadlineExceeded` | unknown | yes | `phase` says where time went; raise `timeout=`, or ask why it is slow |


The operator's turn: an answer, but none to this call
-----------------------------------------------------

| error | applied | retryable | what to do |
|---|---|---|---|
| `ProtocolError` | unknown | no | show `status` and `excerpt` to the server's operator |
| `HttpError` | unknown | no | likewise; 404: the base URL or `path_prefix=` is wrong |
| `BindingRefused` | no | no | leave `binding=` out, so that the client finds it; `soapbatch help wire` |
| `AccessDenied` | no | no | the login, a proxy's login, or a right is missing |
| `TenantMoved` | no | no | ask the vendor: the sign-in host knows no other address of the tenant |
| `ServiceBusy` | unknown | yes | wait for `retry_after`; call less often: `max_rate=` |
| `UnreadableResponse` | unknown | no | a proxy's page, or a broken answer: `excerpt` shows how it begins |
| `UnexpectedResponse` | unknown | no | the URL leads to another service, or to one that is not NetServer's |
| `LimitExceeded` | unknown | no | stream it (`client.batch.stream`, `save_output`), or raise the limit `limit` |
| `TokenNotTrusted` | no | no | `check` says what is wrong with the JWT: do not use it |


The service owner's turn: it said no
------------------------------------

| error | applied | retryable | what to do |
|---|---|---|---|
| `ServiceError` | unknown | no | read the message of the server |
| `Fault` | unknown | no | likewise; `error_type` is made for comparing |
| `VersionMismatch` | no | no | leave `binding=` out |
| `OperationFailed` | unknown | no | read `exception_info`; `error_type` is made for comparing |
| `SessionLost` | no | no | a `Ticket` of yours has ended: get a new one; other credentials were renewed in vain |
| `AuthenticationFailed` | no | no | check user and password; to try again and again may lock the user |
| `SystemUserRefused` | no | no | `reason` says who has to act: `soapbatch help online` |
| `TenantUnavailable` | no | no | `retryable` of the error says whether to try later; `state` says why |


The job owner's turn: every call worked, and the job did not
------------------------------------------------------------

| error | applied | retryable | what to do |
|---|---|---|---|
| `JobError` | yes | no | `id` and `info` say which job |
| `JobFailed` | yes | no | `info.result` and `info.description` say why; start it again when that has changed |
| `JobGone` | yes | no | the task was removed: keep outputs sooner, or ask how long tasks are kept |
| `WaitTimeout` | no | no | the job runs on: wait again with `client.jobs.attach(error.id)`, or stop it |
| `JobRunning` | no | no | wait for it, or start with `if_running="start"` |
| `StopRefused` | no | no | ask the user: `confirm=True`; against the task's own word: `force=True` |
| `StartOutcomeUnknown` | unknown | no | look for the task: by `key` with `client.jobs.find`, else `soapbatch list` |


Where an error comes with others
--------------------------------

`start_many`, `wait_all`, `stop_many` and `delete_many` return an outcome for each job, and raise nothing for one that
fails:

    for outcome in await client.jobs.stop_many([4711, 4712]):
        print(outcome.id, outcome.ok, outcome.error)

In a shell the exit status says the same: `soapbatch help operators`. A web service has a status for each kind:
`tests/recipes/web_service.py` in the sources.
"""
