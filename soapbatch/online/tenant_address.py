"""Where a tenant is now: asked for when it is needed, kept for a while, and asked again when a request was misdirected.

Rule 1. Everybody who wants to know at the same time causes one request to the sign-in host.
Rule 2. An answer is used until its ValidUntil, at least 30 s and at most 15 minutes; of a tenant that does not run, for
        30 s.
Rule 3. After that, an address that is younger than an hour is used on while the state is asked for in the background.
Rule 4. A stale address is better than none: it is used where the sign-in host gives no answer. A wrong one answers 421.
Rule 5. A request that was not dispatched because the tenant is elsewhere (421, refused connection, unknown name) is
        sent once more if the state names another address.
Rule 6. A request that was answered by a page, or with 502, 503 or 504, leads to a look at the state: a tenant that does
        not run is the better reason.

Source: ONLINE section 1. All seconds are inferred: the vendor's documentation asks clients to read the state before
each call, and to read it again at ValidUntil.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from soapbatch.calls import RateLimit
from soapbatch.errors import (
    ConnectFailed,
    HttpError,
    SoapBatchError,
    TenantMoved,
    TenantUnavailable,
    UnexpectedResponse,
    UnreadableResponse,
    clean_traceback,
)
from soapbatch.online.environments import check_tenant
from soapbatch.online.flight import SingleFlight
from soapbatch.online.sign_in import SignInHost
from soapbatch.online.tenants import TenantState, parse_tenant_state
from soapbatch.system import log_record

T = TypeVar("T")

SHORTEST_POLL: Final = 2.0
"""Seconds between two readings of a task: the server looks for work every 2 s, and each call counts."""
_USED_ON: Final = 3600.0  # seconds after its answer for which an address serves while the state is asked for
_PAUSE: Final = 30.0  # seconds before the state is asked for again, after it could not be had or does not run
_FRESH: Final = 5.0  # seconds for which the state need not be asked for because of a page
_GATEWAY: Final = frozenset({502, 503, 504})


class Tenant:
    """A tenant of SuperOffice Online: its state, and where it is. `OnlineApp.tenant` returns it.

    Attributes:
        name: the context identifier.
        max_rate: the limit that all clients of the app share for this tenant; None: none.
        shortest_poll: seconds between two readings of a task at least.
    """

    shortest_poll: float = SHORTEST_POLL

    def __init__(self, name: str, host: SignInHost, *, max_rate: RateLimit | None) -> None:
        """Ask `host`. No I/O.

        Raises:
            UsageError: `name` is no context identifier.
        """
        self.name = check_tenant(name)
        self.max_rate = max_rate
        self._host = host
        self._state: TenantState | None = None
        self._is_forgotten = False
        self._answered_at = -math.inf  # when `_state` came, by the loop's clock
        self._ask_at = -math.inf  # when to ask again
        self._flight = SingleFlight(self._ask, f"asking for the state of tenant {name}")

    def __str__(self) -> str:
        """Return the address of its state, which names the environment and the tenant."""
        return self._host.environment.state_request(self.name).url

    def __repr__(self) -> str:
        """Return where its state is read."""
        return f"<Tenant {self}>"

    async def state(self) -> TenantState:
        """Return the state; it is asked for unless the last answer still holds. `forget` first to ask in any case.

        Raises:
            TransportError, ProtocolError: the sign-in host gives no answer that can be used.
        """
        state = self._state
        return state if state is not None and self._holds() else await self._flight.run()

    def forget(self) -> None:
        """Let the next call ask where the tenant is: for example because the vendor's webhook said that it moved."""
        self._is_forgotten = True

    async def base_url(self) -> str:
        """Return the base URL of the tenant; see the rules of the module.

        Raises:
            TenantUnavailable: the tenant is not running.
            TransportError, ProtocolError: the sign-in host gives no answer that can be used, and no address is known.
        """
        state = self._state
        if state is not None and self._holds():
            return self._address(state)
        if state is not None and state.is_running and not self._is_forgotten and self._age() < _USED_ON:
            self._flight.start_ahead()
            return self._address(state)
        try:
            state = await self._flight.run()
        except SoapBatchError as error:
            state = self._state
            if state is None or not state.is_running:
                raise
            log_record(
                logging.WARNING,
                "tenant %(tenant)s: its state cannot be had (%(error)s: %(reason)s); its last address is used on",
                tenant=self.name,
                error=type(error).__name__,
                reason=str(error),
            )
        return self._address(state)

    async def deliver(self, send: Callable[[str], Awaitable[T]], /) -> T:
        """Return what `send(base_url)` returns; see `Location.deliver` and the rules of the module.

        Raises:
            TenantMoved: the tenant's address refuses the request (421), and the state knows no other, or the other
                refuses it, too.
            TenantUnavailable: the tenant is not running.
            SoapBatchError: any other error of `send`, unchanged.
        """
        base_url = await self.base_url()
        try:
            return await send(base_url)
        except SoapBatchError as error:
            new = await self._look_again(base_url, error)
            if new is None:
                self._raise_moved(error, base_url)
                raise
        log_record(logging.INFO, "tenant %(tenant)s has moved to %(url)s", tenant=self.name, url=new)
        try:
            return await send(new)
        except SoapBatchError as error:
            if _is_misdirected(error):
                self._forget_address(new)
            self._raise_moved(error, new)
            raise

    async def aclose(self) -> None:
        """Cancel a request for the state that is under way."""
        await self._flight.aclose()

    def _age(self) -> float:
        return _now() - self._answered_at

    def _holds(self) -> bool:
        """Return whether the last answer may be used without asking again."""
        return not self._is_forgotten and _now() < self._ask_at

    def _address(self, state: TenantState) -> str:
        try:
            return state.base_url()
        except TenantUnavailable as error:
            if not error.retryable:
                raise
            raise error.copy(retry_after=max(0.0, self._ask_at - _now())) from None

    def _forget_address(self, base_url: str) -> None:
        """Forget the address, unless another one has been learned since."""
        state = self._state
        if state is not None and state.is_running and state.endpoint == base_url:
            self.forget()

    async def _look_again(self, base_url: str, error: SoapBatchError) -> str | None:
        """Return another address for a request that failed at `base_url` and was not dispatched; None: there is none.

        Raises:
            TenantUnavailable: the tenant is not running, which is the better reason.
        """
        if isinstance(error, HttpError) and 300 <= (error.status or 0) < 400:  # noqa: PLR2004 - the redirects
            self._forget_address(base_url)  # a redirect is not followed, and may mean a move
            return None
        is_misdirected = _is_misdirected(error)
        if is_misdirected or (_is_page(error) and self._age() >= _FRESH):
            self._forget_address(base_url)
        elif not _is_page(error):
            return None
        try:
            new = await self.base_url()
        except TenantUnavailable as unavailable:
            raise unavailable.copy(applied=error.applied) from error
        except SoapBatchError as failure:  # there is no address any more, not even an old one
            error.add_note(f"the state of tenant {self.name} cannot be had: {failure}")
            return None
        return new if is_misdirected and new != base_url else None

    def _raise_moved(self, error: SoapBatchError, base_url: str) -> None:
        """Raise an error that says what was tried, if `error` is a 421."""
        if isinstance(error, TenantMoved):
            raise TenantMoved(
                f"tenant {self.name} is not at {base_url} (HTTP 421), and the sign-in host knows no other address; "
                "nothing was applied: try again in some minutes",
                status=error.status,
                excerpt=error.excerpt,
                exchange=error.exchange,
            ) from None

    async def _ask(self) -> TenantState:
        host, now = self._host, _now()
        try:
            with clean_traceback():
                response = await host.send(host.environment.state_request(self.name))
                if response.status == HTTPStatus.NOT_FOUND:
                    advice = "it knows no such tenant: check the customer number and the environment"
                    response.check_status(f"the state of tenant {self.name}", advice)
                response.check_status(f"the state of tenant {self.name}")
                state = parse_tenant_state(response.body, tenant=self.name, domain=host.environment.domain)
        except SoapBatchError:
            # The last address is used on for a while, and not every call waits for a host that does not answer.
            self._is_forgotten, self._ask_at = False, now + _PAUSE
            raise
        self._state, self._is_forgotten = state, False
        self._answered_at = now
        self._ask_at = now + (state.usable_for(response.at) if state.is_running else _PAUSE)
        return state


def _is_misdirected(error: SoapBatchError) -> bool:
    """Return whether `error` says that the request came to a host that does not serve the tenant, or to none."""
    return isinstance(error, TenantMoved | ConnectFailed)


def _is_page(error: SoapBatchError) -> bool:
    """Return whether `error` is what a gateway, or a page about maintenance, looks like."""
    if not isinstance(error, HttpError | UnreadableResponse | UnexpectedResponse):
        return False
    return error.status in _GATEWAY or "<html" in error.excerpt.lower()


def _now() -> float:
    return asyncio.get_running_loop().time()
