"""Upgrading: what was renamed or taken away, and what to write instead.

Before 1.0 a name may change in a minor release, where the new one is clearly better. CHANGELOG.md in the sources lists
all changes under **Changed**; this page lists what stops a program from running. A type checker (mypy, pyright) finds
these places before your users do: the library is typed throughout.


To the release that is being made now
-------------------------------------

| you have | write |
|---|---|
| `from soapbatch import ExceptionInfo` | `from soapbatch.model import ExceptionInfo` |
| `from soapbatch import ReplyHeader, RequestHeader` | `from soapbatch.model import ReplyHeader, RequestHeader` |
| `from soapbatch import SoCredentials, SoTimeZone` | `from soapbatch.model import SoCredentials, SoTimeZone` |
| `from soapbatch import AuthenticateResponse` | `from soapbatch.model import AuthenticateResponse` |
| `from soapbatch import Request` | `from soapbatch.soap import Request` |
| `from soapbatch import Unknown` | `from soapbatch.soap import UnknownItem` |
| `from soapbatch import MemoryTicketStore, TicketStore` | `from soapbatch.auth import MemoryTicketStore, TicketStore` |
| `from soapbatch import CallOptions` | `from soapbatch.calls import CallOptions` |
| `from soapbatch import RequestEvent, ResponseEvent` | `from soapbatch.calls import RequestEvent, ResponseEvent` |
| `from soapbatch import StartOptions` | `from soapbatch.jobs import StartSpec`, a row of `start_many` |
| `from soapbatch import Jobs` | `from soapbatch.jobs import Jobs` |
| `from soapbatch import LaneTransport` | `from soapbatch import ConnectionPool` |
| `from soapbatch import aiohttp_transport` | `from httpx_aiohttp import HttpxAiohttpClient`, for `http_client=` |
| `from soapbatch import HttpRequest, HttpReply` | `from httpx import Request, Response` |
| `from soapbatch import Transport` | `from httpx import AsyncBaseTransport` |
| `from soapbatch.jobs.progress import progress_bar` | `from soapbatch.cli.progress_bar import progress_bar` |
| `from soapbatch.operations import Login` | `from soapbatch.operations import AuthenticateOperation` |
| `GET_BATCH_TASK_INFO.reads` | `GET_BATCH_TASK_INFO.is_read_only` |
| `NetServer(lacks=["StopBatchJob"])` | `NetServer(missing=["StopBatchJob"])` |

What a program does not notice before it runs:

- A failed start, stop or deletion is an outcome in the list that `start_many`, `stop_many` and `delete_many` return.
  `raise_group=True` raises an ExceptionGroup, as they did before.
- `Operation.allow_nil` is `nullable`.
- The command `soapbatch` ends with a status for each kind of trouble; a usage error is 2, and was 1.
- stamina is no dependency any more: `stamina.set_active(False)` does not switch retries off;
  `Client(retries=Retries(attempts=1))` does.
- The messages of errors are worded anew: compare classes and attributes, never messages.


When a release comes
--------------------

1. Read **Changed** in CHANGELOG.md.
2. Run your type checker, then your tests: `soapbatch help testing` shows ten that need no server.
3. Workflows of Temporal that are under way go on with the new release: `soapbatch help fleets`.
"""
