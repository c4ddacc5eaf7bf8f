"""Scopes of hooks around calls and requests: what they are told, when, and in which context."""

import asyncio
import contextvars
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest

from soapbatch import (
    AuthenticationFailed,
    BatchTaskInfo,
    BatchTaskState,
    Binding,
    Client,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    Hooks,
    InsecureTransport,
    OperationFailed,
    ServiceVersion,
    UsernamePassword,
)
from soapbatch.auth import TicketEvent
from soapbatch.calls import CallEndEvent, CallEvent, RequestEvent, ResponseEvent
from soapbatch.operations import GET_BATCH_TASK_INFO, GET_BATCH_TASK_INFOS_BY_STATE, START_BATCH_JOB
from soapbatch.testing import NetServer, Personality, SessionRefused, failing
from tests.support.clients import BASE, Reply, Step, answer, in_process, replying, scripted, virtual

ALL: dict[str, Any] = {"state": BatchTaskState.ALL}
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="-")
JOB = BatchTaskInfo(name="Export")


@attrs.define
class Scope:
    """A scope that takes note.

    Attributes:
        begun: the event of its begin.
        call: the scope of the call, of a request's.
        headers: that it adds.
        end: what it was told at the end.
        left: how often its context manager was left.
    """

    begun: Any
    call: "Scope | None" = None
    headers: dict[str, str] = attrs.field(factory=dict)
    end: Any = None
    left: int = 0

    def ended(self, event: Any) -> None:
        """Take note."""
        assert self.end is None
        assert self.left == 0
        assert VARIABLE.get() == self.begun.operation, "it is told in its own context"
        self.end = event


class Watcher:
    """Hooks that keep every scope, and set a context variable for the length of each."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.calls: list[Scope] = []
        self.requests: list[Scope] = []

    @property
    def hooks(self) -> Hooks:
        """The hooks of a client to watch."""
        return Hooks(around_call=self.around_call, around_request=self.around_request)

    def around_call(self, event: CallEvent) -> Any:
        """Keep a scope of a call."""
        return self._scope(Scope(event), self.calls)

    def around_request(self, event: RequestEvent, call: Scope | None) -> Any:
        """Keep a scope of a request."""
        return self._scope(Scope(event, call, {"X-Number": str(len(self.requests) + 1)}), self.requests)

    @contextmanager
    def _scope(self, scope: Scope, scopes: list[Scope]) -> Generator[Scope]:
        scopes.append(scope)
        token = VARIABLE.set(scope.begun.operation)
        yield scope
        scope.left += 1
        VARIABLE.reset(token)  # a ValueError in another context

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Of each call: operation, purpose and outcome; each was left once."""
        assert all(scope.left == 1 for scope in self.calls + self.requests)
        return [(scope.begun.operation, scope.begun.purpose, scope.end.outcome) for scope in self.calls]

    @property
    def family(self) -> list[tuple[str, str, int, str]]:
        """Of each request: the operation of its call, its own, the attempt, and the outcome."""
        return [
            (scope.call.begun.operation if scope.call else "-", *(scope.begun.operation, scope.begun.attempt), outcome)
            for scope in self.requests
            for outcome in [scope.end.outcome]
        ]


@pytest.fixture(autouse=True)
def _no_failed_hook(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test of this file but those about it has a hook that fails unnoticed."""
    yield
    failures = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in failures if "on purpose" not in str(record.exc_info)] == []


@virtual
async def test_a_call_with_a_retry() -> None:
    """The call has one scope, and each request has one that knows it; headers are sent; times and numbers are told."""
    watcher = Watcher()
    client, script = scripted(
        Step(ConnectFailed("refused"), (("connecting", 0.25),)),
        Step(replying(GET_BATCH_TASK_INFO), (("waiting", 0.5),)),
        hooks=watcher.hooks,
    )
    async with client:
        started = asyncio.get_running_loop().time()
        await client.batch.get_batch_task_info(1)
        milliseconds = (asyncio.get_running_loop().time() - started) * 1000
    (call,) = watcher.calls
    assert call.begun == CallEvent(
        operation="GetBatchTaskInfo", agent="Batch", version=ServiceVersion.V88, url=BASE, purpose="call"
    )
    assert call.end == CallEndEvent(
        call=call.begun, outcome="ok", applied="yes", binding=Binding.SOAP11, attempts=2, milliseconds=milliseconds
    )
    assert watcher.family == [
        ("GetBatchTaskInfo", "GetBatchTaskInfo", 1, "ConnectFailed"),
        ("GetBatchTaskInfo", "GetBatchTaskInfo", 2, "ok"),
    ]
    first, second = watcher.requests
    assert first.end == ResponseEvent(
        request=first.begun, status=None, bytes_received=0, milliseconds=250, outcome="ConnectFailed"
    )
    assert (second.end.status, second.end.milliseconds) == (200, pytest.approx(500))
    assert [request.headers["X-Number"] for request in script.requests] == ["1", "2"]
    assert VARIABLE.get() == "-"


@pytest.mark.parametrize(
    ("step", "outcome", "applied", "error"),
    [
        (ConnectFailed("refused"), "ConnectFailed", "no", ConnectFailed),
        (ConnectionLost("reset"), "ConnectionLost", "unknown", ConnectionLost),
        (Step(Reply(), (("connecting", 100),)), "DeadlineExceeded", "no", DeadlineExceeded),
        (Step(Reply(), (("waiting", 100),)), "DeadlineExceeded", "unknown", DeadlineExceeded),
        (Step(asyncio.CancelledError(), (("waiting", 1),)), "CancelledError", "unknown", asyncio.CancelledError),
        (Step(asyncio.CancelledError(), (("connecting", 1),)), "CancelledError", "no", asyncio.CancelledError),
    ],
)
@virtual
async def test_how_a_call_ended(step: Any, outcome: str, applied: str, error: type[BaseException]) -> None:
    """The outcome is the name of the error that the caller gets, and says whether the server may have done it."""
    watcher = Watcher()
    client, _ = scripted(step, hooks=watcher.hooks, timeout=10)
    async with client:
        with pytest.raises(error):
            await client.batch.start_batch_job(JOB)
    assert [(scope.end.outcome, scope.end.applied) for scope in watcher.calls] == [(outcome, applied)]


@virtual
async def test_a_cancelled_call_whose_first_attempt_may_have_been_applied() -> None:
    """What an earlier attempt may have done counts, although the present one has sent nothing."""
    watcher = Watcher()
    client, script = scripted(
        ConnectionLost("reset", applied="unknown"), Step(Reply(), (("connecting", 100),)), hooks=watcher.hooks
    )
    async with client:
        call = asyncio.ensure_future(client.batch.get_batch_task_info(1))
        await asyncio.sleep(30)
        assert len(script.requests) == 2
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert (watcher.calls[0].end.outcome, watcher.calls[0].end.applied) == ("CancelledError", "unknown")


async def test_logins_retries_and_the_search_for_the_binding() -> None:
    """A login is a call of its own; each form that is tried is a request; so is a read that finds the binding."""
    watcher = Watcher()
    server = NetServer(personality=Personality.STRICT_SOAP11)
    server.define_job("Export")
    async with in_process(server, hooks=watcher.hooks) as client:
        await client.batch.start_batch_job(JOB)
    assert watcher.told == [("StartBatchJob", "call", "ok")]
    assert watcher.family == [
        ("StartBatchJob", "GetBatchTaskInfo", 1, "BindingRefused"),
        ("StartBatchJob", "GetBatchTaskInfo", 1, "ok"),
        ("StartBatchJob", "StartBatchJob", 1, "ok"),
    ]
    watcher = Watcher()
    server.intercept("GetBatchTaskInfo", failing(SessionRefused("expired")))
    async with in_process(
        server, hooks=watcher.hooks, credentials=UsernamePassword("demo", "demo"), binding=Binding.SOAP11
    ) as client:
        await client.batch.get_batch_task_info(1)
    assert sorted(watcher.told) == [
        ("AuthenticateUsernamePassword", "login", "ok"),
        ("AuthenticateUsernamePassword", "login", "ok"),
        ("GetBatchTaskInfo", "call", "ok"),
    ]
    assert watcher.family == [
        ("AuthenticateUsernamePassword", "AuthenticateUsernamePassword", 1, "ok"),
        ("GetBatchTaskInfo", "GetBatchTaskInfo", 1, "OperationFailed"),
        ("AuthenticateUsernamePassword", "AuthenticateUsernamePassword", 1, "ok"),
        ("GetBatchTaskInfo", "GetBatchTaskInfo", 1, "ok"),
    ]


async def test_a_call_that_is_refused_is_none() -> None:
    """A closed client, and a password over plain HTTP: nothing began, and no hook is called."""
    watcher = Watcher()
    client, _ = scripted(replying(GET_BATCH_TASK_INFO), hooks=watcher.hooks)
    await client.aclose()
    stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)
    with pytest.raises(ClientClosed):
        await client.batch.get_batch_task_info(1)
    with pytest.raises(ClientClosed):
        await anext(stream)
    async with Client("http://crm.example", hooks=watcher.hooks) as plain:
        with pytest.raises(InsecureTransport):
            await plain.principal.authenticate_username_password("demo", "demo")
    assert watcher.calls == watcher.requests == []


async def test_a_scope_sees_what_the_call_does() -> None:
    """For a call that returns its result, what is done inside sees the context variables of the scopes."""
    seen: list[str] = []
    watcher = Watcher()
    hooks = attrs.evolve(watcher.hooks, on_request=lambda _: seen.append(VARIABLE.get()))
    client, _ = scripted(replying(GET_BATCH_TASK_INFO), hooks=hooks)
    async with client:
        await client.batch.get_batch_task_info(1)
    assert seen == ["GetBatchTaskInfo"]


# --- Streams --------------------------------------------------------------------------------------------------------

WHOLE = answer(GET_BATCH_TASK_INFOS_BY_STATE, [BatchTaskInfo(id=1), BatchTaskInfo(id=2)])
CUT = WHOLE.index(b"</BatchTaskInfo>") + 30


@virtual
async def test_how_a_stream_ended() -> None:
    """A stream has one scope for its call and one for its request: ok, abandoned, failed, or ended with the client."""
    watcher = Watcher()
    client, _ = scripted(
        Reply(body=[WHOLE]),
        Reply(body=[WHOLE]),
        Reply(body=[WHOLE[:CUT], ConnectionLost("reset")]),
        Reply(body=[WHOLE[:CUT], WHOLE[CUT:]]),
        hooks=watcher.hooks,
        grace=0,
    )
    assert [task.id async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)] == [1, 2]
    stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)
    await anext(stream)
    assert VARIABLE.get() == "-", "the consumer sees nothing of the scopes"
    await stream.aclose()
    with pytest.raises(ConnectionLost):
        assert [task async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)]
    stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)
    await anext(stream)
    await client.aclose()
    await stream.aclose()
    calls = [outcome for _, _, outcome in watcher.told]
    assert calls == ["ok", "abandoned", "ConnectionLost", "abandoned"]
    requests = [outcome for _, _, _, outcome in watcher.family]
    assert requests == ["ok", "abandoned", "ConnectionLost", "ClientClosed"]


@virtual
async def test_a_stream_may_go_from_task_to_task() -> None:
    """Each step in another task, and the end in a third one: its scopes have a context of their own."""
    watcher = Watcher()
    client, _ = scripted(Reply(body=[WHOLE]), hooks=watcher.hooks)
    async with client:
        token = VARIABLE.set("the consumer")
        stream = client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)

        async def step() -> str:
            await anext(stream)
            return VARIABLE.get()

        assert [await asyncio.create_task(step()) for _ in range(2)] == ["the consumer"] * 2
        await asyncio.create_task(stream.aclose())
        VARIABLE.reset(token)
    assert watcher.told == [("GetBatchTaskInfosByState", "call", "abandoned")]


# --- Hooks that fail ------------------------------------------------------------------------------------------------


def fail(*_: object) -> Any:
    """Fail."""
    raise LookupError("on purpose")


@contextmanager
def fail_to_enter(*_: object) -> Iterator[Any]:
    """Fail when it is entered."""
    fail()
    yield


@contextmanager
def fail_to_leave(*_: object) -> Iterator[Any]:
    """Fail when it is left."""
    yield Scope(CallEvent(operation="-", agent="", version=ServiceVersion.V88, url="", purpose="call"))
    fail()


@contextmanager
def fail_to_be_told(*_: object) -> Iterator[Any]:
    """Yield what is told nothing, but has headers."""
    yield attrs.make_class("Deaf", {"headers": attrs.field(factory=dict)})()


@pytest.mark.parametrize("which", ["around_call", "around_request"])
@pytest.mark.parametrize("hook", [fail, fail_to_enter])
async def test_what_a_scope_raises_before_sending_is_raised(which: str, hook: Any) -> None:
    """The call ends with the hook's own error, nothing is sent, and scopes that were entered are left."""
    watcher = Watcher()
    client, script = scripted(replying(START_BATCH_JOB, 7), hooks=attrs.evolve(watcher.hooks, **{which: hook}))
    async with client:
        with pytest.raises(LookupError, match="on purpose"):
            await client.batch.start_batch_job(JOB)
    assert script.requests == []
    assert [outcome for _, _, outcome in watcher.told] == ["LookupError"] * (which == "around_request")
    assert all(scope.end.applied == "no" for scope in watcher.calls)
    assert VARIABLE.get() == "-"


@pytest.mark.parametrize("which", ["around_call", "around_request"])
@pytest.mark.parametrize("hook", [fail_to_leave, fail_to_be_told])
async def test_what_a_scope_raises_afterwards_costs_no_result(
    which: str, hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged: the id of a job that was started is returned all the same, and a stream goes to its end."""
    hooks = Hooks(**{which: hook})
    client, _ = scripted(replying(START_BATCH_JOB, 7), Reply(body=[WHOLE]), hooks=hooks)
    async with client:
        assert await client.batch.start_batch_job(JOB) == 7
        assert len([task async for task in client.batch.stream(GET_BATCH_TASK_INFOS_BY_STATE, **ALL)]) == 2
    kind = "CallEndEvent" if which == "around_call" else "ResponseEvent"
    assert caplog.text.count(f"a hook failed that was told of {kind}") == 2
    caplog.clear()


async def test_an_error_of_a_call_is_not_seen_by_the_context_manager() -> None:
    """It is told by its name: what the error holds, and its traceback, is the caller's."""
    seen: list[object] = []

    @contextmanager
    def around_call(event: CallEvent) -> Iterator[Scope]:
        token = VARIABLE.set(event.operation)
        try:
            yield Scope(event)
        except BaseException as error:
            seen.append(error)
            raise
        VARIABLE.reset(token)

    client, _ = scripted(ConnectionLost("reset"), hooks=Hooks(around_call=around_call))
    async with client:
        with pytest.raises(ConnectionLost):
            await client.batch.start_batch_job(JOB)
    assert seen == []


async def test_a_hook_fails_that_is_told_of_jobs_and_tickets(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and costs nothing."""
    server = NetServer()
    server.define_job("Export", duration=0)
    hooks = Hooks(on_job=fail, on_ticket=fail)
    async with in_process(server, credentials=UsernamePassword("demo", "demo"), hooks=hooks) as client:
        await (await client.jobs.start("Export")).wait()
    assert "told of JobEvent" in caplog.text
    assert "told of TicketEvent" in caplog.text
    caplog.clear()


async def test_the_first_header_of_a_name_is_sent() -> None:
    """A scope's header precedes one of `headers`, in any case, and neither takes the place of our own."""

    @contextmanager
    def around_request(event: RequestEvent, _: object) -> Iterator[Scope]:
        token = VARIABLE.set(event.operation)
        yield Scope(event, headers={"traceparent": "scope", "Content-Type": "text/plain"})
        VARIABLE.reset(token)

    hooks = Hooks(around_request=around_request, headers=lambda: {"Traceparent": "hook", "X-Other": "hook"})
    client, script = scripted(replying(GET_BATCH_TASK_INFO), hooks=hooks)
    async with client:
        await client.batch.get_batch_task_info(1)
    headers = script.requests[0].headers
    assert (headers["traceparent"], headers["X-Other"]) == ("scope", "hook")
    assert "Traceparent" not in headers
    assert headers["Content-Type"] == "text/xml; charset=utf-8"


# --- Tickets --------------------------------------------------------------------------------------------------------


def ticket_event(kind: Any, generation: int | None, error: str | None = None) -> TicketEvent:
    """Return an event of a client of Services88."""
    return TicketEvent(kind=kind, version=ServiceVersion.V88, generation=generation, error=error)


async def test_tickets_that_are_obtained_and_refused() -> None:
    """A login, a refusal by the server with another login, and a login that fails."""
    events: list[TicketEvent] = []
    server = NetServer()
    credentials = UsernamePassword("demo", "demo")
    async with in_process(server, credentials=credentials, hooks=Hooks(on_ticket=events.append)) as client:
        await client.batch.get_batch_task_info(1)
        server.tickets.revoke((await client.ticket()).value.reveal())
        await client.batch.get_batch_task_info(1)
        server.tickets.refuse_logins = "flag"
        server.tickets.revoke((await client.ticket()).value.reveal())
        with pytest.raises(AuthenticationFailed):
            await client.batch.get_batch_task_info(1)
    assert events == [
        ticket_event("obtained", 1),
        ticket_event("refused", 1),
        ticket_event("obtained", 2),
        ticket_event("refused", 2),
        ticket_event("failed", None, "AuthenticationFailed"),
    ]


async def test_a_service_that_refuses_is_told_of() -> None:
    """The outcome of a call is that of its last request."""
    watcher = Watcher()
    server = NetServer()
    async with in_process(server, ticket="7T:none", hooks=watcher.hooks) as client:
        with pytest.raises(OperationFailed):
            await client.batch.start_batch_job(JOB)
    assert watcher.told == [("StartBatchJob", "call", "OperationFailed")]
