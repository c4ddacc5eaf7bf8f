"""The default transport: lanes, each one connection, as many as are needed up to a bound.

httpx's own pool looks at every connection and every waiting request for each request, so that its cost grows
with the square of what waits; and a request that is cancelled at the wrong moment stays in it for good. A lane is
an httpx transport with a single connection that serves one request at a time: nothing is shared that could be
spoilt, and choosing one costs the same however many there are.
"""

import asyncio
import contextlib
import functools
import ssl
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, cast

import attrs
import httpx

from soapbatch.errors import ClientClosed, UsageError
from soapbatch.failures import stale_answer, transport_error
from soapbatch.transport import Body, HttpRequest, Progress, Trace, finished, httpx_headers

# As many calls can be on the way at once. More do not help: on one machine, over a loopback socket, 256 callers cost
# 700 us of CPU a call with 64 lanes, 870 with 16 and 990 with 256.
MAX_CONNECTIONS: Final = 64
# Seconds. Below what closes idle connections in front of a NetServer (IIS 120, nginx 75, AWS load balancers 60), so
# that it is the client who closes; and above the pause between two looks at a job.
KEEP_ALIVE: Final = 30.0

Origin = tuple[str, str, int | None]


@attrs.define(eq=False)
class _Lane:
    """One connection, or the right to open one.

    Attributes:
        origin: scheme, host and port that it leads to.
        carry: sends a request; None until it is opened.
        shut: closes it; None until it is opened.
        stream: httpcore's network stream, from when its socket is connected.
        idle_since: by the clock of the loop; meaningful while idle.
    """

    origin: Origin
    carry: Callable[[httpx.Request], Awaitable[httpx.Response]] | None = None
    shut: Callable[[], Awaitable[None]] | None = None
    stream: Any = None
    idle_since: float = 0.0

    def connected(self, stream: object) -> None:
        """Take note of the stream, so that it can be closed whatever httpcore makes of it."""
        self.stream = stream

    async def close(self) -> None:
        """Close the connection, in whatever state it is."""
        # httpcore 1.0.9 forgets the socket of a TLS handshake that is cancelled: that one is closed by itself.
        closers = (self.stream.aclose if self.stream is not None else None, self.shut)
        for close in filter(None, closers):
            with contextlib.suppress(Exception):
                await close()


class TlsContext:
    """The TLS context that all connections share, made when the first needs it.

    Attributes:
        trust_env: whether SSL_CERT_FILE and SSL_CERT_DIR hold.
    """

    def __init__(self, verify: bool | ssl.SSLContext, trust_env: bool) -> None:  # noqa: FBT001 - as httpx has them
        """Take the arguments of httpx."""
        self._verify = verify
        self.trust_env = trust_env
        self._made: asyncio.Future[ssl.SSLContext] | None = None

    async def get(self, scheme: str) -> ssl.SSLContext:
        """Return the context for connections of `scheme`.

        It is made once, in a thread: reading the CA certificates takes tens of milliseconds.

        Raises:
            UsageError: the certificates cannot be read.
        """
        if isinstance(self._verify, ssl.SSLContext):
            return self._verify
        if scheme != "https":
            # It is never used, trusts nobody, and costs next to nothing.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._made is None:
            make = functools.partial(httpx.create_ssl_context, verify=self._verify, trust_env=self.trust_env)
            self._made = asyncio.get_running_loop().run_in_executor(None, make)
            # Everybody may have stopped waiting when it fails: then nobody misses its exception.
            self._made.add_done_callback(lambda made: made.cancelled() or made.exception())
        try:
            return self._made.result() if self._made.done() else await asyncio.shield(self._made)
        except OSError:
            self._made = None
            failure = UsageError("the CA certificates cannot be read; check SSL_CERT_FILE and SSL_CERT_DIR")
        raise failure


class LaneTransport:
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
            message = "max_connections must be at least 1"
            raise UsageError(message)
        self._max_connections = max_connections
        self._keep_alive = keep_alive
        self._tls = TlsContext(verify, trust_env)
        self._proxy = read_proxy(proxy)
        self._target = functools.lru_cache(maxsize=64)(_target)
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
            url, origin = self._target(request.url)
        except httpx.InvalidURL as error:
            failure = transport_error(error, phase=progress.phase, is_sent=False, url=request.url)
        else:
            lane = await self._acquire(origin)
            trace = Trace(progress, lane.connected)
            try:
                response = await self._exchange(lane, url, request, trace)
            except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
                failure = transport_error(error, phase=progress.phase, is_sent=progress.sent, url=request.url)
            except BaseException:
                await finished(self._discard(lane))
                raise
            else:
                if not trace.is_stale:
                    return LaneReply(self, lane, response, progress, request.url)
                failure = stale_answer(request.url)
            await finished(self._discard(lane))
        raise failure

    async def aclose(self) -> None:
        """Close the idle lanes, and let requests that wait for one end in ClientClosed. Idempotent.

        A lane in use is closed when its reply is.
        """
        self._is_closed = True
        if self._loop is None:
            return
        self._check_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(_closed())
        while self._idle:
            self._close_soon(self._idle.pop())
        await finished(self._drain())

    # --- A request ----------------------------------------------------------------------------------------------

    async def _exchange(self, lane: _Lane, url: httpx.URL, request: HttpRequest, trace: Trace) -> httpx.Response:
        """Send `request` over `lane`, opening it if need be, and return the head of the answer."""
        if lane.carry is None:
            self._open(lane, await self._tls.get(url.scheme))
        carry = cast("Callable[[httpx.Request], Awaitable[httpx.Response]]", lane.carry)
        return await carry(
            httpx.Request(
                "POST", url, content=request.body, headers=httpx_headers(request), extensions={"trace": trace}
            )
        )

    def _open(self, lane: _Lane, context: ssl.SSLContext) -> None:
        """Give `lane` an httpx transport; the connection itself is opened by the first request."""
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
        try:
            if self._proxy is None and self._tls.trust_env and has_proxies():
                # Only httpx's client knows how to read the environment; it costs a little more for each request.
                client = httpx.AsyncClient(verify=context, limits=limits, timeout=None)  # noqa: S113 - the call has one
                lane.carry = functools.partial(client.send, stream=True, follow_redirects=False)
                lane.shut = client.aclose
            else:
                transport = httpx.AsyncHTTPTransport(
                    verify=context, limits=limits, proxy=self._proxy, trust_env=self._tls.trust_env
                )
                lane.carry, lane.shut = transport.handle_async_request, transport.aclose
        except (ImportError, ValueError, httpx.InvalidURL):
            failure = UsageError(
                "the proxy settings cannot be used; check proxy=, HTTP_PROXY, HTTPS_PROXY and ALL_PROXY "
                "(a socks5 proxy needs: pip install 'httpx[socks]')"
            )
        else:
            return
        raise failure

    async def give_back(self, lane: _Lane, response: httpx.Response, body: Body) -> None:
        """Take `lane` back from a reply; it is kept only if the body was read to its end and it closes well."""
        is_clean = False
        try:
            if body.is_complete:
                with contextlib.suppress(Exception):
                    await cast("httpx.AsyncByteStream", response.stream).aclose()
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
            raise _closed()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._check_loop()

    def _check_loop(self) -> None:
        """Refuse a loop other than the one of the first request."""
        if self._loop is not asyncio.get_running_loop():
            message = "this client belongs to another event loop; make one client for each, inside of it"
            raise UsageError(message)

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

    def __init__(
        self, lanes: LaneTransport, lane: _Lane, response: httpx.Response, progress: Progress, url: str
    ) -> None:
        """Wrap `response`, whose body is still to be read."""
        self._lanes = lanes
        self._lane: _Lane | None = lane
        self._response = response
        self._body = Body(response, progress, url)
        self.status = response.status_code
        self.headers = response.headers

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the body; see `HttpReply.chunks`."""
        return self._body

    async def aclose(self) -> None:
        """Give the lane back, or close it; see `HttpReply.aclose`."""
        lane, self._lane = self._lane, None
        if lane is not None:
            await self._lanes.give_back(lane, self._response, self._body)


def _target(url: str) -> tuple[httpx.URL, Origin]:
    """Return `url` parsed, and the origin that decides which lanes lead to it."""
    parsed = httpx.URL(url)
    return parsed, (parsed.scheme, parsed.host, parsed.port)


def read_proxy(proxy: str | httpx.Proxy | None) -> httpx.Proxy | None:
    """Return `proxy` as httpx has it."""
    if not isinstance(proxy, str):
        return proxy
    try:
        return httpx.Proxy(proxy)
    except (ValueError, httpx.InvalidURL):
        failure = UsageError("proxy= is not the URL of a proxy; give one like http://proxy.example.com:3128")
    raise failure


def has_proxies() -> bool:
    """Tell whether the environment names a proxy: the question that httpx asks before it reads the rest."""
    proxies = urllib.request.getproxies()
    return any(proxies.get(scheme) for scheme in ("http", "https", "all"))


def _closed() -> ClientClosed:
    """Return the error for a request after, or during, closing."""
    return ClientClosed("this client is closed; make a new one")
