"""Hooks: the functions of the caller that a client calls, and the events that they are given. No event holds secrets.

    around_call        ─ a scope for each call, from its begin to its outcome, over all of its requests
      around_request   ─ a scope for each request: it may add HTTP headers, and knows the scope of its call
        on_request, on_response, headers       ─ the same as plain functions
        on_exchange                            ─ what went over the wire, without secrets
    on_ticket          ─ the client's ticket was obtained, renewed or refused
    on_job             ─ a job was started, is waited for, was read, has changed, has ended

Rule 1. A call is what the caller has asked for, and each reading of a wait (`purpose` "poll"). A login that the client
        makes for other calls is a call of its own (`purpose` "login"). A call that is refused before it begins, as the
        client is closed, or a password would cross plain HTTP, is none.
Rule 2. Each request belongs to a call: retries, the request after a renewed ticket, one to where a tenant has moved,
        and each form of envelope that is tried. A call that changes something may have a read among its requests:
        GetBatchTaskInfo(0), which finds the binding.
Rule 3. An exception of what runs before sending ends the call, and nothing is sent: `around_call`, `around_request`,
        `on_request`, `headers`. An exception of anything that is told what has happened is logged, and costs the caller
        nothing.
Rule 4. A scope's context manager is entered and left in the same `contextvars.Context`, so it may set context
        variables. For a call that returns its result this is the context of the caller: what is done between, as
        logging and sending, sees the variables. A stream lives across the yields of an async generator, and may end
        in another task: its scopes, and those of its request, have a context of their own, a copy of the caller's, and
        their variables are seen by nobody else.
Rule 5. What is told of a job that is waited for is told in a copy of the context in which the first wait began.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import attrs

from soapbatch.auth import TicketEvent
from soapbatch.errors import Applied
from soapbatch.model import Binding, ExchangeRecord, ServiceVersion
from soapbatch.system import log_record

E = TypeVar("E")

Purpose: TypeAlias = Literal["call", "login", "poll"]
"""Why a call is made: the caller asked for it, calls need a ticket, or somebody waits for a job."""


@attrs.frozen(kw_only=True)
class CallEvent:
    """A call begins.

    Attributes:
        operation: the wire name.
        agent: the wire name of its agent: Batch, SoPrincipal or BLOB.
        version: the service version.
        url: the base URL of the client; for a tenant of SuperOffice Online, what names it.
        purpose: "call", "login" or "poll".
    """

    operation: str
    agent: str
    version: ServiceVersion
    url: str
    purpose: Purpose


@attrs.frozen(kw_only=True)
class CallEndEvent:
    """A call has ended.

    Attributes:
        call: the event of its begin.
        outcome: "ok", the name of the error's class, or "abandoned": the consumer of a stream has left early.
        applied: may the server have done it: "no", "unknown" or "yes".
        binding: the form of envelope that the client sends by now; None: not known yet.
        attempts: how many there were; 1: it was not repeated.
        milliseconds: it took; of a stream, with the time that its consumer took.
    """

    call: CallEvent
    outcome: str
    applied: Applied
    binding: Binding | None
    attempts: int
    milliseconds: float


@attrs.frozen(kw_only=True)
class RequestEvent:
    """A request is about to be sent.

    Attributes:
        operation: the wire name.
        version: the service version.
        binding: how the envelope is laid out.
        attempt: 1 for the first request of a call.
        url: of the endpoint.
        bytes_sent: the size of the envelope.
    """

    operation: str
    version: ServiceVersion
    binding: Binding
    attempt: int
    url: str
    bytes_sent: int


@attrs.frozen(kw_only=True)
class ResponseEvent:
    """A request has ended, with or without a response.

    Attributes:
        request: the event of the request.
        status: the HTTP status, or None where there was no response.
        bytes_received: bytes of the body, decompressed, that were read.
        milliseconds: from the request event to the end.
        outcome: "ok", or the name of the error's class.
    """

    request: RequestEvent
    status: int | None
    bytes_received: int
    milliseconds: float
    outcome: str


JobEventKind: TypeAlias = Literal["started", "watched", "polled", "changed", "ended", "unwatched"]


@attrs.frozen(kw_only=True)
class JobEvent:
    """Something has happened to a job, or to a wait for it.

    | kind | when |
    |---|---|
    | started | a start has made a task |
    | watched | the first of the waits for a job has begun |
    | polled | a reading for waits begins: of one task, or of a list for several; what comes of it, its call says |
    | changed | such a reading differs from the one before it, or is the first one |
    | ended | such a reading shows that the job has ended, or that the server does not know the task any more |
    | unwatched | the last of the waits for a job is over |

    Attributes:
        kind: see the table.
        version: the service version.
        id: of the task; None: a list was read.
        name: of the job; None: not known, or a list of all jobs was read.
        state: of the task, as read; None: not read, or gone.
        percent: its progress; None: not known.
        seconds: of "ended": since this client started the job, or first waited for it; else None.
        tasks: of "polled": for how many tasks; else 1.
    """

    kind: JobEventKind
    version: ServiceVersion
    id: int | None = None
    name: str | None = None
    state: str | None = None
    percent: int | None = None
    seconds: float | None = None
    tasks: int = 1


class CallScope(Protocol):
    """What the context manager of `around_call` yields."""

    def ended(self, event: CallEndEvent, /) -> None:
        """Take note of how the call has ended; the context manager is left afterwards, without an exception."""
        ...


class RequestScope(Protocol):
    """What the context manager of `around_request` yields."""

    @property
    def headers(self) -> Mapping[str, str]:
        """HTTP headers to add to the request; they never take the place of the library's own."""
        ...

    def ended(self, event: ResponseEvent, /) -> None:
        """Take note of how the request has ended; the context manager is left afterwards, without an exception."""
        ...


CallHook: TypeAlias = Callable[[CallEvent], AbstractContextManager[CallScope]]
RequestScopeHook: TypeAlias = Callable[[RequestEvent, Any], AbstractContextManager[RequestScope]]
RequestHook: TypeAlias = Callable[[RequestEvent], None]
ResponseHook: TypeAlias = Callable[[ResponseEvent], None]
ExchangeHook: TypeAlias = Callable[[ExchangeRecord], None]
HeaderHook: TypeAlias = Callable[[], Mapping[str, str]]
JobHook: TypeAlias = Callable[[JobEvent], None]
TicketHook: TypeAlias = Callable[[TicketEvent], None]


@attrs.frozen(kw_only=True)
class Hooks:
    """Functions that a client calls; `help(soapbatch.calls.hooks)` has the rules. None may block.

        @contextlib.contextmanager
        def around_call(event: CallEvent) -> Iterator[CallScope]:
            with tracer.start_as_current_span(event.operation) as span:
                yield MyScope(span)                  # its `ended` is told the outcome, then the block goes on

    Attributes:
        around_call: called with the event of a call; returns a context manager that yields the scope of the call.
        around_request: called with the event of a request and the scope of its call, which is None without
            `around_call`; returns a context manager that yields the scope of the request.
        on_request: called before each request is sent.
        on_response: called after each request has ended, in whatever way.
        on_exchange: called after each request with what went over the wire, without secrets; see `ExchangeRecord`. To
            mask a long response takes some milliseconds.
        headers: returns HTTP headers to add to each request.
        on_job: called with what happens to jobs.
        on_ticket: called with what happens to the client's ticket.
    """

    around_call: CallHook | None = None
    around_request: RequestScopeHook | None = None
    on_request: RequestHook | None = None
    on_response: ResponseHook | None = None
    on_exchange: ExchangeHook | None = None
    headers: HeaderHook | None = None
    on_job: JobHook | None = None
    on_ticket: TicketHook | None = None


def tell(hook: Callable[[E], object] | None, event: E) -> None:
    """Call a hook that is told what has happened, if there is one. What it raises is logged (Rule 3)."""
    if hook is not None:
        try:
            hook(event)
        except Exception:  # noqa: BLE001 - it must not cost the caller what has happened
            log_record(
                logging.ERROR, "a hook failed that was told of %(event)s", exc_info=True, event=type(event).__name__
            )
