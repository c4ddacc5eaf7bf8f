"""The default transport: lanes, each one connection, as many as are needed up to a bound.

httpx's own pool looks at every connection and every waiting request for each request, so that its cost grows
with the square of what waits; and a request that is cancelled at the wrong moment stays in it for good. A lane is
a single connection that serves one request at a time: nothing is shared that could be spoilt, and choosing one costs
the same however many there are.
"""

import asyncio
import contextlib
import functools
import ssl
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import attrs
import httpx

from soapbatch.errors import UsageError
from soapbatch.transport.connection import (
    Connection,
    Head,
    Origin,
    Target,
    TlsContext,
    check_loop,
    closed,
    connection_to,
    read_proxy,
)
from soapbatch.transport.error_mapping import transport_error
from soapbatch.transport.sending import Body, HttpRequest, Progress, finished

# As many calls can be on the way at once. More do not help: over a loopback socket, 256 callers cost about as much CPU
# a call with 16 lanes as with 64 or 256.
MAX_CONNECTIONS: Final = 64
# Seconds. Below what closes idle connections in front of a NetServer (IIS 120, nginx 75, AWS load balancers 60), so
# that it is the client who closes; and above the pause between two looks at a job.
KEEP_ALIVE: Final = 30.0


@attrs.define(eq=False)
class _Lane:
    """One connection, or the right to open one.

    Attributes:
        origin: where it leads.
        connection: None until it is opened.
        idle_since: by the clock of the loop; meaningful while idle.
    """

    origin: Origin
    connection: Connection | None = None
    idle_since: float = 0.0

    async def close(self) -> None:
        """Close the connection, in whatever state it is."""
        if self.connection is not None:
            await self.connection.aclose()


class ConnectionPool:
    """Sends each request over a lane of its own: see the module. The default.

    Idle lanes are taken last-in first-out, so that as few as possible stay in use; requests that find none wait
    first-in first-out. A lane whose request ended in any way but cleanly is closed and never used again.
    No cookies are kept, no redirects followed. It serves one event loop: the one of its first request.
    """

    def __init__(
        self,
        *,
        max_connections: int = MAX_CONNECTIONS,
        keep_alive: float = KEEP_ALIVE,
        verify: bool | ssl.SSLContext = True,
        proxy: str | httpx.Proxy | None = None,
        trust_env: bool = True,
    ) -> None:
        """Set up; nothing is opened or read before the first request.

        Args:
            max_connections: how many requests may be on the way at once; more wait.
            keep_alive: seconds after which an idle connection is closed.
            verify: True for the CA certificates that httpx brings, or an `ssl.SSLContext` with others (and with a
                client certificate, if need be). False accepts every certificate: for tests.
            proxy: URL of a proxy for everything, or an `httpx.Proxy`.
            trust_env: whether HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR hold,
                as they do for httpx.

        Raises:
            UsageError: a value that cannot be used.
        """
        if max_connections < 1:
            raise UsageError("max_connections must be at least 1")
        self._max_connections = max_connections
        self._keep_alive = keep_alive
        self._tls = TlsContext(verify, trust_env)
        self._proxy = read_proxy(proxy)
        self._target = functools.lru_cache(maxsize=64)(Target.of)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._in_use = 0
        self._idle: list[_Lane] = []
        # A waiter is handed an idle lane, or None for the right to open one.
        self._waiters: deque[asyncio.Future[_Lane | None]] = deque()
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, request: HttpRequest, progress: Progress) -> "LaneReply":
        """Send `request` once; see `Transport.send`.

        Raises:
            UsageError: called from another event loop; certificates or proxy settings that cannot be used.
        """
        self._enter()
        progress.phase = "queueing"
        try:
            target = self._target(request.url)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            failure = transport_error(error, phase=progress.phase, is_sent=False, url=request.url)
        else:
            lane = await self._acquire(target.origin)
            try:
                head = await self._exchange(lane, target, request, progress)
            except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
                failure = transport_error(error, phase=progress.phase, is_sent=progress.sent, url=request.url)
            except BaseException:
                await finished(self._discard(lane))
                raise
            else:
                return LaneReply(self, lane, head, progress, request.url)
            await finished(self._discard(lane))
        raise failure

    async def aclose(self) -> None:
        """Close the idle lanes, and let requests that wait for one end in ClientClosed. Idempotent.

        A lane in use is closed when its reply is.
        """
        self._is_closed = True
        if self._loop is None:
            return
        check_loop(self._loop)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(closed())
        while self._idle:
            self._close_soon(self._idle.pop())
        await finished(self._drain())

    # --- A request ----------------------------------------------------------------------------------------------

    async def _exchange(self, lane: _Lane, target: Target, request: HttpRequest, progress: Progress) -> Head:
        """Send `request` over `lane`, opening it if need be, and return the head of the answer."""
        if lane.connection is not None and not lane.connection.is_usable():
            await lane.close()
            lane.connection = None
        if lane.connection is None:
            context = await self._tls.get(target.url.scheme)
            lane.connection = connection_to(target, context, self._proxy, trust_env=self._tls.trust_env)
        return await lane.connection.send(target, request, progress)

    async def give_back(self, lane: _Lane, body: Body) -> None:
        """Take `lane` back from a reply; it is kept only if the body was read to its end and it closes well."""
        is_clean = False
        try:
            if body.is_complete:
                with contextlib.suppress(Exception):
                    await body.aclose()
                    is_clean = not self._is_closed
        finally:
            if is_clean:
                self._pass_on(lane)
            else:
                await finished(self._discard(lane, body))

    # --- The lanes ----------------------------------------------------------------------------------------------

    def _enter(self) -> None:
        """Refuse a closed transport and a foreign loop."""
        if self._is_closed:
            raise closed()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        check_loop(self._loop)

    async def _acquire(self, origin: Origin) -> _Lane:
        """Return a lane to `origin`, waiting for one if all are in use."""
        if self._in_use < self._max_connections:
            self._in_use += 1
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index].origin == origin:
                    return self._idle.pop(index)
            if self._in_use + len(self._idle) > self._max_connections:
                self._close_soon(self._idle.pop(0))
            return _Lane(origin)
        waiter: asyncio.Future[_Lane | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            lane = await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
            elif waiter.exception() is None:
                self._pass_on(waiter.result())
            raise
        if lane is not None and lane.origin == origin:
            return lane
        if lane is not None:
            self._close_soon(lane)
        return _Lane(origin)

    def _pass_on(self, lane: _Lane | None) -> None:
        """Hand `lane`, or the right to open one, to whoever has waited longest; or keep it."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(lane)
                return
        self._in_use -= 1
        if lane is not None:
            self._keep(lane)

    def _keep(self, lane: _Lane) -> None:
        """Keep an idle lane for `keep_alive` seconds."""
        if self._is_closed:
            self._close_soon(lane)
            return
        loop = asyncio.get_running_loop()
        lane.idle_since = loop.time()
        self._idle.append(lane)
        if self._timer is None:
            self._timer = loop.call_later(self._keep_alive, self._expire)

    def _expire(self) -> None:
        """Close the lanes that have been idle for long, and come back for the next."""
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._idle and self._idle[0].idle_since + self._keep_alive <= loop.time():
            self._close_soon(self._idle.pop(0))
        if self._idle:
            self._timer = loop.call_at(self._idle[0].idle_since + self._keep_alive, self._expire)

    async def _discard(self, lane: _Lane, body: Body | None = None) -> None:
        """Close a lane that was in use, and pass on the right to open another."""
        try:
            await lane.close()
            if body is not None:
                await body.unwind()
        finally:
            self._pass_on(None)

    def _close_soon(self, lane: _Lane) -> None:
        """Close an idle lane without waiting for it."""
        task = asyncio.get_running_loop().create_task(lane.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _drain(self) -> None:
        """Wait for lanes that are being closed."""
        while self._closing:
            await asyncio.wait(self._closing)


class LaneReply:
    """An answer that came over a lane; see `HttpReply`."""

    def __init__(self, lanes: ConnectionPool, lane: _Lane, head: Head, progress: Progress, url: str) -> None:
        """Wrap the answer whose `head` came over `lane`; its body is still to be read."""
        self._lanes = lanes
        self._lane: _Lane | None = lane
        self._body = Body(head.body, progress, url)
        self.status = head.status
        self.headers = head.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the body; see `HttpReply.chunks`."""
        return self._body

    async def aclose(self) -> None:
        """Give the lane back, or close it; see `HttpReply.aclose`."""
        lane, self._lane = self._lane, None
        if lane is not None:
            await self._lanes.give_back(lane, self._body)
