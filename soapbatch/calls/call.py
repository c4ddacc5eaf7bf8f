"""One call's life: ticket, binding, request, answer, judgement; what may be repeated, and when it must end.

    call(operation, arguments)
      deadline ─ a ticket, if the service takes one
               ─ the binding, discovered once for the client's life if none is pinned
               ─ build, send, read, judge                                     (one Exchange)
               ─ the form refused (415, VersionMismatch): once more as SOAP 1.1
               ─ the ticket refused: once more with a new one
               ─ anything transient: again, if the operation only reads or was never sent

Nothing else is ever sent twice.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, Generic, TypeAlias, TypedDict, TypeVar

from soapbatch.auth import IssuedTicket, TicketManager, refuse_plain_http
from soapbatch.calls.exchange import Exchange, Settings
from soapbatch.calls.lifetime import Lifetime
from soapbatch.calls.observability import LOG
from soapbatch.errors import (
    AccessDenied,
    BindingRefused,
    ClientClosed,
    Fault,
    HttpError,
    OperationFailed,
    ServiceError,
    SoapBatchError,
    TransportError,
    UsageError,
    VersionMismatch,
)
from soapbatch.model import AuthenticateResponse, Binding, ReplyHeader, Secret
from soapbatch.operations import AuthenticateOperation, Operation
from soapbatch.soap import Request, build_request
from soapbatch.transport import Progress, Transport

R = TypeVar("R")
T = TypeVar("T")


class CallOptions(TypedDict, total=False):
    """What may be said of a single call, as keyword arguments behind the operation's own.

    Attributes:
        timeout: seconds for the whole call, instead of the client's; None: no limit.
        on_header: called with the header blocks of a successful reply.
    """

    timeout: float | None
    on_header: Callable[[ReplyHeader], None]


Use: TypeAlias = Callable[[Exchange], Awaitable[T]]

_LONGEST_RETRY_AFTER: Final = 3600.0  # seconds; where a server asks for more, its answer is raised instead
_OPTIONS: Final = frozenset(CallOptions.__annotations__)


class Caller:
    """What the calls of a client share: the transport, the ticket, the binding, and the end of it all."""

    def __init__(
        self, settings: Settings, transport: Transport, make_keeper: Callable[["Caller"], TicketManager | None]
    ) -> None:
        """Send through `transport`; `make_keeper` returns what obtains tickets, by calls of this caller. No I/O."""
        self.settings = settings
        self.transport = transport
        self.keeper = make_keeper(self)
        self.binding = settings.binding
        self.discovery = asyncio.Lock()
        self.lifetime = Lifetime()

    async def call(self, operation: Operation[R], arguments: Mapping[str, object], options: CallOptions) -> R:
        """Make one call and return its result."""
        call = _Call(self, operation, arguments, options, collect=True)
        call.check_open()
        return await call.result()

    async def authenticate(
        self, operation: AuthenticateOperation, arguments: Mapping[str, object]
    ) -> AuthenticateResponse:
        """Log in, for a call that runs already: also while the client is closing."""
        return await _Call(self, operation, arguments, {}, collect=True).result()

    async def stream(
        self, operation: Operation[list[T]] | Operation[Any], arguments: Mapping[str, object], options: CallOptions
    ) -> AsyncGenerator[Any, None]:
        """Make one call and yield the items of its answer while it arrives; raise at the end if it was none.

        The timeout bounds the time spent here, not the time that the consumer takes between items.
        """
        call = _Call(self, operation, arguments, options, collect=False)
        call.check_open()

        async def advance(exchange: Exchange) -> list[Any] | None:
            items = await exchange.read()
            if items is None:
                exchange.judge()
            return items

        async def begin(exchange: Exchange) -> tuple[Exchange, list[Any] | None]:
            items: list[Any] | None = []
            while items == []:
                items = await advance(exchange)
            return exchange, items

        exchange, items = await call.step(call.attempts(begin))
        outcome = "abandoned"
        try:
            while items is not None:
                with self.lifetime.paused(exchange):
                    for item in items:
                        yield item
                if self.lifetime.is_closed:
                    raise call.ended()
                items = await call.step(advance(exchange))
            outcome = "ok"
        except SoapBatchError as error:
            outcome = type(error).__name__
            call.placed(error)
            raise
        finally:
            await exchange.close(outcome)
        call.report(exchange.header)

    async def aclose(self, grace: float) -> None:
        """Refuse new calls, give running ones `grace` seconds, end the rest, and release everything."""
        await self.lifetime.end(grace)
        if self.keeper is not None:
            await self.keeper.aclose()
        await self.transport.aclose()


class _Call(Generic[R]):
    """One call, over as many exchanges as it may take."""

    def __init__(
        self,
        caller: Caller,
        operation: Operation[R],
        arguments: Mapping[str, object],
        options: CallOptions,
        *,
        collect: bool,
    ) -> None:
        self._caller = caller
        self._operation = operation
        # What can be read only once is read here: a request may have to be built again.
        self._arguments = {k: [*v] if isinstance(v, Iterator) else v for k, v in arguments.items()}
        self._on_header = options.get("on_header")
        self._collect = collect
        self._timeout = self._left = options.get("timeout", caller.settings.timeout)
        self._ends: float | None = None
        self._progress = Progress()
        self._number = 0
        self._is_doubtful = False
        if not isinstance(self._timeout, int | float | None):
            raise self.placed(UsageError("timeout is a number of seconds, or None for no limit"))
        if not options.keys() <= _OPTIONS:
            raise self.placed(
                UsageError(
                    f"a call takes the options {', '.join(sorted(_OPTIONS))}, "
                    f"not {', '.join(options.keys() - _OPTIONS)}"
                )
            )

    def check_open(self) -> None:
        """Refuse to begin once the client is being closed, and to send a password where it can be read."""
        settings, name = self._caller.settings, self._operation.name
        if self._caller.lifetime.is_closing:
            raise self.placed(ClientClosed(f"the client is closed: {name} was not sent"))
        if self._operation.sends_password and not settings.allow_insecure:
            refuse_plain_http(settings.base_url, name)

    async def result(self) -> R:
        """Make the call and return its result."""

        async def finish(exchange: Exchange) -> R:
            while await exchange.read() is not None:
                pass
            result: R = exchange.judge()
            await exchange.close("ok")
            self.report(exchange.header)
            return result

        return await self.step(self.attempts(finish))

    def report(self, header: ReplyHeader | None) -> None:
        """Hand out the header blocks of a successful reply, if they are wanted."""
        if self._on_header is not None and header is not None:
            self._on_header(header)

    def placed(self, error: SoapBatchError) -> SoapBatchError:
        """Write on an error where it belongs."""
        if self._is_doubtful and error.applied == "no":
            error.applied = "unknown"  # an earlier attempt may have been
        error.operation = error.operation or self._operation.name
        error.version = error.version or self._caller.settings.version
        return error

    async def step(self, step: Awaitable[T]) -> T:
        """Await `step` within what is left of the call's timeout."""
        loop = asyncio.get_running_loop()
        self._ends = None if self._left is None else loop.time() + self._left
        try:
            return await self._caller.lifetime.within(self._left, step, self.ended)
        finally:
            if self._ends is not None:
                self._left = max(0.0, self._ends - loop.time())

    def ended(self) -> SoapBatchError:
        """Return why the call ended before its time."""
        error = self._caller.lifetime.ended(self._operation.name, self._progress, self._timeout)
        return self.placed(error)

    async def attempts(self, use: Use[T]) -> T:
        """Try until it works, or until a failure must not or need not be tried again."""
        retries = self._caller.settings.retries
        try:
            return await self._attempt(use)
        except SoapBatchError as error:
            if retries.attempts <= 1 or self._wait_after(error) is False:
                raise
            first = error
        import stamina  # noqa: PLC0415 - only failures need it, and it is slow to import

        async for attempt in stamina.retry_context(
            on=self._wait_after,
            attempts=retries.attempts,
            timeout=None,
            wait_initial=retries.first_wait,
            wait_max=retries.longest_wait,
            wait_jitter=retries.first_wait,
        ):
            with attempt:
                if attempt.num == 1:
                    raise first
                return await self._attempt(use)
        raise first  # pragma: no cover - stamina itself raises the last failure

    def _wait_after(self, error: Exception) -> bool | float:
        """Return whether to repeat after `error`, or the seconds that the server asks to wait first.

        Reads are repeated after anything transient; whatever changes something, only if no byte of it has left.
        """
        if not isinstance(error, SoapBatchError) or not error.retryable:
            return False
        is_unsent = isinstance(error, TransportError) and error.applied == "no"
        if not self._operation.is_read_only and not is_unsent:
            return False
        seconds = error.retry_after if isinstance(error, HttpError) else None
        if seconds is None:
            return True
        # Where the wait would end in the deadline, the failure itself says more.
        now = asyncio.get_running_loop().time()
        is_too_long = seconds > _LONGEST_RETRY_AFTER or (self._ends is not None and now + seconds >= self._ends)
        return False if is_too_long else seconds

    async def _attempt(self, use: Use[T]) -> T:
        """Exchange once; once more if the ticket was refused, which is decided before anything is applied."""
        self._number += 1
        keeper = self._caller.keeper if self._operation.agent.takes_ticket else None
        try:
            if keeper is None:
                return await self._discover(use, None)
            if not keeper.has_ticket:
                self._build(None, self._caller.binding or Binding.DOCUMENTED)  # what cannot be sent costs no login
            self._progress = Progress(phase="login")
            ticket = await keeper.current()
            try:
                result = await self._discover(use, ticket)
            except (OperationFailed, Fault, AccessDenied) as error:
                if not _refuses_ticket(error, self._caller.settings.session_errors):
                    raise
                error.applied = "no"
                self._progress = Progress(phase="login")
                if not await keeper.rejected(ticket):
                    raise
                ticket = await keeper.current()
                result = await self._discover(use, ticket)
            keeper.used(ticket)
        except SoapBatchError as error:
            self._is_doubtful = self._is_doubtful or error.applied != "no"
            self._progress.phase = "retrying"
            self.placed(error)
            raise
        return result

    async def _discover(self, use: Use[T], ticket: IssuedTicket | None) -> T:
        """Exchange in the binding that the server takes; until that is known, one call at a time finds out."""
        caller = self._caller
        self._progress = Progress()
        if caller.binding is None:
            async with caller.discovery:
                if caller.binding is None:
                    try:
                        result = await self._exchange(use, ticket, Binding.DOCUMENTED)
                    except (BindingRefused, VersionMismatch):
                        caller.binding = Binding.SOAP11
                        LOG.info(
                            "%s refuses the documented form of envelope: this client speaks SOAP 1.1 from now on",
                            caller.settings.base_url,
                        )
                    except ServiceError:
                        caller.binding = Binding.DOCUMENTED  # it was read and answered
                        raise
                    else:
                        caller.binding = Binding.DOCUMENTED
                        return result
        return await self._exchange(use, ticket, caller.binding)

    def _build(self, ticket: Secret | None, binding: Binding) -> Request:
        settings = self._caller.settings
        return build_request(
            self._operation,
            self._arguments,
            version=settings.version,
            binding=binding,
            application_token=settings.application_token,
            ticket=ticket,
            time_zone=settings.time_zone,
            path_prefix=settings.path_prefix,
        )

    async def _exchange(self, use: Use[T], ticket: IssuedTicket | None, binding: Binding) -> T:
        settings = self._caller.settings
        value = None if ticket is None else ticket.value
        request = self._build(value, binding)
        self._progress = Progress()
        exchange = Exchange(
            self._operation,
            request,
            settings,
            self._progress,
            attempt=self._number,
            secrets=_secrets(settings.application_token, value, *self._arguments.values()),
            collect=self._collect,
        )
        try:
            await exchange.open(self._caller.transport)
            return await use(exchange)
        except BaseException as error:
            await exchange.close(type(error).__name__)
            raise


def _refuses_ticket(error: OperationFailed | Fault | AccessDenied, session_errors: frozenset[str]) -> bool:
    """Return whether `error` says that the ticket is unknown or has expired, so that nothing was applied."""
    if isinstance(error, AccessDenied):
        return error.status == HTTPStatus.UNAUTHORIZED
    return error.error_type in session_errors


def _secrets(*values: object) -> tuple[Secret, ...]:
    """Return the secrets among the values of a call, those inside dictionaries included."""
    found: list[object] = []
    for value in values:
        found += value.values() if isinstance(value, Mapping) else [value]
    return tuple(secret for secret in found if isinstance(secret, Secret))
