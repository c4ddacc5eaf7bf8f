"""One HTTP/1.1 connection, direct or through a proxy: h11 speaks the protocol, a `SocketStream` carries its bytes."""

import asyncio
import functools
import os
import ssl
from base64 import b64encode
from http import HTTPStatus
from importlib import import_module
from typing import Any, Final, TypeAlias, cast

import h11
import httpx

from soapbatch.errors import UsageError
from soapbatch.system import retrieve_exception
from soapbatch.transport.error_mapping import TLS_ANSWER, parser_words
from soapbatch.transport.send_state import SendState
from soapbatch.transport.socket_stream import SocketStream

Origin: TypeAlias = tuple[bytes, bytes, int]
"""Scheme, host and port: which connections a request may use."""

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

_DEFAULT_PORTS: Final = {b"http": 80, b"https": 443}
_HIGHEST_PORT: Final = 65535
_DEFAULT_PROXY_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_BEGIN: Final = b"HTTP/"  # of every response
_TLS_ALERT: Final = 0x15  # the first byte of what a TLS port answers to plain HTTP
_LONGEST_HEAD: Final = 100 * 1024  # bytes of a response's head
_MOST_LINES: Final = 1000  # of a head; what h11 parses at once takes about a microsecond a line
_HEAD_PIECE: Final = 2 * 1024  # bytes of a head that h11 is given at a time, so that its lines are counted before
_STEPS_IN_A_ROW: Final = 32  # of parsing, before other tasks get their turn


def origin_of(url: httpx.URL) -> Origin:
    """Return the origin of `url`.

    Raises:
        httpx.UnsupportedProtocol: it is neither http nor https.
        httpx.InvalidURL: it has no host, or its port is none.
    """
    if url.raw_scheme not in _DEFAULT_PORTS:
        raise httpx.UnsupportedProtocol("neither http nor https")
    port = url.port or _DEFAULT_PORTS[url.raw_scheme]
    if not url.raw_host or port > _HIGHEST_PORT or not _is_decodable(url):
        raise httpx.InvalidURL("no host, or no port")
    return url.raw_scheme, url.raw_host, port


def _is_decodable(url: httpx.URL) -> bool:
    """Return whether a host name with the prefix of IDNA (`xn--`) is a valid one."""
    if b"xn--" in url.raw_host:
        try:
            return bool(url.host)
        except UnicodeError:
            return False
    return True


class Connection:
    """A connection to one origin, which serves one request at a time."""

    def __init__(self, origin: Origin, tls: "TlsContext", proxy: httpx.Proxy | None) -> None:
        """Prepare a connection to `origin`; `open` opens it."""
        self._origin = origin
        self._tls = tls
        self._proxy = proxy
        self._stream = SocketStream()
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        self._begin = b""
        self._steps = 0
        self.aclose = self._stream.aclose

    def is_idle(self) -> bool:
        """Return whether the connection is open, the last response was read to its end, and no bytes are on the way."""
        return self._http.our_state is self._http.their_state is h11.IDLE and self._stream.is_at_rest()

    def is_usable(self) -> bool:
        """Return whether the connection may serve another request: it is idle, and nothing arrived unasked."""
        return self.is_idle() and not self._stream.is_readable()

    async def open(self, state: SendState) -> None:
        """Connect to the origin, through the proxy if there is one.

        Raises:
            httpx.ConnectError: no connection.
            httpx.ProxyError: no connection to the proxy; or the proxy refused, or closed its connection.
            UsageError: the CA certificates cannot be read, or the proxy needs an extra.
        """
        state.phase = "connecting"
        scheme, raw_host, port = self._origin
        host = raw_host.decode("ascii")
        context = await self._tls.get() if scheme == b"https" else None
        if self._proxy is None:
            await self._stream.connect(host, port)
        else:
            try:
                await self._open_through(self._proxy, host, port)
            except httpx.ProxyError:
                raise
            except httpx.TransportError as error:
                raise httpx.ProxyError(parser_words(error)) from error
        if context is not None:
            await self._stream.start_tls(host, context)

    async def send(self, request: httpx.Request, body: bytes, state: SendState, patience: float | None) -> None:
        """Send a request. The network may take `patience` seconds for each piece of it.

        Raises:
            httpx.ConnectError: the connection was closed before; nothing was sent.
            httpx.LocalProtocolError: the request is not HTTP; nothing was sent.
            httpx.WriteTimeout: `patience` ran out.
        """
        http = self._http
        target, headers = request.url.raw_path, request.headers.raw
        if self._proxy is not None and self._origin[0] == b"http" and not _is_socks(self._proxy):
            target, headers = _absolute(request.url), [*_proxy_headers(self._proxy), *headers]
        try:
            head = http.send(h11.Request(method=request.method, target=target, headers=headers))
            data = http.send(h11.Data(data=body)) if body else b""
            end = http.send(h11.EndOfMessage())
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        await self._stream.send(b"".join((head, data, end)), state, patience)

    async def receive_head(self) -> tuple[int, RawHeaders, bytes]:
        """Return status, headers and HTTP version of the response.

        Raises:
            httpx.ReadError: the connection broke.
            httpx.RemoteProtocolError: the response is not HTTP; or the server closed the connection before it.
        """
        response = await self._receive_head(self._http)
        return response.status_code, list(response.headers.raw_items()), response.http_version

    async def read(self) -> bytes | None:
        """Return the next piece of the response's body; None at its end.

        After the end, the connection may be usable for another request.

        Raises:
            httpx.ReadError: the connection broke.
            httpx.RemoteProtocolError: the response is not HTTP, or the server closed the connection within it.
        """
        http = self._http
        event = await self._next_event(http)
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if http.their_state is h11.DONE and not http.trailing_data[0]:
            http.start_next_cycle()
        return None

    async def _open_through(self, proxy: httpx.Proxy, host: str, port: int) -> None:
        """Connect to the proxy, and through it to `host`. An HTTP proxy of plain HTTP needs no more than the former."""
        socks5 = _socksio() if _is_socks(proxy) else None
        is_tls = proxy.url.scheme == "https"
        context = (proxy.ssl_context or await self._tls.get()) if is_tls else None
        await self._stream.connect(proxy.url.host, proxy.url.port or _DEFAULT_PROXY_PORTS[proxy.url.scheme])
        if context is not None:
            await self._stream.start_tls(proxy.url.host, context)
        if socks5 is not None:
            await self._open_socks(socks5, proxy, host, port)
        elif self._origin[0] == b"https":
            await self._open_tunnel(proxy, host, port)

    async def _open_tunnel(self, proxy: httpx.Proxy, host: str, port: int) -> None:
        """Ask the proxy for a tunnel to `host` (RFC 9110, section 9.3.6)."""
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        http = h11.Connection(h11.CLIENT)
        headers: RawHeaders = [(b"Host", where.encode()), (b"Accept", b"*/*"), *_proxy_headers(proxy)]
        connect = h11.Request(method="CONNECT", target=where, headers=headers)
        await self._stream.send(http.send(connect) + http.send(h11.EndOfMessage()))
        status = (await self._receive_head(http)).status_code
        if not 200 <= status < 300:  # noqa: PLR2004 - RFC 9110: any 2xx
            raise httpx.ProxyError(f"{status} {httpx.codes.get_reason_phrase(status)}".rstrip())
        if http.trailing_data[0]:
            raise httpx.ProxyError("the proxy sent something unasked")

    async def _open_socks(self, socks5: Any, proxy: httpx.Proxy, host: str, port: int) -> None:
        """Ask a SOCKS5 proxy for a connection to `host` (RFC 1928, and RFC 1929 for a password)."""
        connection, methods, command = socks5.SOCKS5Connection(), socks5.SOCKS5AuthMethod, socks5.SOCKS5Command.CONNECT
        method = methods.USERNAME_PASSWORD if proxy.raw_auth else methods.NO_AUTH_REQUIRED
        reply = await self._ask_socks(connection, socks5.SOCKS5AuthMethodsRequest([method]))
        if reply.method != method:
            raise httpx.ProxyError("the proxy wants another way to log in")
        if proxy.raw_auth:
            login = socks5.SOCKS5UsernamePasswordRequest(*proxy.raw_auth)
            if not (await self._ask_socks(connection, login)).success:
                raise httpx.ProxyError("the proxy refuses the user or the password")
        request = socks5.SOCKS5CommandRequest.from_address(command, (host, port))
        reply = await self._ask_socks(connection, request, has_address=True)
        if reply.reply_code != socks5.SOCKS5ReplyCode.SUCCEEDED:
            raise httpx.ProxyError(f"the proxy cannot connect: {reply.reply_code.name.lower().replace('_', ' ')}")

    async def _ask_socks(self, connection: Any, request: object, *, has_address: bool = False) -> Any:
        """Send one message of SOCKS5 and return the reply, which may arrive in any number of parts."""
        try:
            connection.send(request)
        except OverflowError:  # SOCKS5 writes a length in one byte
            raise httpx.ProxyError("user, password or host name is too long for SOCKS5") from None
        await self._stream.send(connection.data_to_send())
        reply = b""
        while len(reply) < _socks_length(reply, has_address=has_address):
            data = await self._stream.read()
            if not data:
                raise httpx.ProxyError("the proxy closed the connection")
            reply += data
        try:
            if len(reply) != _socks_length(reply, has_address=has_address):
                raise ValueError("surplus bytes")  # noqa: TRY301 - socksio takes them for a part of the reply
            return connection.receive_data(reply)
        except Exception as error:  # socksio raises several kinds
            raise httpx.ProxyError("the proxy does not speak SOCKS5") from error

    async def _receive_head(self, http: h11.Connection) -> h11.Response:
        """Return the head of the response; informational heads (1xx) that precede it are skipped."""
        self._begin, rest, lines = b"", b"", 0
        while True:
            event = await self._next(http)
            if isinstance(event, h11.Response):
                if rest:
                    http.receive_data(rest)
                return event
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                    raise httpx.RemoteProtocolError("the server switches to another protocol")
                lines = 0
                await asyncio.sleep(0)  # a server can send thousands at a time
                continue
            if lines > _MOST_LINES:
                raise httpx.RemoteProtocolError("too many header lines")
            if not rest:
                rest = await self._stream.read()
                self._check_begin(rest)
            piece, rest = rest[:_HEAD_PIECE], rest[_HEAD_PIECE:]
            lines += piece.count(b"\n")
            http.receive_data(piece)

    async def _next_event(self, http: h11.Connection) -> h11.Event:
        """Return the next event of the body. A cancellation loses nothing: `http` has all that was received."""
        while (event := await self._next(http)) is h11.NEED_DATA:
            http.receive_data(await self._stream.read())
        return cast("h11.Event", event)  # PAUSED follows a switch of protocols, which is refused

    async def _next(self, http: h11.Connection) -> Any:
        """Return what `http` makes of what has arrived. Other tasks get their turn first, now and then.

        The stream holds up to 320 KiB, which a server can fill with chunks of one byte, and reading what has arrived
        does not suspend.
        """
        self._steps += 1
        if self._steps % _STEPS_IN_A_ROW == 0:
            await asyncio.sleep(0)
        try:
            return http.next_event()
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error

    def _check_begin(self, data: bytes) -> None:
        """Raise as soon as the bytes cannot begin an HTTP response: h11 would wait for an empty line."""
        if not data:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")  # in httpcore's words
        if len(self._begin) < len(_BEGIN):
            self._begin = (self._begin + data)[: len(_BEGIN)]
            if self._begin[0] == _TLS_ALERT:
                raise httpx.RemoteProtocolError(TLS_ANSWER)
            if not _BEGIN.startswith(self._begin):
                raise httpx.RemoteProtocolError("illegal status line")


class TlsContext:
    """The TLS context that all connections share. It is made when the first connection needs it."""

    def __init__(self, verify: bool | ssl.SSLContext, trust_env: bool) -> None:  # noqa: FBT001 - as httpx has them
        """Take httpx's arguments; `trust_env`: SSL_CERT_FILE and SSL_CERT_DIR hold."""
        self._make = functools.partial(httpx.create_ssl_context, verify=verify, trust_env=trust_env)
        self._made: ssl.SSLContext | asyncio.Future[ssl.SSLContext] | None = None
        if isinstance(verify, ssl.SSLContext):
            self._made = verify

    async def get(self) -> ssl.SSLContext:
        """Return the context. A thread makes it: reading the CA certificates takes tens of milliseconds.

        Raises:
            UsageError: the certificates cannot be read.
        """
        if self._made is None:
            self._made = asyncio.get_running_loop().run_in_executor(None, self._make)
            # Every connection that waits for the context may be cancelled before making it fails.
            self._made.add_done_callback(retrieve_exception)
        made = self._made
        if isinstance(made, ssl.SSLContext):
            return made
        try:
            self._made = context = await asyncio.shield(made)
        except OSError as error:
            self._made = None
            failure = UsageError("the CA certificates cannot be read; check SSL_CERT_FILE and SSL_CERT_DIR")
            if error.filename and error.filename == os.environ.get("SSLKEYLOGFILE"):
                failure = UsageError("SSLKEYLOGFILE names a file that cannot be written; unset it, or name another")
        else:
            return context
        raise failure


def _is_socks(proxy: httpx.Proxy) -> bool:
    return proxy.url.scheme.startswith("socks")


def _socks_length(reply: bytes, *, has_address: bool) -> int:
    """Return the length of the SOCKS5 reply that begins with `reply`; while that is too short to tell, the least."""
    if not has_address or len(reply) < 5:  # noqa: PLR2004 - where the length of a name stands
        return 5 if has_address else 2
    sizes = {1: 4, 3: 1 + reply[4], 4: 16}  # of an IPv4 address, a name, an IPv6 address
    return 6 + sizes.get(reply[3], 0)


def _absolute(url: httpx.URL) -> bytes:
    """Return `url` in the form for proxies: with scheme and host (RFC 9112, section 3.2.2)."""
    return b"%b://%b%b" % (url.raw_scheme, url.netloc, url.raw_path)


def _proxy_headers(proxy: httpx.Proxy) -> RawHeaders:
    """Return the headers for the proxy itself."""
    headers = list(proxy.headers.raw)
    if proxy.raw_auth is not None:
        headers.append((b"Proxy-Authorization", b"Basic " + b64encode(b":".join(proxy.raw_auth))))
    return headers


def _socksio() -> Any:
    try:
        return import_module("socksio.socks5")
    except ImportError:
        failure = UsageError("a socks5 proxy needs an extra: pip install 'httpx[socks]'")
    raise failure
