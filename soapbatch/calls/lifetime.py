"""How long calls may take, and how they end: timeouts, and the closing of a client while calls run."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Generator
from typing import Protocol, TypeVar

from soapbatch.errors import ClientClosed, DeadlineExceeded, SoapBatchError
from soapbatch.transport import SendState

T = TypeVar("T")


class Closable(Protocol):
    """What a paused stream holds open: an exchange."""

    async def close(self, outcome: str) -> None:
        """Release it; `outcome` says why."""
        ...


class Lifetime:
    """Counts what runs: steps of calls, each within a timeout, and streams that are paused between two items.

    Attributes:
        loop: the event loop of the first call; None: there was no call yet.
        is_closing: whether new calls are refused.
        is_closed: whether running calls are ended as well.
    """

    def __init__(self) -> None:
        """Begin with nothing running."""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.is_closing = False
        self.is_closed = False
        self._scopes: set[asyncio.Timeout] = set()
        self._paused: set[Closable] = set()
        self._idle = asyncio.Event()

    async def within(self, seconds: float | None, step: Awaitable[T], ended: Callable[[], SoapBatchError]) -> T:
        """Await `step` for at most `seconds`, and no longer than the client lives; raise `ended()` then."""
        scope = asyncio.timeout(seconds)
        if self.loop is None:
            self.loop = asyncio.get_running_loop()
        try:
            async with scope:
                self._scopes.add(scope)
                try:
                    return await step
                finally:
                    self._scopes.discard(scope)
                    self._note_idle()
        except TimeoutError:
            if not scope.expired():
                raise
        # Raised outside of the except block: the traceback must not refer to frames whose locals hold the envelope.
        raise ended()

    @property
    def is_elsewhere(self) -> bool:
        """Whether the client belongs to another event loop than the running one, which still exists."""
        loop = self.loop
        return loop is not None and loop is not asyncio.get_running_loop() and not loop.is_closed()

    @contextlib.contextmanager
    def paused(self, stream: Closable) -> Generator[None]:
        """Let closing wait for a stream whose consumer is busy with an item; closing closes `stream` in the end."""
        self._paused.add(stream)
        try:
            yield
        finally:
            self._paused.discard(stream)
            self._note_idle()

    def ended(self, what: str, state: SendState, timeout: float | None) -> SoapBatchError:
        """Return why `what` ended before its time: the client was closed, or the timeout ran out."""
        phase, applied = state.phase, state.applied
        if self.is_closed:
            return ClientClosed.ended(what, phase=phase, applied=applied)
        message = f"{what} took longer than its timeout of {timeout} s: it ran out while {phase}"
        return DeadlineExceeded(message, phase=phase, timeout=timeout, applied=applied)

    async def end(self, grace: float) -> None:
        """Refuse new calls, give running ones `grace` seconds, and end the rest."""
        self.is_closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._wait_until_idle()
        self.is_closed = True
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)
        while self._paused:
            await self._paused.pop().close(ClientClosed.__name__)
        await self._wait_until_idle()

    def _note_idle(self) -> None:
        if not (self._scopes or self._paused):
            self._idle.set()

    async def _wait_until_idle(self) -> None:
        while self._scopes or self._paused:
            self._idle.clear()
            await self._idle.wait()
