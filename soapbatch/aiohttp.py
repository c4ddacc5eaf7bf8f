"""The transport of the extra `soapbatch[aiohttp]`: httpx requests over aiohttp's connector.

For services that use aiohttp already, or need something of its connector. It is about as fast as the default.
"""

import asyncio
import contextvars
import functools
import importlib
import ssl
from typing import TYPE_CHECKING, Any, Final

import httpx

from soapbatch.connections import TlsContext, check_loop, closed, has_proxies, read_proxy
from soapbatch.errors import UsageError
from soapbatch.failures import stale_answer, transport_error
from soapbatch.lanes import KEEP_ALIVE, MAX_CONNECTIONS
from soapbatch.transport import ClientReply, HttpRequest, Progress, Transport, httpx_headers

if TYPE_CHECKING:
    import aiohttp
    import httpx_aiohttp

# aiohttp hands its signals no word of which httpx request they are about; they run in the task that sends it.
_signals: Final[contextvars.ContextVar["_Signals"]] = contextvars.ContextVar("soapbatch.aiohttp")


def aiohttp_transport(
    *,
    max_connections: int = MAX_CONNECTIONS,
    keep_alive: float = KEEP_ALIVE,
    verify: bool | ssl.SSLContext = True,
    proxy: str | httpx.Proxy | None = None,
    trust_env: bool = True,
) -> Transport:
    """Return a transport that uses aiohttp's connector; the arguments are those of `LaneTransport`.

    Where the environment names a proxy and `trust_env` holds, aiohttp reads it in its own way, and ~/.netrc too.

    Raises:
        UsageError: the extra is not installed, or a value that cannot be used.
    """
    try:
        importlib.import_module("httpx_aiohttp")
    except ImportError:
        failure = UsageError('this transport needs an extra: pip install "soapbatch[aiohttp]"')
    else:
        return AiohttpTransport(max_connections, keep_alive, TlsContext(verify, trust_env), read_proxy(proxy))
    raise failure


class AiohttpTransport:
    """Sends through aiohttp's connector; see `aiohttp_transport`. It serves one event loop."""

    def __init__(self, max_connections: int, keep_alive: float, tls: TlsContext, proxy: httpx.Proxy | None) -> None:
        """Set up; nothing is opened or read before the first request."""
        self._max_connections = max_connections
        self._keep_alive = keep_alive
        self._tls = tls
        self._proxy = proxy
        self._url = functools.lru_cache(maxsize=64)(httpx.URL)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transport: httpx_aiohttp.AiohttpTransport | None = None
        self._is_closed = False

    async def send(self, request: HttpRequest, progress: Progress) -> "AiohttpReply":
        """Send `request` once; see `Transport.send`."""
        if self._transport is None and not self._is_closed:
            context = await self._tls.get("https")
            if self._transport is None and not self._is_closed:
                self._transport = self._open(context)
        if self._transport is None or self._is_closed:
            raise closed()
        check_loop(self._loop)
        signals = _Signals(progress)
        token = _signals.set(signals)
        try:
            response = await self._transport.handle_async_request(
                httpx.Request("POST", self._url(request.url), content=request.body, headers=httpx_headers(request))
            )
        except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
            failure = transport_error(error, phase=progress.phase, is_sent=progress.sent, url=request.url)
        else:
            progress.phase = "reading"
            reply = AiohttpReply(response, progress, request.url)
            if signals.has_yielded:
                return reply
            _abort(response)
            await reply.aclose()
            failure = stale_answer(request.url)
        finally:
            _signals.reset(token)
        raise failure

    async def aclose(self) -> None:
        """Close every connection. Idempotent."""
        self._is_closed = True
        if self._transport is not None:
            await self._transport.aclose()

    def _open(self, context: ssl.SSLContext) -> "httpx_aiohttp.AiohttpTransport":
        """Return the transport, and make aiohttp's session, which wants a running loop."""
        import aiohttp  # noqa: PLC0415 - of the extra
        import httpx_aiohttp  # noqa: PLC0415 - of the extra

        self._loop = asyncio.get_running_loop()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._max_connections, keepalive_timeout=self._keep_alive, ssl=context
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "User-Agent"),
            # Not where there is nothing to read: aiohttp reads it for each request, in a thread.
            trust_env=self._tls.trust_env and has_proxies(),
            trace_configs=[_trace_config()],
        )
        return httpx_aiohttp.AiohttpTransport(client=session, verify=context, proxy=_as_url(self._proxy))


class AiohttpReply(ClientReply):
    """An answer that came through aiohttp; see `HttpReply`."""

    async def aclose(self) -> None:
        """Close the connection, unless aiohttp took it back at the end of the body; see `HttpReply.aclose`."""
        if not self.is_complete:
            await super().aclose()


def _abort(response: httpx.Response) -> None:
    """Close the connection of an answer to an earlier request: the true one is still to come over it.

    aiohttp may have taken it back already, and hand it to the next request, so that closing the answer is not enough.
    """
    stream: Any = response.stream
    stream._aiohttp_response._protocol.abort()  # noqa: SLF001 - there is no public way to it


class _Signals:
    """Keeps `Progress` true by aiohttp's signals, as `Trace` does by httpcore's."""

    def __init__(self, progress: Progress) -> None:
        """Write to `progress`."""
        self._progress = progress
        self.has_yielded = True

    async def connecting(self) -> None:
        """Take note that a connection is made."""
        self._progress.phase = "connecting"

    async def sending(self) -> None:
        """Take note that there is a connection, and that writing to it is the next step."""
        self._progress.phase = "sending"
        self._progress.sent = True

    async def waiting(self) -> None:
        """Take note that the head of the request was written."""
        self._progress.phase = "waiting"
        # As in `Trace`: an answer that takes no turn of the loop was there before.
        self.has_yielded = False
        asyncio.get_running_loop().call_soon(self._yielded)

    def _yielded(self) -> None:
        """Take note that the loop has turned while the answer was awaited."""
        self.has_yielded = True


def _as_url(proxy: httpx.Proxy | None) -> httpx.Proxy | None:
    """Return `proxy` with its user and password in the URL: aiohttp deprecates the way that httpx-aiohttp uses."""
    if proxy is None or proxy.auth is None:
        return proxy
    user, password = proxy.auth
    same = httpx.Proxy(proxy.url, ssl_context=proxy.ssl_context, headers=proxy.headers)
    same.url = proxy.url.copy_with(username=user, password=password)
    return same


def _trace_config() -> "aiohttp.TraceConfig":
    """Return aiohttp's signals, wired to whatever request they are about."""
    import aiohttp  # noqa: PLC0415 - of the extra

    async def connecting(*_: object) -> None:
        await _signals.get().connecting()

    async def sending(*_: object) -> None:
        await _signals.get().sending()

    async def waiting(*_: object) -> None:
        await _signals.get().waiting()

    config = aiohttp.TraceConfig()
    config.on_connection_create_start.append(connecting)
    config.on_connection_create_end.append(sending)
    config.on_connection_reuseconn.append(sending)
    config.on_request_headers_sent.append(waiting)
    return config
