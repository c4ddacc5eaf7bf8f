"""The embedded NetServer: an ASGI app with real state that answers like a NetServer, or like one in trouble.

    server = NetServer()
    server.define_job("Export", duration=30, output=b"...", file_name="export.csv")
    transport = httpx.ASGITransport(server)                       # in process, also under a VirtualTimeLoop
    async with serve(server) as base_url: ...                     # or on a loopback socket

It answers in the binding of the request. Success carries the header block Succeeded=true, except in the
documented form, whose answers have no Header; failures carry ExceptionInfo and Succeeded=false in every form.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import attrs

from soapbatch.errors import UsageError
from soapbatch.model import ARRAY_OF_BATCH_TASK_INFO, MIB, BatchTaskInfo, ReplyHeader, SoCredentials
from soapbatch.operations import Operation, operation_named
from soapbatch.testing.clock import WallClock
from soapbatch.testing.faults import ConnectionDropped, Refusal, ServerException, SessionRefused, fault
from soapbatch.testing.handlers import HANDLERS, Context, as_seen_by
from soapbatch.testing.interceptors import Call, Interceptor
from soapbatch.testing.job_definitions import JobDefinition
from soapbatch.testing.requests import Personality, Received, endpoint, read_request
from soapbatch.testing.responses import Answer, Form, failure, success
from soapbatch.testing.sessions import DEMO_USER, Tickets, User
from soapbatch.testing.tasks import TaskStore
from soapbatch.testing.wsdl import wsdl

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DROP: Final = "soapbatch.drop"
"""The ASGI extension with which `serve` lends the app a way to let the connection die."""

_CALLS_KEPT: Final = 100_000
_LARGEST_REQUEST: Final = 64 * MIB
_SECRET_PARAMETERS: Final = frozenset({"password", "access_token", "authentication_data"})
_NOT_FOUND: Final = Answer(404, {"Content-Type": "text/html"}, (b"<h1>404 Not Found</h1>",))


@attrs.define
class _Interception:
    operation: str | None
    interceptor: Interceptor
    left: int | None


class NetServer:
    """An ASGI app that serves the Batch, SoPrincipal and BLOB services of every version.

    Every attribute may be changed while it runs.

    Attributes:
        personality: which SOAP stack it behaves like.
        failures: how an operation that failed is told: "header" (HTTP 200, Succeeded=false) or "fault".
        ticket_refusals: how a refused ticket is told: "header", "fault" or "401".
        unknown_task: how GetBatchTaskInfo answers for an id it does not know: "nil" or "exception".
        lacks: operations and fields of BatchTaskInfo, by wire name, that this server is too old for.
        tasks: the task store.
        tickets: users, tickets and logins.
        calls: the latest 100,000 calls that reached an operation, oldest first.
        counts: how many of them there were, by operation.
        requests: how many HTTP requests there were, of any kind.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        epoch: datetime | None = None,
        users: Iterable[User] = (DEMO_USER,),
        personality: Personality = Personality.LENIENT,
        path_prefix: str = "/Remote",
        failures: Literal["header", "fault"] = "header",
        ticket_refusals: Literal["header", "fault", "401"] = "header",
        unknown_task: Literal["nil", "exception"] = "nil",
        lacks: Collection[str] = (),
    ) -> None:
        """Start empty.

        Args:
            clock: returns seconds and never goes back: a `ManualClock`, or the `time` of the running loop.
            epoch: the date at the clock's present reading (aware); None: what the machine says it is.
            users: who may log in.
            personality: see the attribute.
            path_prefix: what stands before `/Services88` in paths; anything may stand before that.
            failures: see the attribute.
            ticket_refusals: see the attribute.
            unknown_task: see the attribute.
            lacks: see the attribute.
        """
        self.personality = personality
        self.failures: Literal["header", "fault"] = failures
        self.ticket_refusals: Literal["header", "fault", "401"] = ticket_refusals
        self.unknown_task: Literal["nil", "exception"] = unknown_task
        self.lacks = frozenset(lacks)
        self.tasks = TaskStore(clock, WallClock(clock, epoch))
        self.tickets = Tickets(clock, {user.name: user for user in users})
        self.calls: deque[Call] = deque(maxlen=_CALLS_KEPT)
        self.counts: Counter[str] = Counter()
        self.requests = 0
        self._clock = clock
        self._path_prefix = path_prefix
        self._interceptions: list[_Interception] = []

    def define_job(self, name: str, definition: JobDefinition | None = None, **fields: Any) -> JobDefinition:
        """Let StartBatchJob know a job: `definition`, or one made of the fields of `JobDefinition`."""
        self.tasks.jobs[name] = made = definition or JobDefinition(**fields)
        return made

    def intercept(
        self, operation: Operation[Any] | str | None, interceptor: Interceptor, *, times: int | None = 1
    ) -> None:
        """Put `interceptor` around the next calls of an operation.

        Args:
            operation: a row or a wire name; None: any.
            interceptor: see `soapbatch.testing.interceptors`.
            times: for how many calls; None: for all, until `clear_interceptors`.

        Where several fit a call, the one that was added first takes it.
        """
        name = None if operation is None else operation_named(operation).name
        self._interceptions.append(_Interception(name, interceptor, times))

    def clear_interceptors(self) -> None:
        """Let every call go its own way again."""
        self._interceptions.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request: the ASGI interface."""
        if scope["type"] != "http":
            raise UsageError("the embedded NetServer speaks HTTP and nothing else")
        self.requests += 1
        try:
            body = await _read(receive)
            if body is not None:
                await _send(await self._answer(scope, body), send)
        except Refusal as refusal:
            await _send(refusal.answer, send)
        except ConnectionDropped:
            drop = scope.get("extensions", {}).get(DROP)
            if drop is None:
                raise
            await drop()

    async def _answer(self, scope: Scope, body: bytes) -> Answer:
        at = endpoint(scope["path"], self._path_prefix, self.lacks)
        if at is None:
            return _NOT_FOUND
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["method"] == "GET" and scope["query_string"].lower() == b"wsdl":
            location = f"{scope['scheme']}://{headers.get('host', 'localhost')}{scope['path']}"
            return Answer(
                200, {"Content-Type": "text/xml; charset=utf-8"}, (wsdl(at.agent, at.version, at.operations, location),)
            )
        if scope["method"] != "POST":
            return Answer(405, {"Allow": "GET, POST"})
        return await self._call(read_request(self.personality, at, headers, body))

    async def _call(self, received: Received) -> Answer:
        name = received.operation.name
        arguments = {k: "***" if k in _SECRET_PARAMETERS else v for k, v in received.arguments.items()}
        call = Call(name, received.version, received.binding, arguments, self._clock())
        self.calls.append(call)
        self.counts[name] += 1

        async def proceed() -> Answer:
            return self._carry_out(received, call)

        interceptor = self._interceptor_for(name)
        try:
            answer = await (interceptor(call, proceed) if interceptor else proceed())
        except ServerException as error:
            return self._fail(received, call, error)
        except ConnectionDropped:
            call.outcome = call.outcome or "dropped"
            raise
        except asyncio.CancelledError:
            call.outcome = call.outcome or "cancelled"
            raise
        call.outcome = call.outcome or "intercepted"
        return answer

    def _interceptor_for(self, operation: str) -> Interceptor | None:
        for interception in self._interceptions:
            if interception.operation in {None, operation}:
                if interception.left is not None:
                    interception.left -= 1
                    if not interception.left:
                        self._interceptions.remove(interception)
                return interception.interceptor
        return None

    def _carry_out(self, received: Received, call: Call) -> Answer:
        try:
            context = Context(
                tasks=self.tasks,
                tickets=self.tickets,
                nil_for_unknown=self.unknown_task == "nil",
                associate_id=self._associate_id(received),
                arguments=received.arguments,
            )
            result = HANDLERS[received.operation](context)
        except ServerException as error:
            return self._fail(received, call, error)
        if isinstance(result, BatchTaskInfo):
            result = as_seen_by(received.version, result, self.lacks)
        elif received.operation.result is ARRAY_OF_BATCH_TASK_INFO:
            result = (as_seen_by(received.version, info, self.lacks) for info in result)
        call.outcome = "succeeded"
        return success(_form(received), result)

    def _associate_id(self, received: Received) -> int:
        if not received.operation.agent.takes_ticket:
            return 0
        credentials = received.header.credentials or SoCredentials()
        ticket = credentials.ticket
        return self.tickets.check(ticket if isinstance(ticket, str) else None, received.version).associate_id

    def _fail(self, received: Received, call: Call, error: ServerException) -> Answer:
        call.outcome = call.outcome or error.info.error_type or "failed"
        told = self.ticket_refusals if isinstance(error, SessionRefused) else self.failures
        if told == "401":
            return Answer(401, {"WWW-Authenticate": 'Bearer realm="NetServer"'})
        if told == "fault":
            reason = error.info.message or ""
            envelope = received.binding.envelope
            return fault(envelope, "Server", reason, info=error.info, version=received.version)
        return failure(_form(received), ReplyHeader(exception_info=error.info, succeeded=False))


def _form(received: Received) -> Form:
    return Form(received.operation, received.version, received.binding)


async def _read(receive: Receive) -> bytes | None:
    """Return the body of a request; None: the client has gone."""
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > _LARGEST_REQUEST:
            raise Refusal(Answer(413))
        if not message.get("more_body"):
            return bytes(body)
    return None


async def _send(answer: Answer, send: Send) -> None:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if isinstance(answer.body, tuple):
        headers.setdefault("content-length", str(sum(map(len, answer.body))))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    for piece in answer.body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
