"""The embedded NetServer: an ASGI app with users, tickets and tasks.

An answer has the binding of its request. The answer of an operation that succeeded has the header block
Succeeded=true, except in the documented form, whose answers have no Header. The answer of an operation that failed has
the header blocks ExceptionInfo and Succeeded=false, in every form.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, MutableMapping, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final, Literal, TypeAlias

from soapbatch.errors import UsageError
from soapbatch.model import (
    ARRAY_OF_BATCH_TASK_INFO,
    MASK,
    MIB,
    BatchTaskInfo,
    ReplyHeader,
    ServiceVersion,
    SoCredentials,
)
from soapbatch.operations import SECRET_PARAMETERS, Operation, operation_named
from soapbatch.testing.clock import ManualClock, WallClock
from soapbatch.testing.expectations import Expectation, find_calls, wrong_number
from soapbatch.testing.faults import (
    SECURITY_EXCEPTION,
    ConnectionDropped,
    Refusal,
    ServerException,
    SessionRefused,
    fault,
)
from soapbatch.testing.handlers import HANDLERS, Context, without_newer_values
from soapbatch.testing.interceptors import Call, Interception, Interceptions, Interceptor, check_interceptors_used
from soapbatch.testing.job_definitions import JobDefinition
from soapbatch.testing.requests import Personality, ReceivedCall, find_endpoint, read_request
from soapbatch.testing.responses import Answer, ResponseForm, failure, success
from soapbatch.testing.sessions import DEMO_USER, SessionStore, User
from soapbatch.testing.tasks import TaskStore
from soapbatch.testing.wsdl import wsdl

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
HowToFail: TypeAlias = Literal["header", "fault", "401"]

DROP_CONNECTION: Final = "soapbatch.drop"
"""The ASGI extension of `serve`: a coroutine function that drops the connection."""

_HTTP_CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_CALLS_KEPT: Final = 100_000
_TASKS_LOOKED_AT: Final = 100  # of a list, for one that waits for a ManualClock
_LARGEST_REQUEST: Final = 64 * MIB
_NOT_FOUND: Final = Answer(404, {"Content-Type": "text/html"}, (b"<h1>404 Not Found</h1>",))


class NetServer:
    """An ASGI app that serves the agents Batch, SoPrincipal and BLOB in every service version.

    Every attribute may be changed while the server runs.

    Attributes:
        personality: which SOAP stack the server behaves like.
        failures: how the server reports that an operation failed: "header" (HTTP 200, Succeeded=false), "fault", or
            "401" (an empty HTTP 401).
        ticket_refusals: how the server refuses a ticket: "header", "fault" or "401".
        unknown_task: what GetBatchTaskInfo returns for an unknown id: "nil" or "exception".
        missing: the wire names of operations, and of fields of BatchTaskInfo, that the server does not have. Real
            servers of one service version differ in them.
        version: the newest service version that the server has; None: it has all.
        path_prefix: what stands directly before `/Services88` in paths. Anything may stand before it. The server
            takes paths in any case, as IIS does.
        accepts_application_token: whether the server accepts calls with this application token (None: the call has
            none); None: the server does not look at it, like a server on-site.
        tasks: the tasks, and the jobs that can be started.
        tickets: the users, and the tickets that were issued.
        calls: the latest 100,000 calls that reached an operation, the oldest first.
        counts: how many calls reached each operation, by wire name.
        requests: how many HTTP requests the server has received, of any kind.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        epoch: datetime | None = None,
        users: Iterable[User] = (DEMO_USER,),
        personality: Personality = Personality.LENIENT,
        path_prefix: str = "/Remote",
        failures: HowToFail = "header",
        ticket_refusals: HowToFail = "header",
        unknown_task: Literal["nil", "exception"] = "nil",
        missing: Collection[str] = (),
        version: ServiceVersion | None = None,
        accepts_application_token: Callable[[str | None], bool] | None = None,
    ) -> None:
        """Begin without tasks and tickets.

        Args:
            clock: returns seconds and never goes back: `time.monotonic`, a `ManualClock`, or the `time` of the
                running event loop.
            epoch: the date of the clock's present reading (aware); None: the machine's present date.
            users: who can log in.
            personality: see the attribute.
            path_prefix: see the attribute.
            failures: see the attribute.
            ticket_refusals: see the attribute.
            unknown_task: see the attribute.
            missing: see the attribute.
            version: see the attribute.
            accepts_application_token: see the attribute.
        """
        users = tuple(users)
        self._arguments = {name: value for name, value in locals().items() if name != "self"}
        self.personality = personality
        self.failures: HowToFail = failures
        self.ticket_refusals: HowToFail = ticket_refusals
        self.unknown_task: Literal["nil", "exception"] = unknown_task
        self.missing = frozenset(missing)
        self.version = version
        self.path_prefix = path_prefix
        self.accepts_application_token = accepts_application_token
        self.tasks = TaskStore(clock, WallClock(clock, epoch))
        self.tickets = SessionStore(clock, {user.name: user for user in users})
        self.calls: deque[Call] = deque(maxlen=_CALLS_KEPT)
        self.counts: Counter[str] = Counter()
        self.requests = 0
        self._clock = clock
        self._interceptions = Interceptions()

    def reset(self, **changes: Any) -> None:
        """Begin anew, without tasks, tickets, calls, interceptors and jobs of one's own.

        Args:
            changes: arguments of the constructor that are to differ from those that the server was made with. The
                next `reset` begins again with those that the server was made with.
        """
        arguments = self._arguments
        NetServer.__init__(self, **(arguments | changes))
        self._arguments = arguments

    def define_job(self, name: str, definition: JobDefinition | None = None, **fields: Any) -> JobDefinition:
        """Add a job that StartBatchJob can start; a job of the same name is replaced.

        Args:
            name: of the job.
            definition: what the job's tasks do; None: a `JobDefinition` with `fields`.
            fields: the fields of `JobDefinition`.

        Returns:
            The definition.
        """
        self.tasks.jobs[name] = made = definition or JobDefinition(**fields)
        return made

    def intercept(
        self,
        operation: Operation[Any] | str | None,
        interceptor: Interceptor,
        *,
        times: int | None = 1,
        optional: bool = False,
    ) -> None:
        """Put `interceptor` around the next calls of an operation.

        If several interceptors fit a call, the call goes to the one that was added first.

        Args:
            operation: a row of `soapbatch.operations`, or a wire name; None: any operation.
            interceptor: see `soapbatch.testing.interceptors`.
            times: for how many calls; None: for all calls until `clear_interceptors`.
            optional: whether `assert_interceptors_used` passes if no call comes to the interceptor.

        Raises:
            UsageError: there is no such operation.
        """
        self._interceptions.add(Interception(_wire_name(operation), interceptor, times, optional))

    def script(
        self, operation: Operation[Any] | str | None, steps: Sequence[Interceptor | None], *, optional: bool = False
    ) -> None:
        """Put one interceptor around each of the next calls of an operation.

        Args:
            operation: a row of `soapbatch.operations`, or a wire name; None: any operation.
            steps: an interceptor for the first call, for the second and so on. None: the call runs undisturbed, as do
                the calls after the last step.
            optional: whether `assert_interceptors_used` passes if no call comes to a step.

        Raises:
            UsageError: there is no such operation.
        """
        name = _wire_name(operation)
        for number, interceptor in enumerate(steps, 1):
            step = f"step {number} of {len(steps)}"
            self._interceptions.add(Interception(name, interceptor, 1, optional, step))

    def clear_interceptors(self) -> None:
        """Remove every interceptor."""
        self._interceptions.clear()

    def unused_interceptors(self) -> list[str]:
        """Return a description of each interceptor and step that no call has come to and that is not optional."""
        return [str(interception) for interception in self._interceptions.unused()]

    def assert_interceptors_used(self) -> None:
        """Check that at least one call has come to each interceptor and step. The pytest fixture does so at its end.

        Raises:
            AssertionError: an interceptor was not used: its failure did not happen, and the test has not shown what
                the test is about.
        """
        __tracebackhide__ = True
        check_interceptors_used(self.unused_interceptors())

    def calls_of(self, operation: Operation[Any] | str | None = None, /, **arguments: object) -> list[Call]:
        """Return the calls of an operation that reached the server, the oldest first.

            server.calls_of("StartBatchJob", name="Export")

        Args:
            operation: a row of `soapbatch.operations`, or a wire name; None: any operation.
            arguments: the values that the calls' arguments have, by parameter name or by the name of a carrier's
                field. Arguments that are not named may have any value.

        Raises:
            UsageError: there is no such operation, or no such argument.
        """
        return find_calls(list(self.calls), Expectation.of(operation, arguments))

    def assert_called_once(self, operation: Operation[Any] | str | None = None, /, **arguments: object) -> Call:
        """Check that exactly one call was made that fits, and return the call; see `calls_of`.

        Raises:
            AssertionError: none or several were made. The message shows them, or the nearest ones.
            UsageError: there is no such operation, or no such argument.
        """
        __tracebackhide__ = True
        calls, expectation = list(self.calls), Expectation.of(operation, arguments)
        found = find_calls(calls, expectation)
        if len(found) != 1:
            raise AssertionError(wrong_number(expectation, "once", found, calls))
        return found[0]

    def assert_not_called(self, operation: Operation[Any] | str | None = None, /, **arguments: object) -> None:
        """Check that no call was made that fits; see `calls_of`.

        Raises:
            AssertionError: one was made. The message shows it.
            UsageError: there is no such operation, or no such argument.
        """
        __tracebackhide__ = True
        expectation = Expectation.of(operation, arguments)
        if found := self.calls_of(operation, **arguments):
            raise AssertionError(wrong_number(expectation, "never", found, found))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request (the ASGI interface).

        Raises:
            UsageError: the scope is not HTTP.
            ConnectionDropped: the connection is to be dropped, and the ASGI server has no way to do it.
        """
        if scope["type"] != "http":
            raise UsageError("the embedded NetServer takes HTTP requests and nothing else")
        self.requests += 1
        async with dropping(scope):
            try:
                body = await read_body(receive)
                if body is not None:
                    await send_answer(await self._answer(scope, body), send)
            except Refusal as refusal:
                await send_answer(refusal.answer, send)

    async def _answer(self, scope: Scope, body: bytes) -> Answer:
        endpoint = find_endpoint(scope["path"], self.path_prefix, self.missing, self.version)
        if endpoint is None:
            return _NOT_FOUND
        headers = headers_of(scope)
        if scope["method"] == "GET" and scope["query_string"].lower() == b"wsdl":
            location = f"{scope['scheme']}://{headers.get('host', 'localhost')}{scope['path']}"
            body = wsdl(endpoint.agent, endpoint.version, endpoint.operations, location)
            return Answer(200, {"Content-Type": "text/xml; charset=utf-8"}, (body,))
        if scope["method"] != "POST":
            return Answer(405, {"Allow": "GET, POST"})
        return await self._call(read_request(self.personality.value, endpoint, headers, body))

    async def _call(self, received: ReceivedCall) -> Answer:
        name = received.operation.name
        arguments = {k: MASK if k in SECRET_PARAMETERS else v for k, v in received.arguments.items()}
        headers = {k: MASK if k in _HTTP_CREDENTIALS else v for k, v in received.http_headers.items()}
        call = Call(name, received.version, received.binding, arguments, self._clock(), headers=headers)
        self.calls.append(call)
        self.counts[name] += 1

        async def proceed() -> Answer:
            return self._run_operation(received, call)

        interceptor = self._interceptions.take(name)
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

    def _run_operation(self, received: ReceivedCall, call: Call) -> Answer:
        try:
            self._check_application_token(received)
            context = Context(
                tasks=self.tasks,
                tickets=self.tickets,
                nil_for_unknown=self.unknown_task == "nil",
                associate_id=self._associate_id(received),
                arguments=received.arguments,
            )
            result = HANDLERS[received.operation](context)
            if isinstance(self._clock, ManualClock):
                is_list = received.operation.result is ARRAY_OF_BATCH_TASK_INFO
                result = self._check_that_time_passes(self._clock, result, is_list=is_list)
        except ServerException as error:
            return self._fail(received, call, error)
        if isinstance(result, BatchTaskInfo):
            result = without_newer_values(received.version, result, self.missing)
        elif received.operation.result is ARRAY_OF_BATCH_TASK_INFO:
            result = (without_newer_values(received.version, info, self.missing) for info in result)
        call.outcome = "succeeded"
        return success(self._form(received), result)

    def _check_that_time_passes(self, clock: ManualClock, result: Any, *, is_list: bool) -> Any:
        """Return the result of an operation; `is_list`: it is an iterator of tasks.

        Raises:
            ServerException: an unfinished task is read again and again while `clock` stands still.
        """
        infos: list[BatchTaskInfo] = []
        if is_list:
            infos = list(islice(result, _TASKS_LOOKED_AT))
            result = chain(infos, result)
        elif isinstance(result, BatchTaskInfo):
            infos = [result]
        waiting = [(info, seconds) for info in infos if (seconds := self.tasks.ends_in(info.id or 0)) is not None]
        if waiting and clock.is_waited_for(asyncio.get_running_loop().time()):
            info, seconds = waiting[0]
            raise ServerException(
                "soapbatch.testing.ClockStandsStill",
                f"the ManualClock of the embedded server stands at {clock():g} s, and nobody has advanced it while task"
                f" {info.id}, {info.name}, was read for more than {clock.patience:g} s: a wait for the task would never"
                f" end. The task is {info.state} and ends after clock.advance({math.ceil(seconds)})",
            )
        return result

    def _check_application_token(self, received: ReceivedCall) -> None:
        token = received.header.application_token
        accepts = self.accepts_application_token
        if accepts is not None and not accepts(token if isinstance(token, str) else None):
            raise ServerException(SECURITY_EXCEPTION, "The application token is not valid", "The app is not known")

    def _associate_id(self, received: ReceivedCall) -> int:
        if not received.operation.agent.takes_ticket:
            return 0
        credentials = received.header.credentials or SoCredentials()
        ticket = credentials.ticket
        return self.tickets.check(ticket if isinstance(ticket, str) else None, received.version).associate_id

    def _form(self, received: ReceivedCall) -> ResponseForm:
        stack = self.personality.value
        return ResponseForm(received.operation, received.version, received.binding, stack.style, stack.byte_order_mark)

    def _fail(self, received: ReceivedCall, call: Call, error: ServerException) -> Answer:
        call.outcome = call.outcome or error.info.error_type or "failed"
        report = self.ticket_refusals if isinstance(error, SessionRefused) else self.failures
        if report == "401":
            return Answer(401, {"WWW-Authenticate": 'Bearer realm="NetServer"'})
        if report == "fault":
            reason = error.info.message or ""
            envelope = received.binding.envelope
            style = self.personality.value.style
            return fault(envelope, "Server", reason, info=error.info, version=received.version, style=style)
        return failure(self._form(received), ReplyHeader(exception_info=error.info, succeeded=False))


def _wire_name(operation: Operation[Any] | str | None) -> str | None:
    return None if operation is None else operation_named(operation).name


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers of a request, with their names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


@contextlib.asynccontextmanager
async def dropping(scope: Scope) -> AsyncGenerator[None]:
    """Drop the connection where the block raises ConnectionDropped, if the ASGI server has a way to do it."""
    try:
        yield
    except ConnectionDropped:
        drop = scope.get("extensions", {}).get(DROP_CONNECTION)
        if drop is None:
            raise
        await drop()


async def read_body(receive: Receive) -> bytes | None:
    """Return the body of a request; None: the client has closed the connection.

    Raises:
        Refusal: the body is larger than the server accepts.
    """
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > _LARGEST_REQUEST:
            raise Refusal(Answer(413))
        if not message.get("more_body"):
            return bytes(body)
    return None


async def send_answer(answer: Answer, send: Send) -> None:
    """Send an answer as ASGI messages."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if isinstance(answer.body, tuple):
        headers.setdefault("content-length", str(sum(map(len, answer.body))))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    for piece in answer.body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
