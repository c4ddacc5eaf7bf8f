"""What a lane is made of: one HTTP connection that serves one request at a time, direct or through a proxy."""

import asyncio
import contextlib
import functools
import ssl
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import attrs
import httpcore
import httpx

from soapbatch.errors import ClientClosed, UsageError
from soapbatch.system import retrieve_exception
from soapbatch.transport.error_mapping import stale_answer
from soapbatch.transport.sending import HttpRequest, Pieces, Progress, Trace, httpx_headers
from soapbatch.transport.socket_stream import Wire

Origin: TypeAlias = tuple[str, str, int | None]
"""Scheme, host and port, which decide over which connections a request may go."""

_HIGHEST_PORT: Final = 65535


@attrs.frozen
class Target:
    """Where a request goes, taken apart once.

    Attributes:
        url: in httpx's form.
        wire_url: in httpcore's.
        host: the header.
        origin: of it.
    """

    url: httpx.URL
    wire_url: httpcore.URL
    host: bytes
    origin: Origin

    @classmethod
    def of(cls, text: str) -> "Target":
        """Take `text` apart. Raises httpx.InvalidURL and httpx.UnsupportedProtocol."""
        url = httpx.URL(text)
        if url.scheme not in {"http", "https"}:
            raise httpx.UnsupportedProtocol("neither http nor https")
        try:
            is_somewhere = bool(url.host) and (url.port or 1) <= _HIGHEST_PORT
        except UnicodeError:  # of a name that is not IDNA
            is_somewhere = False
        if not is_somewhere:
            raise httpx.InvalidURL("no host, or no port")
        wire_url = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        return cls(url, wire_url, url.netloc, (url.scheme, url.host, url.port))


@attrs.frozen
class Head:
    """The head of an answer.

    Attributes:
        status: of HTTP.
        headers: by lower-case name.
        body: still to be read.
    """

    status: int
    headers: Mapping[str, str]
    body: Pieces


class Connection(Protocol):
    """One connection; it is opened by its first request."""

    def is_usable(self) -> bool:
        """Return whether it may serve another request, after one that ended well.

        Not if it was closed, if something came over it that nobody asked for, or if a request has not left it yet.
        """
        ...

    async def send(self, target: Target, request: HttpRequest, progress: Progress) -> Head:
        """Send a request and return the head of its answer.

        Raises what httpx and httpcore raise; and ConnectionLost for an answer to an earlier request.
        """
        ...

    async def aclose(self) -> None:
        """Close it, in whatever state it is."""
        ...


def connection_to(target: Target, context: ssl.SSLContext, proxy: httpx.Proxy | None, *, trust_env: bool) -> Connection:
    """Return a connection for requests to the origin of `target`; `trust_env`: through the environment's proxy, if any.

    Raises:
        UsageError: proxy settings that cannot be used.
    """
    if proxy is None and not (trust_env and has_proxies()):
        return _Direct(target, context)
    return _Proxied(context, proxy, trust_env=trust_env)


class _Direct:
    """httpcore's connection, without the pool around it."""

    def __init__(self, target: Target, context: ssl.SSLContext) -> None:
        self._context = context if target.url.scheme == "https" else None
        self._wire = Wire()
        self._http: httpcore.AsyncHTTP11Connection | None = None
        self.aclose = self._wire.aclose

    def is_usable(self) -> bool:
        http = self._http
        assert http is not None  # noqa: S101 - it has served a request
        # What came behind the last answer stays in h11, which takes it for the beginning of the next one.
        surplus, _ = http._h11_state.trailing_data  # noqa: SLF001 - httpcore does not tell
        return http.is_available() and not http.has_expired() and not surplus and not self._wire.is_sending()

    async def send(self, target: Target, request: HttpRequest, progress: Progress) -> Head:
        self._wire.progress = progress
        if self._http is None:
            origin = target.wire_url.origin
            await self._wire.connect(origin.host.decode("ascii"), origin.port, self._context)
            self._http = httpcore.AsyncHTTP11Connection(origin, self._wire)
        response = await self._http.handle_async_request(
            httpcore.Request("POST", target.wire_url, headers=_headers(target, request), content=request.body)
        )
        progress.phase = "reading"
        return Head(response.status, _joined(response.headers), response.stream)  # type: ignore[arg-type]


class _Proxied:
    """An httpx transport with a single connection: it knows proxies."""

    def __init__(self, context: ssl.SSLContext, proxy: httpx.Proxy | None, *, trust_env: bool) -> None:
        self._stream: Any = None
        self._carry: Callable[[httpx.Request], Awaitable[httpx.Response]]
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
        try:
            if proxy is None:
                # Only httpx's client knows how to read the environment; it costs a little more for each request.
                client = httpx.AsyncClient(verify=context, limits=limits, timeout=None)  # noqa: S113 - the call has one
                self._carry = functools.partial(client.send, stream=True, follow_redirects=False)
                self._shut = client.aclose
            else:
                transport = httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy, trust_env=trust_env)
                self._carry, self._shut = transport.handle_async_request, transport.aclose
        except (ImportError, ValueError, httpx.InvalidURL):
            failure = UsageError(
                "the proxy settings cannot be used; check proxy=, HTTP_PROXY, HTTPS_PROXY and ALL_PROXY "
                "(a socks5 proxy needs: pip install 'httpx[socks]')"
            )
        else:
            return
        raise failure

    def is_usable(self) -> bool:
        return True  # its pool of one sees to it

    async def send(self, target: Target, request: HttpRequest, progress: Progress) -> Head:
        trace = Trace(progress, self._connected)
        response = await self._carry(
            httpx.Request(
                "POST",
                target.url,
                content=request.body,
                headers=httpx_headers(request),
                extensions={"trace": trace},
            )
        )
        if trace.is_stale:
            raise stale_answer(request.url)
        return Head(response.status_code, response.headers, response.stream)  # type: ignore[arg-type]

    async def aclose(self) -> None:
        # httpcore 1.0.9 forgets the socket of a TLS handshake that is cancelled: that one is closed by itself.
        for close in filter(None, (self._stream and self._stream.aclose, self._shut)):
            with contextlib.suppress(Exception):
                await close()

    def _connected(self, stream: object) -> None:
        """Take note of the stream, so that it can be closed whatever httpcore makes of it."""
        self._stream = stream


def _headers(target: Target, request: HttpRequest) -> list[tuple[bytes | str, bytes | str]]:
    """Return the headers of `request` with those that HTTP needs, unless it brings them itself."""
    headers = httpx_headers(request)
    names = {name.lower() for name in headers}
    found: list[tuple[bytes | str, bytes | str]] = [*headers.items()]
    if "host" not in names:
        found.insert(0, ("Host", target.host))
    if names.isdisjoint({"content-length", "transfer-encoding"}):
        found.append(("Content-Length", str(len(request.body))))
    return found


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name; values of the same name as one, as RFC 9110 allows."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


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
            self._made.add_done_callback(retrieve_exception)
        try:
            return self._made.result() if self._made.done() else await asyncio.shield(self._made)
        except OSError:
            self._made = None
            failure = UsageError("the CA certificates cannot be read; check SSL_CERT_FILE and SSL_CERT_DIR")
        raise failure


def check_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Raise UsageError in any event loop but `loop`, to which a transport belongs."""
    if loop is not asyncio.get_running_loop():
        raise UsageError("this client belongs to another event loop; make one client for each, inside of it")


def closed() -> ClientClosed:
    """Return the error for a request after, or during, closing a transport."""
    return ClientClosed("this client is closed; make a new one")


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
