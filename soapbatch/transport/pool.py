"""The default transport: a pool of connections, each of which serves one request at a time.

Why a pool of our own. httpx's pool looks at every connection and every waiting request for each request, so that its
cost grows with the square of the number of waiting requests; and a request that is cancelled at the wrong moment stays
in it for good. Here nothing is shared that a cancellation could spoil, and a connection is found at the same cost
however many there are.

Rule 1. A connection is used again only after a response that was read to its end, over a socket with nothing in it.
Rule 2. Idle connections are taken last-in first-out, so that as few as possible stay open.
Rule 3. Requests that find no free connection wait first-in first-out.
"""

import asyncio
import ssl
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from itertools import count
from types import TracebackType
from typing import Any, Final, Self, cast

import attrs
import httpx

from soapbatch.errors import ClientClosed, UsageError
from soapbatch.model import Secret, is_seconds
from soapbatch.system import retrieve_exception, wait_until_done
from soapbatch.transport.connection import Connection, Origin, TlsContext, origin_of
from soapbatch.transport.proxies import environment_proxy, read_proxy
from soapbatch.transport.send_state import EXTENSION, SendState
from soapbatch.transport.socket_stream import within

# More connections do not help: over a loopback socket, 256 callers cost about as much CPU a call with 16 connections as
# with 64 or 256.
MAX_CONNECTIONS: Final = 64
# Seconds. Less than servers and proxies in front of a NetServer wait (IIS 120, nginx 75, AWS load balancers 60): the
# client closes first; more than the pause between two readings of a job.
KEEP_ALIVE: Final = 30.0


@attrs.define(eq=False)
class _Slot:
    """The right to one connection, and the connection once it is opened.

    Attributes:
        origin: of the connection.
        connection: None until a request needs it.
        idle_since: by the clock of the loop; meaningful while idle.
    """

    origin: Origin
    connection: Connection | None = None
    idle_since: float = 0.0

    async def close(self) -> None:
        """Close the connection, in whatever state it is."""
        if self.connection is not None:
            await self.connection.aclose()


@attrs.define(eq=False)
class _Waiter:
    """A request that waits for a slot.

    Attributes:
        number: how many requests had waited before it.
    """

    origin: Origin
    max_idle: float
    slot: asyncio.Future[_Slot] = attrs.field(factory=lambda: asyncio.get_running_loop().create_future())
    number: int = attrs.field(factory=count().__next__)


@attrs.define(eq=False)
class _Queue:
    """The requests that wait, by origin, so that those to a busy host need not be passed one by one."""

    _by_origin: dict[Origin, OrderedDict[_Waiter, None]] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self._by_origin.values()))

    def add(self, waiter: _Waiter) -> None:
        self._by_origin.setdefault(waiter.origin, OrderedDict())[waiter] = None

    def remove(self, waiter: _Waiter) -> None:
        """Remove a request, if it is there."""
        queue = self._by_origin.get(waiter.origin, OrderedDict())
        queue.pop(waiter, None)
        if not queue:
            self._by_origin.pop(waiter.origin, None)

    def pop(self, has_room: Callable[[Origin], bool]) -> _Waiter | None:
        """Remove and return the request that has waited longest of those whose origin has room; None: there is none."""
        heads = [next(iter(queue)) for origin, queue in self._by_origin.items() if has_room(origin)]
        first = min(heads, key=lambda waiter: waiter.number, default=None)
        if first is not None:
            self.remove(first)
        return first


class ConnectionPool(httpx.AsyncBaseTransport):
    """A pool of HTTP/1.1 connections: the default transport of `Client`, and a transport for any `httpx.AsyncClient`.

    No cookies are kept and no redirects followed. A request's body is sent as a whole. A pool serves one event loop:
    the one of its first request. It honours httpx's timeouts (the extension `timeout`) and raises httpx's exceptions.
    """

    def __init__(
        self,
        *,
        max_connections: int = MAX_CONNECTIONS,
        max_per_host: int | None = None,
        keep_alive: float = KEEP_ALIVE,
        verify: bool | ssl.SSLContext = True,
        proxy: str | Secret | httpx.Proxy | None = None,
        trust_env: bool = True,
    ) -> None:
        """Set up; nothing is opened or read before the first request.

        Args:
            max_connections: how many requests may be on their way at once; more wait.
            max_per_host: how many of them to one host and port; None: all of them.
            keep_alive: seconds after which an idle connection is closed.
            verify: True for the CA certificates that httpx brings, or an `ssl.SSLContext` with others (and with a
                client certificate, if need be). False accepts every certificate: for tests, with a warning.
            proxy: URL of a proxy for everything, or an `httpx.Proxy`; http, https, or socks5 (`httpx[socks]`).
            trust_env: whether HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR hold.

        Raises:
            UsageError: a value that cannot be used.
        """
        proxy = Secret.wrap(proxy)  # before anything can fail: a traceback may show this frame
        if max_connections < 1 or (max_per_host is not None and max_per_host < 1):
            raise UsageError("max_connections and max_per_host must be at least 1")
        if not is_seconds(keep_alive):
            raise UsageError("keep_alive is a number of seconds, up to a year")
        if verify is False:
            warnings.warn("verify=False accepts forged certificates: it is for tests", RuntimeWarning, stacklevel=2)
        self._max_connections = max_connections
        self._max_per_host = max_per_host or max_connections
        self._is_in_block = False
        self._keep_alive = keep_alive
        self._tls = TlsContext(verify, trust_env)
        self._trust_env = trust_env
        self._proxy = read_proxy(proxy)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._in_use = 0
        self._in_use_at = Counter[Origin]()
        self._idle: list[_Slot] = []
        self._waiting = _Queue()
        self._closing: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response, whose body is still to be read and which must be closed.

        Raises:
            httpx.TransportError: no connection, or one that broke.
            httpx.InvalidURL: a URL without a host.
            ClientClosed: the pool is closed.
            UsageError: called from another event loop; certificates or proxy settings that cannot be used.
        """
        state = request.extensions.get(EXTENSION) or SendState()
        state.phase, state.sent = "queueing", False
        self._enter()
        body = b"".join([part async for part in cast("httpx.AsyncByteStream", request.stream)])
        timeouts: Mapping[str, float | None] = request.extensions.get("timeout") or {}
        slot = await within(
            timeouts.get("pool"), httpx.PoolTimeout, self._acquire(origin_of(request.url), state.max_idle)
        )
        try:
            if slot.connection is not None and not slot.connection.is_usable():
                await slot.close()
                slot.connection = None
            connection = slot.connection
            if connection is None:
                connection = slot.connection = self._connection_to(slot.origin)
                await within(timeouts.get("connect"), httpx.ConnectTimeout, connection.open(state))
            await connection.send(request, body, state, timeouts.get("write"))
            head = connection.receive_head()
            status, headers, version = await within(timeouts.get("read"), httpx.ReadTimeout, head)
        except BaseException:
            await _finish(self._discard(slot))
            raise
        stream = PooledStream(self, slot, connection, timeouts.get("read"))
        return httpx.Response(status, headers=headers, stream=stream, extensions={"http_version": b"HTTP/" + version})

    async def __aenter__(self) -> Self:
        """Enter a block that the pool belongs to: clients leave the pool open, and leaving the block closes it."""
        self._is_in_block = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close the pool."""
        await self.aclose()

    async def aclose_with_client(self) -> None:
        """Close the pool for a client that ends, unless the pool belongs to a block of its own."""
        if not self._is_in_block:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the idle connections, and end requests that wait for one with ClientClosed. Idempotent.

        A connection in use is closed when its response is.

        Raises:
            UsageError: called from another event loop; nothing is closed.
        """
        if self._loop is not None:
            self._check_loop()
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while (waiter := self._waiting.pop(lambda _: True)) is not None:
            if not waiter.slot.done():
                waiter.slot.set_exception(_closed())
        while self._idle:
            self._close_soon(self._idle.pop())
        await _finish(self._wait_for_closing())

    async def release(self, slot: _Slot, *, is_reusable: bool) -> None:
        """Take a slot back from a response; the connection is kept if it may be used again, else closed."""
        if is_reusable and not self._is_closed:
            self._give_back(slot)
        else:
            await _finish(self._discard(slot))

    def _enter(self) -> None:
        """Refuse a closed pool and a foreign event loop."""
        if self._is_closed:
            raise _closed()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._check_loop()

    def _check_loop(self) -> None:
        if self._loop is not asyncio.get_running_loop():
            raise UsageError("this client belongs to another event loop; make one client for each, inside of it")

    def proxy_for(self, url: str) -> str | None:
        """Return the host of the proxy that a request to `url` would go through; None: there is none.

        Raises:
            UsageError: proxy settings that cannot be used.
            httpx.InvalidURL: `url` is none.
        """
        proxy = self._proxy_of(origin_of(httpx.URL(url)))
        return None if proxy is None else proxy.url.host

    def _proxy_of(self, origin: Origin) -> httpx.Proxy | None:
        if self._proxy is not None or not self._trust_env:
            return self._proxy
        scheme, host, port = origin
        return environment_proxy(scheme.decode(), host.decode(), port)

    def _connection_to(self, origin: Origin) -> Connection:
        return Connection(origin, self._tls, self._proxy_of(origin))

    async def _acquire(self, origin: Origin, max_idle: float) -> _Slot:
        """Return a slot for `origin`, waiting for one if all are in use.

        Args:
            origin: where the request goes.
            max_idle: seconds that the connection may have been idle.
        """
        if self._has_room(origin):
            return self._take(origin, max_idle)
        waiter = _Waiter(origin, max_idle)
        self._waiting.add(waiter)
        try:
            return await waiter.slot
        except asyncio.CancelledError:
            if waiter.slot.cancelled():
                self._waiting.remove(waiter)
            elif waiter.slot.exception() is None:
                self._give_back(waiter.slot.result())
            raise

    def _has_room(self, origin: Origin) -> bool:
        """Return whether another request to `origin` may have a connection now."""
        return self._in_use < self._max_connections and self._in_use_at[origin] < self._max_per_host

    def _take(self, origin: Origin, max_idle: float) -> _Slot:
        """Return the idle slot of `origin` that was used last, or a new one."""
        self._in_use += 1
        self._in_use_at[origin] += 1
        oldest = asyncio.get_running_loop().time() - max_idle
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index].origin == origin and self._idle[index].idle_since >= oldest:
                return self._idle.pop(index)
        if self._in_use + len(self._idle) > self._max_connections:
            self._close_soon(self._idle.pop(0))
        return _Slot(origin)

    def _give_back(self, slot: _Slot) -> None:
        """Take a slot back: park its connection, if it has one, and serve the requests that wait."""
        self._in_use -= 1
        self._in_use_at[slot.origin] -= 1
        if not self._in_use_at[slot.origin]:
            del self._in_use_at[slot.origin]
        if slot.connection is not None:
            self._park(slot)
        while (waiter := self._waiting.pop(self._has_room)) is not None:
            if not waiter.slot.done():
                waiter.slot.set_result(self._take(waiter.origin, waiter.max_idle))

    def _park(self, slot: _Slot) -> None:
        """Keep an idle connection for `keep_alive` seconds."""
        if self._is_closed:
            self._close_soon(slot)
            return
        loop = asyncio.get_running_loop()
        slot.idle_since = loop.time()
        self._idle.append(slot)
        if self._timer is None:
            self._timer = loop.call_later(self._keep_alive, self._expire)

    def _expire(self) -> None:
        """Close the connections that have been idle for `keep_alive` seconds, and come back for the next."""
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._idle and self._idle[0].idle_since + self._keep_alive <= loop.time():
            self._close_soon(self._idle.pop(0))
        if self._idle:
            self._timer = loop.call_at(self._idle[0].idle_since + self._keep_alive, self._expire)

    async def _discard(self, slot: _Slot) -> None:
        """Close a connection that was in use, and give its slot back."""
        try:
            await slot.close()
        finally:
            slot.connection = None
            self._give_back(slot)

    def _close_soon(self, slot: _Slot) -> None:
        """Close an idle connection without waiting for it."""
        task = asyncio.get_running_loop().create_task(slot.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _wait_for_closing(self) -> None:
        while self._closing:
            await asyncio.wait(self._closing)


class PooledStream(httpx.AsyncByteStream):
    """The body of a response, once, as it arrives. An iterator, not a generator: nothing is left to be finalized."""

    def __init__(self, pool: ConnectionPool, slot: _Slot, connection: Connection, read_timeout: float | None) -> None:
        """Read the body from `connection`, which goes back to `pool` with its `slot`."""
        self._pool = pool
        self._slot: _Slot | None = slot
        self._connection = connection
        self._read_timeout = read_timeout
        self._is_complete = False

    def __aiter__(self) -> "PooledStream":
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece.

        Raises:
            httpx.StreamClosed: the response was closed before.
        """
        if self._slot is None:
            raise httpx.StreamClosed
        piece = None
        if not self._is_complete:
            piece = await within(self._read_timeout, httpx.ReadTimeout, self._connection.read())
        if piece is None:
            self._is_complete = True
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Give the connection back, or close it if the body was not read to its end. Idempotent.

        A cancellation while it runs is raised after it is done.
        """
        slot, self._slot = self._slot, None
        if slot is not None:
            await self._pool.release(slot, is_reusable=self._connection.is_idle())


def _closed() -> ClientClosed:
    return ClientClosed(
        "the transport of this client is closed: the request was not sent. A client closes its transport: to share a "
        "pool, use it as a block, 'async with ConnectionPool() as pool'"
    )


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, which closes something, to its end; a cancellation that arrives meanwhile is raised after it.

    What fails in closing is not reported: the connection is gone either way.
    """
    task = asyncio.ensure_future(work)
    try:
        await wait_until_done(task)
    finally:
        retrieve_exception(task)
