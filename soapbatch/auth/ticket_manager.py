"""The one ticket that all calls of a client share: obtained once, renewed in time, shared between processes.

A ticket lasts 6 hours from its last use. `TicketManager` follows these rules:

Rule 1. Calls that need a ticket at the same time cause one login and share its outcome.
Rule 2. A failed login starts a cool-down. Until it ends, the client tries no login, and calls get the same failure. It
        lasts 5 s after the first failure, or 1 s if that is `retryable`. It doubles with each further failure, up to
        60 s, and lasts at least the server's Retry-After, of which at most 5 minutes count.
Rule 3. A renewal runs in the background, while calls still use the old ticket. It starts 5 to 10 minutes before the
        end (in the last sixth of a lifetime below an hour), at a random time, so that many processes do not renew at
        once; or at `Ticket.renew_at`. Calls wait for a login only where the ticket has ended.
Rule 4. A ticket that the server refuses is dropped, and the refused call is repeated once with another ticket.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Literal

import attrs

from soapbatch.auth.credentials import Authenticate, Provider, Ticket
from soapbatch.auth.ticket_stores import TicketStore, TolerantStore
from soapbatch.errors import (
    AuthenticationFailed,
    ClientClosed,
    Fault,
    ProtocolError,
    SoapBatchError,
    TransportError,
)
from soapbatch.model import Backoff, Secret, ServiceVersion
from soapbatch.system import log_record, retrieve_exception, wait_until_done

LIFETIME: Final = 6 * 3600.0
"""Seconds that a ticket lasts after its last use. Source: the published pages on NetServer tickets."""

_AHEAD: Final = 600.0  # seconds before the end of a ticket in which it is renewed
_AHEAD_SHARE: Final = 1 / 6  # of the lifetime, where that is less
_BACKOFF: Final = Backoff(first=5.0, longest=60.0, longest_retry_after=300.0)  # seconds
_BACKOFF_RETRYABLE: Final = attrs.evolve(_BACKOFF, first=1.0)
_OF_A_LOGIN: Final = "the login failed: "
_DROP_UNUSED_EVERY: Final = 5.0  # seconds between two tickets that the server refuses at their first use
_SAVE_EVERY: Final = 300.0  # seconds between two writes of an expiry that a use has moved


def is_ending(ticket: Ticket, now: datetime) -> bool:
    """Return whether a ticket ends so soon that it is renewed before it is used."""
    return ticket.expires_at is not None and ticket.expires_at - now <= timedelta(seconds=_AHEAD)


@attrs.frozen
class IssuedTicket:
    """The ticket that a call carries.

    Attributes:
        value: masked.
        generation: 1 for a manager's first ticket, and one more for each different ticket.
    """

    value: Secret
    generation: int


@attrs.frozen(kw_only=True)
class TicketEvent:
    """Something has happened to the ticket of a client. Holds no secrets.

    | kind | when |
    |---|---|
    | obtained | there was no ticket that could be used, and there is one now: from a login, the caller or a store |
    | renewed | a login ahead of the end of the ticket has replaced it, or a store had another one by then |
    | refused | the server refused the ticket; the client obtains another one |
    | failed | neither a login nor anything else gave a ticket |

    Attributes:
        kind: see the table.
        version: the service version.
        generation: of the ticket: 1 for a client's first ticket, and one more for each different ticket; None: failed.
        error: of "failed": the name of the error's class; else None.
    """

    kind: Literal["obtained", "renewed", "refused", "failed"]
    version: ServiceVersion
    generation: int | None = None
    error: str | None = None


class _HeldTicket:
    """The ticket in use. Times are seconds of the event loop's clock.

    Attributes:
        issued: what calls carry.
        sliding: whether each use extends the ticket.
        was_used: whether the server has taken the ticket.
        ends_at: when the ticket ends.
        renew_at: when to renew the ticket.
    """

    __slots__ = ("_jitter", "_renew_by", "ends_at", "issued", "renew_at", "sliding", "was_used")

    def __init__(
        self, issued: IssuedTicket, *, sliding: bool, was_used: bool, now: float, ends_at: float, renew_by: float
    ) -> None:
        self.issued = issued
        self.sliding = sliding
        self.was_used = was_used
        self._renew_by = renew_by  # the latest time, however often the ticket is extended
        self._jitter = random.uniform(0.5, 1)  # noqa: S311 - spreads load, protects nothing
        self.extend(now, ends_at)

    def extend(self, now: float, ends_at: float) -> None:
        self.ends_at = ends_at
        self.renew_at = min(self._renew_by, ends_at - self._jitter * min(_AHEAD, _AHEAD_SHARE * (ends_at - now)))


class _CoolDown:
    """The time after failed logins in which the client tries no login. A login that works replaces the object."""

    def __init__(self) -> None:
        self._failure: BaseException | None = None
        self._failures = 0
        self._ends_at = -math.inf

    def failure(self, now: float) -> BaseException | None:
        """Return the error of the last login while the cool-down lasts, else None."""
        return self._failure if now < self._ends_at else None

    def start(self, error: Exception, now: float) -> float:
        """Start after a login that failed with `error`, and return the seconds until the next one."""
        self._failures += 1
        self._failure = _for_one_more(error)
        backoff, retry_after = _BACKOFF, None
        if isinstance(error, SoapBatchError):
            backoff, retry_after = _BACKOFF_RETRYABLE if error.retryable else _BACKOFF, error.retry_after
        seconds = backoff.delay(self._failures, retry_after)
        self._ends_at = now + seconds
        return seconds


class _LoginInFlight:
    """A login and the number of calls that wait for it.

    Attributes:
        is_ahead: whether the login renews a ticket that still serves. Such a login goes on when no call waits for it.
        waiters: how many calls wait.
        task: runs the login.
    """

    __slots__ = ("is_ahead", "task", "waiters")

    task: asyncio.Task[_HeldTicket]

    def __init__(self, *, is_ahead: bool) -> None:
        self.is_ahead = is_ahead
        self.waiters = 0


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _ignore(_: TicketEvent) -> None:
    pass


class TicketManager:
    """Holds the one ticket that all calls of a client share; the module lists the rules.

    Times are the event loop's. The wall clock matters only for tickets with an expiry, and for tickets in a store.
    """

    def __init__(
        self,
        provider: Provider,
        authenticate: Authenticate,
        version: ServiceVersion,
        *,
        store: TicketStore | None = None,
        on_event: Callable[[TicketEvent], None] = _ignore,
        wall_clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Hold no ticket yet: the first `current()` obtains one.

        Args:
            provider: where tickets come from.
            authenticate: sends a login. All waiting calls share the login, and it is cancelled when the last of them
                gives up. No call waits for a renewal ahead of the end, so `authenticate` limits its own time.
            version: of the services.
            store: read before each login; written after each login, and at most every 5 minutes after a use.
            on_event: called with what happens to the ticket; must not raise.
            wall_clock: returns the time now (aware).
        """
        self._provider = provider
        self._authenticate = authenticate
        self._version = version
        self._renews = provider.renews(version)
        self._store = TolerantStore(store) if store is not None and self._renews else None
        self._save_use_from = -math.inf
        self._on_event = on_event
        self._wall_clock = wall_clock
        self._closed = False

        self._held: _HeldTicket | None = None
        self._generation = 0
        self._refused: Secret | None = None
        self._drop_unused_from = -math.inf
        self._login: _LoginInFlight | None = None
        self._cool_down = _CoolDown()

    async def current(self) -> IssuedTicket:
        """Return the ticket for a call that is sent now; obtain one if necessary.

        Raises:
            SoapBatchError: the login failed, or the last one did and its cool-down lasts; `applied` is "no", since the
                call was not sent.
            ClientClosed: after `aclose()`.
        """
        return (await self._current()).issued

    async def ticket(self) -> Ticket:
        """Return the current ticket with its expiry, for another client or process.

        Raises:
            SoapBatchError: as `current()`.
        """
        return self._with_expiry(await self._current())

    async def _current(self) -> _HeldTicket:
        if self._closed:
            raise ClientClosed.refused("the login")
        now, held = _now(), self._held
        if held is not None and (now < held.renew_at or not self._renews):
            return held
        failure = self._cool_down.failure(now)
        if held is not None and now < held.ends_at:
            if self._login is None and failure is None:
                self._start_login(is_ahead=True)
            return held
        if self._login is None and failure is not None:
            raise _for_one_more(failure)
        return await self._wait_for(self._login or self._start_login(is_ahead=False))

    def used(self, ticket: IssuedTicket) -> None:
        """Note that the server has just taken `ticket`: a sliding ticket lasts 6 hours from now."""
        held = self._held
        if held is None or held.issued.generation != ticket.generation:
            return
        held.was_used = True
        if not held.sliding:
            return
        now = _now()
        held.extend(now, now + LIFETIME)
        if now >= self._save_use_from:
            self._save(held, now)

    async def rejected(self, ticket: IssuedTicket) -> bool:
        """Drop `ticket`, which the server refused, and return whether the call may be repeated, once.

        The repeated call takes the ticket of `current()`. The repeat is safe for every operation, StartBatchJob
        included: the server checks the ticket before the operation, so nothing was applied.

        A late refusal of an older ticket drops nothing. A ticket that was never used is dropped at most once in 5 s:
        otherwise every call would log in at a server that refuses every ticket. In between calls get the refusal.

        Returns:
            False where the ticket cannot be renewed, and where the server would refuse the next ticket as well.
        """
        held = self._held
        if not self._renews or self._closed:
            return False
        if held is None or held.issued.generation != ticket.generation:
            return True
        if not held.was_used:
            now = _now()
            if now < self._drop_unused_from:
                return False
            self._drop_unused_from = now + _DROP_UNUSED_EVERY
        log_record(
            logging.INFO,
            "the server refused ticket %(generation)d; the client obtains another one",
            generation=held.issued.generation,
        )
        self._refused, self._held = held.issued.value, None
        if self._store is not None:
            self._store.forget()
        self._on_event(TicketEvent(kind="refused", version=self._version, generation=held.issued.generation))
        return True

    async def aclose(self) -> None:
        """Cancel a login in flight, finish a write to the store, and forget the ticket. Idempotent."""
        self._closed = True
        login, self._login = self._login, None
        if login is not None:
            login.task.cancel()
            await wait_until_done(login.task)
        if self._store is not None:
            await self._store.finish()
        self._held = None

    # --- Logging in ---------------------------------------------------------------------------------------------

    def _start_login(self, *, is_ahead: bool) -> _LoginInFlight:
        login = self._login = _LoginInFlight(is_ahead=is_ahead)
        login.task = asyncio.get_running_loop().create_task(self._log_in(login), name="soapbatch login")
        login.task.add_done_callback(retrieve_exception)
        return login

    async def _wait_for(self, login: _LoginInFlight) -> _HeldTicket:
        """Return the ticket of `login`. The last waiter, when cancelled, cancels the login and waits for its end."""
        login.waiters += 1
        try:
            await asyncio.wait([login.task])
        finally:
            login.waiters -= 1
            if not (login.waiters or login.is_ahead or login.task.done()):
                self._login = None
                login.task.cancel()
                await wait_until_done(login.task)
        if not login.task.cancelled():
            if error := login.task.exception():
                raise _for_one_more(error)
            return login.task.result()
        if self._closed:
            raise ClientClosed.ended("the login")
        raise AuthenticationFailed("the login was cancelled by something other than its callers")

    async def _log_in(self, login: _LoginInFlight) -> _HeldTicket:
        """Hold the ticket of the store, or a new one from the provider."""
        try:
            ticket = await self._stored()
            is_new = ticket is None
            if ticket is None:
                ticket = await self._provider.obtain(self._authenticate, self._version)
        except Exception as error:
            if self._login is login:  # else every call has given up, and the error is that of the cancellation
                self._start_cool_down(error, login)
            raise
        else:
            held = self._hold(ticket, is_new=is_new)
            kind: Literal["renewed", "obtained"] = "renewed" if login.is_ahead else "obtained"
            self._on_event(TicketEvent(kind=kind, version=self._version, generation=held.issued.generation))
            return held
        finally:
            if self._login is login:
                self._login = None

    def _start_cool_down(self, error: Exception, login: _LoginInFlight) -> None:
        seconds = self._cool_down.start(error, _now())
        log_record(
            logging.WARNING if login.is_ahead else logging.INFO,
            "the login failed (%(error)s); none is tried for the next %(seconds).0f s",
            error=type(error).__name__,
            seconds=seconds,
        )
        self._on_event(TicketEvent(kind="failed", version=self._version, error=type(error).__name__))

    def _hold(self, ticket: Ticket, *, is_new: bool) -> _HeldTicket:
        now, old = _now(), self._held
        if old is not None and old.issued.value == ticket.value:
            issued, was_used = old.issued, old.was_used
        else:
            self._generation += 1
            issued, was_used = IssuedTicket(ticket.value, self._generation), not is_new
        ends_at = self._end_of(ticket, now)
        renew_at = ticket.renew_at
        renew_by = math.inf if renew_at is None else now + (renew_at - self._wall_clock()).total_seconds()
        held = self._held = _HeldTicket(
            issued, sliding=ticket.sliding, was_used=was_used, now=now, ends_at=ends_at, renew_by=renew_by
        )
        self._cool_down = _CoolDown()
        log_record(
            logging.INFO if self._renews else logging.DEBUG,  # a ticket that the caller gave is no news
            "ticket %(generation)d was %(how)s",
            generation=issued.generation,
            how="obtained" if is_new else "taken from the store",
        )
        if is_new:
            self._save(held, now)
        return held

    def _end_of(self, ticket: Ticket, now: float) -> float:
        if ticket.expires_at is not None:
            return now + (ticket.expires_at - self._wall_clock()).total_seconds()
        return now + LIFETIME if ticket.sliding else math.inf

    # --- Sharing ------------------------------------------------------------------------------------------------

    async def _stored(self) -> Ticket | None:
        """Return the store's ticket, unless the server has refused that ticket or it ends within 10 minutes."""
        ticket = None if self._store is None else await self._store.get()
        if ticket is None or ticket.value == self._refused:
            return None
        return None if is_ending(ticket, self._wall_clock()) else ticket

    def _save(self, held: _HeldTicket, now: float) -> None:
        if self._store is not None:
            self._save_use_from = now + _SAVE_EVERY
            self._store.save(partial(self._with_expiry, held))

    def _with_expiry(self, held: _HeldTicket) -> Ticket:
        left = held.ends_at - _now()
        try:
            expires_at = None if math.isinf(left) else self._wall_clock() + timedelta(seconds=left)
        except OverflowError:  # datetime.max as "never", and a rounded difference
            expires_at = datetime.max.replace(tzinfo=UTC)
        return Ticket(held.issued.value, expires_at=expires_at, sliding=held.sliding)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _for_one_more(error: BaseException) -> BaseException:
    """Return a failed login's error for one more call, which was not sent. Its message says that it is of a login."""
    if not isinstance(error, SoapBatchError):
        return error  # a foreign error need not survive a copy
    other = error.copy(applied="no")
    if isinstance(error, TransportError | ProtocolError | Fault) and not str(error).startswith(_OF_A_LOGIN):
        other.args = (f"{_OF_A_LOGIN}{error}", *error.args[1:])
    return other
