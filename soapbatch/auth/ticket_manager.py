"""Who holds the ticket: one for all calls of a client, obtained once, renewed in time, shared between processes.

A ticket lasts 6 hours from its last use. `TicketManager` hands out the current one and sees to these rules:

- Any number of callers that need a ticket at once cause one login and share its outcome.
- After a failed login none is tried for a while: 5 s, twice as long after each further one, at most 60 s; 1 s to
  begin with when the failure is one of those that pass (`retryable`), and never less than the server's
  Retry-After, of which at most 5 minutes are honoured. Until then callers get the same failure.
- Renewal is ahead of the end, in the background, while the old ticket still serves; at most 10 minutes ahead (a
  sixth of a shorter lifetime), and at a random point in the second half of that so that many processes do not
  renew at once. Only a ticket that has ended is renewed while callers wait.
- A refused ticket is dropped, and the call that it failed is repeated once with another; see `rejected`.
"""

import asyncio
import logging
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from soapbatch.auth.credentials import Authenticate, Provider, Ticket
from soapbatch.auth.ticket_stores import TicketStore
from soapbatch.errors import AuthenticationFailed, ClientClosed, HttpError, SoapBatchError
from soapbatch.model import Secret, ServiceVersion
from soapbatch.system import retrieve_exception, wait_until_done

LIFETIME: Final = 6 * 3600.0
"""Seconds that a ticket lasts after its last use. Source: the published pages on NetServer tickets."""

_AHEAD: Final = 600.0  # seconds before its end within which a ticket is renewed
_AHEAD_SHARE: Final = 1 / 6  # of a lifetime, where that is less
_COOL_DOWN: Final = 5  # seconds without a login after a failed one
_COOL_DOWN_RETRYABLE: Final = 1  # likewise, after a failure that passes
_COOL_DOWN_LONGEST: Final = 60
_RETRY_AFTER_LONGEST: Final = 300.0  # seconds: one stray header must not keep a client out for a day
_SAVE_EVERY: Final = 300.0  # seconds between two writes of a moved expiry
_STORE_TIMEOUT: Final = 5.0  # seconds that a store may take

_LOG = logging.getLogger("soapbatch")


@attrs.frozen
class IssuedTicket:
    """The ticket that a call carries.

    Attributes:
        value: masked.
        generation: 1 for a keeper's first ticket, and one more for each different one.
    """

    value: Secret
    generation: int


def _utc_now() -> datetime:
    return datetime.now(UTC)


class _Login:
    """One login and those who wait for it. One that is ahead of need goes on when nobody waits (any more)."""

    __slots__ = ("is_ahead", "task", "waiters")

    task: asyncio.Task[IssuedTicket]

    def __init__(self, *, is_ahead: bool) -> None:
        self.is_ahead = is_ahead
        self.waiters = 0


class TicketManager:
    """Holds the one ticket that all calls of a client share; see the module for its rules.

    Times are the running loop's; the wall clock matters only for tickets that come with an expiry or go to a store.
    """

    def __init__(
        self,
        provider: Provider,
        authenticate: Authenticate,
        version: ServiceVersion,
        *,
        store: TicketStore | None = None,
        wall_clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Hold no ticket yet; the first `current()` obtains one.

        Args:
            provider: where tickets come from.
            authenticate: sends a login. A login belongs to all its waiters and ends when the last of them gives up;
                one ahead of need has no waiter, so `authenticate` bounds its own time.
            version: of the services.
            store: asked before each login, and told of each new ticket and, every 5 minutes at most, of its use.
            wall_clock: returns the time now (aware).
        """
        self._provider = provider
        self._authenticate = authenticate
        self._version = version
        self._renews = provider.renews(version)
        self._store = store if self._renews else None
        self._wall_clock = wall_clock
        self._closed = False

        self._held: IssuedTicket | None = None
        self._generation = 0
        self._slides = True
        self._was_used = False
        self._ends_at = self._renew_at = math.inf
        self._jitter = 1.0
        self._refused: Secret | None = None
        self._drop_new_from = -math.inf

        self._login: _Login | None = None
        self._failure: BaseException | None = None
        self._failures = 0
        self._retry_at = -math.inf

        self._saving: asyncio.Task[None] | None = None
        self._unsaved = False
        self._saved_at = -math.inf
        self._warned = False

    @property
    def has_ticket(self) -> bool:
        """Whether there is a ticket, so that `current` need not log in unless that has ended."""
        return self._held is not None

    async def current(self) -> IssuedTicket:
        """Return the ticket for a call that is sent now, obtaining one if need be.

        Raises:
            SoapBatchError: the login failed, or did so a moment ago; `applied` is "no", since the call was not sent.
            ClientClosed: after `aclose()`.
        """
        if self._closed:
            raise ClientClosed.refused("the login")
        now = asyncio.get_running_loop().time()
        held = self._held
        if held is not None and (now < self._renew_at or not self._renews):
            return held
        if held is not None and now < self._ends_at:
            if self._login is None and now >= self._retry_at:
                self._start_login(is_ahead=True)
            return held
        if self._login is None and self._failure is not None and now < self._retry_at:
            raise _for_one_more(self._failure)
        return await self._wait_for(self._login or self._start_login(is_ahead=False))

    def used(self, ticket: IssuedTicket) -> None:
        """Note that the server took `ticket` just now: a sliding one lasts 6 hours from here."""
        held = self._held
        if held is None or held.generation != ticket.generation:
            return
        self._was_used = True
        if not self._slides:
            return
        now = asyncio.get_running_loop().time()
        self._set_end(now, now + LIFETIME)
        if now >= self._saved_at + _SAVE_EVERY:
            self._save(now)

    async def rejected(self, ticket: IssuedTicket) -> bool:
        """Drop `ticket`, which the server refused, and return whether the call may be repeated, once.

        The repeat takes the ticket of `current()`. It is safe for every operation, StartBatchJob too: the server
        looks at the ticket before it looks at the operation, so a refused ticket means that nothing was applied.

        A late refusal of an older ticket drops nothing: its generation is not the held one's. A ticket that was
        refused without ever having been used is dropped only once in 5 s, so that a server that refuses whatever it
        issues is not asked for tickets by every call; in between the refusal itself is what callers get.

        Returns:
            False for a ticket that cannot be renewed, and where the next one would be refused as well.
        """
        held = self._held
        if not self._renews or self._closed:
            return False
        if held is None or held.generation != ticket.generation:
            return True
        if not self._was_used:
            now = asyncio.get_running_loop().time()
            if now < self._drop_new_from:
                return False
            self._drop_new_from = now + _COOL_DOWN
        _LOG.info("the server refused ticket %d; another one is obtained", held.generation)
        self._refused, self._held = held.value, None
        return True

    async def ticket(self) -> Ticket:
        """Return the current ticket with its expiry, to be handed to another client or process.

        Raises:
            SoapBatchError: as `current()`.
        """
        return self._with_expiry(await self.current())

    async def aclose(self) -> None:
        """Cancel a login in flight, finish a write to the store, and forget the ticket. Idempotent."""
        self._closed = True
        login, self._login = self._login, None
        if login is not None:
            login.task.cancel()
            await wait_until_done(login.task)
        if self._saving is not None:
            await wait_until_done(self._saving)
        self._held = None

    # --- Logging in ---------------------------------------------------------------------------------------------

    def _start_login(self, *, is_ahead: bool) -> _Login:
        login = self._login = _Login(is_ahead=is_ahead)
        login.task = asyncio.get_running_loop().create_task(self._log_in(login), name="soapbatch login")
        login.task.add_done_callback(retrieve_exception)
        return login

    async def _wait_for(self, login: _Login) -> IssuedTicket:
        """Return what `login` gives. The last one to be cancelled here cancels it, and sees it end."""
        login.waiters += 1
        try:
            await asyncio.wait([login.task])
        finally:
            login.waiters -= 1
            if not (login.waiters or login.is_ahead or login.task.done()):
                self._login = None
                login.task.cancel()
                await wait_until_done(login.task)
        if login.task.cancelled():
            message = "the login was cancelled by something other than its callers"
            raise ClientClosed.ended("the login") if self._closed else AuthenticationFailed(message)
        if error := login.task.exception():
            raise _for_one_more(error)
        return login.task.result()

    async def _log_in(self, login: _Login) -> IssuedTicket:
        """Obtain a ticket, from the store if it has one, and make it the held one."""
        try:
            ticket = await self._stored()
            is_new = ticket is None
            if ticket is None:
                ticket = await self._provider.obtain(self._authenticate, self._version)
        except Exception as error:
            if self._login is login:  # nobody gave it up
                self._cool_down(error, login)
            raise
        else:
            return self._hold(ticket, is_new=is_new)
        finally:
            if self._login is login:
                self._login = None

    def _hold(self, ticket: Ticket, *, is_new: bool) -> IssuedTicket:
        held = self._held
        if held is None or held.value != ticket.value:
            self._generation += 1
            held = self._held = IssuedTicket(ticket.value, self._generation)
            self._was_used = not is_new
        self._failure, self._failures, self._retry_at = None, 0, -math.inf
        self._slides = ticket.sliding
        self._jitter = random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
        now = asyncio.get_running_loop().time()
        if ticket.expires_at is not None:
            self._set_end(now, now + (ticket.expires_at - self._wall_clock()).total_seconds())
        else:
            self._set_end(now, now + LIFETIME if ticket.sliding else math.inf)
        _LOG.debug("ticket %d %s", held.generation, "obtained" if is_new else "taken from the store")
        if is_new:
            self._save(now)
        return held

    def _set_end(self, now: float, ends_at: float) -> None:
        self._ends_at = ends_at
        self._renew_at = ends_at - self._jitter * min(_AHEAD, _AHEAD_SHARE * (ends_at - now))

    def _cool_down(self, error: Exception, login: _Login) -> None:
        self._failure = _for_one_more(error)
        first = _COOL_DOWN_RETRYABLE if getattr(error, "retryable", False) else _COOL_DOWN
        seconds: float = min(first << min(self._failures, 6), _COOL_DOWN_LONGEST)
        if isinstance(error, HttpError) and error.retry_after is not None:
            seconds = max(seconds, min(error.retry_after, _RETRY_AFTER_LONGEST))
        self._failures += 1
        self._retry_at = asyncio.get_running_loop().time() + seconds
        level = logging.WARNING if login.is_ahead else logging.INFO
        _LOG.log(level, "the login failed (%s); none is tried for the next %.0f s", type(error).__name__, seconds)

    # --- Sharing ------------------------------------------------------------------------------------------------

    async def _stored(self) -> Ticket | None:
        """Return the store's ticket if it is worth having: not the refused one, and not about to end."""
        if self._store is None:
            return None
        try:
            async with asyncio.timeout(_STORE_TIMEOUT):
                ticket = await self._store.get()
            if ticket is None or ticket.value == self._refused:
                return None
            if ticket.expires_at is None:
                return ticket
            left = ticket.expires_at - self._wall_clock()
        except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
            self._warn(error)
            return None
        return ticket if left > timedelta(seconds=_AHEAD) else None

    def _save(self, now: float) -> None:
        """Tell the store of the held ticket, in the background."""
        if self._store is None:
            return
        self._saved_at = now
        self._unsaved = True
        if self._saving is None or self._saving.done():
            self._saving = asyncio.get_running_loop().create_task(self._put(self._store), name="soapbatch ticket store")

    async def _put(self, store: TicketStore) -> None:
        try:
            while self._unsaved and self._held is not None:  # it may be a newer one by now
                self._unsaved = False
                async with asyncio.timeout(_STORE_TIMEOUT):
                    await store.put(self._with_expiry(self._held))
        except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
            self._warn(error)

    def _with_expiry(self, held: IssuedTicket) -> Ticket:
        left = self._ends_at - asyncio.get_running_loop().time()
        expires_at = None if math.isinf(left) else self._wall_clock() + timedelta(seconds=left)
        return Ticket(held.value, expires_at=expires_at, sliding=self._slides)

    def _warn(self, error: Exception) -> None:
        """Say once that the store fails."""
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        _LOG.log(level, "the ticket store failed (%s); going on without it", type(error).__name__)


def _for_one_more(error: BaseException) -> BaseException:
    """Return a failed login's error for one more caller, whose own call was not sent."""
    if not isinstance(error, SoapBatchError):
        return error  # nobody knows how to copy it
    other = error.copy()
    other.applied = "no"
    return other
