r"""What goes over the wire: operations, envelopes, and how a response is judged.

What real servers take
----------------------

The vendor's documentation shows SOAP 1.2 envelopes without a `Header`; every published WSDL declares SOAP 1.1 with one.

| binding | envelope | credentials | announced by |
|---|---|---|---|
| `Binding.DOCUMENTED` | SOAP 1.2, exactly the published layout | beside the Body | `application/soap+xml; action=` |
| `Binding.SOAP11` | SOAP 1.1, compact | header blocks | `text/xml` and `SOAPAction` |
| `Binding.SOAP12` | SOAP 1.2, compact | header blocks | `application/soap+xml; action=` |

With no `binding=`, the first read or login finds out what the server takes: the documented form first, then SOAP 1.1,
then SOAP 1.2. A call that changes something is never sent to find out: it waits for a read. `binding=` pins one. What
three independent SOAP stacks, built from the published WSDL, answered; the search ends at the first form that runs with
its credentials:

| form sent | Mono WCF 1.1 | Mono WCF 1.2 | JAX-WS 1.1 | JAX-WS 1.2 | node-soap |
|---|---|---|---|---|---|
| DOCUMENTED | 415 | an empty 200 | 415 | a fault, Receiver | runs without credentials |
| SOAP11 | runs | 415 | runs | 415 | runs |
| SOAP12 | 415 | runs | 415 | runs | runs |


How a response is judged
------------------------

In this order, in one function (`soapbatch.soap.interpret`):

1. An HTTP status that is decided before the body is read: `AccessDenied` (401, 403), `HttpError` (413),
   `BindingRefused` (415), `TenantMoved` (421).
2. A SOAP fault, of 1.1 or 1.2, with any other HTTP status and any Content-Type: `Fault`.
3. Reply header blocks: Succeeded=false or a filled ExceptionInfo, although HTTP says 200: `OperationFailed`, with
   `exception_info` and `error_type`.
4. The HTTP status: `ServiceBusy` (429, 503), `HttpError`.
5. The body's shape: `UnreadableResponse`, `UnexpectedResponse`, `LimitExceeded`.
6. AuthenticationSucceeded=false: `AuthenticationFailed`.

Statuses are taken at their word: 401, 403, 404, 413, 415, 421 and 429 mean that the request did not reach the operation
(`applied="no"`), and a call that got 401 is sent again with a new ticket. A gateway that answers 401 after the server
has run the request, for example because a sign-in expires on the way back, breaks that rule: the call is then run
twice. Let such a gateway decide before it passes a request on; a start with a `key` looks first.

Transient failures are retried only where that is safe: operations that read, and whatever certainly never left.
`timeout` (60 s by default) bounds the whole call. Newer servers are tolerated: unknown elements, values and header
blocks are passed over, and `on_unknown` hears of each. An empty `associate_ids` would mean "every task" to the server:
it is refused unless it is `ALL_ASSOCIATES`.

Without a socket, and pure: `build_request(operation, arguments, version=...)` gives `.path`, `.headers` and `.body`;
`parse_response(operation, body, version=...)` gives the result or raises.


How it travels
--------------

![The life of a call](call.svg)

The port to HTTP is httpx's own. The default transport, `ConnectionPool`, opens up to 64 connections with one request on
each, and honours proxies and `trust_env` as httpx does. `Client(..., max_connections=, proxy=, verify=)` changes that;
`transport=` takes any other `httpx.AsyncBaseTransport`. `http_client=` takes an `httpx.AsyncClient` of your own, with
its timeouts (httpx: 5 s), or httpx2's or httpx-aiohttp's, and leaves it open.

`Hooks(on_request=, on_response=, headers=)` serve tracing: `headers` may return a W3C `traceparent` for each request.
What went over the wire is in `error.exchange`, for `Hooks(on_exchange=)`, and in the log: see `soapbatch.guide.logs`.


Since which version
-------------------

| operation | agent | reads | 75 | 80 | 81 | 82 | 83 | 84 | 85 | 86 | 87 | 88 |
|---|---|---|---|---|---|---|---|---|---|---|---|---|
| GetBatchTaskInfo | Batch | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| GetBatchTaskInfosByAssociates | Batch | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| GetBatchTaskInfosByState | Batch | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| GetBatchTaskInfosByNameAndState | Batch | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| GetBatchTaskInfosByNameAndAssociates | Batch | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| GetBatchTaskInfosByAssociatesAndState | Batch | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| StartBatchJob | Batch |  | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| StopBatchJob | Batch |  | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| UpdateBatchTask | Batch |  | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| DeleteBatchTasks | Batch |  | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| DeleteBatchTask | Batch |  |  |  |  |  | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| GetAllBatchTaskInfosByName | Batch | ✓ |  |  |  |  |  |  |  |  |  | ✓ |
| GetAllBatchTaskInfosByNameAndState | Batch | ✓ |  |  |  |  |  |  |  |  |  | ✓ |
| GetSystemBatchTaskInfosByName | Batch | ✓ |  |  |  |  |  |  |  |  |  | ✓ |
| GetSystemBatchTaskInfosByNameAndState | Batch | ✓ |  |  |  |  |  |  |  |  |  | ✓ |
| AuthenticateUsernamePassword | SoPrincipal |  | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| AuthenticateImplicit | SoPrincipal |  | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| AuthenticateGeneric | SoPrincipal |  | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| AuthenticateWithAccessToken | SoPrincipal |  |  |  |  |  |  |  |  | ✓ | ✓ | ✓ |
| GetSystemInfo | SoPrincipal | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
| GetOutputFromBatch | BLOB | ✓ |  |  |  |  |  |  |  |  |  | ✓ |
| CleanupBatchTask | BLOB |  |  |  |  |  |  |  |  |  |  | ✓ |


Tickets
-------

Pass `ticket="7T:..."` if you have one, or say where it comes from:

| `credentials=` | what happens |
|---|---|
| `Ticket("7T:...", expires_at=...)` | used as it is, never renewed |
| `UsernamePassword(user, password)` | AuthenticateUsernamePassword |
| `AccessToken(token_or_async_callable)` | stands where a ticket would (Services86 on); `exchange=True`: for a ticket |
| `Implicit()` | AuthenticateImplicit |
| `Generic({...})` | AuthenticateGeneric |
| an async callable | whatever it returns |

One login serves all calls; it is renewed ahead of its end (6 hours after the last use), and once more when the server
refuses it. `await client.ticket()` reads it out; `ticket_store=FileTicketStore(path)` shares it between processes.
Passwords over plain HTTP to another host are refused. Tickets, tokens and passwords are masked in every repr, log
line, error and traceback.
"""
