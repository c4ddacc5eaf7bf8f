"""One call: deadline, ticket, binding, and what may be repeated when something fails.

    call       ─ refused at once if the client is closed
      attempt    ─ a ticket, obtained if need be
        exchange   ─ one request and its response
                 ─ the server has moved: once more, at its new address
               ─ the binding not known yet: one after the other, by reads alone
             ─ the ticket refused: once more, with a new one
           ─ anything transient: again, if the operation only reads or logs in, or if nothing of it was sent

Nothing else is ever sent twice. HTTP statuses are taken at their word here: see `soapbatch.errors`.
"""

import asyncio
import logging
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any, Final, Generic, TypeVar

from soapbatch.auth import (
    IssuedTicket,
    Provider,
    TicketManager,
    TicketStore,
    fetch_application_token,
    refuse_plain_http,
    refuse_plain_proxy,
)
from soapbatch.calls.bindings import BindingSearch, answers_note, is_service_answer, last_answer, may_refuse_form
from soapbatch.calls.exchange import Exchange
from soapbatch.calls.hooks import Purpose, tell
from soapbatch.calls.lifetime import Lifetime
from soapbatch.calls.observation import CallObserver, Facts
from soapbatch.calls.recorder import secrets_among
from soapbatch.calls.settings import CallOptions, Settings
from soapbatch.errors import (
    AccessDenied,
    Applied,
    ClientClosed,
    Fault,
    LimitExceeded,
    OperationFailed,
    SoapBatchError,
    TransportError,
    UsageError,
)
from soapbatch.model import SECONDS, AuthenticateResponse, Binding, Secret, is_seconds
from soapbatch.operations import GET_BATCH_TASK_INFO, AuthenticateOperation, Operation
from soapbatch.soap import PreparedRequest, prepare_request
from soapbatch.system import log_record
from soapbatch.transport import Sender, SendState

R = TypeVar("R")
T = TypeVar("T")

# Seconds. Servers close idle connections after 5 s and more (uvicorn, node and Apache; IIS after 120).
_MAX_IDLE: Final = 1.0
_OPTIONS: Final = frozenset(CallOptions.__annotations__)


class CallContext:
    """What the calls of a client share: settings, transport, ticket, binding, and the end of the client.

    Attributes:
        settings: of the client.
        sender: over its transport.
        tickets: what obtains and renews its ticket; None: the client has no credentials.
        search: for the form of envelope that the server takes.
        application_token: that requests carry now; None: none, or not asked for yet.
        lifetime: of the client.
    """

    def __init__(
        self, settings: Settings, sender: Sender, provider: Provider | None, store: TicketStore | None
    ) -> None:
        """Send through `sender`, with tickets of `provider` that are shared through `store`. No I/O."""
        self.settings = settings
        self.sender = sender
        self.tickets: TicketManager | None = None
        if provider is not None:
            on_event = partial(tell, settings.hooks.on_ticket)
            self.tickets = TicketManager(provider, self.authenticate, settings.version, store=store, on_event=on_event)
        self.search = BindingSearch(settings.binding, settings.base_url)
        token = settings.application_token
        self.application_token = token if isinstance(token, Secret) else None
        self.lifetime = Lifetime()
        self._safe_urls: set[str] = set()  # base URLs of plain HTTP that no proxy on another machine carries

    def call(
        self, operation: Operation[R], arguments: Mapping[str, object], options: CallOptions, purpose: Purpose = "call"
    ) -> Coroutine[Any, Any, R]:
        """Make one call and return its result."""
        call = Call(self, operation, arguments, options, collect=True, purpose=purpose)
        call.check_open()
        return call.result()

    def authenticate(
        self, operation: AuthenticateOperation, arguments: Mapping[str, object]
    ) -> Coroutine[Any, Any, AuthenticateResponse]:
        """Log in for a call that runs already: also while the client is closing."""
        return Call(self, operation, arguments, {}, collect=True, purpose="login").result()

    def stream(
        self,
        operation: Operation[Any],
        arguments: Mapping[str, object],
        options: CallOptions,
        purpose: Purpose = "call",
    ) -> AsyncGenerator[Any, None]:
        """Make one call and yield the items of its response while they arrive; see `Call.items`."""
        return Call(self, operation, arguments, options, collect=False, purpose=purpose).items()

    def require_tickets(self, name: str) -> TicketManager:
        """Return what obtains and renews the client's ticket, for operation or method `name`, which needs one.

        Raises:
            UsageError: the client has no credentials.
        """
        if self.tickets is None:
            advice = "pass ticket= or credentials=, for example credentials=UsernamePassword(user, password)"
            error = UsageError(f"{name} needs a ticket, and this client has no credentials: {advice}")
            raise error.concerning(name, self.settings.version)
        return self.tickets

    async def wait_for_turn(self) -> None:
        """Wait until a request may be sent, by `max_rate`, and ask which application token it carries, if need be."""
        settings = self.settings
        if settings.max_rate is not None:
            await settings.max_rate.turn()
        if callable(settings.application_token):
            self.application_token = await fetch_application_token(settings.application_token)

    def check_proxy(self, base_url: str, name: str) -> None:
        """Refuse to send secrets in operation `name` through a proxy that would read them, unless the user allows it.

        Raises:
            InsecureTransport: the base URL is plain HTTP, and the proxy is another machine.
        """
        if self.settings.allow_insecure or base_url in self._safe_urls:
            return
        proxy = self.sender.proxy_for(base_url)
        if proxy is not None:
            refuse_plain_proxy(base_url, proxy, name)
        self._safe_urls.add(base_url)

    async def aclose(self, grace: float) -> None:
        """Refuse new calls, give running ones `grace` seconds, end the rest, and release everything."""
        await self.lifetime.end(grace)
        if self.tickets is not None:
            await self.tickets.aclose()
        await self.sender.aclose()


class Call(Generic[R]):
    """One call, over as many exchanges as it takes."""

    def __init__(
        self,
        context: CallContext,
        operation: Operation[R],
        arguments: Mapping[str, object],
        options: CallOptions,
        *,
        collect: bool,
        purpose: Purpose = "call",
    ) -> None:
        """Prepare a call. Nothing is sent yet.

        Args:
            context: of the client.
            operation: the operation to call.
            arguments: of the operation.
            options: of the call.
            collect: whether the result is wanted as a whole.
            purpose: why it is made. A login for other calls is repeated as a read is.

        Raises:
            UsageError: an option that a call does not take.
        """
        self._context = context
        self._operation = operation
        # An iterator can be read only once, and a request may have to be built again in another binding.
        self._arguments = {k: [*v] if isinstance(v, Iterator) else v for k, v in arguments.items()}
        self._on_header = options.get("on_header")
        self._renews_at_401 = options.get("renew", True)
        self._collect = collect
        self._is_repeatable = operation.is_read_only or purpose == "login"
        self._timeout = self._left = options.get("timeout", context.settings.timeout)
        self._ends: float | None = None
        self._state = SendState()
        self._attempt_number = 1
        self._may_be_applied = False
        self._prepared: dict[tuple[Binding, Secret | None], PreparedRequest] = {}
        self._observer = CallObserver(context.settings, operation, purpose)
        if not (self._timeout is None or is_seconds(self._timeout)):
            raise self._about(UsageError(f"timeout is {SECONDS}, or None for no limit"))
        if not options.keys() <= _OPTIONS:
            unknown = ", ".join(sorted(options.keys() - _OPTIONS))
            raise self._about(UsageError(f"a call takes the options {', '.join(sorted(_OPTIONS))}, not {unknown}"))

    def check_open(self) -> None:
        """Refuse to begin what would fail, or would show a password: nothing is sent.

        Raises:
            ClientClosed: the client is closed, or closing.
            UsageError: the operation needs a ticket, and the client has no credentials.
            InsecureTransport: the operation sends a password, over plain HTTP to another machine.
        """
        settings, name = self._context.settings, self._operation.name
        if self._context.lifetime.is_closing:
            raise self._about(ClientClosed.refused(name))
        if self._operation.agent.takes_ticket:
            self._context.require_tickets(name)
        if self._operation.sends_password and not settings.allow_insecure:
            refuse_plain_http(settings.base_url, name)

    def result(self) -> Coroutine[Any, Any, R]:
        """Make the call and return its result."""
        return self._observed_result() if self._observer.is_wanted else self._within_timeout(self._attempts())

    async def _observed_result(self) -> R:
        with self._observer.around(self._facts):
            return await self._within_timeout(self._attempts())

    async def items(self) -> AsyncGenerator[Any, None]:
        """Make the call and yield the items of its response while they arrive; raise at the end if it was none.

        The timeout bounds the time spent here, not the time that the consumer takes between items.
        """
        self.check_open()
        self._observer.isolate()  # the consumer runs between two steps, and may be another task
        with self._observer.around(self._facts):
            exchange, items = await self._within_timeout(self._attempts())
            outcome = "abandoned"
            try:
                while items is not None:
                    self._note_time()
                    with self._context.lifetime.paused(exchange):
                        for item in items:
                            yield item
                    if self._context.lifetime.is_closed:
                        raise self._ended()
                    items = await self._within_timeout(self._next_items(exchange))
                outcome = "ok"
            except SoapBatchError as error:
                self._about(error)
                with self._context.lifetime.paused(exchange):
                    await exchange.close(type(error).__name__, error)
                raise
            finally:
                with self._context.lifetime.paused(exchange):  # the client is not closed before this is done
                    await exchange.close(outcome)
            self._report(exchange)

    def _facts(self, error: BaseException | None) -> Facts:
        """Return what hooks are told of the call's end; `error` ended it."""
        applied: Applied = "unknown" if self._may_be_applied else self._state.applied
        if error is None or isinstance(error, SoapBatchError):
            applied = "yes" if error is None else error.applied
        return Facts(applied=applied, binding=self._context.search.binding, attempts=self._attempt_number)

    # Down the call: each of these adds one concern to the one below it.

    def _within_timeout(self, step: Awaitable[T]) -> Coroutine[Any, Any, T]:
        """Return what awaits `step` within what is left of the call's timeout."""
        self._ends = None if self._left is None else asyncio.get_running_loop().time() + self._left
        return self._context.lifetime.within(self._left, step, self._ended)

    def _note_time(self) -> None:
        """Note what is left of the timeout: it does not run while the consumer of a stream is busy."""
        if self._ends is not None:
            self._left = max(0.0, self._ends - asyncio.get_running_loop().time())

    async def _attempts(self) -> Any:
        """Try until it works, or until a failure must not or need not be tried again."""
        while True:
            try:
                return await self._attempt()
            except SoapBatchError as error:
                self._about(error)
                self._may_be_applied = self._may_be_applied or error.applied != "no"
                self._state.phase = "retrying"
                wait = self._wait_before_repeating(error)
                if wait is None:
                    raise
                kind, reason = type(error).__name__, str(error)
            log_record(
                logging.INFO,
                "%(operation)s attempt %(attempt)d failed, the next one begins in %(seconds).2f s "
                "(%(error)s: %(reason)s)",
                operation=self._operation.name,
                version=str(self._context.settings.version),
                attempt=self._attempt_number,
                seconds=wait,
                error=kind,
                reason=reason,
            )
            self._attempt_number += 1
            await asyncio.sleep(wait)

    async def _attempt(self) -> Any:
        """Exchange once; once more if the ticket was refused, which the server does before it applies anything."""
        tickets = self._context.tickets if self._operation.agent.takes_ticket else None
        if tickets is None:
            return await self._exchange(None)
        self._prepare(self._context.search.binding or Binding.DOCUMENTED)  # what cannot be sent costs no login
        may_renew = True
        while True:
            self._state = SendState(phase="login")
            ticket = await tickets.current()
            try:
                result = await self._exchange(ticket)
            except (OperationFailed, Fault, AccessDenied) as error:
                if not self._context.settings.refuses_ticket(error):
                    raise
                error.proven_not_applied()
                self._state = SendState(phase="login")
                if not (may_renew and await tickets.rejected(ticket)):
                    raise
                if isinstance(error, AccessDenied) and not self._renews_at_401:
                    raise
                may_renew = False
            else:
                tickets.used(ticket)
                return result

    def _exchange(self, ticket: IssuedTicket | None) -> Coroutine[Any, Any, Any]:
        """Exchange in the binding that the server takes; until that is known, one call at a time finds out."""
        binding = self._context.search.binding
        return self._discover(ticket) if binding is None else self._send(ticket, binding)

    async def _discover(self, ticket: IssuedTicket | None) -> Any:
        """Find the binding by a read, this call if it is one, and exchange in that binding."""
        search, name = self._context.search, self._operation.name
        self._state = SendState()
        async with search.lock:
            if search.binding is None and (self._is_repeatable or not self._operation.agent.takes_ticket):
                return await self._try_bindings(ticket)
            if search.binding is None:
                self._state = SendState(phase="discovering")
                read = Call(self._context, GET_BATCH_TASK_INFO, {"id": 0}, {}, collect=True)
                read._observer = self._observer
                try:
                    await read._try_bindings(ticket)
                except SoapBatchError as error:
                    if search.binding is None or self._context.settings.refuses_ticket(error):
                        proof = f"{name} was not sent: the read that was to find the binding failed"
                        raise error.proven_not_applied(proof)  # noqa: B904 - the same error
        return await self._send(ticket, search.binding or Binding.DOCUMENTED)

    async def _try_bindings(self, ticket: IssuedTicket | None) -> Any:
        """Exchange in one binding after the other, until an answer settles the binding, or none is left."""
        search = self._context.search
        answers: dict[Binding, SoapBatchError] = {}
        for binding in search.candidates():
            try:
                result = await self._send(ticket, binding)
            except SoapBatchError as error:
                answers[binding] = error
                if may_refuse_form(error):
                    search.note_refused(binding)
                elif not is_service_answer(error):
                    raise
                elif isinstance(error, LimitExceeded):
                    self._settle_if_seen(ticket, binding)
                    raise
                elif not (binding.is_documented and ticket):
                    break
            else:
                self._settle_if_seen(ticket, binding)
                return result
        last = last_answer(answers)
        if last is None:
            failure = next(iter(answers.values()))
            failure.add_note(answers_note(answers))
            raise failure
        binding, failure, is_second = last
        # A ticket that two forms refuse is a bad ticket, and says nothing about the documented form.
        if not (is_second and self._context.settings.refuses_ticket(failure)):
            self._settle_if_seen(ticket, binding)
        raise failure

    def _send(self, ticket: IssuedTicket | None, binding: Binding) -> Coroutine[Any, Any, Any]:
        """Send one request to where the server is, and once more if it turns out to have moved."""
        location = self._context.settings.location
        if location is None:
            return self._send_to(self._context.settings.base_url, ticket=ticket, binding=binding)
        self._state = SendState(phase="locating")
        return location.deliver(partial(self._send_to, ticket=ticket, binding=binding))

    async def _send_to(self, base_url: str, *, ticket: IssuedTicket | None, binding: Binding) -> Any:
        """Send one request; return the result, or the exchange and the first items of a streamed response."""
        settings = self._context.settings
        value = None if ticket is None else ticket.value
        self._state = SendState(max_idle=math.inf if self._operation.is_read_only else _MAX_IDLE)
        await self._context.wait_for_turn()
        secrets = secrets_among(self._context.application_token, value, *self._arguments.values())
        if secrets and base_url.startswith("http:"):
            self._context.check_proxy(base_url, self._operation.name)
        exchange = Exchange(
            self._operation,
            self._prepare(binding).with_ticket(value),
            settings,
            base_url=base_url,
            attempt=self._attempt_number,
            secrets=secrets,
            collect=self._collect,
            advise_binding=not self._context.search.has_worked,
            observe=self._observer.request,
        )
        try:
            exchange.receive(await exchange.send(self._context.sender, self._state))
            if not self._collect:
                items = await self._next_items(exchange)
                self._context.search.note_answer(binding)
                return exchange, items
            while await exchange.read() is not None:
                pass
            result = exchange.result()
            await exchange.close("ok")
        except BaseException as error:
            await exchange.close(type(error).__name__, error)
            if isinstance(error, SoapBatchError) and is_service_answer(error):
                self._context.search.note_answer(binding)
            raise
        self._context.search.note_answer(binding)
        self._report(exchange)
        return result

    async def _next_items(self, exchange: Exchange) -> list[Any] | None:
        """Return the next items of a streamed response; None at its end, if it was one."""
        items: list[Any] | None = []
        while items == []:
            items = await exchange.read()
        if items is None:
            exchange.result()
        return items

    # Questions that a call asks.

    def _settle_if_seen(self, ticket: IssuedTicket | None, binding: Binding) -> None:
        """Stay with `binding`, in which the service has answered, if the answer shows that it sees the ticket there."""
        if not binding.is_documented or ticket is not None or self._context.tickets is None:
            self._context.search.settle(binding)

    def _prepare(self, binding: Binding) -> PreparedRequest:
        """Return the request without its ticket, built once for each binding and each application token."""
        token = self._context.application_token
        if (binding, token) not in self._prepared:
            settings = self._context.settings
            self._prepared[binding, token] = prepare_request(
                self._operation,
                self._arguments,
                version=settings.version,
                binding=binding,
                application_token=token,
                time_zone=settings.time_zone,
                path_prefix=settings.path_prefix,
            )
        return self._prepared[binding, token]

    def _wait_before_repeating(self, error: SoapBatchError) -> float | None:
        """Return the seconds to wait before the next attempt; None: there must be none, or it would not help.

        Reads and logins are repeated after anything transient; what changes something, only if no byte of it has left.
        """
        retries = self._context.settings.retries
        is_own = error.operation == self._operation.name  # else it is of a login, which has been repeated already
        is_unsent = error.applied == "no" and (isinstance(error, TransportError) or not self._state.sent)
        if not (
            error.retryable
            and is_own
            and self._attempt_number < retries.attempts
            and (self._is_repeatable or is_unsent)
        ):
            return None
        asked = error.retry_after
        if asked is None:
            return retries.backoff.delay(self._attempt_number, jitter=random.random())  # noqa: S311 - spreads load
        # Where the wait would end in the deadline, the failure itself says more.
        is_too_long = self._ends is not None and asyncio.get_running_loop().time() + asked >= self._ends
        return None if is_too_long or asked > retries.backoff.longest_retry_after else asked

    def _ended(self) -> SoapBatchError:
        """Return why the call ended before its time."""
        return self._about(self._context.lifetime.ended(self._operation.name, self._state, self._timeout))

    def _about(self, error: SoapBatchError) -> SoapBatchError:
        """Add to an error which call it is about: the one place where the error of a call is finished."""
        version = self._context.settings.version
        return error.concerning(self._operation.name, version, may_be_applied=self._may_be_applied)

    def _report(self, exchange: Exchange) -> None:
        """Hand out the header blocks of a successful reply, if they are wanted."""
        if self._on_header is not None and exchange.header is not None:
            self._on_header(exchange.header)
