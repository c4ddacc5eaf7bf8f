"""Traces and metrics by OpenTelemetry. Needs the extra `soapbatch[opentelemetry]`, which is its API alone.

    async with Client(url, credentials=credentials, hooks=OpenTelemetry()) as client: ...

`python -m pydoc soapbatch.guide.observability` shows a trace and lists the metrics; a Grafana dashboard for them is
`dashboard.json` in the folder of that page. Whoever runs the service sets up an SDK with exporters, as for any other
library; without one, nothing is recorded.

Rule 1. A call is one span of kind CLIENT, by the conventions for RPC, however many requests it takes. Each request is a
        span of kind CLIENT below it, by the conventions for HTTP, so that retries show. A login that the client makes
        for a call is a span below that call; one for a stream is beside the stream's span.
Rule 2. Each request carries the context of its span, by the propagators of the process: `traceparent`, if not said
        otherwise.
Rule 3. A wait is no span, and neither are its readings: a trace does not last for hours. The end of a job that was
        waited for is a span without length in a trace of its own, with a link to the span in which the first wait
        began. With `polls=True`, each reading is such a trace with such a link. Without, a reading, and a login for
        one, carries the context of that span, marked as not sampled.
Rule 4. An error is `error.type`, the name of its class, and the status Error. What the caller has ended, by a
        cancellation or by leaving a stream, is no error. No span has a description of its status, an event, or an
        exception: texts of errors come from servers.
Rule 5. Parameters, tickets, tokens and passwords are in no span and no metric. The name of a job is, unless
        `job_names` is False.

Source: semantic conventions for RPC and HTTP, 1.45.0. SOAP has no status code of its own; `rpc.system.name` "soap" is
no value of theirs, as SOAP has none there. Python's package of conventions lags behind: the names stand here.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final, Protocol, Self, TypeVar
from urllib.parse import urlsplit

from opentelemetry import context as otel_context, metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from soapbatch.auth import TicketEvent
from soapbatch.calls import CallEndEvent, CallEvent, Hooks, JobEvent, RequestEvent, ResponseEvent
from soapbatch.model import ServiceVersion
from soapbatch.operations import OPERATIONS

T = TypeVar("T")

SYSTEM: Final = "rpc.system.name"
METHOD: Final = "rpc.method"
ADDRESS: Final = "server.address"
PORT: Final = "server.port"
ERROR: Final = "error.type"
HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
URL: Final = "url.full"
VERSION: Final = "soapbatch.version"
BINDING: Final = "soapbatch.binding"
APPLIED: Final = "soapbatch.applied"
ATTEMPT: Final = "soapbatch.attempt"
JOB: Final = "soapbatch.job.name"
OUTCOME: Final = "soapbatch.job.outcome"
TASK: Final = "soapbatch.task.id"
POLL: Final = "soapbatch.poll.kind"
TICKET: Final = "soapbatch.ticket.event"

SOAP: Final = "soap"
CALL_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""The boundaries that the conventions advise for the duration of a call."""
JOB_SECONDS: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)

_SCHEMA: Final = "https://opentelemetry.io/schemas/1.45.0"
_NO_ERRORS: Final = frozenset({"ok", "abandoned", "CancelledError"})
_PORTS: Final = {"http": 80, "https": 443}
_BAD_ENDS: Final = {"Failed": "JobFailed", None: "JobGone"}
_TARGETS_KEPT: Final = 1024


class OpenTelemetry(Hooks):
    """Hooks that write spans and metrics. One object serves any number of clients."""

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        polls: bool = False,
        job_names: bool = True,
        **others: Any,
    ) -> None:
        """Make the instruments.

        Args:
            tracer_provider: where spans go; None: the process's.
            meter_provider: where metrics go; None: the process's.
            polls: whether each reading of a wait is a span, too.
            job_names: whether the names of jobs are attributes.
            others: further fields of `Hooks`, such as `on_request` or `headers`.
        """
        release = version("soapbatch")
        spans = _Spans(trace.get_tracer("soapbatch", release, tracer_provider, _SCHEMA), polls=polls)
        instruments = _Instruments(metrics.get_meter("soapbatch", release, meter_provider, _SCHEMA))

        def on_job(event: JobEvent) -> None:
            name: dict[str, str] = {JOB: event.name} if job_names and event.name is not None else {}
            instruments.note_job(event, name)
            if event.kind == "ended":
                spans.end_job(event, name)

        super().__init__(
            around_call=lambda event: _Call(spans, instruments, event),
            around_request=lambda event, call: _Request(spans, event, call),
            on_job=on_job,
            on_ticket=instruments.note_ticket,
            **others,
        )


class ReceivedCall(Protocol):
    """What a `soapbatch.testing.Call` is to `netserver_spans`."""

    operation: str
    version: ServiceVersion
    headers: Mapping[str, str]
    outcome: str


def netserver_spans(
    tracer_provider: trace.TracerProvider | None = None,
) -> Callable[[ReceivedCall, Callable[[], Awaitable[T]]], Awaitable[T]]:
    """Return an interceptor for an embedded NetServer, by which its operations are spans of the caller's trace.

        server.intercept(None, netserver_spans(provider), times=None)

    A call goes to the first interceptor that fits it: add those that are to fail before this one.

    Args:
        tracer_provider: where spans go; None: the process's.
    """
    tracer = trace.get_tracer("soapbatch.testing", version("soapbatch"), tracer_provider, _SCHEMA)

    async def intercept(call: ReceivedCall, proceed: Callable[[], Awaitable[T]]) -> T:
        method = _method(call.operation)
        with tracer.start_as_current_span(
            method,
            propagate.extract(call.headers),
            kind=SpanKind.SERVER,
            attributes={SYSTEM: SOAP, METHOD: method, VERSION: str(call.version)},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            answer = await proceed()
            if call.outcome != "succeeded":
                _set_error(span, call.outcome)
            return answer

    return intercept


class _Spans:
    """Makes spans."""

    def __init__(self, tracer: trace.Tracer, *, polls: bool) -> None:
        self._tracer = tracer
        self._polls = polls

    def start_call(self, event: CallEvent) -> Span:
        """Return the span of a call; for a reading that is to have none, one that only carries the context."""
        links: list[Link] = []
        parent: Context | None = None
        if event.purpose == "poll":
            waiter = trace.get_current_span().get_span_context()
            if not self._polls:
                return NonRecordingSpan(_not_sampled(waiter))
            links, parent = _links_to(waiter), Context()
        attributes = _of_call(event.operation, event.url, event.version)
        return self._tracer.start_span(
            attributes[METHOD], parent, kind=SpanKind.CLIENT, attributes=attributes, links=links
        )

    def start_request(self, event: RequestEvent, parent: Context | None) -> Span:
        """Return the span of a request; `parent`: the context of its call."""
        attributes = {
            **_of_target(event.operation, event.url),
            HTTP_METHOD: "POST",
            URL: event.url,
            BINDING: event.binding.name,
            ATTEMPT: event.attempt,
        }
        return self._tracer.start_span("POST", parent, kind=SpanKind.CLIENT, attributes=attributes)

    def end_job(self, event: JobEvent, name: Mapping[str, str]) -> None:
        """Write the span that says that a job has ended."""
        span = self._tracer.start_span(
            "job ended",
            Context(),
            attributes={TASK: event.id or 0, OUTCOME: _job_outcome(event), **name},
            links=_links_to(trace.get_current_span().get_span_context()),
        )
        if event.state in _BAD_ENDS:
            _set_error(span, _BAD_ENDS[event.state])
        span.end()


class _Instruments:
    """The metrics."""

    def __init__(self, meter: metrics.Meter) -> None:
        self.calls = meter.create_histogram(
            "rpc.client.call.duration",
            "s",
            "Duration of calls, with their retries.",
            explicit_bucket_boundaries_advisory=CALL_SECONDS,
        )
        self._jobs = meter.create_histogram(
            "soapbatch.job.duration",
            "s",
            "Time until waits have seen the end of jobs, from the start by the client or the begin of the first wait.",
            explicit_bucket_boundaries_advisory=JOB_SECONDS,
        )
        self._watched = meter.create_up_down_counter("soapbatch.jobs.watched", "{job}", "Jobs that are waited for.")
        self._polls = meter.create_counter("soapbatch.polls", "{poll}", "Readings of tasks for waits.")
        self._tickets = meter.create_counter(
            "soapbatch.tickets.renewals", "{ticket}", "Tickets that were obtained, renewed or refused, and failures."
        )

    def note_job(self, event: JobEvent, name: Mapping[str, str]) -> None:
        """Take note of an event of a job."""
        if event.kind == "ended":
            self._jobs.record(event.seconds or 0, {OUTCOME: _job_outcome(event), **name})
        elif event.kind == "polled":
            self._polls.add(1, {POLL: "list" if event.id is None else "task", **name})
        elif event.kind == "watched":
            self._watched.add(1)
        elif event.kind == "unwatched":
            self._watched.add(-1)

    def note_ticket(self, event: TicketEvent) -> None:
        """Take note of an event of the ticket."""
        error: dict[str, str] = {} if event.error is None else {ERROR: event.error}
        self._tickets.add(1, {TICKET: event.kind, **error})


class _Call:
    """The scope of a call, and its context manager.

    Attributes:
        span: of the call, or what carries the context in its place.
        context: with the span.
    """

    __slots__ = ("_event", "_instruments", "_token", "context", "span")

    def __init__(self, spans: _Spans, instruments: _Instruments, event: CallEvent) -> None:
        self._event = event
        self._instruments = instruments
        self.span = spans.start_call(event)
        self.context = trace.set_span_in_context(self.span)

    def __enter__(self) -> Self:
        self._token = otel_context.attach(self.context)
        return self

    def __exit__(self, *_: object) -> None:
        otel_context.detach(self._token)
        self.span.end()

    def ended(self, event: CallEndEvent) -> None:
        span, attributes = self.span, _of_target(self._event.operation, self._event.url)
        if event.outcome not in _NO_ERRORS:
            attributes = {**attributes, ERROR: event.outcome}
        self._instruments.calls.record(event.milliseconds / 1000, attributes, self.context)
        if span.is_recording():
            if event.binding is not None:
                span.set_attribute(BINDING, event.binding.name)
            span.set_attribute(ATTEMPT, event.attempts)
            if event.outcome != "ok":
                span.set_attribute(APPLIED, event.applied)
            if event.outcome not in _NO_ERRORS:
                _set_error(span, event.outcome)


class _Request:
    """The scope of a request, and its context manager. A request of a call that is not recorded has no span.

    Attributes:
        headers: the context of the request.
    """

    __slots__ = ("_span", "_token", "headers")

    def __init__(self, spans: _Spans, event: RequestEvent, call: _Call | None) -> None:
        self.headers: dict[str, str] = {}
        self._span: Span | None = None
        if call is not None and not call.span.is_recording():
            propagate.inject(self.headers, call.context)
        else:
            self._span = spans.start_request(event, None if call is None else call.context)

    def __enter__(self) -> Self:
        if self._span is not None:
            context = trace.set_span_in_context(self._span)
            propagate.inject(self.headers, context)
            self._token = otel_context.attach(context)
        return self

    def __exit__(self, *_: object) -> None:
        if self._span is not None:
            otel_context.detach(self._token)
            self._span.end()

    def ended(self, event: ResponseEvent) -> None:
        if self._span is not None:
            if event.status is not None:
                self._span.set_attribute(HTTP_STATUS, event.status)
            if event.outcome not in _NO_ERRORS:
                _set_error(self._span, event.outcome)


@lru_cache(_TARGETS_KEPT)
def _of_target(operation: str, url: str) -> Mapping[str, Any]:
    """Return the attributes that say what is called where: those of the metric, and of spans among others."""
    parts = urlsplit(url)
    port = parts.port or _PORTS[parts.scheme]
    return {SYSTEM: SOAP, METHOD: _method(operation), ADDRESS: parts.hostname, PORT: port}


@lru_cache(_TARGETS_KEPT)
def _of_call(operation: str, url: str, version: ServiceVersion) -> Mapping[str, Any]:
    """Return the attributes that the span of a call begins with."""
    return {**_of_target(operation, url), VERSION: str(version)}


def _method(operation: str) -> str:
    return f"{OPERATIONS[operation].agent.name}/{operation}"


def _job_outcome(event: JobEvent) -> str:
    return event.state or "JobGone"


def _set_error(span: Span, kind: str) -> None:
    span.set_attribute(ERROR, kind)
    span.set_status(StatusCode.ERROR)


def _links_to(context: SpanContext) -> list[Link]:
    return [Link(context)] if context.is_valid else []


def _not_sampled(context: SpanContext) -> SpanContext:
    flags = TraceFlags(context.trace_flags & ~TraceFlags.SAMPLED)
    return SpanContext(context.trace_id, context.span_id, context.is_remote, flags, context.trace_state)
