"""How long things may take, and how they end: timeouts, and the closing of a client while calls run."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar

from soapbatch.calls.exchange import Exchange
from soapbatch.errors import ClientClosed, DeadlineExceeded, SoapBatchError
from soapbatch.transport import Progress

T = TypeVar("T")


class Lifetime:
    """Counts what runs: steps of calls, each within a timeout, and streams that stand between two items.

    Attributes:
        is_used: whether anything was ever run.
        is_closing: whether new calls are refused.
        is_closed: whether running ones are ended, too.
    """

    def __init__(self) -> None:
        """Begin with nothing running."""
        self.is_used = False
        self.is_closing = False
        self.is_closed = False
        self._scopes: set[asyncio.Timeout] = set()
        self._paused: set[Exchange] = set()
        self._idle = asyncio.Event()

    async def within(self, seconds: float | None, step: Awaitable[T], ended: Callable[[], SoapBatchError]) -> T:
        """Await `step` for at most `seconds`, and no longer than the client lives; raise `ended()` then."""
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                self.is_used = True
                with self._counted(scope, self._scopes):
                    return await step
        except TimeoutError:
            if not scope.expired():
                raise
        # Raised here and not above, it refers to no frame of the HTTP stack: those hold the envelope.
        raise ended()

    def paused(self, exchange: Exchange) -> contextlib.AbstractContextManager[None]:
        """Let closing wait for a stream whose consumer is at work on an item; it closes `exchange` in the end."""
        return self._counted(exchange, self._paused)

    def ended(self, what: str, progress: Progress, timeout: float | None) -> SoapBatchError:
        """Return why `what` ended before its time: the client was closed, or the timeout ran out."""
        error: SoapBatchError
        if self.is_closed:
            error = ClientClosed(f"{what} was ended while {progress.phase}, because the client was closed")
        else:
            error = DeadlineExceeded(
                f"{what} took longer than its timeout of {timeout} s: it ran out while {progress.phase}"
            )
            error.phase, error.timeout = progress.phase, timeout
        error.applied = progress.applied
        return error

    async def end(self, grace: float) -> None:
        """Refuse what is new, give what runs `grace` seconds, and end the rest."""
        self.is_closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._quiet()
        self.is_closed = True
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)
        while self._paused:
            await self._paused.pop().close(ClientClosed.__name__)
        await self._quiet()

    @contextlib.contextmanager
    def _counted(self, one: T, among: set[T]) -> Generator[None]:
        among.add(one)
        try:
            yield
        finally:
            among.discard(one)
            if not (self._scopes or self._paused):
                self._idle.set()

    async def _quiet(self) -> None:
        while self._scopes or self._paused:
            self._idle.clear()
            await self._idle.wait()
